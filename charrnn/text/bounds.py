"""The check of ids that were read from a cache against the size of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError


@dataclass(frozen=True)
class IdBound:
    """Ids must be below `size`. They were read from files in `folder`."""

    size: int
    folder: Path

    def require(self, ids: npt.NDArray[Any]) -> None:
        """Raise `CharrnnError` if one of `ids`, an unsigned array of any shape, is not below `size`."""
        if ids.size and (highest := int(ids.max())) >= self.size:
            raise CharrnnError(
                f"the encoded corpus in {self.folder} is damaged: it has the id {highest}, and the vocabulary has "
                f"{self.size:,} units; remove that folder and try again"
            )


def bound_of(dtype: npt.DTypeLike, size: int, folder: Path) -> IdBound | None:
    """The bound for ids of an unsigned integer type; None if no number of that type can exceed it."""
    return None if np.iinfo(np.dtype(dtype)).max < size else IdBound(size, folder)

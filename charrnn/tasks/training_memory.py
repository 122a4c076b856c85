"""The memory that training takes, in what all tasks of records have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charrnn.runtime.memory import readable, require_memory

PYTHON = 200_000_000  # bytes, with all libraries
PADDING = 16  # units beside those of each record, about


def largest_batch(lengths: NDArray[np.int64], batch_size: int) -> int:
    """The units of the largest batch of records of these lengths, padding included."""
    count = min(batch_size, len(lengths))
    return int(np.sort(lengths)[-count:].sum()) + PADDING * count


def require_memory_to_train(needed: int, parameters: int, options: str) -> None:
    """Raise CharrnnError where fewer bytes than `needed` are free; lower `options` help."""
    require_memory(needed, f"training {readable(parameters)} parameters", f"lower {options}")

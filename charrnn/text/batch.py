"""What a network learns from in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """`T` steps of `B` rows, made by the data side: a network never looks for the boundary of a sequence by itself.

    Arrays are read only, but for `state`, which moves on to the last step.
    """

    inputs: NDArray[Any]
    """What each step reads, (T, B): ids, int32."""
    targets: NDArray[Any]
    """What is to be predicted at each step, (T, B): ids, int32."""
    reset: NDArray[np.bool_] | None = None
    """(T, B): whether the state is reset to zero before a step. None: never."""
    fresh: NDArray[np.bool_] | None = None
    """(B): rows whose carried `state` is not theirs: they begin with zeros. None: no row."""
    state: NDArray[Any] | None = None
    """The hidden state (S, B, H) carried from the window before. None: zeros."""

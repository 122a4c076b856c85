"""What a network learns from in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """`T` steps of `B` rows, made by the data side: a network never looks for the boundary of a sequence by itself.

    inputs (T, B): what each step reads, ids in int32.
    targets (T, B): what is to be predicted at each step.
    reset (T, B): whether the state is reset to zero before a step, as a sequence begins there. None: nowhere.
    ends (T, B): whether a sequence ends with a step. None: nowhere.
    weights (T, B) float64: how much a target counts, 0 for padding. None: each counts 1.
    fresh (B): rows whose carried `state` is not theirs: they begin with zeros. None: no row.
    state (S, B, H): the hidden state carried from the window before, which moves on to the last step. None: zeros.

    The arrays are read only, but for `state`.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    reset: Flags | None = None
    ends: Flags | None = None
    weights: NDArray[np.float64] | None = None
    fresh: Flags | None = None
    state: NDArray[Any] | None = None

    def rows(self, rows: slice) -> Batch:
        """Some rows of the batch, in arrays of their own, `state` included."""

        def columns(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else np.ascontiguousarray(array[:, rows])

        return Batch(
            np.ascontiguousarray(self.inputs[:, rows]), np.ascontiguousarray(self.targets[:, rows]),
            columns(self.reset), columns(self.ends), columns(self.weights),
            None if self.fresh is None else self.fresh[rows], columns(self.state),
        )  # fmt: skip

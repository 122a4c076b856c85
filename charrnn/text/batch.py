"""The data of one training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """T steps of B rows. It says where sequences begin and end, so that a network need not know a boundary unit.

    A row has K targets: one a step (K = T), or one a sequence. Then the k-th sequence of a row has the k-th target, and
    rows with fewer sequences have targets of weight 0 at the end.

    inputs (T, B): what each step reads, ids in int32; or (T, B, N), numbers.
    targets (K, B): what is predicted at each step or of each sequence, ids in int32; or (K, B, C), numbers.
    reset (T, B): whether a sequence begins with a step: the hidden state is reset to zero before it. None: nowhere.
    ends (T, B): whether a sequence ends with a step. None: nowhere.
    beside (K, B, F): numbers that the output reads beside the recurrent layers. None: it reads none.
    weights (K, B) float64: the weight of a target in the loss, 0 for padding. None: all 1.
    fresh (B): rows that start from a zero state instead of the carried one. None: no row.
    state (S, B, H): the hidden state after the window before, S arrays of width H; training replaces it by that after
        this window. None: zeros.

    Only `state` is ever written to.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    reset: Flags | None = None
    ends: Flags | None = None
    weights: NDArray[np.float64] | None = None
    fresh: Flags | None = None
    state: NDArray[Any] | None = None
    beside: NDArray[Any] | None = None

    def rows(self, rows: slice) -> Batch:
        """Copies of some rows of the batch, `state` (S, rows, H) included."""

        def columns(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else np.ascontiguousarray(array[:, rows])

        return Batch(
            np.ascontiguousarray(self.inputs[:, rows]), np.ascontiguousarray(self.targets[:, rows]),
            columns(self.reset), columns(self.ends), columns(self.weights),
            None if self.fresh is None else self.fresh[rows], columns(self.state),
            columns(self.beside),
        )  # fmt: skip

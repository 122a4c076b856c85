"""What the blocks of a network share: memory, threads and number types."""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import ThreadPool
from charrnn.runtime.workspace import Workspace


class Context:
    """`workspace`, `pool` and, for each thread, `scratch` in which weight gradients pack blocks of their gemm inputs.

    `dtype` is the type of parameters, states and sums, `operand` that of gemm inputs (see `signal.py`): bfloat16 if
    `bfloat16`, else `dtype`. `version` counts the changes of the weights.
    """

    def __init__(self, threads: int, dtype: np.typing.DTypeLike, *, bfloat16: bool) -> None:
        self.dtype = np.dtype(dtype)
        self.operand = np.dtype(np.uint16) if bfloat16 else self.dtype
        self.workspace = Workspace(self.dtype, self.operand)
        self.pool = ThreadPool(threads)
        self.version = 0  # whatever was computed from another version of the weights is invalid
        self.scratch: list[tuple[Array, Array]] = [kernels.matmul.empty_scratch(self.operand) for _ in range(threads)]

"""What the blocks of a network share: memory, threads and number types."""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import ThreadPool
from charrnn.runtime.workspace import Workspace


class Context:
    """`workspace`, `pool` and, for each thread, the scratch that products pack blocks of their operands into.

    `dtype` is that of parameters, states and sums; with `bfloat16`, the operands of products are rounded to it.
    """

    def __init__(self, threads: int, dtype: np.typing.DTypeLike, *, bfloat16: bool) -> None:
        self.dtype = np.dtype(dtype)
        self.operand = np.dtype(np.uint16) if bfloat16 else self.dtype
        self.workspace = Workspace(self.dtype, self.operand)
        self.pool = ThreadPool(threads)
        self.version = 0  # of the weights: what was computed from others is out of date
        self.scratch: list[tuple[Array, Array]] = [kernels.matmul.empty_scratch(self.operand) for _ in range(threads)]

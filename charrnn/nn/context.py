"""What the blocks of a network share: memory, threads and number types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charrnn import kernels
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job, ThreadPool
from charrnn.runtime.workspace import Workspace

WORTH_A_THREAD = 10_000_000  # multiply-adds, of which one thread does a hundred thousand in a microsecond


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

    def run(self, jobs: Sequence[Job]) -> None:
        """Do jobs, without other threads where waking them would take longer."""
        if sum(job.count * job.cost for job in jobs) >= WORTH_A_THREAD:
            self.pool.run(jobs)
            return
        for job in jobs:
            job.work(0, job.count, 0)

"""Work divided between threads: kernels release the interpreter lock, so plain Python threads run them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

Work = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """`count` independent things of equal `cost`: work(first, last, thread) does those from first to last."""

    count: int
    cost: int
    work: Work


def in_sequence(*works: Work) -> Work:
    """All of `works` on the same things."""

    def work(first: int, last: int, thread: int) -> None:
        for part in works:
            part(first, last, thread)

    return work


_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Meanwhile the calling thread does all the work: kernels that are new compile where a signal can interrupt it."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


class ThreadPool:
    """A fixed number of threads, this one among them. No result may depend on how the work is divided."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "charrnn") if count > 1 else None

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs, divided into one run of neighbouring things a thread, of about equal cost; wait for all."""
        if self._pool is None or _alone:
            for job in jobs:
                job.work(0, job.count, 0)
            return
        total = sum(job.count * job.cost for job in jobs)
        bounds = [total * thread / self.count for thread in range(self.count + 1)]
        shares: list[list[tuple[Job, int, int]]] = [[] for _ in range(self.count)]
        done = 0
        for job in jobs:
            marks = [min(max(round((bound - done) / job.cost), 0), job.count) for bound in bounds]
            marks[0], marks[-1] = 0, job.count
            for thread, (first, last) in enumerate(pairwise(marks)):
                if first < last:
                    shares[thread].append((job, first, last))
            done += job.count * job.cost

        def do(thread: int) -> None:
            for job, first, last in shares[thread]:
                job.work(first, last, thread)

        waiting = [self._pool.submit(do, thread) for thread in range(1, self.count) if shares[thread]]
        try:
            do(0)
        finally:
            for future in waiting:
                future.result()

"""Work divided between threads: kernels release the interpreter lock, so plain Python threads run them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Work = Callable[[int, int, int], None]

# Multiply-adds from which waking other threads pays; one thread does a hundred thousand in a microsecond.
WORTH_THREADS = 10_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """`count` independent things of equal `cost`: work(first, last, thread) does those from first to last.

    With `arguments` it is a kernel instead, called without a frame of Python between: kernel(*arguments, first, last,
    *scratch[thread]).
    """

    count: int
    cost: int
    work: Callable[..., None]
    arguments: tuple[Any, ...] | None = None
    scratch: Sequence[tuple[Any, ...]] | None = None


Share = list[tuple[Job, int, int]]  # jobs, and which things of each


def do(share: Share, thread: int) -> None:
    """Do what is a thread's."""
    for job, first, last in share:
        if job.arguments is None:
            job.work(first, last, thread)
        else:
            job.work(*job.arguments, first, last, *(job.scratch[thread] if job.scratch else ()))


def in_sequence(*works: Work) -> Work:
    """All of `works` on the same things, one after the other."""

    def work(first: int, last: int, thread: int) -> None:
        for part in works:
            part(first, last, thread)

    return work


_single_threaded: ContextVar[bool] = ContextVar("single_threaded", default=False)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Meanwhile all pools do the work that the calling thread gives them in that thread itself: kernels that are new
    compile where a signal can interrupt them. Other threads are not affected."""
    token = _single_threaded.set(True)
    try:
        yield
    finally:
        _single_threaded.reset(token)


class ThreadPool:
    """A fixed number of threads, the calling one among them. No result may depend on how the work is divided."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "charrnn") if count > 1 else None

    def run(self, jobs: Sequence[Job], *, least: int = 0) -> None:
        """Do all jobs, divided into one run of neighbouring things a thread, of about equal cost; wait for all.

        Where they cost less than `least` in all, the calling thread does them alone.
        Raises what the first thread that failed raised, once no thread is at work any more.
        """
        if self._pool is None or _single_threaded.get() or sum(job.count * job.cost for job in jobs) < least:
            do([(job, 0, job.count) for job in jobs], 0)
            return
        shares = self._divide(jobs)

        failure: BaseException | None = None
        waiting: list[Future[None]] = []
        try:
            for thread in range(1, self.count):
                if shares[thread]:
                    waiting.append(self._pool.submit(do, shares[thread], thread))
            do(shares[0], 0)
        except BaseException as error:
            failure = error
        for future in waiting:
            while True:
                try:
                    failed = future.exception()
                except BaseException as interruption:  # a signal while waiting: the workers still write
                    failure = failure or interruption
                else:
                    failure = failure or failed
                    break
        if failure is not None:
            raise failure

    def _divide(self, jobs: Sequence[Job]) -> list[Share]:
        """For each thread its jobs and which things of each."""
        total = sum(job.count * job.cost for job in jobs)
        bounds = [total * thread / self.count for thread in range(self.count + 1)]
        shares: list[Share] = [[] for _ in range(self.count)]
        done = 0
        for job in jobs:
            marks = [min(max(round((bound - done) / job.cost), 0), job.count) for bound in bounds]
            marks[0], marks[-1] = 0, job.count
            for thread, (first, last) in enumerate(pairwise(marks)):
                if first < last:
                    shares[thread].append((job, first, last))
            done += job.count * job.cost
        return shares

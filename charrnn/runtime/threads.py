"""Work divided between threads. Kernels release the interpreter lock (GIL), so Python threads run them in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Work = Callable[[int, int, int], None]

# With fewer multiply-adds than this, waking other threads costs more than it saves; a thread does 100,000 in 1 µs.
WORTH_THREADS = 10_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """`count` independent items of equal `cost` (multiply-adds): work(first, last, thread) does items first to last.

    With `arguments`, `work` is a kernel and is called directly, without a Python function between: work(*arguments,
    first, last, *scratch[thread]).
    """

    count: int
    cost: int
    work: Callable[..., None]
    arguments: tuple[Any, ...] | None = None
    scratch: Sequence[tuple[Any, ...]] | None = None


Share = list[tuple[Job, int, int]]  # jobs, and the first and last item of each


def do(share: Share, thread: int) -> None:
    """Run one thread's share of the jobs."""
    for job, first, last in share:
        if job.arguments is None:
            job.work(first, last, thread)
        else:
            job.work(*job.arguments, first, last, *(job.scratch[thread] if job.scratch else ()))


def _fulfil(future: Future[None], share: Share, thread: int) -> None:
    """Run one thread's share of the jobs, and then set the result of `future`, unless that was cancelled before."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        do(share, thread)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(None)


def in_sequence(*works: Work) -> Work:
    """A function that runs all of `works` on the same items, one after the other."""

    def work(first: int, last: int, thread: int) -> None:
        for part in works:
            part(first, last, thread)

    return work


_single_threaded: ContextVar[bool] = ContextVar("single_threaded", default=False)


@contextmanager
def single_threaded() -> Iterator[None]:
    """A context in which all pools run the jobs of the calling thread in that thread alone.

    Kernels then compile in the main thread, where a signal can interrupt them. Other threads are not affected.
    """
    token = _single_threaded.set(True)
    try:
        yield
    finally:
        _single_threaded.reset(token)


class ThreadPool:
    """`count` threads, the calling one included. No result may depend on how jobs are divided between them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "charrnn") if count > 1 else None

    def run(self, jobs: Sequence[Job], *, least: int = 0) -> None:
        """Run all jobs and wait for them. Each thread gets a contiguous share of about equal cost.

        If their total cost is less than `least` multiply-adds, the calling thread runs them alone. An exception of a
        thread is raised here, the first one if there are several, after all threads have finished.
        """
        if self._pool is None or _single_threaded.get() or sum(job.count * job.cost for job in jobs) < least:
            do([(job, 0, job.count) for job in jobs], 0)
            return
        shares = self._divide(jobs)

        failure: BaseException | None = None
        # Made before any thread begins: an interruption while they are submitted leaves no thread unknown.
        others = [(Future[None](), thread) for thread in range(1, self.count) if shares[thread]]
        submitted = False
        try:
            for future, thread in others:
                self._pool.submit(_fulfil, future, shares[thread], thread)
            submitted = True
            do(shares[0], 0)
        except BaseException as error:
            failure = error
        for future, _ in others:
            while True:
                try:
                    failed = future.exception() if submitted or not future.cancel() else None
                except BaseException as interruption:  # a signal: the other threads still write into the arrays
                    failure = failure or interruption
                else:
                    failure = failure or failed
                    break
        if failure is not None:
            raise failure

    def _divide(self, jobs: Sequence[Job]) -> list[Share]:
        """The share of each thread."""
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

"""Workspaces and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.runtime.threads import Job, ThreadPool, in_sequence, single_threaded
from charrnn.runtime.workspace import Workspace


def test_a_workspace_gives_the_type_that_is_asked_for() -> None:
    workspace = Workspace(np.float32, np.uint16)
    assert workspace.get("a", 4).dtype == np.float32
    assert workspace.get("a", 4, dtype=np.float64).dtype == np.float64
    assert workspace.ids("a", 3).dtype == np.int32
    again = workspace.get("a", 4)
    assert again.dtype == np.float32
    assert again.shape == (4,)
    again[:] = 3
    assert (workspace.get("a", 2) == 3).all()  # what it held


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_jobs_are_done_once_each(threads: int) -> None:
    done = [np.zeros(count, int) for count in (1, 7, 0, 30)]

    def job(counter: NDArray[np.int_], cost: int) -> Job:
        def work(first: int, last: int, thread: int) -> None:
            assert 0 <= thread < threads
            counter[first:last] += 1

        return Job(len(counter), cost, work)

    ThreadPool(threads).run([job(counter, cost) for counter, cost in zip(done, (5, 1, 9, 3), strict=True)])
    assert all((counter == 1).all() for counter in done)


def test_in_sequence() -> None:
    done: list[str] = []

    def part(name: str) -> Callable[[int, int, int], None]:
        return lambda first, last, thread: done.append(f"{name}{first}{last}")

    ThreadPool(1).run([Job(4, 1, in_sequence(part("a"), part("b")))])
    assert done == ["a04", "b04"]


def test_an_error_in_a_thread_is_raised() -> None:
    def work(first: int, last: int, thread: int) -> None:
        if thread == 1:
            raise ValueError("from the second thread")

    with pytest.raises(ValueError, match="second thread"):
        ThreadPool(2).run([Job(4, 1, work)])


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_when_no_thread_is_at_work_any_more(failing: int) -> None:
    """Else the others write into arrays that the caller already uses for something else."""
    done = [False] * 3

    def work(first: int, last: int, thread: int) -> None:
        if thread == failing:
            raise ValueError(f"from thread {thread}")
        time.sleep(0.2)
        done[thread] = True
        if thread == 2:
            raise KeyError("later")

    with pytest.raises(ValueError, match=f"from thread {failing}"):
        ThreadPool(3).run([Job(6, 1, work)])
    assert done == [thread != failing for thread in range(3)]


def test_an_interruption_waits_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while this thread waits for the others."""
    done: list[int] = []
    interrupted: list[int] = []

    def work(first: int, last: int, thread: int) -> None:
        if thread:
            time.sleep(0.2)
        done.append(thread)

    from concurrent.futures import Future

    wait = Future.exception

    def exception(self: Future[None], timeout: float | None = None) -> BaseException | None:
        if not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(Future, "exception", exception)
    with pytest.raises(KeyboardInterrupt):
        ThreadPool(3).run([Job(6, 1, work)])
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("first", [True, False])
def test_an_interruption_while_threads_begin_leaves_none_at_work(monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """Ctrl-C just before or just after a thread was given its share."""
    begun: list[int] = []
    done: list[int] = []

    def work(first: int, last: int, thread: int) -> None:
        begun.append(thread)
        time.sleep(0.1)
        done.append(thread)

    from concurrent.futures import ThreadPoolExecutor

    submit = ThreadPoolExecutor.submit

    def interrupted(self: ThreadPoolExecutor, *arguments: Any) -> Any:
        if not first:
            submit(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ThreadPool(3).run([Job(6, 1, work)])
    assert begun == done
    time.sleep(0.2)
    assert begun == done
    assert len(begun) <= 1


def test_single_threaded_is_for_the_calling_thread_only() -> None:
    def threads_used() -> int:
        used: set[int] = set()

        def work(first: int, last: int, thread: int) -> None:
            used.add(thread)

        ThreadPool(3).run([Job(3, 1, work)])
        return len(used)

    seen: list[int] = []
    with single_threaded():
        with single_threaded():
            assert threads_used() == 1
        assert threads_used() == 1  # the outer one still holds
        other = threading.Thread(target=lambda: seen.append(threads_used()))
        other.start()
        other.join()
    assert seen == [3]
    assert threads_used() == 3

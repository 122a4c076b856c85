"""Signals while a model is trained: the state is saved, and a run that was killed and resumed has the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from charrnn.cli import signals
from charrnn.runtime.threads import Job, ThreadPool, single_threaded
from tests.conftest import TINY, sentences
from tests.kills import Killer
from tests.runs import Hooked, make_model, make_task
from tests.runs import run as run_task

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def unhooked() -> Iterator[None]:
    yield
    Hooked.hook = staticmethod(lambda step: None)


def test_a_second_signal_interrupts_the_saving_and_a_third_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    died: list[int] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signals, "die_of", died.append)
    caught = signals.Signals(saves=True)
    with pytest.raises(signals.Interrupted):
        caught.handle(signal.SIGINT, None)
    now[0] += 0.01
    caught.handle(signal.SIGINT, None)  # the same one, sent twice
    now[0] += 1
    with pytest.raises(signals.Interrupted):
        caught.handle(signal.SIGTERM, None)
    assert died == []
    now[0] += 1
    with pytest.raises(signals.Interrupted):
        caught.handle(signal.SIGTERM, None)
    assert died == [signal.SIGTERM]
    assert caught.received == signal.SIGTERM


@POSIX
def test_a_second_interrupt_while_saving_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text(sentences(50), encoding="utf-8")
    monkeypatch.delenv("CHARRNN_CACHE_DIR")
    script = (
        "import sys, time; from charrnn import checkpoint; from charrnn.cli.main import main\n"
        "def slow(*args): print('saving', file=sys.stderr, flush=True); time.sleep(60)\n"
        "checkpoint.save = slow\n"
        "sys.exit(main())\n"
    )
    args = ["corpus.txt", *TINY, "--steps", "1000000", "--eval-every", "1000000", "--sample-every", "5", "-o", "x"]
    command = [sys.executable, "-c", script, "train", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("  | "):  # a sample: it is training
                process.send_signal(signal.SIGINT)
                break
        for line in process.stderr:
            if line == "saving\n":
                time.sleep(0.5)
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(30) == -signal.SIGINT
    assert "Traceback" not in rest
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.txt"}


def test_new_kernels_compile_in_the_thread_that_signals_interrupt() -> None:
    def threads_used() -> set[int]:
        used: list[int] = []
        together = threading.Barrier(3, timeout=30)

        def work(first: int, last: int, thread: int) -> None:
            used.append(threading.get_ident())
            if last - first < 3:
                together.wait()

        threads.run([Job(3, 1, work)])
        return set(used)

    threads = ThreadPool(3)
    assert len(threads_used()) == 3
    with single_threaded():
        assert threads_used() == {threading.get_ident()}
    assert len(threads_used()) == 3


def test_before_the_first_step_is_done_a_signal_need_not_wait(text_file: Path) -> None:
    task = make_task(text_file)

    def stop(step: int) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)
        pytest.fail("the signal was held back")

    Hooked.hook = staticmethod(stop)
    with pytest.raises(KeyboardInterrupt):
        run_task(task, make_model(task, Hooked))
    assert not task.output.exists()


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize(("task", "seed"), [("language", 1), ("language", 2), ("classify", 1)])
def test_killed_at_random_moments_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, seed: int
) -> None:
    monkeypatch.delenv("CHARRNN_CACHE_DIR")  # where compiled code is
    killer = Killer(tmp_path, task, seed=seed, steps=1000, say=lambda line: None)
    killer.train_whole()
    killer.kill_and_resume(3)
    assert sum(killer.sent.values()) >= 2  # training was not over before
    assert killer.differences() == []
    assert killer.litter() == []

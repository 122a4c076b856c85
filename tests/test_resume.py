"""A run that was interrupted, anywhere, ends as the one that nobody disturbed; where it cannot, it is refused."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn import checkpoint
from charrnn.cli import signals
from charrnn.errors import CharrnnError, UsageError
from charrnn.runtime.threads import Job, ThreadPool, single_threaded
from charrnn.tasks.language import TASK
from charrnn.training import events, machine, setup
from charrnn.training.loop import train
from tests.conftest import TINY, sentences
from tests.kills import Killer
from tests.runs import (
    SMALL,
    Clock,
    Hooked,
    assert_same,
    make_model,
    make_task,
    of,
    request,
    resumed,
    train_request,
)
from tests.runs import run as run_task

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


# ---- checkpoints between validations


@pytest.fixture(autouse=True)
def unhooked() -> Iterator[None]:
    yield
    Hooked.hook = staticmethod(lambda step: None)


def timed(path: Path, output: str, clock: Clock, **options: Any) -> Any:
    return dataclasses.replace(make_task(path, output=output, **options), elapsed=clock)


def test_checkpoints_between_validations_change_nothing(text_file: Path) -> None:
    whole = make_task(text_file, output="whole.safetensors", dropout=0.2)
    run_task(whole)
    clock = Clock()

    def tick(step: int) -> None:
        clock.now += 100.0

    Hooked.hook = staticmethod(tick)
    task = timed(text_file, "often.safetensors", clock, dropout=0.2)
    happened = run_task(task, make_model(task, Hooked))
    assert [event.step for event in of(events.Saved, happened)] == [
        *(2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40)
    ]
    assert_same(whole.output, task.output)
    task = timed(text_file, "killed.safetensors", clock, dropout=0.2)
    training = train(task, make_model(task, Hooked))
    while not (isinstance(event := next(training), events.Saved) and event.step == 26):
        pass
    del training
    saved = checkpoint.load(task.output, with_training=True)
    assert saved.training["progress"]["step"] == 26
    assert saved.training["last_good"]["step"] == 20
    run_task(resumed(task))
    assert_same(whole.output, task.output)


def test_saving_that_takes_long_is_done_more_rarely(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    save = checkpoint.save

    def slow(path: Any, made: Any) -> None:
        clock.now += 30.0
        save(path, made)

    def tick(step: int) -> None:
        clock.now += 100.0

    monkeypatch.setattr(checkpoint, "save", slow)
    Hooked.hook = staticmethod(tick)
    task = timed(text_file, "slow.safetensors", clock, eval_every=40)
    happened = run_task(task, make_model(task, Hooked))
    assert [event.step for event in of(events.Saved, happened)] == [2, 8, 14, 20, 26, 32, 38, 40]


# ---- resuming elsewhere


def test_another_processor_is_refused_unless_precision_is_named(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(text_file, **SMALL, precision="float32")
    saved = train_request(asked)
    here = machine.instruction_set()
    assert saved.training["instruction_set"] == here
    longer = dataclasses.replace(asked, given={"steps": 9})
    monkeypatch.setenv("NUMBA_CPU_NAME", "other")
    monkeypatch.setattr("numba.config.CPU_NAME", "other")
    assert machine.instruction_set() != here
    with pytest.raises(CharrnnError, match=r"was trained on .* other, .*`precision` float32 goes on"):
        setup.resume(TASK, longer, saved, lambda: 0.0)
    assert setup.finished_result(TASK, asked, saved) is not None  # there is nothing to compute
    moved = dataclasses.replace(asked, given={"steps": 9, "precision": "bfloat16"})
    task, model = setup.resume(TASK, moved, saved, lambda: 0.0)
    assert task.config.precision == "bfloat16"
    happened = list(train(task, model))
    assert any("not the run" in event.message for event in of(events.Note, happened))
    again = checkpoint.load(asked.output, with_training=True)
    assert again.training["options"]["precision"] == "bfloat16"
    setup.resume(TASK, dataclasses.replace(asked, given={"steps": 12}), again, lambda: 0.0)  # now it belongs here
    with pytest.raises(UsageError, match="`precision` is float32"):
        setup.resume(TASK, dataclasses.replace(asked, given={"precision": "float32"}), again, lambda: 0.0)


def test_other_versions_are_said(text_file: Path) -> None:
    saved = train_request(request(text_file, **SMALL))
    saved.training["versions"]["numba"] = "0.1"
    task, model = setup.resume(TASK, request(text_file, steps=8), saved, lambda: 0.0)
    notes = [event.message for event in of(events.Note, list(train(task, model)))]
    assert sum("in place of 0.1" in note for note in notes) == 1
    assert sum("in place of" in note for note in notes) == 1


def test_another_beginning_is_refused(text_file: Path, tmp_path: Path) -> None:
    first = request(text_file, **SMALL)
    train_request(first)
    second = dataclasses.replace(
        request(text_file, steps=3), output=tmp_path / "second.safetensors", init_from=str(first.output)
    )
    saved = train_request(second)
    setup.resumed_config(TASK, second, saved)
    with pytest.raises(UsageError, match="`init_from` is other"):
        setup.resumed_config(TASK, dataclasses.replace(second, init_from="other"), saved)
    with pytest.raises(UsageError, match="`init_from`"):
        setup.resumed_config(TASK, dataclasses.replace(first, init_from="other"), checkpoint.load(first.output))


# ---- signals


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
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.delenv("CHARRNN_CACHE_DIR")  # where compiled code is
    killer = Killer(tmp_path, seed=seed, steps=1000, say=lambda line: None)
    killer.train_whole()
    killer.kill_and_resume(3)
    assert sum(killer.sent.values()) >= 2  # training was not over before
    assert killer.differences() == []
    assert killer.litter() == []

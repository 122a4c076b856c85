"""A run that was interrupted, anywhere, ends as the one that nobody disturbed; where it cannot, it is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn import checkpoint
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.language import TASK
from charrnn.training import events, machine, setup
from charrnn.training.loop import train
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


@pytest.mark.slow
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

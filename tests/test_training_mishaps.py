"""Training that is interrupted, diverges or runs out of time."""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.errors import DivergedError
from charrnn.runtime.interrupts import uninterrupted
from charrnn.runtime.signals import TERMINATION_SIGNALS
from charrnn.training import events
from charrnn.training.loop import train
from tests.runs import (
    Clock,
    Hooked,
    assert_same,
    interrupt,
    make_model,
    make_task,
    of,
    resumed,
    run,
    script_losses,
)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_interrupted_anywhere_and_resumed_ends_with_the_same_bits(text_file: Path, lines: bool, optimizer: str) -> None:
    options: dict[str, Any] = {
        "lines": lines,
        "optimizer": optimizer,
        "dropout": 0.2,
        "learning_rate": 0.02,
        "schedule": "plateau" if optimizer == "sgd" else "cosine",
        "warmup": 5,
        "sample_every": 3,  # to have many places for an interruption
    }
    whole = make_task(text_file, output="whole.safetensors", **options)
    run(whole)
    task = make_task(text_file, output="parts.safetensors", **options)
    for stop in (2, 5, 9, 11, 12, 13, 14, 15, 16):
        training = train(task, make_model(task))
        for _, event in zip(range(stop), training, strict=False):
            if isinstance(event, events.End):
                break
        else:
            interrupt(training)
        if task.output.exists():
            task = resumed(task)
    while not isinstance(list(train(task, make_model(task)))[-1], events.End):
        task = resumed(task)
    assert_same(whole.output, task.output)


def test_killed_between_checkpoints_and_resumed(text_file: Path) -> None:
    whole = make_task(text_file, output="whole.safetensors", dropout=0.2, sample_every=4)
    run(whole)
    task = make_task(text_file, output="parts.safetensors", dropout=0.2, sample_every=4)
    training = train(task, make_model(task))
    while not (isinstance(event := next(training), events.Sampled) and event.step == 28):
        pass
    del training  # nothing gets a chance to save
    assert checkpoint.load(task.output).training["progress"]["step"] == 20
    run(resumed(task))
    assert_same(whole.output, task.output)


@pytest.fixture
def hooked() -> Iterable[type[Hooked]]:
    yield Hooked
    Hooked.hook = staticmethod(lambda step: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step(text_file: Path, hooked: type[Hooked], number: signal.Signals) -> None:
    whole = make_task(text_file, output="whole.safetensors")
    run(whole)
    task = make_task(text_file, output="parts.safetensors")
    sent: list[int] = []

    def interrupt(step: int) -> None:
        if step == 13 and not sent:
            sent.append(step)
            signal.raise_signal(number)

    def on_signal(received: int, frame: object) -> None:
        raise KeyboardInterrupt

    hooked.hook = staticmethod(interrupt)
    previous = signal.signal(number, on_signal)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(task, make_model(task, hooked))
    finally:
        signal.signal(number, previous)
    assert checkpoint.load(task.output).training["progress"]["step"] == 14  # the step was completed
    run(resumed(task))
    assert_same(whole.output, task.output)


@pytest.mark.parametrize("number", TERMINATION_SIGNALS, ids=lambda number: number.name)
def test_uninterrupted_delivers_signals_afterwards(number: signal.Signals) -> None:
    received: list[int] = []
    previous = signal.signal(number, lambda number, frame: received.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(number)
            signal.raise_signal(number)
            assert received == []
        assert received == [number]
        signal.raise_signal(number)
        assert received == [number] * 2
    finally:
        signal.signal(number, previous)


@pytest.mark.parametrize("replaced", range(len(TERMINATION_SIGNALS) + 1))
def test_an_interruption_while_signals_are_held_back_restores_all(
    monkeypatch: pytest.MonkeyPatch, replaced: int
) -> None:
    before = [signal.getsignal(number) for number in TERMINATION_SIGNALS]
    calls: list[int] = []
    install = signal.signal

    def interrupted(number: int, handler: Any) -> Any:
        calls.append(number)
        if len(calls) == replaced + 1:
            raise KeyboardInterrupt
        return install(number, handler)

    handled = sum(map(callable, before))
    monkeypatch.setattr(signal, "signal", interrupted)
    if replaced < handled:
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            pass
        assert [signal.getsignal(number) for number in TERMINATION_SIGNALS] == before


@pytest.mark.parametrize("first", TERMINATION_SIGNALS, ids=lambda number: number.name)
def test_a_signal_between_two_restorations_loses_no_handler(
    monkeypatch: pytest.MonkeyPatch, first: signal.Signals
) -> None:
    """Its exception leaves the other handlers where they are, and they receive their signals all the same."""
    received: list[int] = []
    install = signal.signal

    def handle(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def restore(number: int, handler: Any) -> Any:
        before = install(number, handler)
        if number == first and handler is handle and not received:
            signal.raise_signal(number)
        return before

    before = [install(number, handle) for number in TERMINATION_SIGNALS]
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            monkeypatch.setattr(signal, "signal", restore)
        assert received == [first]
        for number in TERMINATION_SIGNALS:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert received == [first, *TERMINATION_SIGNALS]
    finally:
        for number, handler in zip(TERMINATION_SIGNALS, before, strict=True):
            install(number, handler)


def test_divergence_goes_back_and_halves_the_learning_rate(text_file: Path, hooked: type[Hooked]) -> None:
    bad = [17]
    hooked.hook = staticmethod(lambda step: math.nan if step in bad and bad.pop() else None)
    task = make_task(text_file, schedule="constant")
    happened = run(task, make_model(task, hooked))
    (diverged,) = of(events.Diverged, happened)
    assert (diverged.step, diverged.back_to, diverged.times) == (17, 10, 1)
    rates = [event.learning_rate for event in of(events.Step, happened)]
    assert rates[0] == 0.02
    assert rates[-1] == 0.01
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.steps == 40
    saved = checkpoint.load(task.output, with_training=True)
    assert (saved.training["progress"]["divergences"], saved.training["progress"]["halvings"]) == (1, 1)
    assert all(np.isfinite(tensor).all() for tensor in (*saved.weights.values(), *saved.training_tensors.values()))


def test_a_validation_that_is_not_finite_is_a_divergence(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_losses(monkeypatch, [3.0, math.nan, 2.5, 2.0, 1.0])
    happened = run(make_task(text_file, schedule="constant"))
    (diverged,) = of(events.Diverged, happened)
    assert (diverged.step, diverged.back_to, diverged.times) == (20, 10, 1)
    assert [event.loss for event in of(events.Validation, happened)] == [3.0, 2.5, 2.0, 1.0]
    assert of(events.Step, happened)[-1].learning_rate == 0.01


def test_divergence_before_the_first_checkpoint_goes_back_to_the_start(text_file: Path, hooked: type[Hooked]) -> None:
    bad = [3]
    hooked.hook = staticmethod(lambda step: math.nan if step in bad and bad.pop() else None)
    task = make_task(text_file)
    happened = run(task, make_model(task, hooked))
    (diverged,) = of(events.Diverged, happened)
    assert (diverged.step, diverged.back_to) == (3, 0)
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.steps == 40


def test_divergence_again_and_again_is_the_end(text_file: Path, hooked: type[Hooked]) -> None:
    hooked.hook = staticmethod(lambda step: math.inf if step == 12 else None)
    task = make_task(text_file)
    happened: list[events.Event] = []
    with pytest.raises(DivergedError, match=r"5 times.*`learning_rate`"):
        happened.extend(train(task, make_model(task, hooked)))
    assert [event.times for event in of(events.Diverged, happened)] == [1, 2, 3, 4]
    saved = checkpoint.load(task.output, with_training=True)
    assert saved.training["progress"]["step"] == 10
    assert all(np.isfinite(tensor).all() for tensor in saved.training_tensors.values())


def test_weights_that_blow_up_are_never_saved(text_file: Path) -> None:
    task = make_task(text_file, learning_rate=1e38, optimizer="sgd", val_fraction=0.0, eval_every=1)
    with pytest.raises(DivergedError):
        run(task)
    if task.output.exists():
        saved = checkpoint.load(task.output, with_training=True)
        assert all(np.isfinite(tensor).all() for tensor in (*saved.weights.values(), *saved.training_tensors.values()))


@pytest.mark.parametrize("slower", [1.0, 3.0, 0.4])
def test_a_limit_of_time_is_kept_and_used(text_file: Path, hooked: type[Hooked], slower: float) -> None:
    clock, calls = Clock(), [0]

    def tick(step: int) -> None:
        calls[0] += 1
        clock.now += 0.1 if calls[0] < 150 else 0.1 * slower

    hooked.hook = staticmethod(tick)
    task = dataclasses.replace(make_task(text_file, steps=None, max_time=60.0, eval_every=20), elapsed=clock)
    happened = run(task, make_model(task, hooked))
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.stopped_by == "max-time"
    assert 50 < end.seconds <= 60
    plans = checkpoint.load(task.output).training["progress"]["plans"]
    assert len(plans) == 1 + len(of(events.Replanned, happened))
    assert (len(plans) > 1) == (slower != 1)
    if slower != 3:
        assert end.steps == plans[-1][1]  # the schedule came to its end
    rates = [event.learning_rate for event in of(events.Step, happened)]
    assert rates[-1] < 0.1 * max(rates)


def test_a_time_too_short_for_anything_still_gives_a_model(text_file: Path, hooked: type[Hooked]) -> None:
    clock = Clock()

    def tick(step: int) -> None:
        clock.now += 10.0

    hooked.hook = staticmethod(tick)
    task = dataclasses.replace(make_task(text_file, steps=None, max_time=1.0), elapsed=clock)
    end = run(task, make_model(task, hooked))[-1]
    assert isinstance(end, events.End)
    assert (end.steps, end.stopped_by) == (1, "max-time")
    assert task.output.exists()


def test_a_larger_budget_recomputes_the_schedule(text_file: Path) -> None:
    task = make_task(text_file)
    run(task)
    longer = dataclasses.replace(resumed(task), config=dataclasses.replace(task.config, steps=60))
    happened = run(longer)
    (note,) = of(events.Note, happened)
    assert "not the run" in note.message
    assert of(events.Step, happened)[0].learning_rate > 0.001
    assert happened[-1].steps == 60  # type: ignore[attr-defined]

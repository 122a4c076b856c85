"""What `charrnn train` shows while it runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from charrnn.cli import progress, streams
from charrnn.cli.curve import Series
from charrnn.training import events


@pytest.fixture(autouse=True)
def spoken() -> None:
    """No test before has left the program quiet."""
    streams.set_quiet(False)


class FakeEvents:
    """Events as they come, without a model."""

    @staticmethod
    def start() -> events.Start:
        training: dict[str, Any] = dict.fromkeys(("learning_rate", "dropout", "weight_decay", "clip_norm"), 0.5)
        training |= {"optimizer": "adamw", "schedule": "cosine", "seed": 0, "eval_every": 10, "patience": 3}
        sizes = {"training": {"tokens": 100, "bytes": 200, "characters": 100, "spelling": 0.0}}
        return events.Start(
            1.0, 0, 1000, 100, 4, 8, 5000, {"vocabulary": 30}, {}, {}, training, sizes, versions={}, threads=1,
            precision="float32", lines=(("text", "100 tokens"), ("model", "lstm")),
        )  # fmt: skip

    @staticmethod
    def step(step: int, seconds: float) -> events.Step:
        return events.Step(seconds, step, 1000, step / 100, 2.0, 0.1, 1.0, 1234.0)


def test_plain_lines_come_at_most_every_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Display() as display:
        display.show(FakeEvents.start())
        capsys.readouterr()
        for second in range(2, 92):
            display.show(FakeEvents.step(second * 10, float(second)))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "step 310 of 1,000" in lines[0]
    assert "loss 2.000 (1.443 bits per byte)" in lines[0]
    assert "1,234 tokens per second" in lines[0]
    assert "1m 07s left" in lines[0]


def test_the_live_display_shows_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.LiveDisplay() as display:
        display.show(FakeEvents.start())
        display.show(FakeEvents.step(10, 5.0))
        display.show(events.Validation(6.0, 10, 1.5, {"bits_per_byte": 2.5}, True))
        display.show(events.Sampled(7.0, 10, "[bold]hello\x1b[2J\a\nworld"))
        display.show(events.Note(8.0, "[red]a remark"))
        display.show(events.Diverged(8.0, 12, 10, 1))
    shown = capsys.readouterr().err
    assert "[bold]hello\\x1b[2J\\x07" in shown
    assert "[red]a remark" in shown
    assert "half the learning rate" in shown
    assert "\x1b[2J" not in shown


def test_the_live_display_draws_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.LiveDisplay() as display:
        display.show(FakeEvents.start())
        for number in range(1, 40):
            display.show(dataclasses.replace(FakeEvents.step(10 * number, 1.0 + number), loss=4 - number / 13))
    *_, top, middle, bottom, axis = capsys.readouterr().err.splitlines()
    assert [line.split("│")[0].strip() for line in (top, middle, bottom)] == ["3.923", "", "1"]
    assert len(top) < len(middle) < len(bottom)
    assert axis.split() == ["10", "390"]


def test_points_of_a_curve_are_few_and_means_of_as_many() -> None:
    series = Series(8)
    for x in range(1, 101):
        series.add(x, 2.0 * x)
        assert len(series.points) < 8
    assert series.points == [(16 * k, 2 * (16 * k - 7.5)) for k in range(1, 7)]


def test_figures_of_another_task_are_shown_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    start = dataclasses.replace(FakeEvents.start(), corpus={"digest": "0", "training": {"tokens": 100}})
    end = events.End(
        99.0, "m", 5, {"labels": 3}, 10, 1.0, 1.0, 1.0, 1.5, {"accuracy": 0.875, "macro_f1": None}, 10, "steps"
    )  # fmt: skip
    with progress.Display() as display:
        display.show(start)
        assert capsys.readouterr().err.startswith("text      100 tokens\nmodel     lstm\ntraining  adamw")
        display.show(events.Validation(40.0, 10, 1.5, {"accuracy": 0.875}, True))
        display.show(FakeEvents.step(10, 80.0))
        display.show(end)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "validation 1.5000"
    assert "loss 2.000, validation 1.5000, 1,234 tokens" in lines[1]
    assert lines[3] == "result    validation loss 1.5000, accuracy 0.875, best at step 10"


def test_a_live_display_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(progress.make_display()) is progress.Display
    monkeypatch.setattr(streams, "stderr_is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    streams.set_quiet(False)
    assert type(progress.make_display()) is progress.LiveDisplay


def test_advice_about_a_run_follows_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    end = events.End(
        9.0, "m", 5, {"vocabulary": 3}, 10, 1.0, 1.0, 1.0, 1.5, {"bits_per_byte": 2.0}, 10, "steps"
    )  # fmt: skip
    with progress.Display() as display:
        display.show(FakeEvents.start())
        display.show(events.Advice(1.0, "little text", "at once"))
        assert capsys.readouterr().err.endswith("at once\n")
        display.show(FakeEvents.step(10, 5.0))
        display.show(events.Advice(9.0, "overfitting", "[red]afterwards"))
        assert capsys.readouterr().err == ""
        display.show(end)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:] == ["written   m", "[red]afterwards"]


def test_one_step() -> None:
    start = dataclasses.replace(FakeEvents.start(), total_steps=1, steps_per_epoch=1)
    assert list(progress.start_lines(start))[-1].startswith("length    1 step (1 epoch), ")


def test_durations() -> None:
    assert [progress.duration_text(s) for s in (-3, 0.4, 59.4, 60, 3599, 7260)] == [
        *("0s", "0s", "59s", "1m 00s", "59m 59s", "2h 01m")
    ]

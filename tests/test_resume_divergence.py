"""A run that diverges is the same after an interruption, and none is saved with weights that are not finite."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.training import events
from charrnn.training import run as run_module
from charrnn.training.loop import train
from tests.runs import TEXT, Hooked, assert_same, interrupt, make_model, make_task, of, resumed
from tests.runs import run as run_task

DIVERGING: dict[str, Any] = {"dropout": 0.2, "sample_every": 1, "schedule": "constant", "steps": 24}


class Poisoned(Hooked):
    """Its step 17 is not finite until the learning rate was halved twice."""

    owner: Any

    def loss(self, *args: Any, **options: Any) -> tuple[float, float]:
        loss, count = super().loss(*args, **options)
        bad = Hooked.step == 17 and self.owner.progress.halvings < 2
        return (math.nan if bad else loss), count


def start_poisoned(task: Any) -> Generator[events.Event]:
    """A run up to its first event, which is left out; its model knows it."""
    model = make_model(task, Poisoned)
    run = run_module.Run

    class Known(run):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            model.owner = self  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.training.loop.Run", Known)
        training = train(task, model)
        next(training)
    return training


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that diverged and that nobody disturbed."""
    text = tmp_path_factory.mktemp("diverged") / "text.txt"
    text.write_text(TEXT)
    task = make_task(text, output="whole.safetensors", **DIVERGING)
    assert len(of(events.Diverged, start_poisoned(task))) == 2
    return task


@pytest.mark.parametrize("stop", [11, 14, 17, 18, 19, 22])
def test_a_divergence_is_the_same_after_an_interruption(diverged: Any, text_file: Path, stop: int) -> None:
    """Interrupted after `stop` steps of a run whose step 17 is not finite until the learning rate is halved twice."""
    parts = make_task(text_file, output="parts.safetensors", **DIVERGING)
    training = start_poisoned(parts)
    while not (isinstance(event := next(training), events.Sampled) and event.step == min(stop, 17)):
        pass
    if stop > 17:  # after the divergence
        while not isinstance(next(training), events.Diverged):
            pass
        for _ in range(stop - 17):
            next(training)
    interrupt(training)
    for _ in start_poisoned(resumed(parts)):
        pass
    assert_same(diverged.output, parts.output)
    assert checkpoint.load(diverged.output).training["progress"]["divergences"] == 2


def test_weights_that_are_not_finite_are_not_saved_by_an_interruption(text_file: Path) -> None:
    whole = make_task(text_file, output="whole.safetensors", sample_every=1)
    run_task(whole)
    task = make_task(text_file, output="parts.safetensors", sample_every=1)
    model = make_model(task)
    training = train(task, model)
    while not (isinstance(event := next(training), events.Sampled) and event.step == 15):
        pass
    model.parameters[3] = np.nan
    interrupt(training)
    saved = checkpoint.load(task.output, with_training=True)
    assert saved.training["progress"]["step"] == 10
    assert saved.training["progress"]["divergences"] == 0
    run_task(resumed(task))
    assert_same(whole.output, task.output)

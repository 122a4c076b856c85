"""Runs of other formats and of other states, resumed or refused; what cannot be written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from charrnn import checkpoint
from charrnn.errors import CharrnnError
from charrnn.training import events
from charrnn.training.loop import train
from tests.runs import (
    assert_same,
    interrupt,
    make_model,
    make_task,
    run,
)


def test_a_run_saved_in_format_1_is_resumed(text_file: Path) -> None:
    """Between two validations, when the last good state had other names."""
    whole = make_task(text_file, output="whole.safetensors", sample_every=1)
    run(whole)
    task = make_task(text_file, output="parts.safetensors", sample_every=1)
    training = train(task, make_model(task))
    while not (isinstance(event := next(training), events.Sampled) and event.step == 15):
        pass
    interrupt(training)
    saved = checkpoint.load(task.output, with_training=True)
    saved.training["good"] = saved.training.pop("last_good")
    for progress in (saved.training["progress"], saved.training["good"]):
        progress["stale"] = progress.pop("validations_since_best")
        progress["best"].pop("perplexity")
    assert saved.training["good"]["step"] == 10
    saved.training_tensors = {
        name.replace("last_good.", "good."): array for name, array in saved.training_tensors.items()
    }
    run(dataclasses.replace(task, resumed=saved))
    assert_same(whole.output, task.output)


def test_resuming_needs_a_training_state_that_fits(text_file: Path) -> None:
    task = make_task(text_file)
    run(task)
    loaded = checkpoint.load(task.output)
    stripped = dataclasses.replace(task, resumed=loaded)
    with pytest.raises(CharrnnError, match="is missing"):
        run(stripped)
    foreign = dataclasses.replace(loaded, training={**loaded.training, "layout": "other"})
    with pytest.raises(CharrnnError, match="`init_from`"):
        run(dataclasses.replace(task, resumed=foreign))


def test_a_checkpoint_that_cannot_be_written_is_known_before_training(text_file: Path) -> None:
    task = make_task(text_file)
    blocked = dataclasses.replace(task, output=text_file / "model.safetensors")  # below a file
    with pytest.raises(CharrnnError):
        next(train(blocked, make_model(task)))

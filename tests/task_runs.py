"""What holds for the runs of every task: interruptions and threads change no bit, options change what is learned."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from charrnn import checkpoint
from charrnn.training import events, setup
from charrnn.training.loop import train
from charrnn.training.task import Request, Task
from tests.conftest import run_command
from tests.runs import assert_same_tensors, interrupt


def assert_interruption_changes_no_bit(task: Task[Any, Any], whole: Request, parts: Request, after: int) -> events.End:
    """A run that is interrupted after so many events, and then resumed, ends with the same tensors as the whole one."""
    list(train(*setup.prepare(task, whole, lambda: 0.0)))
    training = train(*setup.prepare(task, parts, lambda: 0.0))
    for _ in range(after):
        next(training)
    interrupt(training)
    saved = checkpoint.load(parts.output, task.format, with_training=True)
    end = list(train(*setup.resume(task, Request([], parts.output, {}), saved, lambda: 0.0)))[-1]
    assert_same_tensors(*(checkpoint.load(one.output, task.format, with_training=True) for one in (whole, parts)))
    assert isinstance(end, events.End)
    return end


def assert_threads_change_no_bit(task: Task[Any, Any], asked: Request) -> None:
    """Runs with 1, 2 and 3 threads end with the same weights."""
    found = []
    for threads in (1, 2, 3):
        one = dataclasses.replace(asked, output=asked.output.with_name(f"{threads}"), threads=threads)
        list(train(*setup.prepare(task, one, lambda: 0.0)))
        found.append(checkpoint.load(one.output, task.format).weights)
    for other in found[1:]:
        for name, tensor in found[0].items():
            np.testing.assert_array_equal(tensor, other[name])


def assert_options_change_what_is_learned(*commands: Sequence[str | Path], folder: Path) -> None:
    """Runs of these `charrnn train` commands all end with another validation loss."""
    losses = []
    for number, command in enumerate(commands):
        result = run_command("train", *command, "-q", "--json", "-o", folder / f"{number}.safetensors")
        assert result.status == 0, result.err
        losses.append(json.loads(result.out)["val_loss"])
    assert len(set(losses)) == len(losses)

"""The training metadata of a checkpoint, validated: nothing read from a file is trusted.

Functions raise `CharrnnError` with one line where an entry is missing, of another type or out of range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError
from charrnn.formats import record_from_json, require_table
from charrnn.training.events import result_order

LARGEST_COUNT = 10**100  # of steps: some users give a huge number to train without end
Kinds = type | tuple[type | None, ...]


@dataclass(frozen=True)
class Result:
    """The fields that the result of every run has; its task adds counts and metrics, which are numbers."""

    checkpoint: str
    parameters: int
    steps: int
    epochs: float
    seconds: float
    tokens_per_second: float
    train_loss: float | None
    val_loss: float | None
    best_step: int | None
    stopped_by: str


def rows(value: Any, name: str, kinds: Sequence[Kinds]) -> list[list[Any]]:
    """`value`, which must be a list of rows with an entry of each of `kinds`. Raises `ValueError`."""
    if not isinstance(value, list):
        raise ValueError(f"{name} is {str(value)[:40]!r}, which is not a list")
    for row in value:
        if not isinstance(row, list) or len(row) != len(kinds) or not all(map(_is_number, row, kinds)):
            raise ValueError(f"{name} has the entry {str(row)[:40]!r}")
    return value


def _is_number(value: Any, kinds: Kinds) -> bool:
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    if value is None:
        return None in allowed
    return type(value) in (allowed if int in allowed else (*allowed, int)) and abs(value) <= LARGEST_COUNT


def recorded_options(run: Checkpoint) -> TrainingConfig:
    """The training options of the run. Raises CharrnnError when they cannot be read."""
    try:
        options = require_table(run.training.get("options"), "options")
        return record_from_json(TrainingConfig, options, "options", largest=LARGEST_COUNT)
    except (ValueError, CharrnnError) as error:
        raise CharrnnError(
            f"cannot resume: its training options cannot be read ({error}); `init_from` takes its weights"
        ) from None


def recorded_seconds(run: Checkpoint) -> float:
    """The seconds of training so far. Raises CharrnnError when they are no time."""
    seconds = run.timings.get("seconds", 0.0)
    if type(seconds) not in (int, float) or not 0 <= seconds <= LARGEST_COUNT:
        raise CharrnnError(
            f"cannot resume: timings.seconds is {str(seconds)[:40]!r}, which is no time; `init_from` takes its weights"
        )
    return float(seconds)


def recorded_digest(run: Checkpoint) -> str | None:
    """The digest of the text that was trained on; None where there is none."""
    corpus = run.training.get("corpus")
    digest = corpus.get("digest") if isinstance(corpus, dict) else None
    return digest if isinstance(digest, str) else None


def recorded_result(run: Checkpoint) -> dict[str, Any] | None:
    """The result of a finished run, None for an unfinished one. Raises CharrnnError when it is damaged."""
    result = run.training.get("result")
    if result is None:
        return None
    try:
        entries = require_table(result, "result")
        found = {name: entries.get(name, run.timings.get(name)) for name in result_order(entries)}
        known = {f.name for f in dataclasses.fields(Result)}
        record_from_json(
            Result, {name: found[name] for name in found if name in known}, "result", largest=LARGEST_COUNT
        )
        for name in found.keys() - known:
            if not _is_number(found[name], (float, None)):
                raise ValueError(f"result.{name[:40]} is {str(found[name])[:40]!r}, which is no number")
    except ValueError as error:
        raise CharrnnError(
            f"cannot resume: the result in the checkpoint is damaged: {error}; `init_from` takes its weights"
        ) from None
    return found

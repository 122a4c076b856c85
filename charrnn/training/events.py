"""Training events as records: the loop yields them, the caller draws or logs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

HELD_OUT = "val_"  # in JSON, the prefix of metrics of the held-out part among those of the run
INLINE = {"inline": ""}  # a mapping whose entries are fields of the log record themselves, with this prefix
UNLOGGED = {"unlogged": True}  # not part of the log record


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `seconds` is wall-clock time since the start of the process."""

    name: ClassVar[str] = ""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The record of the log, one JSON object."""
        record: dict[str, Any] = {"event": self.name}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if "inline" in entry.metadata:
                record.update({entry.metadata["inline"] + name: item for name, item in value.items()})
            elif "unlogged" not in entry.metadata:
                record[entry.name] = value
        return record


@dataclass(frozen=True, slots=True)
class Start(Event):
    """Training is about to begin at `step`; `total_steps` is the plan. The rest is the resolved configuration.

    `batch_size` and `seq_length` are those in use: a small corpus may have reduced them. `counts`, `records` and
    `lines`, `examples` are the task's description of data and network, see `task.Description`.
    """

    name: ClassVar[str] = "start"
    step: int
    total_steps: int
    steps_per_epoch: int
    batch_size: int
    seq_length: int
    parameters: int
    counts: Mapping[str, int] = field(metadata=INLINE)
    model: dict[str, Any]
    records: Mapping[str, Any] = field(metadata=INLINE)
    training: dict[str, Any]
    corpus: dict[str, Any]
    versions: dict[str, str]
    threads: int
    precision: str
    lines: tuple[tuple[str, str], ...] = field(default=(), metadata=UNLOGGED)
    examples: str = field(default="", metadata=UNLOGGED)


@dataclass(frozen=True, slots=True)
class Step(Event):
    """Training progress. `loss` (nats per token) and `tokens_per_second` are means since the last such event.

    `learning_rate` and `gradient_norm` (before clipping) are those of the last step.
    """

    name: ClassVar[str] = "step"
    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Validation(Event):
    """The loss on the held-out part (nats per token) and the task's metrics; `best`: no earlier loss was as low."""

    name: ClassVar[str] = "validation"
    step: int
    loss: float
    figures: Mapping[str, float] = field(metadata=INLINE)
    best: bool


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """The checkpoint was written."""

    name: ClassVar[str] = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """A sample of text from the model at this step."""

    name: ClassVar[str] = "sample"
    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Replanned(Event):
    """The time limit now allows `total_steps` steps; the learning-rate schedule follows."""

    name: ClassVar[str] = "plan"
    step: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Diverged(Event):
    """Loss, gradient or weights were not finite at `step`: rollback to the last good state, half the learning rate.

    That state is the one of step `back_to`; `times` counts the divergences of the run.
    """

    name: ClassVar[str] = "diverged"
    step: int
    back_to: int
    times: int


@dataclass(frozen=True, slots=True)
class Note(Event):
    """A remark for the user."""

    name: ClassVar[str] = "note"
    message: str


@dataclass(frozen=True, slots=True)
class Advice(Event):
    """What to try in the next run, or not to expect of this one, see `advice.py`; `topic` is one or two fixed words."""

    name: ClassVar[str] = "advice"
    topic: str
    message: str


@dataclass(frozen=True, slots=True)
class End(Event):
    """The result of the run. Losses are nats per token; validation fields are None without a held-out part."""

    name: ClassVar[str] = "end"
    checkpoint: str
    parameters: int
    counts: Mapping[str, int] = field(metadata=INLINE)
    steps: int
    epochs: float
    tokens_per_second: float
    train_loss: float | None
    val_loss: float | None
    val_figures: Mapping[str, float | None] = field(metadata={"inline": HELD_OUT})
    best_step: int | None
    stopped_by: str

    def result(self) -> dict[str, Any]:
        """The result as a JSON object: the log record without the name of the event."""
        record = self.to_json()
        del record["event"]
        return {name: record[name] for name in result_order(record)}


def result_order(names: Iterable[str]) -> list[str]:
    """The names in the JSON object of a result in the order in which they are shown, with those that a task adds."""
    known = [*("checkpoint", "parameters", "steps", "epochs", "seconds", "tokens_per_second"),
             *("train_loss", "val_loss", "best_step", "stopped_by")]  # fmt: skip
    added = [name for name in names if name not in known]
    after = {
        "parameters": [name for name in added if not name.startswith(HELD_OUT)],
        "val_loss": [name for name in added if name.startswith(HELD_OUT)],
    }
    return [name for one in known for name in (one, *after.get(one, ()))]

"""What happens during training, as records. The command line draws them and the log writes them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """`seconds` is wall-clock time since the start of the command."""

    name: ClassVar[str] = ""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The line of the log."""
        return {"event": self.name, **dataclasses.asdict(self)}


@dataclass(frozen=True, slots=True)
class Start(Event):
    """Training is about to begin at `step`; `total_steps` is the plan. The rest is the whole resolved configuration.

    `batch_size` and `seq_length` are those in use, which a small corpus may have shrunk.
    """

    name: ClassVar[str] = "start"
    step: int
    total_steps: int
    steps_per_epoch: int
    batch_size: int
    seq_length: int
    parameters: int
    vocabulary: int
    model: dict[str, Any]
    text: dict[str, Any]
    training: dict[str, Any]
    corpus: dict[str, Any]
    versions: dict[str, str]
    threads: int
    precision: str


@dataclass(frozen=True, slots=True)
class Step(Event):
    """Where training is. `loss` (nats per token) and `tokens_per_second` are means since the event before."""

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
    """The loss on held-out text (nats per token); `best` is whether none was lower."""

    name: ClassVar[str] = "validation"
    step: int
    loss: float
    bits_per_byte: float
    bits_per_character: float
    perplexity: float
    best: bool


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """The checkpoint was written."""

    name: ClassVar[str] = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """What the model writes by now."""

    name: ClassVar[str] = "sample"
    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Replanned(Event):
    """A limit of time now means `total_steps` steps."""

    name: ClassVar[str] = "plan"
    step: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class Diverged(Event):
    """Something was not finite at `step`: training goes on from step `back_to` with half the learning rate."""

    name: ClassVar[str] = "diverged"
    step: int
    back_to: int
    times: int


@dataclass(frozen=True, slots=True)
class Note(Event):
    """Something the user should know."""

    name: ClassVar[str] = "note"
    message: str


@dataclass(frozen=True, slots=True)
class Advice(Event):
    """What to try next time, or not to expect of this run, see `advice.py`; `topic` is one or two fixed words."""

    name: ClassVar[str] = "advice"
    topic: str
    message: str


@dataclass(frozen=True, slots=True)
class End(Event):
    """The result. Losses are nats per token; validation fields are None without held-out text."""

    name: ClassVar[str] = "end"
    checkpoint: str
    parameters: int
    vocabulary: int
    steps: int
    epochs: float
    tokens_per_second: float
    train_loss: float | None
    val_loss: float | None
    val_bits_per_byte: float | None
    val_bits_per_character: float | None
    best_step: int | None
    stopped_by: str

    def result(self) -> dict[str, Any]:
        """The result as an object."""
        return {name: getattr(self, name) for name in RESULT}


RESULT = (
    *("checkpoint", "parameters", "vocabulary", "steps", "epochs", "seconds", "tokens_per_second"),
    *("train_loss", "val_loss", "val_bits_per_byte", "val_bits_per_character", "best_step", "stopped_by"),
)

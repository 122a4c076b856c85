"""What an evaluation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from charrnn.formats import LARGEST_NUMBER


@dataclass(frozen=True, slots=True)
class Metrics:
    """The evaluation of a network on a part of a dataset.

    `loss` is the mean over those of `tokens` targets whose value is known to the model, in nats; the lowest is the
    best, unless there is an `error`: then that decides, and the loss where two are equal. `figures` are the task's
    other metrics.
    """

    loss: float
    tokens: int
    figures: Mapping[str, float] = field(default_factory=dict)
    error: float | None = None

    @property
    def order(self) -> tuple[float, float]:
        """The lower it is, the better."""
        return self.loss if self.error is None else self.error, self.loss

    def to_json(self) -> dict[str, float]:
        """A JSON object for the metadata of the checkpoint: `loss`, `tokens`, `error` and the other metrics."""
        error = {} if self.error is None else {"error": self.error}
        return {"loss": self.loss, "tokens": self.tokens, **error, **self.figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], entry: str) -> Metrics:
        """Read what `to_json` wrote, the entry of that name. Raises ValueError."""
        for name, value in data.items():
            if type(value) not in (int, float) or (type(value) is int and abs(value) > LARGEST_NUMBER):
                raise ValueError(f"{entry}.{name[:40]} is {str(value)[:40]!r}, which is not a number, or too large")
        for name in ("loss", "tokens"):
            if name not in data:
                raise ValueError(f"{entry} lacks the entry {name!r}")
        if type(data["tokens"]) is not int or data["tokens"] < 1:
            raise ValueError(f"{entry} has a loss over {data['tokens']} tokens")
        figures = {name: value for name, value in data.items() if name not in ("loss", "tokens", "error")}
        return cls(data["loss"], data["tokens"], figures, data.get("error"))

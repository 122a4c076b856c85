"""Running means of loss and speed, for display. Training does not depend on them."""

from __future__ import annotations

from collections.abc import Callable

EVENT_STEPS = 20
EVENT_SECONDS = 1.0


class Meter:
    """Mean loss and speed since the last reading, and over all steps.

    `rate` and `norm` are the learning rate and gradient norm of the last step. `clock` returns seconds.
    """

    rate = norm = 0.0

    def __init__(self, tokens_per_step: int, clock: Callable[[], float]) -> None:
        self.tokens_per_step = tokens_per_step
        self._clock = clock
        self._losses: list[float] = []
        self._seconds = 0.0
        self._total = [0, 0.0]  # steps, seconds; without the first one, which may have had to compile
        self._first: float | None = None
        self._interval = [0, 0.0]
        self._read_at = self._clock()

    def add(self, loss: float, seconds: float) -> None:
        """Count a step with its loss (nats per token) and its duration in seconds."""
        self._losses.append(loss)
        self._seconds += seconds
        for sums in (self._interval,) if self._first is None else (self._total, self._interval):
            sums[0] += 1
            sums[1] += seconds
        if self._first is None:
            self._first = seconds

    def pending(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._losses)

    def due(self) -> bool:
        """Whether it is time for a reading: every `EVENT_STEPS` steps or `EVENT_SECONDS`, whichever comes first."""
        return len(self._losses) >= EVENT_STEPS or self._clock() - self._read_at >= EVENT_SECONDS

    def read(self) -> tuple[float, float]:
        """Mean loss (nats per token) and tokens per second since the last reading; there must be a step since then."""
        loss = sum(self._losses) / len(self._losses)
        speed = len(self._losses) * self.tokens_per_step / max(self._seconds, 1e-9)
        self.reset()
        return loss, speed

    def reset(self) -> None:
        """Forget the steps since the last reading."""
        self._losses, self._seconds, self._read_at = [], 0.0, self._clock()

    def close_interval(self) -> float | None:
        """Mean seconds per step since the last call, None if there was no step."""
        steps, seconds = self._interval
        self._interval = [0, 0.0]
        return seconds / steps if steps else None

    def mean_speed(self) -> float:
        """Tokens per second over all steps but the first, which may have compiled; validation does not count."""
        steps, seconds = self._total if self._total[0] else (1, self._first or 0.0)
        return steps * self.tokens_per_step / seconds if seconds else 0.0

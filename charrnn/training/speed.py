"""Measures how long a step and a validation take on this machine: for time limits and for `dry_run`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charrnn.nn.dropout import DropoutKey
from charrnn.runtime.threads import single_threaded
from charrnn.training.state import Learner
from charrnn.training.task import Batches, RunSpec

COMPILED_TOKENS = 64  # of a validation that compiles the kernels
TIMED_TOKENS = 1 << 15  # of the one that is timed


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for one training step, and for one token of validation."""

    step: float
    validation_token: float = 0.0


def measure(spec: RunSpec, learner: Learner, batches: Batches, *, seconds: float, first: int = 0) -> Speed:
    """Time training steps for about `seconds`, and some validation, once everything is compiled.

    Uses the batches from step `first` on. Restores the state of the learner afterwards, also after an exception.
    """
    task, dropout, clock, validation = spec.task, spec.config.dropout, spec.elapsed, spec.dataset.validation
    before, updates = learner.copy(), learner.optimizer.updates
    try:
        with single_threaded():
            _step(learner, batches, dropout, first)
            if validation is not None:
                task.evaluate(learner.network, validation, limit=COMPILED_TOKENS, processes=spec.processes)
        durations: list[float] = []
        while len(durations) < 3 or (sum(durations) < seconds and len(durations) < 200):
            start = clock()
            _step(learner, batches, dropout, first + 1 + len(durations))
            durations.append(clock() - start)
        step = float(np.mean(durations))
        if validation is None:
            return Speed(step)
        start = clock()
        tokens = task.evaluate(learner.network, validation, limit=TIMED_TOKENS, processes=spec.processes).tokens
        return Speed(step, (clock() - start) / tokens)
    finally:
        learner.restore(before, updates)


def _step(learner: Learner, batches: Batches, dropout: float, step: int) -> None:
    """A training step with a learning rate of zero: as expensive as any other, but for those in which Muon renews
    its roots, of which the first three steps have none."""
    network, optimizer = learner.network, learner.optimizer
    learner.loss(batches.batch(step), DropoutKey(dropout, 0, step) if dropout else None)
    optimizer.update(network.gradient, optimizer.gradient_norm(network.gradient, network.touched), 0.0, network.touched)
    network.invalidate()

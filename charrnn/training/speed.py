"""How fast this machine is at this model: for limits of time and for `dry_run`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charrnn.config import ModelConfig, TrainingConfig
from charrnn.models import LanguageModel, resolve_precision
from charrnn.nn.dropout import DropoutKey
from charrnn.runtime.threads import single_threaded
from charrnn.text.batch import Batch
from charrnn.text.batches import Batches
from charrnn.text.corpus import Part
from charrnn.training.defaults import TRAINING_COST
from charrnn.training.evaluation import STREAMS, WARMUP, evaluate
from charrnn.training.state import Learner

SAMPLE_TOKENS = 2 * STREAMS * WARMUP  # of validation that are timed


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for one training step, and for one token of validation."""

    step: float
    validation_token: float = 0.0


def arithmetic_speed(threads: int, precision: str) -> float:
    """Operations a second that this machine reaches in training, measured on a small network in a fraction of a
    second."""
    T, B, H = 32, 32, 256
    model = LanguageModel(
        ModelConfig(64, ("lstm",), H, 64), threads=threads, bfloat16=resolve_precision(precision) == "bfloat16"
    )
    model.initialise(0)
    ids = np.arange(T * B, dtype=np.int32).reshape(T, B) % 64
    batch = Batch(ids, ids, state=model.zero_state(B))
    with single_threaded():  # compile, or read what was compiled
        model.loss(batch)
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        model.invalidate()
        model.loss(batch)
        durations.append(time.perf_counter() - start)
    return TRAINING_COST * T * B * (4 * H * H + 64 * H) / float(np.median(durations))


def measure(
    learner: Learner,
    batches: Batches,
    validation: Part | None,
    config: TrainingConfig,
    clock: Callable[[], float],
    *,
    seconds: float,
    first: int = 0,
) -> Speed:
    """Time training steps from `first` on for about `seconds`, and some validation, after everything is compiled.

    The learner's state is put back afterwards, whatever happens.
    """
    before, updates = learner.copy(), learner.optimizer.updates
    try:
        with single_threaded():
            _step(learner, batches, config.dropout, first)
            if validation is not None:
                evaluate(learner.model, validation, limit=STREAMS)
        durations: list[float] = []
        while len(durations) < 3 or (sum(durations) < seconds and len(durations) < 200):
            start = clock()
            _step(learner, batches, config.dropout, first + 1 + len(durations))
            durations.append(clock() - start)
        step = float(np.mean(durations))
        if validation is None:
            return Speed(step)
        start = clock()
        tokens = evaluate(learner.model, validation, limit=SAMPLE_TOKENS).tokens
        return Speed(step, (clock() - start) / tokens)
    finally:
        learner.restore(before, updates)


def _step(learner: Learner, batches: Batches, dropout: float, step: int) -> None:
    """A training step with a learning rate of zero, which costs as much as any other."""
    model, optimizer = learner.model, learner.optimizer
    batch = dataclasses.replace(batches.batch(step), state=learner.carried)
    model.loss(batch, DropoutKey(dropout, 0, step) if dropout else None)
    optimizer.update(model.gradient, optimizer.gradient_norm(model.gradient, model.touched), 0.0, model.touched)
    model.invalidate()

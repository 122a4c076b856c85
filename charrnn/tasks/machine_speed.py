"""Measures how fast this machine trains, for defaults that depend on a time limit."""

from __future__ import annotations

import time

import numpy as np

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from charrnn.runtime.precision import resolve_precision
from charrnn.runtime.threads import single_threaded
from charrnn.tasks.language_defaults import TRAINING_COST
from charrnn.text.batch import Batch


def arithmetic_speed(threads: int, precision: str) -> float:
    """Floating-point operations a second of this machine in training, measured on a small network.

    Takes a fraction of a second once the kernels are compiled.
    """
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

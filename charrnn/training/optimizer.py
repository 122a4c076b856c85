"""Gradient clipping and one step of an optimiser over the flat parameter vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from charrnn.config import TrainingConfig
from charrnn.kernels import optimizers as kernels
from charrnn.kernels.threads import Job, Threads

MOMENTS = {
    "adamw": ("first", "second"),
    "adam": ("first", "second"),
    "rmsprop": ("second",),
    "adagrad": ("second",),
    "sgd": ("velocity",),
}
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
RMSPROP_ALPHA, RMSPROP_EPSILON = 0.99, 1e-8
ADAGRAD_EPSILON = 1e-10
THREADED = 4_000_000  # parameters from which waking a second thread pays for itself: a million take 0.4 ms
CHUNK = 16 * kernels.BLOCK  # elements given to a thread at a time; a whole number of blocks, see kernels/optimizers.py


def segments(parameters: np.ndarray, views: Mapping[str, np.ndarray]) -> list[tuple[int, int, bool]]:
    """Cut the flat vector into runs (start, stop, is a matrix); weight decay applies to matrices only."""
    base = parameters.__array_interface__["data"][0]
    runs: list[tuple[int, int, bool]] = []
    places = ((view.__array_interface__["data"][0] - base, view) for view in views.values() if view.size)
    for address, view in sorted(places, key=lambda place: place[0]):
        start = address // parameters.itemsize
        stop, matrix = start + view.size, view.ndim == 2
        if runs and runs[-1][1] == start and runs[-1][2] == matrix:
            start = runs.pop()[0]
        runs.append((start, stop, matrix))
    if [run[0] for run in runs] + [parameters.size] != [0] + [run[1] for run in runs]:
        raise ValueError("the views do not cover the parameter vector exactly once")
    return runs


class Optimizer:
    """Updates `parameters` (N,) in place. `moments` and `updates` are all its state.

    The same bits at any number of threads: sums are over fixed blocks, the rest is elementwise.
    """

    def __init__(
        self, config: TrainingConfig, parameters: np.ndarray, views: Mapping[str, np.ndarray], *, threads: int = 1
    ) -> None:
        self.config = config
        self.parameters = parameters
        self.moments = {name: np.zeros_like(parameters) for name in MOMENTS[config.optimizer]}
        self.updates = 0
        self._sums = np.zeros(-(-parameters.size // kernels.BLOCK))
        self._chunks = [
            (slice(start, min(start + CHUNK, stop)), matrix)
            for first, stop, matrix in segments(parameters, views)
            for start in range(first, stop, CHUNK)
        ]
        self._threads = Threads(threads if parameters.size >= THREADED else 1)

    def gradient_norm(self, gradient: np.ndarray) -> float:
        """Euclidean norm of `gradient` (N,), accumulated in float64; not finite if and only if an element is not."""
        kernels.sum_of_squares(gradient, self._sums)
        return math.sqrt(float(self._sums.sum()))

    def update(self, gradient: np.ndarray, norm: float, learning_rate: float) -> None:
        """One update with `gradient` (N,) of length `norm`, first clipped by norm, then by value."""
        config = self.config
        self.updates += 1
        scale = config.clip_norm / norm if 0 < config.clip_norm < norm else 1.0
        limit = config.clip_value or math.inf
        rule = self._rule(scale, limit, learning_rate)

        def work(first: int, last: int, thread: int) -> None:
            for chunk, matrix in self._chunks[first:last]:
                rule(chunk, gradient[chunk], config.weight_decay if matrix else 0.0)

        self._threads.run([Job(len(self._chunks), CHUNK, work)])

    def _rule(self, scale: float, limit: float, rate: float) -> Callable[[slice, np.ndarray, float], None]:
        """A function of (slice, gradient there, weight decay) that updates that slice."""
        number = self.parameters.dtype.type  # a Python float would turn the whole kernel into float64
        p, m, config = self.parameters, self.moments, self.config
        shared = (number(scale), number(limit))
        eps: Any
        if config.optimizer in ("adamw", "adam"):
            first, second = m["first"], m["second"]
            step = number(rate / (1 - BETA1**self.updates))
            root = number(1 / math.sqrt(1 - BETA2**self.updates))
            betas = (number(1 - BETA1), number(1 - BETA2))
            eps = number(ADAM_EPSILON)
            decoupled = config.optimizer == "adamw"

            def adam(s: slice, g: np.ndarray, decay: float) -> None:
                l2, shrink = (0.0, 1 - rate * decay) if decoupled else (decay, 1.0)
                kernels.adam(p[s], g, first[s], second[s], *shared, number(l2), number(shrink), step, *betas, root, eps)

            return adam
        lr = number(rate)
        if config.optimizer == "rmsprop":
            second, alpha, eps = m["second"], number(1 - RMSPROP_ALPHA), number(RMSPROP_EPSILON)
            return lambda s, g, decay: kernels.rmsprop(p[s], g, second[s], *shared, number(decay), lr, alpha, eps)
        if config.optimizer == "adagrad":
            second, eps = m["second"], number(ADAGRAD_EPSILON)
            return lambda s, g, decay: kernels.adagrad(p[s], g, second[s], *shared, number(decay), lr, eps)
        velocity, momentum = m["velocity"], number(config.momentum)
        return lambda s, g, decay: kernels.sgd(p[s], g, velocity[s], *shared, number(decay), lr, momentum)

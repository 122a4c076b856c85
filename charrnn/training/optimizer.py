"""Gradient clipping and one step of an optimiser over the flat parameter vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from charrnn.config import TrainingConfig
from charrnn.kernels import inputs
from charrnn.kernels import optimizers as kernels
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, ThreadPool

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
THREADED = 500_000  # parameters from which waking a second thread pays for itself: a million take 0.7 ms
CHUNK = 16 * kernels.BLOCK  # elements given to a thread at a time; a whole number of blocks, see kernels/optimizers.py


def segments(parameters: Array, views: Mapping[str, Array], cut: int = 0) -> list[tuple[int, int, bool]]:
    """Cut the flat vector into runs (start, stop, is a matrix), also at `cut`.

    Weight decay applies to matrices only.
    """
    base = parameters.__array_interface__["data"][0]
    runs: list[tuple[int, int, bool]] = []
    places = ((view.__array_interface__["data"][0] - base, view) for view in views.values() if view.size)
    for address, view in sorted(places, key=lambda place: place[0]):
        start = address // parameters.itemsize
        stop, matrix = start + view.size, view.ndim == 2
        if runs and runs[-1][1] == start != cut and runs[-1][2] == matrix:
            start = runs.pop()[0]
        runs.append((start, stop, matrix))
    if [run[0] for run in runs] + [parameters.size] != [0] + [run[1] for run in runs]:
        raise ValueError("the views do not cover the parameter vector exactly once")
    return runs


Rule = Callable[[Array, Array, Sequence[Array], float], None]  # parameters, gradient, moments, weight decay


class Optimizer:
    """Updates `parameters` (N,) in place. `moments` and `updates` are all its state.

    `table` is the shape (V, E) of a part at the start of the vector of which only the rows are touched that a gradient
    is said not to be zero in: moments and weight decay of the others rest (as in `torch.optim.SparseAdam`).

    The same bits at any number of threads: sums are over fixed blocks, the rest is elementwise.
    """

    def __init__(
        self, config: TrainingConfig, parameters: Array, views: Mapping[str, Array], *, threads: int = 1,
        table: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.parameters = parameters
        self.moments = {name: np.zeros_like(parameters) for name in MOMENTS[config.optimizer]}
        self.updates = 0
        self.table = (0, 0) if table is None else table
        self._start = prod(self.table)  # of what is always updated as a whole
        dense = parameters.size - self._start
        self._sums = np.zeros(-(-parameters.size // kernels.BLOCK))
        self._chunks = [
            (slice(start, min(start + CHUNK, stop)), matrix)
            for first, stop, matrix in segments(parameters, views, self._start)
            for start in range(first, stop, CHUNK)
        ]
        self._rows: Array = np.empty((2 + len(self.moments), 0), parameters.dtype)
        self._threads = ThreadPool(threads if dense >= THREADED else 1)

    def gradient_norm(self, gradient: Array, rows: Ids | None = None) -> float:
        """Euclidean norm of `gradient` (N,), accumulated in float64; not finite if and only if an element is not.

        rows: the only ones of the table that are not zero; None for all.
        """
        if rows is None:
            return math.sqrt(self._sum_of_squares(gradient))
        touched = self._take_rows([gradient], rows)[0]
        return math.sqrt(self._sum_of_squares(gradient[self._start :]) + self._sum_of_squares(touched))

    def _sum_of_squares(self, vector: Array) -> float:
        sums = self._sums[: -(-vector.size // kernels.BLOCK)]
        kernels.sum_of_squares(vector, sums)
        return float(sums.sum())

    def _take_rows(self, vectors: Sequence[Array], rows: Ids) -> list[Array]:
        """Copies of some rows of the table's part of each vector, each flat."""
        size = rows.size * self.table[1]
        if self._rows.shape[1] < size:
            self._rows = np.empty((len(self._rows), size), self.parameters.dtype)
        taken = [copy[:size] for copy in self._rows[: len(vectors)]]
        for vector, copy in zip(vectors, taken, strict=True):
            inputs.gather_rows(self._as_table(vector), rows, copy.reshape(-1, self.table[1]))
        return taken

    def _as_table(self, vector: Array) -> Array:
        return vector[: self._start].reshape(self.table)

    def update(self, gradient: Array, norm: float, learning_rate: float, rows: Ids | None = None) -> None:
        """One update with `gradient` (N,) of length `norm`, first clipped by norm, then by value; `rows` as there."""
        config = self.config
        self.updates += 1
        scale = config.clip_norm / norm if 0 < config.clip_norm < norm else 1.0
        limit = config.clip_value or math.inf
        rule = self._rule(scale, limit, learning_rate)
        moments = list(self.moments.values())
        chunks = self._chunks if rows is None else [chunk for chunk in self._chunks if chunk[0].start >= self._start]

        def work(first: int, last: int, thread: int) -> None:
            for chunk, matrix in chunks[first:last]:
                decay = config.weight_decay if matrix else 0.0
                rule(self.parameters[chunk], gradient[chunk], [moment[chunk] for moment in moments], decay)

        self._threads.run([Job(len(chunks), CHUNK, work)])
        if rows is not None:
            p, g, *own = self._take_rows([self.parameters, gradient, *moments], rows)
            rule(p, g, own, config.weight_decay)
            for copy, vector in zip([p, *own], [self.parameters, *moments], strict=True):
                inputs.scatter_rows(copy.reshape(-1, self.table[1]), rows, self._as_table(vector))

    def _rule(self, scale: float, limit: float, rate: float) -> Rule:
        """What updates a part of the vector."""
        number: Any = self.parameters.dtype.type  # a Python float would turn the whole kernel into float64
        config = self.config
        shared = (number(scale), number(limit))
        eps: Any
        if config.optimizer in ("adamw", "adam"):
            step = number(rate / (1 - BETA1**self.updates))
            root = number(1 / math.sqrt(1 - BETA2**self.updates))
            betas = (number(1 - BETA1), number(1 - BETA2))
            eps = number(ADAM_EPSILON)
            decoupled = config.optimizer == "adamw"

            def adam(p: Array, g: Array, m: Sequence[Array], decay: float) -> None:
                l2, shrink = (0.0, 1 - rate * decay) if decoupled else (decay, 1.0)
                kernels.adam(p, g, m[0], m[1], *shared, number(l2), number(shrink), step, *betas, root, eps)

            return adam
        lr = number(rate)
        if config.optimizer == "rmsprop":
            alpha, eps = number(1 - RMSPROP_ALPHA), number(RMSPROP_EPSILON)
            return lambda p, g, m, decay: kernels.rmsprop(p, g, m[0], *shared, number(decay), lr, alpha, eps)
        if config.optimizer == "adagrad":
            eps = number(ADAGRAD_EPSILON)
            return lambda p, g, m, decay: kernels.adagrad(p, g, m[0], *shared, number(decay), lr, eps)
        momentum = number(config.momentum)
        return lambda p, g, m, decay: kernels.sgd(p, g, m[0], *shared, number(decay), lr, momentum)

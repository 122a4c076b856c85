"""Gradient clipping and the update rules of the optimisers, over one flat parameter vector.

- Muon, for weights of recurrent layers: see `muon.py`; AdamW for the rest.
- Adam: Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv:1412.6980, algorithm 1.
- AdamW: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101, algorithm 2.
- RMSprop: Tieleman and Hinton 2012, Neural networks for machine learning, lecture 6.5.
- Adagrad: Duchi, Hazan and Singer 2011, "Adaptive subgradient methods", JMLR 12, 2121-2159.
- Momentum: Polyak 1964, doi:10.1016/0041-5553(64)90137-5, as in `torch.optim.SGD`.
- Clipping by norm: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks",
  arXiv:1211.5063, algorithm 1.

Constants and equations, but for Muon, are those of `torch.optim`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from charrnn.config import TrainingConfig
from charrnn.kernels import inputs
from charrnn.kernels import optimizers as kernels
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, ThreadPool
from charrnn.training.muon import Matrices, Muon

MOMENTS = {
    "muon": ("first", "second"),
    "adamw": ("first", "second"),
    "adam": ("first", "second"),
    "rmsprop": ("second",),
    "adagrad": ("second",),
    "sgd": ("velocity",),
}
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
RMSPROP_ALPHA, RMSPROP_EPSILON = 0.99, 1e-8
ADAGRAD_EPSILON = 1e-10
THREADED = 500_000  # parameters from which a second thread is faster: a million take 0.7 ms
CHUNK = 16 * kernels.BLOCK  # elements given to a thread at a time; a whole number of blocks, see kernels/optimizers.py


Segments = Sequence[tuple[int, int, bool]]  # start, stop, whether weight decay applies; they cover a flat vector
Rule = tuple[Callable[..., None], tuple[Any, ...], tuple[Any, ...]]  # kernel, its scalars with and without weight decay


def without(segments: Segments, matrices: Matrices) -> Iterator[tuple[int, int, bool]]:
    """The segments without the numbers of the matrices, which are in the order of the vector."""
    for start, stop, decays in segments:
        for first, shape in matrices:
            if start <= first < stop:
                if start < first:
                    yield start, first, decays
                start = first + prod(shape)
        if start < stop:
            yield start, stop, decays


class Optimizer:
    """Updates `parameters` (N,) in place. Its state is `moments`, arrays (N,) by name, and `updates`, their number.

    `table` is the shape (V, E) of an embedding at the start of the vector that is updated by row: only rows with a
    gradient change, moments and weight decay of the others are skipped (lazy, as in `torch.optim.SparseAdam`).
    `matrices` are the weights that Muon updates by its own rule. `pool`: the threads, only the calling one without.

    The result has the same bits for any number of threads: sums are over fixed blocks, the rest is elementwise.
    """

    def __init__(
        self, config: TrainingConfig, parameters: Array, segments: Segments, *,
        pool: ThreadPool | None = None, table: tuple[int, ...] | None = None, matrices: Matrices = (),
    ) -> None:  # fmt: skip
        self.config = config
        self.parameters = parameters
        self.moments = {name: np.zeros_like(parameters) for name in MOMENTS[config.optimizer]}
        self.updates = 0
        self.table = (0, 0) if table is None else table
        self._start = prod(self.table)  # of the dense part, always updated as a whole
        self._sums = np.zeros(-(-parameters.size // kernels.BLOCK))
        self._pool = ThreadPool(1) if pool is None else pool
        self._muon = None
        if config.optimizer == "muon" and matrices:
            self._muon = Muon(parameters, self.moments["first"], self.moments["second"], matrices, self._pool)
            segments = list(without(segments, matrices))
        # Each with views of its parameters and moments.
        self._chunks = [
            (part, decays, parameters[part], tuple(moment[part] for moment in self.moments.values()))
            for first, stop, decays in segments
            for start in range(first, stop, CHUNK)
            for part in [slice(start, min(start + CHUNK, stop))]
        ]
        self._rows: Array = np.empty((2 + len(self.moments), 0), parameters.dtype)

    def gradient_norm(self, gradient: Array, rows: Ids | None = None) -> float:
        """Euclidean norm of `gradient` (N,), accumulated in float64; not finite if and only if an element is not.

        rows: the rows (R,) of the table in which the gradient is not zero; None for all.
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
        """Copies of some rows of the table in each vector, flattened."""
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
        """One update with `gradient` (N,), clipped by norm, then by value.

        norm, rows: of the gradient, see `gradient_norm`.
        """
        config = self.config
        self.updates += 1
        scale = config.clip_norm / norm if 0 < config.clip_norm < norm else 1.0
        limit = config.clip_value or math.inf
        kernel, decayed, plain = self._rule(scale, limit, learning_rate)
        chunks = self._chunks if rows is None else [chunk for chunk in self._chunks if chunk[0].start >= self._start]

        def work(first: int, last: int, thread: int) -> None:
            for part, decays, parameters, moments in chunks[first:last]:
                kernel(parameters, gradient[part], *moments, *(decayed if decays else plain))

        jobs = [Job(len(chunks), CHUNK, work)]
        if self._muon is not None:
            jobs += self._muon.look_ahead(gradient, scale, limit)
        self._pool.run(jobs, least=THREADED)
        if self._muon is not None:
            self._muon.update(learning_rate, config.weight_decay, self.updates)
        if rows is not None:
            updated = [self.parameters, *self.moments.values()]
            p, g, *own = self._take_rows([self.parameters, gradient, *self.moments.values()], rows)
            kernel(p, g, *own, *decayed)
            for copy, vector in zip([p, *own], updated, strict=True):
                inputs.scatter_rows(copy.reshape(-1, self.table[1]), rows, self._as_table(vector))

    def _rule(self, scale: float, limit: float, rate: float) -> Rule:
        """The kernel of the update rule, and its scalar arguments with weight decay and without."""
        scalar: Any = self.parameters.dtype.type  # a Python float would turn the whole kernel into float64
        config = self.config
        shared = (scalar(scale), scalar(limit))
        l2, none = scalar(config.weight_decay), scalar(0)
        rest: tuple[Any, ...]
        if config.optimizer in ("muon", "adamw", "adam"):
            step = scalar(rate / (1 - BETA1**self.updates))
            root = scalar(1 / math.sqrt(1 - BETA2**self.updates))
            rest = (step, scalar(1 - BETA1), scalar(1 - BETA2), root, scalar(ADAM_EPSILON))
            plain = (*shared, none, scalar(1), *rest)
            if config.optimizer == "adam":
                return kernels.adam, (*shared, l2, scalar(1), *rest), plain
            return kernels.adam, (*shared, none, scalar(1 - rate * config.weight_decay), *rest), plain
        lr = scalar(rate)
        if config.optimizer == "rmsprop":
            kernel: Callable[..., None] = kernels.rmsprop
            rest = (lr, scalar(1 - RMSPROP_ALPHA), scalar(RMSPROP_EPSILON))
        elif config.optimizer == "adagrad":
            kernel, rest = kernels.adagrad, (lr, scalar(ADAGRAD_EPSILON))
        else:
            kernel, rest = kernels.sgd, (lr, scalar(config.momentum))
        return kernel, (*shared, l2, *rest), (*shared, none, *rest)

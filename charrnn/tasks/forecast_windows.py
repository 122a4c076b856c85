"""From the last rows of a series to what a forecaster reads: changes step by step, and features of the direct path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.text import dates
from charrnn.text.batch import Batch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLOWER = 10.0  # than other weights, the direct path learns


@dataclass(frozen=True)
class Scales:
    """How numbers are scaled. `log`: logarithms are taken first, z. A window has `lags` changes of z, of lags + 1 rows.

    Of each column: `centres` and `spreads` of z, `changes` of the difference between rows, `noise` that least squares
    leave in the training part, which is the unit of the output, and `widening`, how many times larger their errors are
    in rows that they have not seen. `products`: of those over the last `curved` changes. `cycles` with `harmonics`: of
    dates.
    """

    log: bool
    lags: int
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    changes: tuple[float, ...]
    noise: tuple[float, ...]
    widening: tuple[float, ...]
    cycles: tuple[str, ...] = ()
    harmonics: tuple[int, ...] = ()
    curved: int = 0
    products: tuple[float, ...] = ()

    @property
    def rows(self) -> int:
        """The rows of history that a forecast reads."""
        return self.lags + 1

    @property
    def width(self) -> int:
        """F, the features of the direct path."""
        return (self.lags + 1) * len(self.centres) + 2 * sum(self.harmonics) + len(self.products)

    @property
    def unit(self) -> float:
        """The logarithm of the units of a row of outputs, where numbers are as large as they are on average."""
        return float(np.log(self.noise).sum() + self.log * np.sum(self.centres))

    @property
    def slowness(self) -> float:
        """By how much features are divided, so that steps of training change what least squares say but little."""
        return SLOWER * float(np.sqrt(self.width))

    def transform(self, x: Floats) -> Floats:
        """z of numbers x. Numbers that have no logarithm become NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(x > 0, np.log(x), np.nan) if self.log else x

    def back(self, z: Floats) -> Floats:
        """The numbers of z."""
        return np.exp(np.clip(z, -700, 700)) if self.log else z

    def places(self, when: Sequence[datetime] | None, count: int) -> Floats:
        """Places (count, K) in cycles of the dates of the rows to predict."""
        if not self.cycles or when is None:
            return np.zeros((count, 2 * sum(self.harmonics)))
        return dates.features(when, list(zip(self.cycles, self.harmonics, strict=True)))

    @np.errstate(over="ignore", invalid="ignore")
    def read(self, z: Floats, places: Floats) -> tuple[Floats, Floats]:
        """Inputs (lags, N, C) and features (N, F) of windows z (N, lags + 1, C) and places (N, K) in cycles.

        What is too large comes out infinite or NaN, which `batch_of` refuses.
        """
        changes = np.diff(z, axis=1) / np.array(self.changes)
        N = len(z)
        level = (z[:, -1] - np.array(self.centres)) / np.array(self.spreads)
        parts = [level, changes[:, ::-1].reshape(N, -1), places]
        if self.curved:
            parts.append(change_products(changes[:, -self.curved :]) / np.array(self.products))
        return changes.transpose(1, 0, 2), np.concatenate(parts, axis=1) / self.slowness


def change_products(changes: Floats) -> Floats:
    """Products of the mean change m of changes (N, lags, C), and of s, by how much they grow: m m, m m m, m m s.

    What curves a path depends on its speed: with them an autoregression is of third order (Volterra 1930, "Theory of
    functionals").
    """
    half = changes.shape[1] // 2
    mean = changes.mean(axis=1)
    growth = changes[:, -half:].mean(axis=1) - changes[:, :half].mean(axis=1)
    i, j = np.triu_indices(mean.shape[1])
    pairs = mean[:, i] * mean[:, j]
    a, b, c = np.array([(a, b, c) for a in range(mean.shape[1]) for b in range(a + 1) for c in range(b + 1)]).T
    triples = mean[:, a] * mean[:, b] * mean[:, c]
    mixed = (pairs[:, :, np.newaxis] * growth[:, np.newaxis]).reshape(len(mean), -1)
    return np.concatenate([pairs, triples, mixed], axis=1)


def product_count(series: int) -> int:
    """The number of columns of `change_products`."""
    pairs = series * (series + 1) // 2
    return pairs + pairs * (series + 2) // 3 + pairs * series


@np.errstate(over="ignore", invalid="ignore")
def batch_of(inputs: Floats, beside: Floats, targets: Floats | None) -> Batch:
    """A batch whose rows are windows: inputs (lags, N, C), beside (N, F), targets (N, C) or None.

    Raises CharrnnError for numbers that float32 cannot hold.
    """
    T, N, C = inputs.shape
    reset, ends = np.zeros((T, N), np.bool_), np.zeros((T, N), np.bool_)
    reset[0] = ends[-1] = True
    wanted = np.zeros((1, N, C)) if targets is None else targets[np.newaxis]
    numbers, features = np.ascontiguousarray(inputs, np.float32), np.ascontiguousarray(beside[np.newaxis], np.float32)
    after = wanted.astype(np.float32)
    if not all(np.isfinite(array).all() for array in (numbers, features, after)):
        raise CharrnnError(
            "numbers of a row, or forecasts, are far too large for the model; mend the row, give a shorter `horizon`, "
            "or train a new model"
        )
    return Batch(numbers, after, reset, ends, beside=features)

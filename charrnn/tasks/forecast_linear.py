"""Linear autoregressions, which a forecaster starts from: many by least squares, averaged by their past errors.

A candidate predicts w, what is left of a series (or its logarithm) after a base: nothing, the last value, the value a
season ago, or both (Box and Jenkins 1970, "Time series analysis", the seasonal difference). It is linear in the last p
rows of w, perhaps in places of dates in cycles and in products of mean changes, by ridge regression (Hoerl and Kennard
1970). Its error is that of a rolling origin: the last third of the training part, in parts, each predicted from
coefficients of what comes before it (Tashman 2000, doi:10.1016/S0169-2070(00)00065-0). Candidates are averaged with
weights that fall with their error (Bates and Granger 1969, "The combination of forecasts"): on short series the choice
of a single one is a matter of chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn.tasks.forecast_distribution import Distribution
from charrnn.tasks.forecast_windows import Floats, Ints, change_products

LEVEL, LAST, SEASON, BOTH = "level", "last", "season", "both"
LAGS = (1, 2, 4, 8, 12, 16, 24)
RIDGE = (0.1, 1.0, 10.0, 100.0)
ORIGIN = 2 / 3  # of the training part comes before the first row that is predicted
FOLDS = 8
LATEST = 4000  # rows, the last ones, by which candidates are compared
MOST_ROWS = 100_000  # the last ones, from which coefficients are estimated
MOST_COLUMNS = 160  # of a regression
LONGEST_SEASON = 400
LEAST_WEIGHT = 0.01
ROWS_A_POWER = 20  # weights fall with the mean squared error to the power of 2, or of rows / 20
CURVED_LAGS, MOST_CURVED = 8, 4  # rows of change, and series, of products
LEAST_CURVED = 100  # rows
DEGREES = (0.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0)  # of freedom


@dataclass(frozen=True)
class Candidate:
    """A linear autoregression: base, lags p, whether it reads cycles of dates and products of changes."""

    base: str
    lags: int
    cycles: bool = False
    curved: bool = False

    def polynomial(self, season: int) -> Floats:
        """b (from lag 0 on): w_t = Σ b_j z_{t-j}."""
        last, seasonal = np.array([1.0, -1.0]), np.zeros(season + 1)
        seasonal[0], seasonal[-1] = 1.0, seasonal[-1] - 1.0
        if self.base == LEVEL:
            return np.ones(1)
        if self.base == LAST:
            return last
        return seasonal if self.base == SEASON else np.convolve(last, seasonal)


@dataclass
class Problem:
    """Series z (R, C), logarithms with `log`, in sequences; for each row its place in its sequence, and its features.

    cycles (R, K): places of dates. `most`: the rows that a window has at most.
    """

    z: Floats
    place: Ints
    cycles: Floats
    season: int
    most: int
    log: bool
    changes: Floats
    curved: int = 0

    def values(self, z: Floats) -> Floats:
        """The series of z."""
        return np.exp(np.clip(z, -700, 700)) if self.log else z


@dataclass
class Fitted:
    """A candidate with its rolling-origin predictions of z (the rows of the origin on), and their error (log mse)."""

    candidate: Candidate
    ridge: float
    error: float
    predicted: Floats


@dataclass
class Average:
    """The average of candidates: for the change of z, linear in level, changes, cycles and products.

    level (C, C), changes (lags, C, C), cycles (K, C), products (P, C), constant (C); predicted z (N, C) of the rolling
    origin's rows (N); `members` with their weights.
    """

    level: Floats
    changes: Floats
    cycles: Floats
    products: Floats
    constant: Floats
    rows: Ints
    predicted: Floats
    members: list[tuple[float, Fitted]] = field(default_factory=list)


def candidates(problem: Problem) -> Iterator[Candidate]:
    """All candidates that the problem has rows for."""
    C, S = problem.z.shape[1], problem.season
    rows = len(problem.z)
    lags = {lag for lag in (*LAGS, *((S, S + 1, 2 * S) if S else ()), problem.most - 1, problem.most) if lag >= 1}
    for base in (LEVEL, LAST, *((SEASON, BOTH) if S else ())):
        for p in sorted(lags):
            reach = p + len(Candidate(base, p).polynomial(S)) - 1
            if reach > problem.most or 4 * p > rows or p * C > MOST_COLUMNS:
                continue
            yield Candidate(base, p)
            if problem.cycles.shape[1]:
                yield Candidate(base, p, cycles=True)
            if problem.curved == p and base == LAST:
                yield Candidate(base, p, curved=True)


def curved_lags(problem: Problem) -> int:
    """Over how many changes products are taken: 0 is none, for few rows or many series."""
    enough = len(problem.z) >= LEAST_CURVED and problem.z.shape[1] <= MOST_CURVED
    lags = min(CURVED_LAGS, problem.most - 1)
    return lags if enough and lags >= 2 else 0


def design(problem: Problem, candidate: Candidate) -> tuple[Floats, Floats, Ints]:
    """The regression of a candidate: X (N, columns), w (N, C) and the rows (N) of z."""
    z, polynomial = problem.z, candidate.polynomial(problem.season)
    w = np.zeros_like(z)
    for lag, factor in enumerate(polynomial):
        if factor:
            w[lag:] += factor * z[: len(z) - lag]
    rows = np.flatnonzero(problem.place >= candidate.lags + len(polynomial) - 1)[-MOST_ROWS:]
    parts = [w[rows - lag] for lag in range(1, candidate.lags + 1)]
    if candidate.cycles:
        parts.append(problem.cycles[rows])
    if candidate.curved:
        changes = np.stack([w[rows - lag] for lag in range(candidate.lags, 0, -1)], axis=1) / problem.changes
        parts.append(change_products(changes))
    return np.concatenate(parts, axis=1), w[rows], rows


def ridge(X: Floats, y: Floats, strengths: tuple[float, ...]) -> list[tuple[Floats, Floats]]:
    """Coefficients (columns, C) and constants (C) of y (N, C) on X, of unit variance, for each ridge strength."""
    centre, middle = X.mean(axis=0), y.mean(axis=0)
    scale = X.std(axis=0)
    scale[scale <= 1e-12 * (1 + np.abs(centre))] = np.inf  # a constant tells nothing
    A = (X - centre) / scale
    gram, right = A.T @ A, A.T @ (y - middle)
    found = []
    for strength in strengths:
        b = np.linalg.solve(gram + strength * np.eye(len(gram)), right) / scale[:, np.newaxis]
        found.append((b, middle - centre @ b))
    return found


def compare(problem: Problem) -> list[Fitted]:
    """Every candidate, with the ridge of its least rolling-origin error, the best first."""
    R = len(problem.z)
    first = max(int(np.ceil(ORIGIN * R)), R - LATEST)
    asked = np.arange(first, R)
    asked = asked[problem.place[asked] >= problem.most]
    edges = np.unique(np.linspace(first, R, FOLDS + 1).astype(np.int64))
    true = problem.values(problem.z)
    scale = _spread(true[asked])
    found = []
    for candidate in candidates(problem):
        X, w, rows = design(problem, candidate)
        if (rows < first).sum() < max(8, X.shape[1] // 2):
            continue
        predicted = np.zeros((len(RIDGE), *problem.z.shape))
        for a, b in pairwise(edges.tolist()):
            past, ahead = (
                np.flatnonzero((rows < a) & (rows >= a - 2 * LATEST)),
                np.flatnonzero((rows >= a) & (rows < b)),
            )
            for n, (slope, constant) in enumerate(ridge(X[past], w[past], RIDGE)):
                predicted[n, rows[ahead]] = problem.z[rows[ahead]] - w[ahead] + X[ahead] @ slope + constant
        errors = [
            float(np.log(np.mean(((true - problem.values(one))[asked] / scale) ** 2, axis=0) + 1e-12).mean())
            for one in predicted
        ]
        best = int(np.argmin(errors))
        found.append(Fitted(candidate, RIDGE[best], errors[best], predicted[best, asked]))
    return sorted(found, key=lambda one: one.error)


def _spread(x: Floats) -> Floats:
    return np.maximum(x.std(axis=0), 1e-9 * (1 + np.abs(x).mean(axis=0))) if len(x) else np.ones(x.shape[1])


def average(problem: Problem, found: list[Fitted], lags: int | None = None) -> Average:
    """The average of the candidates; `found` is not empty. The window has `problem.most` rows."""
    R, C = problem.z.shape
    first = max(int(np.ceil(ORIGIN * R)), R - LATEST)
    asked = np.arange(first, R)
    asked = asked[problem.place[asked] >= problem.most]
    weights = error_weights(np.array([one.error for one in found]), len(asked))
    chosen = [one for one, weight in zip(found, weights, strict=True) if weight]
    weights = weights[weights > 0]
    M, K, P = problem.most, problem.cycles.shape[1], change_products(np.zeros((1, 2, C))).shape[1]
    levels, cycles, products, constant = np.zeros((M + 1, C, C)), np.zeros((K, C)), np.zeros((P, C)), np.zeros(C)
    for weight, one in zip(weights, chosen, strict=True):
        candidate, polynomial = one.candidate, one.candidate.polynomial(problem.season)
        X, w, _ = design(problem, candidate)
        slope, c = ridge(X, w, (one.ridge,))[0]
        constant += weight * c
        for lag in range(1, len(polynomial)):
            levels[lag] -= weight * polynomial[lag] * np.eye(C)
        for k in range(1, candidate.lags + 1):
            for j, factor in enumerate(polynomial):
                levels[k + j] += weight * factor * slope[(k - 1) * C : k * C]
        rest = slope[candidate.lags * C :]
        if candidate.cycles:
            cycles += weight * rest
        if candidate.curved:
            products += weight * rest
    # Σ_m G_m z_{t-m} - z_{t-1} in terms of z_{t-1} and the changes d_{t-j} = z_{t-j} - z_{t-j-1}.
    level = levels[1:].sum(axis=0) - np.eye(C)
    changes = np.stack([-levels[j + 1 :].sum(axis=0) for j in range(1, M)]) if M > 1 else np.zeros((0, C, C))
    members = list(zip(weights.tolist(), chosen, strict=True))
    predicted = left_out(problem, found, asked)
    return Average(level, changes, cycles, products, constant, asked, predicted, members)


def error_weights(errors: Floats, rows: int) -> Floats:
    """The weights of candidates, which fall with their errors (log mse) in so many rows; 0 where they are small."""
    power = max(2.0, rows / ROWS_A_POWER)
    weights: Floats = np.exp(-power * (errors - errors.min()))
    weights[weights < LEAST_WEIGHT] = 0.0
    weights /= weights.sum()
    return weights


def left_out(problem: Problem, found: list[Fitted], rows: Ints) -> Floats:
    """What averages predict for z of the rows (N): those of each of FOLDS parts with weights by the errors in the
    others.

    Weights by all errors fit these rows better than later ones: the errors of what they predict are too small (Stone
    1974, "Cross-validatory choice and assessment of statistical predictions").
    """
    true, scale = problem.values(problem.z)[rows], _spread(problem.values(problem.z)[rows])
    squares = np.stack([((true - problem.values(one.predicted)) / scale) ** 2 for one in found])
    predicted = np.zeros_like(true)
    for a, b in pairwise(np.linspace(0, len(rows), min(FOLDS, len(rows)) + 1).astype(np.int64).tolist()):
        others = np.concatenate([squares[:, :a], squares[:, b:]], axis=1)
        if not others.shape[1]:
            others = squares
        errors = np.log(others.mean(axis=1) + 1e-12).mean(axis=1)
        for weight, one in zip(error_weights(errors, len(rows)), found, strict=True):
            predicted[a:b] += weight * one.predicted[a:b]
    return predicted


def likely_season(z: Floats, most: int) -> int:
    """The lag, of 2 to `most`, at which changes of the series correlate most, 0 where none is above 0.3 and a peak."""
    d = np.diff(z, axis=0)
    d = d - d.mean(axis=0)
    size = len(d)
    if size < 16:
        return 0
    spectrum = np.fft.rfft(d, 2 * size, axis=0)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:size]
    correlation = (correlation / np.maximum(correlation[0], 1e-300)).mean(axis=1)
    most = min(most, size // 3, LONGEST_SEASON)
    best = max(range(2, most + 1), key=lambda lag: float(correlation[lag]), default=0)
    peak = best and correlation[best] > max(0.3, correlation[best - 1], correlation[best + 1])
    return best if peak else 0


def degrees_of_freedom(errors: Floats) -> tuple[float, Floats]:
    """Student's t for errors (N, C) of a rolling origin: degrees of freedom, and the scale of each column (C).

    0 degrees, the Gaussian, unless the most likely of a few is more likely by more than 2 nats, as a further parameter
    should be (Akaike 1974); scales by expectation maximisation (Lange, Little and Taylor 1989).
    """
    best = (-math.inf, 0.0, np.ones(errors.shape[1]))
    for n in DEGREES:
        scale = t_scale(errors, n)
        total = float(Distribution(np.zeros_like(scale), scale, n, log=False).log_densities(errors).sum())
        best = max(best, (total + 2 * (n == 0), n, scale), key=lambda one: one[0])
    return best[1], best[2]


def t_scale(errors: Floats, degrees: float) -> Floats:
    """The most likely scale (C) of errors (N, C) around 0 of Student's t, with 0 degrees of the Gaussian."""
    scale: Floats = np.maximum(
        np.sqrt(np.mean(errors**2, axis=0)), 1e-9 * (1e-9 + np.abs(errors).mean(axis=0)) + 1e-300
    )
    for _ in range(30 if degrees else 0):
        weight = (degrees + 1) / (degrees + (errors / scale) ** 2)
        scale = np.maximum(np.sqrt(np.mean(weight * errors**2, axis=0)), 1e-300)
    return scale


def least_squares(x: Floats, place: Ints, lags: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The autoregression of x (R, C) itself that others are compared with: weight (C, lags · C), bias (C)."""
    rows = np.flatnonzero(place >= lags)[-MOST_ROWS:]
    X = np.concatenate([x[rows - lag] for lag in range(1, lags + 1)], axis=1)
    slope, constant = ridge(X, x[rows], (1e-6,))[0]
    return slope.T.astype(np.float32), constant.astype(np.float32)

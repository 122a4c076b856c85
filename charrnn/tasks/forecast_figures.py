"""Figures of forecasts: errors, coverage of intervals and log densities, and the baselines that they are compared with.

mae, rmse   of the point forecast           mape    in percent; None where a value is 0
mase        mae / that of the seasonal or last value in the training part (Hyndman and Koehler 2006)
coverage_P  the share of values within the central interval of probability P
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from charrnn.tasks.forecast_format import BASELINES, Errors
from charrnn.tasks.forecast_linear import least_squares
from charrnn.tasks.forecast_windows import Floats, Ints

COVERAGES = {"coverage_80": 0.8, "coverage_95": 0.95}
SHOWN = 6  # series whose names and errors are shown
LATEST = 4000  # rows of the training part by which baselines' errors are measured


def baseline_lags(rows: int, series: int, window: int) -> int:
    """The rows that the regression reads which forecasts are compared with: those of the window, if there are data."""
    return max(1, min(window, rows // 4 // series, 160 // series or 1))


def naive(history: Floats, horizon: int) -> Floats:
    """The last value (N, horizon, C) of each history (N, rows, C)."""
    return np.repeat(history[:, -1:], horizon, axis=1)


def seasonal(history: Floats, horizon: int, season: int) -> Floats:
    """The value a season ago, or of the last full season; without a season or its rows the last value."""
    if not season or season > history.shape[1]:
        return naive(history, horizon)
    return np.take(history, [history.shape[1] - season + h % season for h in range(horizon)], axis=1)


def drift(last: Floats, first: Floats, steps: Ints, horizon: int) -> Floats:
    """The line from the first value (N, C), `steps` (N) rows before the last (N, C), through the last."""
    slope = (last - first) / np.maximum(steps, 1)[:, np.newaxis]
    return last[:, np.newaxis] + slope[:, np.newaxis] * np.arange(1, horizon + 1)[np.newaxis, :, np.newaxis]


@np.errstate(over="ignore", invalid="ignore")
def linear(history: Floats, weight: Floats, bias: Floats, horizon: int) -> Floats:
    """The regression with weight (C, lags · C) and bias (C), each prediction the input of the next.

    One that grows without bounds becomes infinite or NaN.
    """
    lags = weight.shape[1] // weight.shape[0]
    window, found = history[:, -lags:], []
    for _ in range(horizon):
        ahead = window[:, ::-1].reshape(len(window), -1) @ weight.T + bias
        found.append(ahead)
        window = np.concatenate([window[:, 1:], ahead[:, np.newaxis]], axis=1)
    return np.stack(found, axis=1)


@dataclass(frozen=True)
class Baselines:
    """The baselines of a model: weight, bias of its regression and its season."""

    weight: Floats
    bias: Floats
    season: int

    def all(self, history: Floats, first: Floats, steps: Ints, horizon: int) -> Floats:
        """The forecasts (baselines, N, horizon, C) in the order of `BASELINES`; history (N, rows, C); see `drift`."""
        return np.stack([
            naive(history, horizon), seasonal(history, horizon, self.season),
            drift(history[:, -1], first, steps, horizon), linear(history, self.weight, self.bias, horizon),
        ])  # fmt: skip


def training_errors(x: Floats, place: Ints, baselines: Baselines, rows: int, horizon: int) -> Errors:
    """The errors of baselines on x (R, C), in sequences; `rows` of history come before each forecast."""
    season = baselines.season or 1
    chosen = np.flatnonzero(place >= season)
    tiny = 1e-9 * (1 + np.abs(x).mean(axis=0))
    mase = np.maximum(np.abs(x[chosen] - x[chosen - season]).mean(axis=0) if len(chosen) else tiny, tiny)
    ends = np.append(place[1:] == 0, True)
    length_left = np.empty(len(x), np.int64)  # rows from a row to the end of its sequence, itself included
    stop = np.flatnonzero(ends)
    length_left[:] = stop[np.searchsorted(stop, np.arange(len(x)))] - np.arange(len(x)) + 1
    origins = np.flatnonzero((place >= rows) & (length_left >= horizon))[-LATEST:]
    if not len(origins):
        noise = np.tile(np.maximum(x.std(axis=0), tiny), (len(BASELINES), horizon, 1))
    else:
        history = x[origins[:, np.newaxis] - np.arange(rows, 0, -1)]
        found = baselines.all(history, x[origins - place[origins]], place[origins] - 1, horizon)
        true = x[origins[:, np.newaxis] + np.arange(horizon)]
        noise = np.maximum(np.sqrt(np.mean((found - true) ** 2, axis=1)), tiny)
    return Errors(tuple(noise.ravel().tolist()), tuple(mase.tolist()))


def fitted_baselines(x: Floats, place: Ints, lags: int, season: int) -> Baselines:
    """The regression of x (R, C) on its last `lags` rows, and the season."""
    weight, bias = least_squares(x, place, lags)
    return Baselines(weight.astype(np.float64), bias.astype(np.float64), season)


def errors_by_name(
    absolute: Floats, squared: Floats, names: Sequence[str], units: Sequence[float]
) -> dict[str, float]:  # fmt: skip
    """The figures of mean absolute and squared errors (1 + baselines, C), those of the model first.

    Of several series `mae` and `rmse` are means in `units` (C), which differ; `mae NAME` are those of one in its own.
    """
    found: dict[str, float] = {}
    scale = np.array(units if len(names) > 1 else (1.0,))
    columns = [f" {name}" for name in names[:SHOWN]] if len(names) > 1 else []
    for who, mae, mse in zip(("", *(f"{name}_" for name in BASELINES)), absolute, squared, strict=True):
        found |= {f"{who}mae": float((mae / scale).mean()), f"{who}rmse": float(np.sqrt((mse / scale**2).mean()))}
        for n, column in enumerate(columns):
            found |= {f"{who}mae{column}": float(mae[n]), f"{who}rmse{column}": float(np.sqrt(mse[n]))}
    return found


@dataclass
class Sums:
    """Sums over forecasts of one series at one horizon, of which a few numbers are kept however many there are."""

    count: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    relative: float = 0.0
    zeros: bool = False
    density: float = 0.0
    covered: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COVERAGES, 0.0))

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, true: Floats, point: Floats, density: Floats, central: Floats) -> None:
        """Add values (N), forecasts, log densities, and 2 |P(value) - 1/2|: how central an interval reaches it."""
        error = np.abs(true - point)
        self.count += len(true)
        self.absolute += float(error.sum())
        self.squared += float((error**2).sum())
        self.zeros = self.zeros or bool((true == 0).any())
        self.relative += float((error[true != 0] / np.abs(true[true != 0])).sum())
        self.density += float(density.sum())
        for name, share in COVERAGES.items():
            self.covered[name] += float((central <= share).sum())

    @property
    def rmse(self) -> float:
        """The root mean square error; there must be forecasts."""
        return float(np.sqrt(self.squared / self.count))

    def as_dict(self, mase: float) -> dict[str, Any]:
        """The figures, None where there is no forecast, or one that is infinite."""
        names = ("mae", "rmse", "mape", "mase", *COVERAGES, "log_density")
        if not self.count:
            return dict.fromkeys(names)
        mae = self.absolute / self.count
        mape = None if self.zeros else 100 * self.relative / self.count
        coverage = [self.covered[name] / self.count for name in COVERAGES]
        values = (
            mae,
            self.rmse,
            mape,
            mae / mase,
            *coverage,
            self.density / self.count,
        )
        known = [value if value is not None and np.isfinite(value) else None for value in values]
        return dict(zip(names, known, strict=True))


@np.errstate(over="ignore", invalid="ignore")
def normal(true: Floats, point: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Log densities and how central values are, as in `Sums.add`, of a Gaussian around forecasts."""
    e = (true - point) / noise
    phi = np.vectorize(NormalDist().cdf, otypes=[np.float64])
    return -0.5 * np.log(2 * np.pi) - np.log(noise) - 0.5 * e**2, np.abs(2 * phi(e) - 1)

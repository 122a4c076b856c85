"""What is chosen by the training part: transformation, season, window, distribution; and the options of training.

The rules are in `forecast_linear.py`; `docs/training.md` has the experiments.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from charrnn.config import TextConfig, TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.models.forecaster import Start
from charrnn.task_config import ForecasterConfig, SeriesConfig
from charrnn.tasks import forecast_figures, record_defaults
from charrnn.tasks.forecast_format import ForecastSides
from charrnn.tasks.forecast_linear import (
    LATEST,
    Average,
    Problem,
    average,
    compare,
    curved_lags,
    degrees_of_freedom,
    likely_season,
    t_scale,
)
from charrnn.tasks.forecast_windows import Floats, Ints, Scales, change_products
from charrnn.tasks.language_defaults import VAL_FRACTION
from charrnn.text import dates
from charrnn.text.series import Columns
from charrnn.text.series_table import Table
from charrnn.training.options import Options, given_fields

LONGEST = 96  # rows of a window that was not given
LEAST_LEFT = 8
FEW = 400  # rows to learn from: below, none is held out unless that is asked for
HIDDEN, BATCH, DROPOUT, DECAY, WARMUP, PATIENCE = 32, 32, 0.0, 0.1, 50, 8
STEPS, LEARNING_RATE = 4000, 5e-3
LARGEST_WEIGHT = 1e30  # to start from
STEPS_OF_FEW, LEARNING_RATE_OF_FEW = 60, 2e-3


@dataclass(frozen=True)
class Prepared:
    """What a model is made from: columns and scales, where it starts, and what the training part showed.

    `most`: the rows that a window could have.
    """

    sides: ForecastSides
    start: Start
    degrees: float
    found: Average | None
    rolling: dict[str, float]
    most: int = 0


def series(given: Options) -> SeriesConfig:
    """How tables are read and forecast. Raises UsageError for options that are not valid."""
    return SeriesConfig(**given_fields(SeriesConfig, given))


def reading(config: SeriesConfig) -> TextConfig:
    """How the file is decoded."""
    return TextConfig(encoding=config.encoding, errors=config.errors)


def prepare(table: Table, columns: Columns, config: SeriesConfig) -> Prepared:
    """Choose by the training part. Raises CharrnnError where its sequences are too short."""
    x, place = table.values, places(table)
    spacing = dates.spacing_of(table.dates[: table.starts[1]]) if table.dates else dates.Spacing()
    several, shortest = len(table.lengths) > 1, int(table.lengths.min())
    season = config.season if config.season else 0
    if not season:
        usual = dates.usual_season(spacing) if table.dates else 0
        season = usual or (0 if several else likely_season(x, len(x) // 3))
    season = 0 if season == 1 or 3 * season > int(table.lengths.max()) else season
    most = window_rows(config, shortest, int(table.lengths.max()), season, several=several)
    cycles = dates.cycles_of(spacing, len(x)) if table.dates and not several else ()
    choices = []
    for log in (False, True) if (x > 0).all() else (False,):
        problem = _problem(x, place, table, cycles, season, most, log=log)
        if found := compare(problem):
            choices.append((float(np.mean([one.error for one in found[:3]])), log, problem, found))
    if not choices:
        raise CharrnnError(
            f"sequences of {shortest} to {int(table.lengths.max())} rows, {len(x)} in all, are too few to learn from; "
            "give more history, or a smaller `window`"
        )
    _, log, problem, candidates = min(choices, key=lambda one: one[:2])
    return _prepared(table, columns, config, problem, average(problem, candidates), cycles, spacing)


def places(table: Table) -> Ints:
    """The place of each row in its sequence, from 0."""
    return np.arange(len(table.values)) - np.repeat(table.starts[:-1], table.lengths)


def window_rows(config: SeriesConfig, shortest: int, longest: int, season: int, *, several: bool) -> int:
    """The most rows that a window may have."""
    if config.window:
        most = config.window
    elif several:
        most = max(5, shortest // 2)
    else:
        most = min(max(24, 3 * season + 1), LONGEST + season)
    return max(2, min(most, shortest - 1 if several else longest // 2))


def _problem(
    x: Floats, place: Ints, table: Table, cycles: tuple[tuple[str, int], ...], season: int, most: int, *, log: bool
) -> Problem:  # fmt: skip
    z = np.log(x) if log else x
    inside = np.flatnonzero(place >= 1)
    changes = _positive(np.diff(z, axis=0)[inside - 1].std(axis=0), z)
    features = dates.features(table.dates, cycles) if cycles and table.dates else np.zeros((len(x), 0))
    problem = Problem(z, place, features, season, most, log, changes)
    return dataclasses.replace(problem, curved=curved_lags(problem))


def _positive(scale: Floats, z: Floats) -> Floats:
    found: Floats = np.maximum(scale, 1e-9 * (1 + np.abs(z).mean(axis=0)))
    return found


def _prepared(
    table: Table, columns: Columns, config: SeriesConfig, problem: Problem, found: Average,
    cycles: tuple[tuple[str, int], ...], spacing: dates.Spacing,
) -> Prepared:  # fmt: skip
    x, z, place, C = table.values, problem.z, problem.place, problem.z.shape[1]
    errors = z[found.rows] - found.predicted
    degrees, noise = degrees_of_freedom(errors)
    if config.distribution == "gaussian":
        degrees, noise = 0.0, np.maximum(np.sqrt(np.mean(errors**2, axis=0)), _positive(np.zeros(C), z))
    if config.distribution == "student" and not degrees:
        degrees = 20.0
    # A scale that n errors tell is uncertain: what follows is Student's t with n degrees, of this standard deviation.
    noise = noise * np.sqrt(len(errors) / max(len(errors) - 2, 1))
    used = any(one.candidate.curved for _, one in found.members)
    dated = any(one.candidate.cycles for _, one in found.members)
    lags = _lags_used(found)
    names, harmonics = ((), ()) if not dated else tuple(zip(*cycles, strict=True))
    ones = (1.0,) * C
    scales = Scales(
        problem.log, lags, _numbers(z.mean(axis=0)), _numbers(_positive(z.std(axis=0), z)), _numbers(problem.changes),
        ones, ones, names, harmonics, problem.curved if used else 0,
    )  # fmt: skip
    if used:
        rows = np.flatnonzero(place >= problem.curved)
        changes = np.diff(z, axis=0)[rows[:, np.newaxis] - np.arange(problem.curved, 0, -1)] / problem.changes
        spread = change_products(changes).std(axis=0)
        scales = dataclasses.replace(scales, products=_numbers(np.maximum(spread, 1e-6)))
    left = _left(table, problem, found, scales, degrees)
    scales = dataclasses.replace(scales, noise=_numbers(left), widening=_numbers(np.maximum(noise / left, 1.0)))
    width = forecast_figures.baseline_lags(len(x), C, scales.rows)
    baselines = forecast_figures.fitted_baselines(x, place, width, problem.season)
    errors_of = forecast_figures.training_errors(
        x, place, baselines, max(scales.rows, problem.season), config.horizon
    )  # fmt: skip
    sides = ForecastSides(columns, config, scales, errors_of, spacing, problem.season)
    start = Start(
        *direct_weights(found, scales), baselines.weight.astype(np.float32), baselines.bias.astype(np.float32)
    )  # fmt: skip
    if max(np.abs(start.direct).max(), np.abs(start.bias).max()) > LARGEST_WEIGHT:
        raise CharrnnError(
            "some numbers are many orders of magnitude larger than others of their column, and nothing can be learned "
            "from such a table; mend these rows"
        )
    true, predicted = x[found.rows], problem.values(found.predicted)
    before = found.rows - 1
    rolling = {
        "mae": float(np.abs(true - predicted).mean()), "rmse": float(np.sqrt(np.mean((true - predicted) ** 2))),
        "naive_rmse": float(np.sqrt(np.mean((true - x[before]) ** 2))), "rows": float(len(true)),
    }  # fmt: skip
    return Prepared(sides, start, degrees, found, rolling, problem.most)


def _left(table: Table, problem: Problem, found: Average, scales: Scales, degrees: float) -> Floats:
    """The scale (C) of what the average leaves of the training part, with the coefficients learned from all of it."""
    rows = np.flatnonzero(problem.place >= max(scales.rows, problem.season))[-LATEST:]
    if len(rows) < LEAST_LEFT:
        rows = np.flatnonzero(problem.place >= scales.rows)[-LATEST:]
    z = problem.z[rows[:, np.newaxis] - np.arange(scales.rows, 0, -1)]
    when = None if table.dates is None else [table.dates[n] for n in rows.tolist()]
    weights, bias = direct_weights(found, scales)
    errors = problem.z[rows] - z[:, -1] - scales.read(z, scales.places(when, len(rows)))[1] @ weights - bias
    return _positive(t_scale(errors, degrees), problem.z) if len(rows) else _positive(np.zeros(len(bias)), problem.z)


def _lags_used(found: Average) -> int:
    """How many changes the average reads, at least one."""
    sizes = np.abs(found.changes).reshape(len(found.changes), -1).max(axis=1, initial=0)
    used = np.flatnonzero(sizes)
    curved = [one.candidate.lags for _, one in found.members if one.candidate.curved]
    return max(1, int(used[-1]) + 1 if len(used) else 1, *curved)


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def direct_weights(found: Average, scales: Scales) -> tuple[Floats, Floats]:
    """The average in units of the network: weights (F, C) and biases (C)."""
    level = found.level * np.array(scales.spreads)[:, np.newaxis]
    bias = found.constant + np.array(scales.centres) @ found.level
    changes = (found.changes[: scales.lags] * np.array(scales.changes)[:, np.newaxis]).reshape(-1, len(scales.noise))
    missing = scales.lags * len(scales.noise) - len(changes)
    parts = [level, changes, np.zeros((missing, len(scales.noise)))]
    if scales.cycles:
        parts.append(found.cycles)
    if scales.curved:
        parts.append(found.products * np.array(scales.products)[:, np.newaxis])
    weights = np.concatenate(parts) * scales.slowness
    return weights / np.array(scales.noise), bias / np.array(scales.noise)


def resolve_model(given: Options, prepared: Prepared) -> ForecasterConfig:
    """The network. Raises UsageError for given options that are not valid together."""
    fields = record_defaults.model_fields(ForecasterConfig, given)
    scales, weight = prepared.sides.scales, prepared.start.baseline_weight
    C = len(scales.noise)
    made = {
        "vocabulary_size": 2, "series": C, "lags": scales.lags, "features": scales.width, "degrees": prepared.degrees,
        "baseline_lags": weight.shape[1] // C,
    }  # fmt: skip
    return ForecasterConfig(**({"hidden_size": HIDDEN} | fields | made))


def resolve_training(given: Options, targets: int, rows: int) -> TrainingConfig:
    """Training options for `targets` rows to predict of `rows`. Raises UsageError for options that are not valid."""
    if given.get("precision") == "bfloat16":
        raise UsageError("`precision` is bfloat16, and numbers are forecast in float32; leave it out")
    few = targets < FEW
    config = record_defaults.resolve_training(
        given, learning_rate=LEARNING_RATE_OF_FEW if few else LEARNING_RATE, weight_decay=DECAY, batch_size=BATCH,
        budget={"steps": STEPS_OF_FEW if few else STEPS, "patience": PATIENCE}, warmup=WARMUP, dropout=DROPOUT,
        val_fraction=val_fraction(given, rows),
    )  # fmt: skip
    return dataclasses.replace(config, precision="float32")


def val_fraction(given: Options, rows: int) -> float:
    """What share of `rows` rows is held out."""
    return float(given.get("val_fraction", VAL_FRACTION if rows >= FEW else 0.0))

"""The sections of a forecaster: history, forecasts with their intervals, baselines, residuals, coverage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError
from charrnn.report import draw, page
from charrnn.report.page import Item, Section
from charrnn.report.text import number, percent, visible
from charrnn.tasks.forecast_distribution import Distribution
from charrnn.tasks.forecast_format import BASELINES
from charrnn.tasks.trained_forecaster import Rolling, TrainedForecaster

MOST_ROWS = 1500  # of a sequence
SHOWN_ROWS = 150  # of history that is drawn
SERIES = 4  # columns that are drawn
AHEAD = 24  # rows that are forecast, if the model was not trained for more
INTERVAL = 0.8
LEVELS = np.arange(0.1, 1, 0.1)
LARGEST = 1e100  # error that is drawn

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Sequence_ = tuple[Floats, list[datetime] | None]


def sections(model: TrainedForecaster, records: Sequence[Sequence_] | None, seed: int) -> Iterator[Section]:
    """See `report.sections`; records are sequences of rows, with their dates."""
    if records is None:
        return
    long = [record for record in records if len(record[0]) > model.rows]
    if not long:
        raise CharrnnError(
            f"the table has no sequence of more than {model.rows} rows, which a forecast reads; give a longer one"
        )
    pieces = [_rolled(model, *record, seed) for record in long]
    together = _joined(pieces)
    best = _errors_of_baselines(*together).argmin(axis=0)
    items = [item for n in range(min(len(model.names), SERIES)) for item in _series(model, *together, n, best[n])]
    yield Section(
        "One row ahead", "The rows of the table, forecast from those before them.", [_errors(model, *together), *items]
    )
    ahead = list(_ahead(model, long[-1], seed, best))
    if ahead:
        yield Section("The rows after the table", "", ahead)


def _rolled(
    model: TrainedForecaster, values: Floats, dates: list[datetime] | None, seed: int
) -> tuple[Floats, Distribution, Floats]:  # fmt: skip
    """The last rows (N, C) of a sequence that have a forecast, that, and those of baselines (baselines, N, C)."""
    first = max(0, len(values) - MOST_ROWS - model.rows)
    rolled = Rolling(model, 1, seed).add(values[first:], None if dates is None else dates[first:])
    known, step = rolled.known[0], rolled.steps[0]
    kept = Distribution(step.location[known], step.scale[known], step.degrees, step.log)
    return values[first:][known], kept, rolled.baselines[0][:, known]


def _joined(pieces: Sequence[tuple[Floats, Distribution, Floats]]) -> tuple[Floats, Distribution, Floats]:
    """The rows of all sequences, one after the other."""
    location, scale = (
        np.concatenate([getattr(found, name) for _, found, _ in pieces]) for name in ("location", "scale")
    )
    found = Distribution(location, scale, pieces[0][1].degrees, pieces[0][1].log)
    return np.concatenate([piece[0] for piece in pieces]), found, np.concatenate([piece[2] for piece in pieces], axis=1)


def _errors_of_baselines(true: Floats, found: Distribution, baselines: Floats) -> Floats:
    """The root mean square errors (baselines, C); infinite where a forecast grows beyond bounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors: Floats = np.sqrt(np.mean((baselines - true) ** 2, axis=1))
    errors[~np.isfinite(errors)] = np.inf
    return errors


def _errors(model: TrainedForecaster, true: Floats, found: Distribution, baselines: Floats) -> Item:
    """The root mean square errors of the model and of each baseline."""
    with np.errstate(over="ignore", invalid="ignore"):
        own = np.sqrt(np.mean((found.point - true) ** 2, axis=0))
    errors = np.vstack([own, _errors_of_baselines(true, found, baselines)])
    return page.table(
        "Errors beside those of baselines",
        "The root mean square error of the next row, the smaller the better: naive says the last value again, seasonal "
        "the one a season ago, drift goes on along a line, linear is a regression on the last rows. A network that "
        "does not beat them is worth nothing.",
        ("series", "model", *map(_words, BASELINES)),
        [(visible(name, 40), *map(number, errors[:, n].tolist())) for n, name in enumerate(model.names[:50])],
    )  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ")


def _series(
    model: TrainedForecaster, true: Floats, found: Distribution, baselines: Floats, n: int, best: int
) -> Iterator[Item]:  # fmt: skip
    """The figures of a series; `best` is the number of the best baseline."""
    name = visible(model.names[n], 40)
    shown = slice(max(0, len(true) - SHOWN_ROWS), len(true))
    rows = np.arange(len(true))[shown]
    low, high = (edge[shown, n] for edge in _interval(found))
    yield page.figure(
        f"{name}: forecasts and what came",
        f"The band is where the model expected the next value with a probability of {percent(INTERVAL)}, given the "
        "rows before: the narrower it is while it still holds that share of the values, the more the model knows. "
        f"The best baseline here is {_words(BASELINES[best])}.",
        draw.lines(
            [
                ("value", rows, true[shown, n]),
                (_words(BASELINES[best]), rows, baselines[best, shown, n]),
                ("forecast", rows, found.point[shown, n]),
            ],
            "row", name, band=(rows, low, high),
        ),
    )  # fmt: skip
    residuals = found.point[:, n] - true[:, n]
    residuals = residuals[np.abs(residuals) < LARGEST]
    yield page.figure(
        f"{name}: residuals",
        f"How often the forecast was how far above or below the value; the mean is {number(_mean(residuals))}. "
        "A heap beside zero means that the model is wrong in the same direction again and again.",
        draw.histogram(residuals, "forecast - value", "rows"),
    )  # fmt: skip
    central = found.central(true)[:, n]
    yield page.figure(
        f"{name}: coverage",
        "Intervals of each probability against the share of values that fell into them. On the dotted diagonal "
        "intervals can be trusted; below it they are too narrow.",
        draw.lines(
            [("model", LEVELS, [float((central <= level).mean()) for level in LEVELS])], "probability of the interval",
            "share of values inside", diagonal=True, marks=True,
        ),
    )  # fmt: skip


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _interval(found: Distribution) -> tuple[Floats, Floats]:
    """The lower and the upper end of the central intervals."""
    return found.quantile(0.5 - INTERVAL / 2), found.quantile(0.5 + INTERVAL / 2)


def _ahead(model: TrainedForecaster, record: Sequence_, seed: int, best: Ints) -> Iterator[Item]:
    """The forecast of the rows after the last sequence; `best` (C) are the numbers of the best baselines."""
    values, dates = record
    horizon = max(model.sides.config.horizon, min(AHEAD, len(values) // 4, 4 * model.rows))
    if model.sides.scales.cycles:
        if not dates:
            return
        following = [model.sides.spacing.after(dates[-1], 1)]
    else:
        following = None
    steps = model.forecast(values[np.newaxis, -model.rows :], following, horizon, [(seed, len(values))])
    last = np.array([len(values) - 1])
    others = model.baselines.all(values[np.newaxis, -model.rows :], values[np.newaxis, 0], last, horizon)[:, 0]
    start = max(0, len(values) - SHOWN_ROWS)
    past, coming = np.arange(start, len(values)), np.arange(len(values), len(values) + horizon)
    for n, name in enumerate(model.names[:SERIES]):
        edges = [_interval(step) for step in steps]
        low, high = (np.array([edge[side][0, n] for edge in edges]) for side in (0, 1))
        points = np.array([step.point[0, n] for step in steps])
        yield page.figure(
            f"{visible(name, 40)}: what comes next",
            "The history, and the forecast with the band that holds the value with a probability of "
            f"{percent(INTERVAL)}. The further ahead, the wider the band: each step is forecast from those before it.",
            draw.lines(
                [
                    ("history", past, values[start:, n]),
                    (_words(BASELINES[best[n]]), coming, others[best[n], :, n]),
                    ("forecast", coming, points),
                ],
                "row", visible(name, 40), band=(coming, low, high),
            ),
        )  # fmt: skip

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
from charrnn.tasks.trained_forecaster import Rolled, Rolling, TrainedForecaster

MOST_ROWS = 1500  # of a sequence
SHOWN_ROWS = 150  # of history that is drawn
SERIES = 4  # columns that are drawn
AHEAD = 24  # rows that are forecast, if the model was not trained for more
INTERVAL = 0.8
LEVELS = np.arange(0.1, 1, 0.1)

Floats = npt.NDArray[np.float64]
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
    items = [item for n in range(min(len(model.names), SERIES)) for item in _series(model, pieces, n)]
    yield Section(
        "One row ahead", "Every row of the table, forecast from those before it.", [_errors(model, pieces), *items]
    )
    ahead = list(_ahead(model, long[-1], seed))
    if ahead:
        yield Section("The rows after the table", "", ahead)


def _rolled(model: TrainedForecaster, values: Floats, dates: list[datetime] | None, seed: int) -> tuple[Floats, Rolled]:
    """The last rows of a sequence that have a forecast, and these."""
    first = max(0, len(values) - MOST_ROWS - model.rows)
    rolled = Rolling(model, 1, seed).add(values[first:], None if dates is None else dates[first:])
    known = rolled.known[0]
    step = rolled.steps[0]
    kept = Distribution(step.location[known], step.scale[known], step.degrees, step.log)
    return values[first:][known], Rolled([known[known]], [kept], [rolled.baselines[0][:, known]])


def _errors(model: TrainedForecaster, pieces: Sequence[tuple[Floats, Rolled]]) -> Item:
    """The root mean square errors of the model and of each baseline."""
    true = np.concatenate([values for values, _ in pieces])
    forecasts = {"model": np.concatenate([rolled.steps[0].point for _, rolled in pieces])}
    for b, name in enumerate(BASELINES):
        forecasts[name.replace("_", " ")] = np.concatenate([rolled.baselines[0][b] for _, rolled in pieces])
    with np.errstate(over="ignore", invalid="ignore"):
        rows = {name: np.sqrt(np.mean((found - true) ** 2, axis=0)) for name, found in forecasts.items()}
    return page.table(
        "Errors beside those of baselines",
        "The root mean square error of the next row, the smaller the better: naive says the last value again, seasonal "
        "the one a season ago, drift goes on along a line, linear is a regression on the last rows. A network that "
        "does not beat them is worth nothing.",
        ("series", *rows), [
            (visible(name, 40), *(number(float(values[n])) for values in rows.values()))
            for n, name in enumerate(model.names[:50])
        ],
    )  # fmt: skip


def _series(model: TrainedForecaster, pieces: Sequence[tuple[Floats, Rolled]], n: int) -> Iterator[Item]:
    """The figures of a series."""
    name = visible(model.names[n], 40)
    values, rolled = pieces[-1]
    shown = slice(max(0, len(values) - SHOWN_ROWS), len(values))
    rows = np.arange(len(values))[shown]
    low, high = (edge[shown, n] for edge in _interval(rolled.steps[0]))
    yield page.figure(
        f"{name}: forecasts and what came",
        f"The band is where the model expected the next value with a probability of {percent(INTERVAL)}, given the "
        "rows before. The narrower it is while it still holds that share of the values, the more the model knows.",
        draw.lines(
            [("value", rows, values[shown, n]), ("forecast", rows, rolled.steps[0].point[shown, n])], "row", name,
            band=(rows, low, high),
        ),
    )  # fmt: skip
    residuals = np.concatenate([found.steps[0].point[:, n] - true[:, n] for true, found in pieces])
    yield page.figure(
        f"{name}: residuals",
        f"How often the forecast was how far above or below the value; the mean is {number(float(residuals.mean()))}. "
        "A heap beside zero means that the model is wrong in the same direction again and again.",
        draw.histogram(residuals, "forecast - value", "rows"),
    )  # fmt: skip
    central = np.concatenate([found.steps[0].central(true)[:, n] for true, found in pieces])
    yield page.figure(
        f"{name}: coverage",
        "Intervals of each probability against the share of values that fell into them. On the dotted diagonal "
        "intervals can be trusted; below it they are too narrow.",
        draw.lines(
            [("model", LEVELS, [float((central <= level).mean()) for level in LEVELS])], "probability of the interval",
            "share of values inside", diagonal=True, marks=True,
        ),
    )  # fmt: skip


def _interval(found: Distribution) -> tuple[Floats, Floats]:
    """The lower and the upper end of the central intervals."""
    return found.quantile(0.5 - INTERVAL / 2), found.quantile(0.5 + INTERVAL / 2)


def _ahead(model: TrainedForecaster, record: Sequence_, seed: int) -> Iterator[Item]:
    """The forecast of the rows after the last sequence."""
    values, dates = record
    horizon = max(model.sides.config.horizon, min(AHEAD, len(values) // 4, 4 * model.rows))
    if model.sides.scales.cycles:
        if not dates:
            return
        following = [model.sides.spacing.after(dates[-1], 1)]
    else:
        following = None
    steps = model.forecast(values[np.newaxis, -model.rows :], following, horizon, [(seed, len(values))])
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
            draw.lines([("history", past, values[start:, n]), ("forecast", coming, points)], "row", visible(name, 40),
                       band=(coming, low, high)),
        )  # fmt: skip

"""`charrnn predict` of a forecaster: the rows that follow a history, or every row of it from those before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.numbers import Piece, Table, TableWriter, leading
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.forecast_distribution import Distribution
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_forecaster import Rolling, TrainedForecaster
from charrnn.text import dates
from charrnn.text.series import Row

INTERVAL = 0.8


def write(model: TrainedForecaster, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the forecasts of each sequence when it ends, or with --rolling of each row as it comes."""
    if asked.rolling and asked.horizon:
        raise UsageError("--rolling predicts the rows that are there, and --horizon those after them; leave one out")
    table = Table(model, chunks, asked.name)
    interval = INTERVAL if asked.interval is None else asked.interval
    rows = _rolling(model, table) if asked.rolling else _after(model, table, asked)
    writer: TableWriter | None = None
    missing = 0
    with streams.Output() as out:
        for row, found, at in rows:
            if row is None:  # what is known by now can be read
                out.flush()
                continue
            if writer is None:
                names = leading(table.columns)
                for name in model.names:
                    names += [name, f"{name}.low", f"{name}.high"]
                writer = TableWriter(out, names, asked.format or "csv")
            values: dict[str, Any] = {table.columns.time_name: row.time, table.columns.group_name: row.group}
            if found is None:
                missing += 1
            else:
                values |= _numbers(model, found, at, interval)
            writer.write(values)
    if writer is None:
        raise CharrnnError(f"{asked.name} has no rows; give a history, a table like the one the model was trained on")
    if missing:
        streams.note(f"rows without a forecast: {missing:,} (a forecast reads the {model.rows} rows before)")


Forecasts = Iterator[tuple[Row | None, Distribution | None, int]]


def _numbers(model: TrainedForecaster, found: Distribution, at: int, interval: float) -> dict[str, float]:
    one = Distribution(found.location[at], found.scale[at], found.degrees, found.log)
    low, high = one.quantile((1 - interval) / 2), one.quantile((1 + interval) / 2)
    values = {}
    for n, name in enumerate(model.names):
        values[name] = float(one.point[n])
        values[f"{name}.low"], values[f"{name}.high"] = float(low[n]), float(high[n])
    return values


def _rolling(model: TrainedForecaster, table: Table) -> Forecasts:
    """Each row with its forecast."""
    rolling = Rolling(model)
    for piece in table.pieces():
        if piece.first:
            rolling = Rolling(model)
        if piece.rows:
            rolled = rolling.add(piece.values, piece.dates)
            for n, row in enumerate(piece.rows):
                yield row, rolled.steps[0] if rolled.known[0][n] else None, n
        yield None, None, 0


def _after(model: TrainedForecaster, table: Table, asked: Asked) -> Forecasts:
    """The rows after each sequence, of which the last rows are in memory only."""
    horizon = asked.horizon or model.sides.config.horizon
    for count, tail in enumerate(histories(model, table)):
        history = np.array([row.values for row in tail])
        last = tail[-1]
        when = next_date(model, last)
        first = None if when is None else [when]
        found = model.forecast(history[np.newaxis], first, horizon, [(asked.seed or 0, count)])
        for step, distribution in enumerate(found):
            yield next_row(model, table, last, step + 1), distribution, 0
        yield None, None, 0


def histories(model: TrainedForecaster, table: Table) -> Iterator[list[Row]]:
    """The last rows of each sequence, as many as a forecast reads. Raises CharrnnError for one with fewer."""
    tail: list[Row] = []
    for piece in table.pieces():
        tail = (([] if piece.first else tail) + piece.rows)[-model.rows :]
        if not piece.last:
            continue
        if len(tail) < model.rows:
            raise CharrnnError(
                f"{_named(piece, tail)} has {len(tail)} rows, and a forecast reads {model.rows}; give a longer history"
            )
        yield tail


def _named(piece: Piece, tail: list[Row]) -> str:
    group = tail[-1].group if tail else ""
    return f"the sequence {group!r}" if group else "the history"


def next_row(model: TrainedForecaster, table: Table, last: Row, step: int) -> Row:
    """The row `step` rows after the last one, without numbers."""
    date = next_date(model, last, step)
    time = "" if date is None else dates.written(date, table.columns.kind, last.time)
    return Row([], 0, "", time, None, last.group)


def next_date(model: TrainedForecaster, last: Row, step: int = 1) -> datetime | None:
    """The date `step` rows after the last one, None where rows have none. Raises CharrnnError beyond the year 9999."""
    if last.date is None:
        return None
    try:
        return model.sides.spacing.after(last.date, step)
    except OverflowError:
        raise CharrnnError("a date to forecast is beyond the year 9999; lower --horizon") from None

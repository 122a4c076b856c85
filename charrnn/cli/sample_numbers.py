"""`charrnn sample` of a forecaster: possible futures of a history."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from charrnn.cli import streams
from charrnn.cli.numbers import Table, TableWriter, leading
from charrnn.cli.predict_numbers import histories, next_date, next_row
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_forecaster import TrainedForecaster

SAMPLE = "sample"  # the column with the number of a future


def write(
    model: TrainedForecaster, chunks: Iterable[list[Line]], name: str, *, rows: int, count: int, seed: int, format: str
) -> None:
    """Write `count` futures of `rows` rows after each sequence of a table."""
    table = Table(model, chunks, name)
    writer: TableWriter | None = None
    with streams.Output() as out:
        for number, tail in enumerate(histories(model, table)):
            last = tail[-1]
            if writer is None:
                writer = TableWriter(out, [SAMPLE, *leading(table.columns), *model.names], format)
            history = np.array([row.values for row in tail])
            futures = model.paths(history, next_date(model, last), rows, count, (seed, number))
            ahead = [next_row(model, table, last, step + 1) for step in range(rows)]
            for index, future in enumerate(futures, 1):
                for row, values in zip(ahead, future.tolist(), strict=True):
                    named = {table.columns.time_name: row.time, table.columns.group_name: row.group}
                    writer.write({SAMPLE: index, **named, **dict(zip(model.names, values, strict=True))})
            out.flush()
    if writer is None:
        raise CharrnnError(f"{name} has no rows; give a history, a table like the one the model was trained on")

"""Tables of numbers as commands read and write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.cli import streams
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_forecaster import TrainedForecaster
from charrnn.text.series import Columns, Row, TableReader

DIGITS = 6  # significant ones, of numbers that are written


@dataclass
class Piece:
    """Rows of one sequence that come together; `first` and `last`: it begins and ends with them."""

    rows: list[Row]
    first: bool
    last: bool

    @property
    def values(self) -> NDArray[np.float64]:
        """The numbers (rows, C)."""
        return np.array([row.values for row in self.rows], np.float64)

    @property
    def dates(self) -> list[datetime] | None:
        """The dates of the rows, if they have any."""
        found = [row.date for row in self.rows if row.date is not None]
        return found if self.rows and len(found) == len(self.rows) else None


class Table:
    """The rows of a table that lines in chunks have, in pieces; see `TableReader` for errors.

    `replace`: missing numbers are those of the row before.
    """

    def __init__(self, model: TrainedForecaster, chunks: Iterable[list[Line]], name: str) -> None:
        self._last_line = 0
        self._model = model
        replace = model.sides.config.errors == "replace"
        self.reader = TableReader(self._lines(chunks), name, known=model.sides.columns, replace=replace)

    def _lines(self, chunks: Iterable[list[Line]]) -> Iterator[tuple[int, str]]:
        count = 0
        for chunk in chunks:
            filled = [n for n, line in enumerate(chunk, count + 1) if line.data.strip()]
            self._last_line = filled[-1] if filled else self._last_line
            for line in chunk:
                count += 1
                yield count, line.data.decode("utf-8", "replace")

    @property
    def columns(self) -> Columns:
        """The columns, known once a row is read."""
        assert self.reader.columns is not None
        return self.reader.columns

    def pieces(self) -> Iterator[Piece]:
        """The rows of each chunk, those of a sequence together; the last of a sequence may have no rows."""
        rows: list[Row] = []
        group: str | None = None
        first = True
        for row in self.reader:
            if group is None:
                self._check_dates()
            elif row.group != group:
                yield Piece(rows, first, last=True)
                rows, first = [], True
            group = row.group
            rows.append(row)
            if row.line == self._last_line:
                yield Piece(rows, first, last=False)
                rows, first = [], False
        if group is not None:
            yield Piece(rows, first, last=True)

    def _check_dates(self) -> None:
        sides = self._model.sides
        if sides.scales.cycles and self.columns.time < 0:
            raise CharrnnError(
                f"{self.reader.name} has no column {sides.columns.time_name!r}, and the model reads its dates; add it"
            )


def number(value: float) -> str:
    """A number with six significant digits, without an exponent."""
    return np.format_float_positional(value + 0.0, DIGITS, fractional=False, trim="-")


class TableWriter:
    """Writes rows of names and values in columns, as csv, tsv or jsonl; None is an empty field, or null."""

    def __init__(self, out: streams.Output, names: Sequence[str], format: str) -> None:
        self._out, self._names, self._format = out, list(names), format
        if format != "jsonl":
            self._line(self._names)

    def write(self, values: Mapping[str, Any]) -> None:
        """One row; numbers are rounded."""
        if self._format == "jsonl":
            record = {name: values.get(name) for name in self._names}
            record = {k: float(number(v)) if isinstance(v, float) else v for k, v in record.items()}
            self._out.show_json(record)
            return
        found = (values.get(name) for name in self._names)
        self._line(["" if v is None else number(v) if isinstance(v, float) else str(v) for v in found])

    def _line(self, fields: Sequence[str]) -> None:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter="\t" if self._format == "tsv" else ",", lineterminator="\n").writerow(fields)
        self._out.show(buffer.getvalue())


def leading(columns: Columns) -> list[str]:
    """The names of the columns of dates and sequences that a table has, in their order."""
    found = [(columns.time, columns.time_name), (columns.group, columns.group_name)]
    return [name for place, name in sorted(found) if place >= 0]

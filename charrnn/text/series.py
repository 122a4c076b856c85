"""Tables of numbers: a row a step of time, a column a series; also columns of dates and of names of sequences."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import PurePath
from typing import NamedTuple

from charrnn.errors import CharrnnError
from charrnn.settings import listed
from charrnn.text import dates
from charrnn.text.fields import COMMA, COMPRESSED_ENDINGS, DELIMITERS, TAB, shown

LOOKED_AT = 100  # rows at the start, to tell numbers from text
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
TIME_NAMES = {"year", "date", "time", "month", "day", "ds", "timestamp", "datetime", "period"}
SPACE = " "
SHOWN_NAMES = 8
LARGEST = 1e100  # whose squares and products can be added up


class Row(NamedTuple):
    """A row, on line number `line`: its numbers, one a series, its date as written and read, its sequence's name."""

    values: list[float]
    line: int
    text: str
    time: str = ""
    date: datetime | None = None
    group: str = ""


@dataclass(frozen=True)
class Columns:
    """The columns that are read: the names of the series and their places, those of dates and of sequences, -1: none.

    `kind` is how dates are written; `header`: whether the first row has the names.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    header: bool = True
    time: int = -1
    time_name: str = ""
    kind: str = ""
    group: int = -1
    group_name: str = ""


class TableReader:
    """The rows of a table, from lines with their numbers, read once by iterating: CSV, TSV or numbers between spaces.

    `name` is that of the input, whose ending may say what separates columns, or else the first line does. `chosen` are
    the series, by name or number from 1 (none: all columns of numbers), `group` the column that names sequences.
    `known` are the columns of a model, to be found by name, or by place where there is no header. Missing numbers are
    errors, or with `replace` the number before. Blank lines are skipped.

    Iterating raises CharrnnError for a row that cannot be read, and for dates that go back.
    """

    def __init__(
        self, lines: Iterable[tuple[int, str]], name: str, *, chosen: Sequence[str] = (), group: str = "",
        replace: bool = False, known: Columns | None = None,
    ) -> None:  # fmt: skip
        self.name, self.replaced = name, 0
        self._lines, self._chosen, self._group, self._replace, self._known = lines, chosen, group, replace, known
        self.columns: Columns | None = None
        self.unused: list[str] = []  # of the columns that are not read, which and why, unless they were chosen
        self.delimiter = COMMA

    def __iter__(self) -> Iterator[Row]:
        rows = self._split()
        first = next(rows, None)
        if first is None:
            return
        ahead: list[tuple[int, str, list[str]]] = []
        header = self._is_header(first[2])
        if self._known is None:
            ahead = list(islice(rows, LOOKED_AT))
            self.columns = self._find(first, [row for *_, row in ([] if header else [first]) + ahead], header)
        else:
            self.columns = self._match(first, header, self._known)
        width = len(first[2])
        before: Row | None = None
        ended: set[str] = set()  # groups
        for line, text, row in chain([] if header else [first], ahead, rows):
            if len(row) != width:
                raise CharrnnError(
                    f"{self.name}, line {line}: {shown(text)} has {len(row)} columns, and the first line has {width}; "
                    "all lines need as many"
                )
            row_before, before = before, self._row(line, text, row, before)
            if row_before is not None and row_before.group != before.group:
                ended.add(row_before.group)
                if before.group in ended:
                    raise CharrnnError(
                        f"{self.name}, line {line}: the rows of {shown(before.group)} are not together; sort the table "
                        f"by its column {self.columns.group_name!r}, and within it by time"
                    )
            yield before

    def _split(self) -> Iterator[tuple[int, str, list[str]]]:
        """Number, text and fields of each line that is not blank."""
        first = True
        for number, line in self._lines:
            text = line.rstrip("\r\n")
            if not text.strip():
                continue
            if first:
                self.delimiter, first = self._delimiter(text), False
            if self.delimiter == SPACE:
                yield number, text, text.split()
                continue
            try:
                row = next(csv.reader([text], delimiter=self.delimiter, strict=True))
            except csv.Error as error:
                raise CharrnnError(
                    f"{self.name}, line {number}: not a row of a table ({error}); a row is one line, and a field that "
                    'begins with " must end with one'
                ) from error
            yield number, text, [field.strip() for field in row]

    def _delimiter(self, text: str) -> str:
        path = PurePath(self.name)
        ending = (PurePath(path.stem) if path.suffix.lower() in COMPRESSED_ENDINGS else path).suffix.lower()
        if ending in DELIMITERS and DELIMITERS[ending] in text:
            return DELIMITERS[ending]
        return next((mark for mark in (TAB, COMMA, ";") if mark in text), SPACE)

    @staticmethod
    def _is_header(row: list[str]) -> bool:
        """Whether a first row has names: something that is neither a number nor a date nor missing."""
        return any(number(field) is None and dates.kind_of(field) is None and not missing(field) for field in row)

    def _find(self, first: tuple[int, str, list[str]], rows: list[list[str]], header: bool) -> Columns:
        """The columns of a table, by its first rows."""
        line, _, fields = first
        names = [field if header else str(place) for place, field in enumerate(fields, 1)]
        samples = [
            next((row[place] for row in rows if place < len(row) and not missing(row[place])), "")
            for place in range(len(fields))
        ]
        kinds = [
            dates.kind_of(text) if number(text) is None or name.lower() in TIME_NAMES else None
            for name, text in zip(names, samples, strict=True)
        ]
        group = self._place(self._group, names, line) if self._group else -1
        chosen = [self._place(name, names, line) for name in self._chosen]
        if len(set(chosen)) < len(chosen) or (group >= 0 and group in chosen):
            raise CharrnnError(f"{self.name}: `columns` and `group` name a column twice; each is read once")
        time = next((place for place, kind in enumerate(kinds) if kind and place not in (group, *chosen)), -1)
        places = chosen or [
            place for place, text in enumerate(samples) if number(text) is not None and place not in (group, time)
        ]
        if not places:
            raise CharrnnError(
                f"{self.name} has no column of numbers; a table for forecasting has a row a step of time, and a column "
                "of numbers a series"
            )
        if not chosen:
            self.unused = [
                f"{shown(names[place])} ({_why_not(samples[place], kinds[place], names[time])})"
                for place in range(len(fields)) if place not in (group, time, *places)
            ]  # fmt: skip
        return Columns(
            tuple(names[place] for place in places), tuple(places), header, time, names[time] if time >= 0 else "",
            kinds[time] or "" if time >= 0 else "", group, names[group] if group >= 0 else "",
        )  # fmt: skip

    def _match(self, first: tuple[int, str, list[str]], header: bool, known: Columns) -> Columns:
        """The columns of a model in this table."""
        line, _, fields = first
        if not header:
            used = [*known.places, known.time, known.group]
            if max(used) >= len(fields):
                raise CharrnnError(
                    f"{self.name}, line {line}: there are {len(fields)} columns and no header, and the model was "
                    f"trained on column {max(used) + 1}; give a table like the one it was trained on"
                )
            return Columns(
                known.names, known.places, False, known.time, known.time_name, known.kind, known.group,
                known.group_name,
            )  # fmt: skip
        places = tuple(self._place(name, fields, line) for name in known.names)
        time = fields.index(known.time_name) if known.time_name in fields else -1
        group = fields.index(known.group_name) if known.group_name in fields else -1
        return Columns(known.names, places, True, time, known.time_name, known.kind, group, known.group_name)

    def _place(self, column: str, names: list[str], line: int) -> int:
        """The index of a column, by name or by number from 1."""
        if names.count(column) == 1:
            return names.index(column)
        if column.isdecimal() and 1 <= int(column) <= len(names):
            return int(column) - 1
        found = listed([*map(shown, names)], SHOWN_NAMES)
        has = f"the column {column!r} twice" if column in names else f"no column {column!r}"
        raise CharrnnError(
            f"{self.name}, line {line}: the table has {has}, it has {found}; a column is its name, or a number from 1"
        )

    def _row(self, line: int, text: str, row: list[str], before: Row | None) -> Row:
        columns = self.columns
        assert columns is not None
        group = row[columns.group] if columns.group >= 0 else ""
        same = before is not None and before.group == group
        values = []
        for n, (name, place) in enumerate(zip(columns.names, columns.places, strict=True)):
            value = number(row[place])
            if value is None:
                if not (self._replace and same and before is not None):
                    raise self._no_number(line, name, row[place], first=self._replace)
                value = before.values[n]
                self.replaced += 1
            if abs(value) > LARGEST:
                raise CharrnnError(
                    f"{self.name}, line {line}: the column {name!r} has {shown(row[place])}, and {LARGEST:g} is the "
                    "largest number that can be read; mend the row, or give the column in another unit"
                )
            values.append(value)
        date, time = None, ""
        if columns.time >= 0:
            time = row[columns.time]
            date = dates.parse(time, columns.kind)
            if date is None:
                raise CharrnnError(
                    f"{self.name}, line {line}: the column {columns.time_name!r} has {shown(time)}, which is no "
                    f"{columns.kind} like those of other rows; mend the row, or choose `columns` without it"
                )
            if same and before is not None and before.date is not None and date <= before.date:
                moved = f"{time} comes twice" if date == before.date else f"goes back from {before.time} to {time}"
                raise CharrnnError(
                    f"{self.name}, line {line}: the date {moved}; rows must be in the order of time, one for each "
                    "(several sequences in one table need a `group` column that names them)"
                )
        return Row(values, line, text, time, date, group)

    def _no_number(self, line: int, name: str, field: str, *, first: bool) -> CharrnnError:
        what = "no number" if missing(field) else f"{shown(field)}, which is no number"
        advice = " (there is none before it)" if first else " (`errors` replace takes the number before)"
        if self._known is not None:  # `errors` is an option of training
            advice = ""
        elif "," in field:
            advice = " (a decimal point is needed, not a comma)"
        return CharrnnError(f"{self.name}, line {line}: the column {name!r} has {what}; mend the row{advice}")


def number(text: str) -> float | None:
    """The finite number that a field is, None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _why_not(sample: str, kind: str | None, time: str) -> str:
    """Why a column is not read that has such a field, a date of this kind if it is one; `time` has the dates."""
    if not sample:
        return "no numbers"
    return f"dates are those of {shown(time)}" if kind else f"text: {shown(sample)}"


def missing(text: str) -> bool:
    """Whether a field stands for a number that is missing."""
    return text.lower() in MISSING

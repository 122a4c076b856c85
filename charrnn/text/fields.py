"""Reading records of two fields: a line each, or two columns of a table. What a line is, subclasses say."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import listed
from charrnn.text.encoding import Digest, hashed
from charrnn.text.reader import BYTES_AS_TEXT, Findings, Source, read_text, whole_lines
from charrnn.text.units import LINE_END

TAB, COMMA = "\t", ","
# White space of ASCII: others may be parts of characters if bytes are read as they are.
SPACES = " \t\r\v\f"
DELIMITERS = {".tsv": TAB, ".tab": TAB, ".csv": COMMA}
COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz")
LONGEST_FIELD = 2**31 - 1  # characters, of a table
SHOWN = 40  # characters of a line that a message shows
LABEL_NAMES = 8  # column names that a message shows, at most

Columns = Sequence[str | int]


@dataclass(frozen=True)
class LineStream:
    """Lines of the input `name`, without their ends, to be read as they come: none is taken before it is needed.

    Each character stands for a byte; `invalid` is how labels and names that are not UTF-8 are decoded.
    """

    name: str
    lines: Iterator[str]
    invalid: str = "replace"


Record = TypeVar("Record")


class FieldReader(Generic[Record]):
    """The records of a source, read once by iterating over it. Blank lines are skipped.

    Without `columns`, each line is a record. `columns` are two of a table, which Python's module csv reads: names of
    its header, or numbers from 1; if both are numbers, there is no header. The table is separated by TABs or commas, as
    the file's ending says, or else its first line. With the unit byte, characters stand for bytes.

    A subclass says what a record is, `fields` in words, what the two columns are, `sides`, and what a line is.

    Iterating raises:
        CharrnnError: the source cannot be read, has no records, or a record is malformed.
        UsageError: `columns` are not two different columns.
    """

    fields = "two fields"
    sides = ("the first", "the second")

    def __init__(self, source: Source | LineStream, config: TextConfig, columns: Columns | None = None) -> None:
        self.name = source.name
        self.digest = Digest()  # of the bytes that were read
        self.blank = 0  # lines
        self._source, self._config = source, config
        self._columns = None if columns is None else parse_columns(columns, self.sides)
        self._findings = Findings()
        self._invalid: str | None = None  # how bytes are decoded, None where they were
        if isinstance(source, LineStream):
            self._invalid = source.invalid
        elif config.unit == "byte":
            self._invalid = "backslashreplace"

    def line_record(self, line: str, number: int) -> Record:
        """The record of a line that is not blank. Raises CharrnnError where it is malformed."""
        raise NotImplementedError

    def table_record(self, fields: tuple[str, str], number: int, line: str) -> Record:
        """The record of the two columns of a row. Raises CharrnnError where it is malformed."""
        raise NotImplementedError

    def remarks(self) -> list[str]:
        """What was changed and skipped, in sentences for the user, after iterating."""
        blank = [f"blank lines were skipped: {self.blank:,}"] if self.blank else []
        return self._findings.remarks() + blank

    def __iter__(self) -> Iterator[Record]:
        found = False
        for record in self.records():
            found = True
            yield record
        if not found:
            what = "has no records" if self.digest.size else "is empty"
            raise CharrnnError(f"{self.name} {what}; give a file of records, each {self.fields}")

    def records(self) -> Iterator[Record]:
        """The records, of which there may be none."""
        return self._by_line() if self._columns is None else self._table(*self._columns)

    def _lines(self) -> Iterator[str]:
        """The lines, without their ends."""
        if isinstance(self._source, LineStream):
            yield from self._source.lines
            return
        encoding = BYTES_AS_TEXT if self._config.unit == "byte" else self._config.encoding
        blocks = hashed(self._source.blocks(), self.digest)
        for piece in whole_lines(read_text(blocks, self.name, encoding, self._config.errors, self._findings)):
            yield from piece[:-1].split(LINE_END)

    def _by_line(self) -> Iterator[Record]:
        for number, line in enumerate(self._lines(), 1):
            if line.strip(SPACES):
                yield self.line_record(line, number)
            else:
                self.blank += 1

    def _table(self, left: str | int, right: str | int) -> Iterator[Record]:
        lines = self._lines()
        first = next(self._filled(lines), None)
        if first is None:
            return
        delimiter = self._delimiter(first, self.blank + 1)
        rows = self._rows(first, lines, delimiter, self.blank)
        kind = "TAB" if delimiter == TAB else "comma"
        by_number = isinstance(left, int) and isinstance(right, int)
        width, at_left, at_right = 0, 0, 0
        for number, row in rows:
            if not any(field.strip(SPACES) for field in row):
                self.blank += 1
                continue
            if not width:
                width = len(row)
                header = [] if by_number else [self.decoded(field).strip(SPACES) for field in row]
                at_left, at_right = (self._place(column, header, width, number) for column in (left, right))
                if not by_number:
                    continue
            if len(row) != width:
                raise self.malformed(
                    number, delimiter.join(row), f"has {len(row)} columns, and the first line has {width}",
                    f'all lines need as many; a field with a {kind} in it is written "in quotes"',
                )  # fmt: skip
            yield self.table_record((row[at_left], row[at_right]), number, delimiter.join(row))

    def _filled(self, lines: Iterator[str]) -> Iterator[str]:
        """The lines that are not blank."""
        for line in lines:
            if line.strip(SPACES):
                yield line
            else:
                self.blank += 1

    def _rows(self, first: str, rest: Iterator[str], delimiter: str, before: int) -> Iterator[tuple[int, list[str]]]:
        """The rows of a table, each with the number of its first line; there are `before` lines before the table."""

        def lines() -> Iterator[str]:
            yield first + LINE_END
            for line in rest:
                yield line + LINE_END

        reader = csv.reader(lines(), delimiter=delimiter, strict=True)
        limit = csv.field_size_limit(LONGEST_FIELD)
        try:
            start = before + 1
            for row in reader:
                yield start, row
                start = before + reader.line_num + 1
        except csv.Error as error:
            if "new-line" in str(error):
                found, need = "a carriage return outside quotes", 'a field with line ends in it is written "in quotes"'
            else:
                found = str(error)
                need = 'a field that begins with " must end with one, and inside it " is written ""'
            raise CharrnnError(f"{self.name}, line {start}: not a row of a table ({found}); {need}") from error
        finally:
            csv.field_size_limit(limit)

    def _delimiter(self, first: str, line: int) -> str:
        """What separates the columns; `first` is the first line of the table, the line number `line`."""
        path = PurePath(self.name)
        ending = (PurePath(path.stem) if path.suffix.lower() in COMPRESSED_ENDINGS else path).suffix.lower()
        if ending in DELIMITERS:
            return DELIMITERS[ending]
        if TAB in first or COMMA in first:
            return TAB if TAB in first else COMMA
        raise self.malformed(line, first, "has neither TAB nor comma", "`columns` are those of a table: CSV or TSV")

    def _place(self, column: str | int, header: list[str], width: int, line: int) -> int:
        """The index of a column."""
        if isinstance(column, int):
            if column > width:
                raise CharrnnError(
                    f"{self.name}, line {line}: there are {width} columns, and `columns` names number {column}; "
                    f"give numbers from 1 to {width}"
                )
            return column - 1
        if header.count(column) != 1:
            found = listed([*map(shown, header)], LABEL_NAMES)
            has = f"the column {column!r} twice" if column in header else f"no column {column!r}"
            raise CharrnnError(
                f"{self.name}, line {line}: the header has {has}, it has {found}; "
                "`columns` must be names of the header, or numbers from 1"
            )
        return header.index(column)

    def decoded(self, field: str) -> str:
        """A field as text; of bytes, from UTF-8."""
        return field if self._invalid is None else field.encode(BYTES_AS_TEXT).decode("utf-8", self._invalid)

    def malformed(self, number: int, line: str, what: str, need: str) -> CharrnnError:
        """The error of a malformed line: what it has, and what is needed."""
        return CharrnnError(f"{self.name}, line {number}: {shown(self.decoded(line))} {what}; {need}")


def shown(text: str) -> str:
    """The beginning of a text in quotes, for messages."""
    return repr(text[:SHOWN] + "…" * (len(text) > SHOWN))


def parse_columns(columns: Columns, sides: tuple[str, str]) -> tuple[str | int, str | int]:
    """Two columns: names, or numbers from 1. Raises `UsageError`, which says the two `sides`, unless they are that."""
    parsed = [int(column) if str(column).isdecimal() else str(column) for column in columns]
    if len(parsed) != 2 or parsed[0] == parsed[1] or not all(parsed):
        raise UsageError(
            f"`columns` is {','.join(map(str, columns))}; it must be two different columns, that of {sides[0]}, then "
            f"that of {sides[1]}: names or numbers from 1"
        )
    return parsed[0], parsed[1]

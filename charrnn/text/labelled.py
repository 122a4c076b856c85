"""Reading records of a text and its label: `label TAB text`, fastText's `__label__x text`, or columns of a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.text.encoding import Digest, hashed
from charrnn.text.reader import BYTES_AS_TEXT, Findings, Source, read_text, whole_lines
from charrnn.text.units import LINE_END

TAB, COMMA = "\t", ","
PREFIX = "__label__"  # of a label in fastText's format
# White space of ASCII: others may be parts of characters if bytes are read as they are.
SPACES = " \t\r\v\f"
FIRST_WORD = re.compile(r"[ \t\r\v\f]*([^ \t\r\v\f]*)[ \t\r\v\f]*(.*)", re.DOTALL)
SECOND_LABEL = re.compile(rf"(?:^|[ \t\r\v\f])({PREFIX}[^ \t\r\v\f]*)")
DELIMITERS = {".tsv": TAB, ".tab": TAB, ".csv": COMMA}
COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz")
LONGEST_FIELD = 2**31 - 1  # characters, of a table
SHOWN = 40  # characters of a line that a message shows
LABEL_NAMES = 8  # column names that a message shows, at most

Columns = Sequence[str | int]


class Record(NamedTuple):
    """A text and its label, from line number `line` (from 1) of the input `name`.

    With the unit byte, each character of `text` stands for a byte; the label is decoded from UTF-8.
    """

    text: str
    label: str
    name: str
    line: int


class RecordReader:
    """The records of a source, read once by iterating over it. Blank lines are skipped.

    Without `columns`, each line is a record: fastText's `__label__x text` if the first one begins with `__label__`,
    else `label TAB text`. `columns` are those of text and label in a table, which Python's module csv reads: names of
    its header, or numbers from 1; if both are numbers, there is no header. The table is separated by TABs or commas, as
    the file's ending says, or else its first line.

    Iterating raises:
        CharrnnError: the source cannot be read, has no records, or a record is malformed.
        UsageError: `columns` are not two different columns.
    """

    def __init__(self, source: Source, config: TextConfig, columns: Columns | None = None) -> None:
        self.name = source.name
        self.digest = Digest()  # of the bytes that were read
        self.blank = 0  # lines
        self._source, self._config = source, config
        self._columns = None if columns is None else parse_columns(columns)
        self._findings = Findings()

    def remarks(self) -> list[str]:
        """What was changed and skipped, in sentences for the user, after iterating."""
        blank = [f"blank lines were skipped: {self.blank:,}"] if self.blank else []
        return self._findings.remarks() + blank

    def __iter__(self) -> Iterator[Record]:
        found = False
        for record in self._by_line() if self._columns is None else self._table(*self._columns):
            found = True
            yield record
        if not found:
            what = "has no records" if self.digest.size else "is empty"
            raise CharrnnError(f"{self.name} {what}; give a file of records, each a label and a text")

    def _lines(self) -> Iterator[str]:
        """The lines, without their ends."""
        encoding = BYTES_AS_TEXT if self._config.unit == "byte" else self._config.encoding
        blocks = hashed(self._source.blocks(), self.digest)
        for piece in whole_lines(read_text(blocks, self.name, encoding, self._config.errors, self._findings)):
            yield from piece[:-1].split(LINE_END)

    def _by_line(self) -> Iterator[Record]:
        prefixed: bool | None = None
        for number, line in enumerate(self._lines(), 1):
            if not line.strip(SPACES):
                self.blank += 1
                continue
            if prefixed is None:
                prefixed = line.lstrip(SPACES).startswith(PREFIX)
            yield self._prefixed(line, number) if prefixed else self._tabbed(line, number)

    def _tabbed(self, line: str, number: int) -> Record:
        label, tab, text = line.partition(TAB)
        need = "a record is a label, a TAB and a text"
        if not tab:
            hint = f"or, in fastText's format, {PREFIX}x and a text; for a table, name its `columns`"
            raise self._malformed(number, line, "has no TAB", f"{need} ({hint})")
        return self._record(text, label, number, line, need)

    def _prefixed(self, line: str, number: int) -> Record:
        match = FIRST_WORD.fullmatch(line)
        assert match is not None
        label, text = match.groups()
        need = f"a record is {PREFIX}x, where x is the label, a space and a text"
        if not label.startswith(PREFIX):
            raise self._malformed(number, line, f"does not begin with {PREFIX}, as the first record does", need)
        if PREFIX in text and (second := SECOND_LABEL.search(text)):
            what = f"has another label, {second[1][:SHOWN]}; several labels are not supported"
            raise self._malformed(number, line, what, need)
        return self._record(text, label[len(PREFIX) :], number, line, need)

    def _table(self, text: str | int, label: str | int) -> Iterator[Record]:
        lines = self._lines()
        first = next(self._filled(lines), None)
        if first is None:
            return
        delimiter = self._delimiter(first, self.blank + 1)
        rows = self._rows(first, lines, delimiter, self.blank)
        kind = "TAB" if delimiter == TAB else "comma"
        by_number = isinstance(text, int) and isinstance(label, int)
        width, at_text, at_label = 0, 0, 0
        for number, row in rows:
            if not any(field.strip(SPACES) for field in row):
                self.blank += 1
                continue
            if not width:
                width = len(row)
                header = [] if by_number else [self._decoded(field).strip(SPACES) for field in row]
                at_text, at_label = (self._place(column, header, width, number) for column in (text, label))
                if not by_number:
                    continue
            if len(row) != width:
                raise self._malformed(
                    number, delimiter.join(row), f"has {len(row)} columns, and the first line has {width}",
                    f'all lines need as many; a field with a {kind} in it is written "in quotes"',
                )  # fmt: skip
            need = f"column {label} must have a label"
            yield self._record(row[at_text], row[at_label], number, delimiter.join(row), need)

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
        raise self._malformed(line, first, "has neither TAB nor comma", "`columns` are those of a table: CSV or TSV")

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
            found = ", ".join(map(shown, header[:LABEL_NAMES])) + ", …" * (len(header) > LABEL_NAMES)
            what = "twice" if column in header else "not"
            raise CharrnnError(
                f"{self.name}, line {line}: the header has the column {column!r} {what}, it has {found}; "
                "`columns` must be names of the header, or numbers from 1"
            )
        return header.index(column)

    def _record(self, text: str, label: str, number: int, line: str, need: str) -> Record:
        label = self._decoded(label.strip(SPACES))
        if not label:
            raise self._malformed(number, line, "has an empty label", need)
        return Record(text, label, self.name, number)

    def _decoded(self, field: str) -> str:
        """A label or a column name; of bytes, from UTF-8."""
        if self._config.unit != "byte":
            return field
        return field.encode(BYTES_AS_TEXT).decode("utf-8", "backslashreplace")

    def _malformed(self, number: int, line: str, what: str, need: str) -> CharrnnError:
        return CharrnnError(f"{self.name}, line {number}: {shown(self._decoded(line))} {what}; {need}")


def shown(text: str) -> str:
    """The beginning of a text in quotes, for messages."""
    return repr(text[:SHOWN] + "…" * (len(text) > SHOWN))


def parse_columns(columns: Columns) -> tuple[str | int, str | int]:
    """The columns of text and label: names, or numbers from 1. Raises `UsageError` unless they are two columns."""
    parsed = [int(column) if str(column).isdecimal() else str(column) for column in columns]
    if len(parsed) != 2 or parsed[0] == parsed[1] or not all(parsed):
        raise UsageError(
            f"`columns` is {','.join(map(str, columns))}; it must be two different columns, that of the text, then "
            "that of the label: names or numbers from 1"
        )
    return parsed[0], parsed[1]

"""Reading records of a text and its label: `label TAB text`, fastText's `__label__x text`, or columns of a table."""

from __future__ import annotations

import re
from typing import NamedTuple

from charrnn.text.fields import SHOWN, SPACES, TAB, FieldReader

PREFIX = "__label__"  # of a label in fastText's format
FIRST_WORD = re.compile(r"[ \t\r\v\f]*([^ \t\r\v\f]*)[ \t\r\v\f]*(.*)", re.DOTALL)
SECOND_LABEL = re.compile(rf"(?:^|[ \t\r\v\f])({PREFIX}[^ \t\r\v\f]*)")


class Record(NamedTuple):
    """A text and its label, from line number `line` (from 1) of the input `name`.

    With the unit byte, each character of `text` stands for a byte; the label is decoded from UTF-8.
    """

    text: str
    label: str
    name: str
    line: int


class RecordReader(FieldReader[Record]):
    """The records of a source, see `FieldReader`; `columns` are those of text and label.

    A line is fastText's `__label__x text` if the first one begins with `__label__`, else `label TAB text`.
    """

    fields = "a label and a text"
    sides = ("the text", "the label")
    _prefixed: bool | None = None

    def line_record(self, line: str, number: int) -> Record:
        """See `FieldReader`."""
        if self._prefixed is None:
            self._prefixed = line.lstrip(SPACES).startswith(PREFIX)
        return self._fasttext(line, number) if self._prefixed else self._tabbed(line, number)

    def table_record(self, fields: tuple[str, str], number: int, line: str) -> Record:
        """See `FieldReader`."""
        assert self._columns is not None
        return self._record(*fields, number, line, f"column {self._columns[1]} must have a label")

    def _tabbed(self, line: str, number: int) -> Record:
        label, tab, text = line.partition(TAB)
        need = "a record is a label, a TAB and a text"
        if not tab:
            hint = f"or, in fastText's format, {PREFIX}x and a text; for a table, name its `columns`"
            raise self.malformed(number, line, "has no TAB", f"{need} ({hint})")
        return self._record(text, label, number, line, need)

    def _fasttext(self, line: str, number: int) -> Record:
        match = FIRST_WORD.fullmatch(line)
        assert match is not None
        label, text = match.groups()
        need = f"a record is {PREFIX}x, where x is the label, a space and a text"
        if not label.startswith(PREFIX):
            raise self.malformed(number, line, f"does not begin with {PREFIX}, as the first record does", need)
        if PREFIX in text and (second := SECOND_LABEL.search(text)):
            what = f"has another label, {second[1][:SHOWN]}; several labels are not supported"
            raise self.malformed(number, line, what, need)
        return self._record(text, label[len(PREFIX) :], number, line, need)

    def _record(self, text: str, label: str, number: int, line: str, need: str) -> Record:
        label = self.decoded(label.strip(SPACES))
        if not label:
            raise self.malformed(number, line, "has an empty label", need)
        return Record(text, label, self.name, number)

"""Reads the records that `charrnn score` is given, as training reads them, and keeps the lines that each is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.score_records import Line
from charrnn.text.fields import FieldReader, LineStream
from charrnn.text.reader import BYTES_AS_TEXT


class Numbered(Protocol):
    """A record that knows its place."""

    @property
    def line(self) -> int:
        """The number of its first line, from 1."""


Record = TypeVar("Record", bound=Numbered)


def read_records(
    reader_of: Callable[[LineStream], FieldReader[Record]], chunks: Iterable[list[Line]], name: str, *, unit: str,
    hint: str,
) -> Iterator[list[tuple[Line, Record]]]:  # fmt: skip
    """Line and record of the records that each chunk of the input `name` ends; blank lines are skipped.

    `unit` is that of the text of a record, whose characters stand for bytes. The line of a record of several is all of
    them, with escapes between. Raises CharrnnError at a malformed record, after those before it; `hint` ends it.
    """
    count = last = 0  # lines that were read, and the last one of the chunk that is not blank
    waiting: dict[int, Line] = {}

    def lines() -> Iterator[str]:
        nonlocal count, last
        for chunk in chunks:
            filled = [n for n, line in enumerate(chunk, count + 1) if line.data.strip()]
            last = filled[-1] if filled else last
            for line in chunk:
                count += 1
                waiting[count] = line
                yield line.data.decode(BYTES_AS_TEXT)

    invalid = "backslashreplace" if unit == "byte" else "replace"  # as in training
    reader = reader_of(LineStream(name, lines(), invalid))
    found: list[tuple[Line, Record]] = []
    try:
        for record in reader.records():
            own = [waiting[n] for n in range(record.line, count + 1)]
            waiting.clear()
            line = own[0] if len(own) == 1 else Line(b"\\n".join(part.data for part in own))
            found.append((line, record))
            if count >= last:
                yield found
                found = []
    except CharrnnError as error:
        if found:
            yield found
        raise CharrnnError(f"{error} ({hint})") from None
    if found:
        yield found
    for remark in reader.remarks():
        streams.note(remark)


def columns_of(asked: Asked, trained: Sequence[str]) -> list[str] | None:
    """The two columns that were given, else those that were `trained` on; TEXT and a field are lines without."""
    if asked.columns is not None:
        if asked.text_field is not None:
            raise UsageError("--text-field is for lines, and --columns are those of a table; leave one of them out")
        return asked.columns.split(",")
    return None if asked.from_text or asked.text_field else list(trained) or None


def hint_of(asked: Asked, columns: Sequence[str] | None, otherwise: str, lines: str) -> str:
    """What to do about a malformed record: `otherwise`, or where columns are those of training, how `lines` are read
    without a table."""
    if columns is None or asked.columns is not None:
        return otherwise
    return f"{','.join(columns)} are those of training; {lines}"

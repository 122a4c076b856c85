"""Reads the records that `charrnn report -i` is given, as `charrnn score` reads them; only so many as a page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.score_records import Line

MOST_BYTES = 2_000_000  # of the input that are read
LONGEST = 200_000  # bytes of a line that are read
MOST_SEQUENCES = 200  # of a table of numbers

Chunks = Iterable[list[Line]]


def read(model: Any, path: str, encoding: str | None, columns: str | None) -> list[Any]:
    """The first records of a file, or of standard input for "-", as the sections of the model's task want them.

    Raises CharrnnError at a line that is no record, and where there is none; UsageError for columns of a text.
    """
    from charrnn.cli.lines import described, open_input

    name = described(None, path, hint=False)[0]
    if columns is not None and model.task in ("language", "forecast"):
        raise UsageError(f"--columns are not for models of the task {model.task}; leave them out")
    if model.task not in READERS:
        raise UsageError(f"-i is not for models of the task {model.task}; leave it out")
    with open_input(None, path, encoding, None) as chunks:
        found = list(READERS[model.task](model, _bounded(chunks, name), Asked(columns=columns, name=name)))
    if not found:
        raise CharrnnError(f"{name} is empty; give held-out data like those the model was trained on")
    return found


def _bounded(chunks: Chunks, name: str) -> Iterator[list[Line]]:
    """The chunks up to MOST_BYTES, with lines up to LONGEST."""
    total = 0
    for chunk in chunks:
        some: list[Line] = []
        for line in chunk:
            if total >= MOST_BYTES:
                streams.note(f"the page is made of the first {total:,} bytes of {name}")
                if some:
                    yield some
                return
            total += min(len(line.data), LONGEST) + 1
            some.append(line if len(line.data) <= LONGEST else line._replace(data=_cut(line.data)))
        yield some


def _cut(data: bytes) -> bytes:
    """The start of a line, whole characters."""
    start = data[:LONGEST]
    for length in range(LONGEST, LONGEST - 4, -1):
        with suppress(UnicodeDecodeError):
            start[:length].decode()
            return start[:length]
    return start


def _lines(model: Any, chunks: Chunks, asked: Asked) -> Iterator[Line]:
    """The lines of a text."""
    return chain.from_iterable(chunks)


def _labelled(model: Any, chunks: Chunks, asked: Asked) -> Iterator[tuple[bytes, str]]:
    """Text and label of each record."""
    from charrnn.cli.score_labels import records

    return ((text, label) for some in records(model, chunks, asked) for _, text, label in some)


def _tagged(model: Any, chunks: Chunks, asked: Asked) -> Iterator[tuple[list[str], list[str]]]:
    """Tokens and tags of each sentence."""
    from charrnn.cli.conll_lines import Blocks
    from charrnn.cli.predict_tags import columns_of

    blocks = chain.from_iterable(Blocks(chunks, asked.name, columns_of(model, asked), tagged=True))
    return ((block.tokens, model.as_read(block.tags)) for block in blocks if block.tokens)


def _numbers(model: Any, chunks: Chunks, asked: Asked) -> Iterator[tuple[Any, Any]]:
    """Numbers (rows, C) and dates of the first sequences."""
    from charrnn.cli.numbers import Piece, Table

    rows: list[Any] = []
    found = 0
    for piece in Table(model, chunks, asked.name).pieces():
        rows = ([] if piece.first else rows) + piece.rows
        if piece.last and rows:
            whole = Piece(rows, first=True, last=True)
            yield whole.values, whole.dates
            found += 1
            if found == MOST_SEQUENCES:
                return


def _pairs(model: Any, chunks: Chunks, asked: Asked) -> Iterator[tuple[bytes, bytes]]:
    """Source and target of each record whose source the model can read."""
    from charrnn.cli.score_pairs import pairs

    return (pair for some in pairs(model, chunks, asked) for _, pair in some if model.knows(pair[0]))


READERS: dict[str, Callable[[Any, Chunks, Asked], Iterator[Any]]] = {
    "language": _lines, "classify": _labelled, "tag": _tagged, "forecast": _numbers, "translate": _pairs,
}  # fmt: skip

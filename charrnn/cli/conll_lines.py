"""Sentences of CoNLL columns out of lines that are read as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line
from charrnn.text.labelled import SPACES, shown
from charrnn.text.tagged import FORM, UPOS, ColumnFormat, parse_columns

ECHO, EMPTY, DOCUMENT = -1, -2, -3  # what is no token: to be written as it is, or with a column that is filled up


@dataclass
class Block:
    """The lines of a sentence with comments before it and the blank line after it: bytes, and the number of the token,
    or what else the line is. Tags are there if they were asked for."""

    lines: list[tuple[bytes, int]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


class Blocks:
    """The blocks of the lines in `chunks`, of the input `name`: for each chunk a list of those that it ends.

    `columns` are those of token and tag, as numbers or names; () for the usual ones. With `tagged`, each token needs a
    tag; without, columns of tags may be there or not. Iterating raises CharrnnError at a line that has not the column.
    """

    def __init__(self, chunks: Iterable[list[Line]], name: str, columns: Sequence[str], *, tagged: bool) -> None:
        self.form = ColumnFormat(name)
        self._chunks, self._tagged = chunks, tagged
        self._columns = parse_columns(columns)
        self._width = 0

    def __iter__(self) -> Iterator[list[Block]]:
        block, count = Block(), 0
        for chunk in self._chunks:
            done: list[Block] = []
            for line in chunk:
                count += 1
                try:
                    ended = self._add(block, line.data, count)
                except CharrnnError:
                    if done:
                        yield done
                    raise
                if ended:
                    done.append(block)
                    block = Block()
            if done:
                yield done
        if block.lines:
            yield [block]

    def _add(self, block: Block, data: bytes, number: int) -> bool:
        """Add a line to a block; whether that ends it."""
        text = data.decode("utf-8", "replace")
        row = self.form.split(text)
        if not row.fields or row.empty:
            block.lines.append((data, DOCUMENT if row.document else EMPTY if row.empty else ECHO))
            return row.ends
        token, tag = self._place(len(row.fields))
        fields = row.fields
        width = self._width = self._width or len(fields)
        if token >= len(fields) or not fields[token].strip(SPACES):
            raise CharrnnError(
                f"line {number} has no token in column {token + 1}: {shown(text)}; mend it or leave it out"
            )
        if self._tagged:
            if tag >= len(fields) or tag == token or len(fields) != width or not fields[tag].strip(SPACES):
                raise CharrnnError(
                    f"line {number} has no tag, or other columns than the lines before: {shown(text)}; a line is a "
                    "token and its tag (charrnn predict needs no tags)"
                )
            block.tags.append(fields[tag].strip(SPACES))
        block.lines.append((data, len(block.tokens)))
        block.tokens.append(fields[token].strip(SPACES))
        return False

    def _place(self, width: int) -> tuple[int, int]:
        """The columns of token and tag in a line of `width` columns."""
        token, tag = (FORM, UPOS) if self.form.conllu else (0, width - 1)
        if self._columns:
            token = self._columns[0]
            tag = self._columns[1] if len(self._columns) > 1 else tag
        return token, tag

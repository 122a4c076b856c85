"""Sentences of CoNLL columns out of lines that are read as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from charrnn.cli import streams
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line
from charrnn.text.fields import SPACES, shown
from charrnn.text.tagged import FORM, UPOS, ColumnFormat, Mark, parse_columns

ECHO, EMPTY, DOCUMENT = -1, -2, -3  # what is no token: to be written as it is, or with a column that is filled up
SENTENCE = 3  # words, at least, of a single line that is taken for a sentence
_NO_TOKEN = {Mark.EMPTY: EMPTY, Mark.DOCUMENT: DOCUMENT}


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
    tag; without, columns of tags may be there or not: then a note says so once where lines look like sentences, words
    that are no columns. Iterating raises CharrnnError at a line that has not the column.
    """

    def __init__(self, chunks: Iterable[list[Line]], name: str, columns: Sequence[str], *, tagged: bool) -> None:
        self.form = ColumnFormat(name)
        self._chunks, self._name, self._tagged = chunks, name, tagged
        self._columns = parse_columns(columns)
        self._token: int | None = None  # the column of tokens, once a line was read, and how many there are
        self._width = self._tokens = 0
        self._hinted = tagged

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
        if self._tokens == 1 and self._width >= SENTENCE and not (self.form.tabs or self._hinted):
            self._hint()
        if block.lines:
            yield [block]

    def _add(self, block: Block, data: bytes, number: int) -> bool:
        """Add a line to a block; whether that ends it."""
        text = data.decode("utf-8", "replace")
        fields = self.form.split(text)
        if isinstance(fields, Mark):
            block.lines.append((data, _NO_TOKEN.get(fields, ECHO)))
            return fields in (Mark.END, Mark.DOCUMENT)
        if self._token is None:
            self._token = self._columns[0] if self._columns else FORM if self.form.conllu else 0
            self._width = len(fields)
        self._tokens += 1
        if self._token >= len(fields) or not (token := fields[self._token].strip(SPACES)):
            column = self._token + 1
            raise CharrnnError(
                f"{self._name}, line {number} has no token in column {column}: {shown(text)}; mend it or leave it out"
            )
        if self._tagged:
            block.tags.append(self._tag(fields, number, text))
        elif not self._hinted and (
            len(token.split()) >= SENTENCE if self.form.tabs else len(fields) != self._width
        ):  # fmt: skip
            self._hint()
        block.lines.append((data, len(block.tokens)))
        block.tokens.append(token)
        return False

    def _hint(self) -> None:
        """Say that lines look like sentences."""
        self._hinted = True
        streams.note(
            "the lines are read as columns, one token each, and look like sentences; for a sentence a line: "
            "--format tsv"
        )

    def _tag(self, fields: list[str], number: int, text: str) -> str:
        """The tag of a token. Raises CharrnnError where there is none."""
        place = self._columns[1] if len(self._columns) > 1 else UPOS if self.form.conllu else len(fields) - 1
        if place >= len(fields) or place == self._token or len(fields) != self._width:
            tag = ""
        else:
            tag = fields[place].strip(SPACES)
        if not tag:
            raise CharrnnError(
                f"{self._name}, line {number} has no tag, or other columns than the lines before: {shown(text)}; a "
                "line is a token and its tag (charrnn predict needs no tags)"
            )
        return tag

"""Reading tagged sentences: a token a line in columns (CoNLL), or CoNLL-U; a blank line ends a sentence."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.text.encoding import Digest, hashed
from charrnn.text.fields import COMPRESSED_ENDINGS, SPACES, TAB, shown
from charrnn.text.reader import Findings, Source, read_text, whole_lines
from charrnn.text.units import LINE_END

DOCUMENT = "-DOCSTART-"  # a line that begins with it separates documents
CONLLU_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
FORM, UPOS = 1, 3  # the columns of token and tag in CoNLL-U, counted from 0
CONLLU_ENDING = ".conllu"
# Comments before the first token, which shows what the columns are separated by.
COMMENT = re.compile(r"#\s*(newdoc|newpar|\S+\s*=)")
NO_SPACES = re.compile(r"[^ \t\n\r\v\f]+")
MARKED = ("", "#", "-")  # first characters of lines that may be no tokens
_RANGE_OR_EMPTY = re.compile(r"\d+[-.]\d+")

Columns = Sequence[str | int]


class Sentence(NamedTuple):
    """Tokens and their tags, which begin at line number `line` (from 1) of the input `name`."""

    tokens: list[str]
    tags: list[str]
    name: str
    line: int


class Mark(enum.Enum):
    """A line that is no token: the end of a sentence, a separator of documents, which is one too, a comment, or a range
    or an empty node of CoNLL-U."""

    END = enum.auto()
    DOCUMENT = enum.auto()
    COMMENT = enum.auto()
    EMPTY = enum.auto()


def split_spaces(text: str) -> list[str]:
    """What white space of ASCII separates: a token may have other spaces in it."""
    return text.split() if text.isascii() else NO_SPACES.findall(text)


class ColumnFormat:
    """How the lines of one input are cut into columns, found out from its name and its first token.

    CoNLL-U is a file whose name ends in .conllu, or that begins with a line of its ten columns with the ID 1. Columns
    are separated by TABs where the first token's line has one, else by white space.
    """

    def __init__(self, name: str = "") -> None:
        path = PurePath(name)
        ending = (PurePath(path.stem) if path.suffix.lower() in COMPRESSED_ENDINGS else path).suffix.lower()
        self.conllu: bool | None = True if ending == CONLLU_ENDING else None
        self._tabs: bool | None = self.conllu
        self._begun = False  # whether the sentence has a token

    def split(self, line: str) -> list[str] | Mark:
        """The columns of a token, or what else a line, without its end, is."""
        if self._begun and line[:1] not in MARKED:  # the fast way, for most lines
            fields = line.split(TAB) if self._tabs else split_spaces(line)
            if len(fields) > (1 if self._tabs else 0):  # else it may be a blank line
                return Mark.EMPTY if self.conllu and _RANGE_OR_EMPTY.fullmatch(fields[0]) else fields
        if not line.strip(SPACES):
            self._begun = False
            return Mark.END
        if line.startswith(DOCUMENT):
            self._begun = False
            return Mark.DOCUMENT
        if line.startswith("#") and not self._begun and self._is_comment(line):
            return Mark.COMMENT
        if self._tabs is None:
            self._tabs = TAB in line
        fields = line.split(TAB) if self._tabs else split_spaces(line)
        if self.conllu is None:
            first = fields[0].partition("-")[0]
            self.conllu = self._tabs and len(fields) == len(CONLLU_COLUMNS) and first == "1"
        self._begun = True
        return Mark.EMPTY if self.conllu and _RANGE_OR_EMPTY.fullmatch(fields[0]) else fields

    def _is_comment(self, line: str) -> bool:
        """Whether a line with # at its start, before the first token of a sentence, is a comment: in CoNLL-U, and where
        TABs separate columns, if it has none. In a file separated by white space it is a token."""
        if self.conllu is None and self._tabs is None:
            return COMMENT.match(line) is not None
        return bool(self.conllu) or (bool(self._tabs) and TAB not in line)

    @property
    def tabs(self) -> bool:
        """Whether TABs separate columns."""
        return bool(self._tabs)

    @property
    def separator(self) -> str:
        """What separates columns."""
        return TAB if self._tabs else " "


def parse_columns(columns: Columns) -> list[int]:
    """The columns as numbers from 0: names are those of CoNLL-U, numbers count from 1. Raises `UsageError`."""
    found = []
    for column in columns:
        name = str(column)
        if name.isdecimal() and int(name):
            found.append(int(name) - 1)
        elif name.upper() in CONLLU_COLUMNS:
            found.append(CONLLU_COLUMNS.index(name.upper()))
        else:
            raise UsageError(
                f"`columns` is {','.join(map(str, columns))}, and {name!r} is no column; it must be numbers from 1, or "
                f"names of CoNLL-U ({' '.join(CONLLU_COLUMNS)})"
            )
    if len(set(found)) != len(found):
        raise UsageError(f"`columns` is {','.join(map(str, columns))}; tokens and tags are two different columns")
    return found


class SentenceReader:
    """The sentences of a source, read once by iterating over it.

    `columns` are those of token and tag, see `parse_columns`; without them they are the first and the last, of CoNLL-U
    FORM and UPOS.

    Iterating raises:
        CharrnnError: the source cannot be read, has no sentences, or a line has another number of columns than the
            lines before, or no tag.
        UsageError: `columns` are not two different columns.
    """

    def __init__(self, source: Source, config: TextConfig, columns: Columns | None = None) -> None:
        self.name = source.name
        self.digest = Digest()  # of the bytes that were read
        self._source, self._config = source, config
        self._columns = parse_columns(columns) if columns else None
        self._findings = Findings()

    def remarks(self) -> list[str]:
        """What was changed, in sentences for the user, after iterating."""
        return self._findings.remarks()

    def _lines(self) -> Iterator[str]:
        blocks = hashed(self._source.blocks(), self.digest)
        text = read_text(blocks, self.name, self._config.encoding, self._config.errors, self._findings, units=False)
        for piece in whole_lines(text):
            yield from piece[:-1].split(LINE_END)

    def __iter__(self) -> Iterator[Sentence]:
        form = ColumnFormat(self.name)
        tokens: list[str] = []
        tags: list[str] = []
        width = start = 0
        at: tuple[int, int] | None = None
        found = False
        for number, line in enumerate(self._lines(), 1):
            fields = form.split(line)
            if isinstance(fields, Mark):
                if tokens and fields in (Mark.END, Mark.DOCUMENT):
                    found = True
                    yield Sentence(tokens, tags, self.name, start)
                    tokens, tags = [], []
                continue
            if at is None:
                width = len(fields)
                at = self._places(form, width, number, line)
            if len(fields) != width:
                raise CharrnnError(
                    f"{self.name}, line {number}: {shown(line)} has {_counted(len(fields))}, and the first token "
                    f"has {width}; each token needs as many, and a blank line ends a sentence"
                )
            token, tag = fields[at[0]].strip(SPACES), fields[at[1]].strip(SPACES)
            if not token or not tag or (form.conllu and tag == "_"):
                what = "tag" if token else "token"
                raise CharrnnError(
                    f"{self.name}, line {number}: {shown(line)} has no {what} in column {at[bool(token)] + 1}; each "
                    "token needs one to learn from"
                )
            if not tokens:
                start = number
            tokens.append(token)
            tags.append(tag)
        if tokens:
            found = True
            yield Sentence(tokens, tags, self.name, start)
        if not found:
            what = "has no sentences" if self.digest.size else "is empty"
            raise CharrnnError(
                f"{self.name} {what}; give a file with a token and its tag a line, and a blank line after each sentence"
            )

    def _places(self, form: ColumnFormat, width: int, number: int, line: str) -> tuple[int, int]:
        """The columns of token and tag, counted from 0, in lines of `width` columns."""
        token, tag = self._columns or ((FORM, UPOS) if form.conllu else (0, width - 1))
        if self._columns is None and width < 2:
            raise CharrnnError(
                f"{self.name}, line {number}: {shown(line)} has no tag; a line is a token and its tag, separated by "
                "white space or a TAB (charrnn predict needs no tag)"
            )
        if max(token, tag) >= width:
            raise CharrnnError(
                f"{self.name}, line {number}: {shown(line)} has {_counted(width)}, and `columns` names number "
                f"{max(token, tag) + 1}"
            )
        return token, tag


def _counted(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"

"""Reading pairs of texts: `source TAB target`, or two columns of a table; and which units suit each side."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

from charrnn.text.fields import SPACES, TAB, FieldReader
from charrnn.text.units import LINE_END, split_words

LOOKED_AT = 1000  # pairs, to choose the units: spread over the first …
BUFFERED = 100_000  # of them: a file may be sorted by length
WORDS_FROM = 3.0  # words a text
SYMBOL = 2.5  # characters, on average, of what is a symbol rather than a word
WHOLE = 0.98  # share of texts in which words are what white space separates
NUMBERS = 0.5  # share of texts with a number, from which on they are read by characters
SHRUNK = 0.5  # characters taken apart must leave no more than this share of them
NUMBER = re.compile(r"\d\d")


class Pair(NamedTuple):
    """A source and a target, from line number `line` (from 1) of the input `name`; neither is empty, or of two lines.

    With the unit byte, each character stands for a byte.
    """

    source: str
    target: str
    name: str
    line: int


class PairReader(FieldReader[Pair]):
    """The pairs of a source of data, see `FieldReader`; `columns` are those of source and target."""

    fields = "a source text and a target text"
    sides = ("the input", "the output")
    needs_output = True  # whether an output must not be empty

    def line_record(self, line: str, number: int) -> Pair:
        """See `FieldReader`."""
        source, tab, target = line.partition(TAB)
        need = "a record is an input, a TAB and an output (for a table, name its `columns`)"
        if not tab:
            raise self.malformed(number, line, "has no TAB", need)
        if TAB in target:
            columns = line.count(TAB) + 1
            advice = "choose two, as `columns` 1,2 or cut -f 1,2 do"
            raise self.malformed(number, line, f"has {columns} columns", f"a record has two; {advice}")
        return self._pair(source, target, number, line)

    def table_record(self, fields: tuple[str, str], number: int, line: str) -> Pair:
        """See `FieldReader`."""
        if any(LINE_END in field.strip(SPACES + LINE_END) for field in fields):
            raise self.malformed(number, line, "has a field of several lines", "an input and an output are a line each")
        return self._pair(fields[0].strip(LINE_END), fields[1].strip(LINE_END), number, line)

    def _pair(self, source: str, target: str, number: int, line: str) -> Pair:
        for text, side, needed in ((source, "input", True), (target, "output", self.needs_output)):
            if needed and not text.strip(SPACES):
                raise self.malformed(number, line, f"has an empty {side}", "a record has an input and an output")
        return Pair(source, target, self.name, number)


class Reading(NamedTuple):
    """How one side of pairs is read: its unit, whether white space separates words, and the form of its characters."""

    unit: str
    pretokenized: bool
    form: str


AS_IT_IS = Reading("char", False, "none")
FORMS: dict[str, Literal["NFC", "NFD"]] = {"nfc": "NFC", "nfd": "NFD"}


def normalized(text: str, form: str) -> str:
    """The text in the Unicode form `nfc` or `nfd`, or with `none` as it is."""
    return text if form == "none" or text.isascii() else unicodedata.normalize(FORMS[form], text)


def choose_reading(texts: Sequence[str], unit: str | None, pretokenized: bool | None, form: str) -> Reading:
    """How some texts are read best; what is not None, and a `form` other than auto, is given.

    Words, where a text has several, on average, and few have numbers of some digits in them. White space separates the
    words where they are symbols, such as sounds of speech, or where nearly all texts have been cut into words before.
    Characters are taken apart where far fewer are left.
    """
    pieces = [text.split() for text in texts]
    count = max(1, sum(map(len, pieces)))
    if unit is None:
        many = count >= WORDS_FROM * len(texts)
        numbers = sum(bool(NUMBER.search(text)) for text in texts) >= NUMBERS * len(texts)
        unit = "word" if pretokenized or (many and not numbers) else "char"
    if unit != "word":
        pretokenized = False
    elif pretokenized is None:
        symbols = sum(len(piece) for words in pieces for piece in words) <= SYMBOL * count
        whole = sum(len(words) == len(split_words(" ".join(words))) for words in pieces)
        pretokenized = symbols or whole >= WHOLE * len(texts)
    if unit == "byte":
        form = "none"
    elif form == "auto":
        composed, apart = (len(set("".join(normalized(text, one) for text in texts))) for one in ("nfc", "nfd"))
        form = "nfd" if unit == "char" and apart <= SHRUNK * composed else "none"
    return Reading(unit, pretokenized, form)

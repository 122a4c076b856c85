"""Codes: numbers of units before there is a vocabulary. A text is read once, and its codes become ids later."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.text.units import LETTER, LINE_END, SYMBOL, mark_class
from charrnn.text.vocabulary import Vocabulary

# Only dictionaries of words grow with the corpus; this many words take about 200 MB.
MOST_WORDS = 1_000_000
SHORT_TEXT = 2**31 - 1  # characters whose positions fit into int32; one line may have more, and is split as a whole
UNSPELLED = ""  # stands for a unit whose spelling is not stored

Codes: TypeAlias = NDArray[np.unsignedinteger]
Points: TypeAlias = NDArray[np.uint32]
Places: TypeAlias = NDArray[np.signedinteger]
Number = TypeVar("Number", bound=np.generic)


def smallest_type(largest: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned integer type that holds `largest` (uint32 is the last)."""
    return np.dtype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.uint32)


class ByteCoder:
    """A byte's code is its value; a text is bytes read as the first 256 code points."""

    size = 256

    def encode(self, text: Points) -> tuple[Codes, int]:
        """The codes of text (N code points), and how many bytes of it (white space between words) belong to no unit."""
        return text.astype(np.uint8), 0

    def unit(self, code: int) -> str:
        """The unit of a code, as `Vocabulary.split` gives it."""
        return f"{code:02x}" if code != 10 else LINE_END

    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes and the characters of each code (size): a byte that continues UTF-8 is no character."""
        return np.ones(256, np.int64), ((np.arange(256) & 0xC0) != 0x80).astype(np.int64)

    def ids(self, vocabulary: Vocabulary) -> NDArray[np.int32]:
        """The id of each code (size)."""
        return vocabulary.table


class CharacterCoder:
    """Characters are numbered in the order of their first appearance, so that in most texts a code fits into a byte."""

    def __init__(self) -> None:
        self.size = 0
        self._numbers = np.zeros(0x110000, np.int32)
        self._points = np.zeros(0x110000, np.int32)

    def encode(self, text: Points) -> tuple[Codes, int]:
        """The codes of text (N code points), and how many bytes of it (white space between words) belong to no unit."""
        from charrnn.kernels.text import number_points

        codes = np.empty(len(text), np.uint32)
        self.size = number_points(text, self._numbers, self._points, self.size, codes)
        return codes.astype(smallest_type(max(self.size - 1, 0))), 0

    def unit(self, code: int) -> str:
        """The unit of a code, as `Vocabulary.split` gives it."""
        return chr(self._points[code])

    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes of UTF-8 and the characters of each code (size)."""
        points = self._points[: self.size]
        return 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000), np.ones_like(points)

    def ids(self, vocabulary: Vocabulary) -> NDArray[np.int32]:
        """The id of each code (size)."""
        return vocabulary.table[self._points[: self.size]]


class WordCoder(dict[str, int]):
    """Words are numbered in the order of their first appearance.

    After `MOST_WORDS` different words, all new words of the same length share a code, and will be unknown.

    The dictionary is complete; `_table` has copies of its words, in which compiled code finds nearly all of a text.
    """

    LINE_END_CODE = 0

    def __init__(self, pretokenized: bool) -> None:
        super().__init__()
        self._pretokenized = pretokenized
        self._units: list[str] = []
        self._by_length: dict[tuple[int, int], int] = {}
        self._table = WordTable()
        self.__missing__(LINE_END)  # gets the first code
        self._table.add([LINE_END])

    def __missing__(self, unit: str) -> int:
        length = len(unit.encode()), len(unit)
        if len(self) < MOST_WORDS:
            code = self[unit] = len(self._units)
        elif length in self._by_length:
            return self._by_length[length]
        else:
            code = self._by_length[length] = len(self._units)
            unit = UNSPELLED
        self._units.append(unit)
        return code

    @property
    def size(self) -> int:
        """The number of codes given."""
        return len(self._units)

    @property
    def overflowed(self) -> bool:
        """Whether there were more different words than `MOST_WORDS`."""
        return bool(self._by_length)

    def encode(self, text: Points) -> tuple[Codes, int]:
        """The codes of text (N code points), and how many bytes of it (white space between words) belong to no unit."""
        starts, stops = split_points(text, self._pretokenized)
        codes = self._table.find(text, starts, stops)
        known = len(self)
        spelled = text.tobytes().decode("utf-32-le", "surrogatepass")
        for place in np.flatnonzero(codes < 0).tolist():
            codes[place] = self[spelled[starts[place] : stops[place]]]
        self._table.add(self._units[known : len(self)])
        spaces = len(text) - int((stops - starts).sum())
        return codes.astype(smallest_type(self.size)), spaces

    def unit(self, code: int) -> str:
        """The unit of a code; `UNSPELLED` if its spelling is not stored."""
        return self._units[code]

    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes of UTF-8 and the characters of each code (size)."""
        size, characters = (
            np.fromiter(lengths, np.int64, self.size)
            for lengths in (map(len, map(str.encode, self._units)), map(len, self._units))
        )
        for length, code in self._by_length.items():
            size[code], characters[code] = length
        return size, characters

    def ids(self, vocabulary: Vocabulary) -> NDArray[np.int32]:
        """The id of each code (size)."""
        return vocabulary.ids_of(self._units)


class WordTable:
    """A hash table from words to their numbers, for compiled code; see `kernels/text.py`."""

    def __init__(self) -> None:
        self._slots = np.full(1 << 10, -1, np.int32)
        self._letters = np.empty(1 << 12, np.uint32)
        self._ends = np.zeros(1 << 8, np.int64)
        self._count = 0

    def add(self, words: Sequence[str]) -> None:
        """Add `words`, none of which is in the table, with the next numbers."""
        from charrnn.kernels.text import add_words

        first, last = self._count, self._count + len(words)
        letters = code_points("".join(words))
        ends = self._ends[first] + np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))
        self._ends = _with_room(self._ends, last + 1)
        self._ends[first + 1 : last + 1] = ends
        self._letters = _with_room(self._letters, int(self._ends[last]))
        self._letters[self._ends[first] : self._ends[last]] = letters
        if 2 * last > len(self._slots):
            self._slots = np.full(4 << last.bit_length(), -1, np.int32)
            first = 0
        add_words(first, last, self._slots, self._letters, self._ends)
        self._count = last

    def find(self, text: Points, starts: Places, stops: Places) -> NDArray[np.int32]:
        """The numbers (N) of the words text[starts[n] : stops[n]]; -1 for a word that is not in the table."""
        from charrnn.kernels.text import find_words

        found = np.empty(len(starts), np.int32)
        find_words(text, starts, stops, self._slots, self._letters, self._ends, found)
        return found


def _with_room(array: NDArray[Number], size: int) -> NDArray[Number]:
    """`array` if it has `size` entries or more, else a copy of twice that length."""
    return array if size <= len(array) else np.concatenate([array, np.empty(2 * size - len(array), array.dtype)])


def code_points(text: str) -> Points:
    """The code points of `text`."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def split_points(text: Points, pretokenized: bool) -> tuple[Places, Places]:
    """The starts and stops (N) of the N units of a text: those of `units.split_pretokenized` or `units.split_words`."""
    from charrnn.kernels import text as kernels

    places: type[np.signedinteger] = np.int32 if len(text) <= SHORT_TEXT else np.int64
    starts, stops = np.empty(len(text), places), np.empty(len(text), places)
    if pretokenized:
        count = kernels.split_pretokenized(text, starts, stops)
    else:
        count = kernels.split_words(text, _classes(), starts, stops)
    return starts[:count], stops[:count]


@functools.cache
def _classes() -> NDArray[np.uint8]:
    """The class of each code point (0x110000): the flags of `kernels/text.py`, from the regular expressions."""
    from charrnn.kernels import text as kernels

    every = "".join(map(chr, range(0x110000)))
    classes = np.zeros(len(every), np.uint8)
    for flag, one in (
        (kernels.LETTER, LETTER),
        (kernels.DIGIT, r"\d"),
        (kernels.MARK, rf"[{mark_class()}]"),
        (kernels.SPACE, r"\s"),
        (kernels.SYMBOL, SYMBOL),
    ):
        for run in re.finditer(f"{one}+", every):
            classes[run.start() : run.end()] |= flag
    classes[:0x80] &= ~np.uint8(kernels.MARK)
    return classes


Coder = ByteCoder | CharacterCoder | WordCoder


def make_coder(config: TextConfig) -> Coder:
    """The coder for the unit of `config`."""
    if config.unit == "word":
        return WordCoder(config.pretokenized)
    return ByteCoder() if config.unit == "byte" else CharacterCoder()

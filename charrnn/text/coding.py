"""Numbers for units before there is a vocabulary: a text is read once, and the codes on disk are translated later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from charrnn.config import TextConfig
from charrnn.text.units import LINE_END, PRETOKENIZED, word_pattern
from charrnn.text.vocabulary import Vocabulary

# Dictionaries of words are the one thing that grows with the corpus; this many take about 200 MB.
MOST_WORDS = 1_000_000
UNSPELLED = ""  # in place of a unit whose spelling is not kept

Codes = NDArray[np.unsignedinteger]


def smallest_type(largest: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned integer type that holds `largest` (uint32 is the last)."""
    return np.dtype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.uint32)


class CharacterCoder:
    """A character's code is its code point; a byte (a code point below 256 here) is its value."""

    def __init__(self, unit: str) -> None:
        self._bytes = unit == "byte"
        self.size = 256 if self._bytes else 0x110000

    def encode(self, text: str) -> tuple[Codes, int]:
        """The codes of `text`, and how many bytes of it (white space between words) belong to no unit."""
        if self._bytes or text.isascii():
            return np.frombuffer(text.encode("latin-1"), np.uint8), 0
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        return codes.astype(smallest_type(int(codes.max()))), 0

    def unit(self, code: int) -> str:
        """The unit of a code, as `Vocabulary.split` gives it."""
        return f"{code:02x}" if self._bytes and code != 10 else chr(code)

    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes of UTF-8 and the characters of each code."""
        ones = np.ones(self.size, np.int64)
        if self._bytes:
            # A character of a byte text is any byte that does not continue one.
            return ones, ((np.arange(256) & 0xC0) != 0x80).astype(np.int64)
        code = np.arange(self.size)
        return 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000), ones

    def ids(self, vocabulary: Vocabulary) -> NDArray[np.int32]:
        """The id of each code."""
        return vocabulary.table


class WordCoder(dict[str, int]):
    """A word's code is the order in which it first appeared.

    After `MOST_WORDS` different words, new ones share a code with all others of their length: they will be unknown.
    """

    LINE_END_CODE = 0

    def __init__(self, pretokenized: bool) -> None:
        super().__init__()
        self._pretokenized = pretokenized
        self._split = (PRETOKENIZED if pretokenized else word_pattern()).findall
        self._units: list[str] = []
        self._lengths: list[tuple[int, int]] = []
        self._by_length: dict[tuple[int, int], int] = {}
        self.__missing__(LINE_END)  # gets the first code

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
        self._lengths.append(length)
        return code

    @property
    def size(self) -> int:
        """The number of codes given."""
        return len(self._units)

    @property
    def overflowed(self) -> bool:
        """Whether there were more words than are kept."""
        return bool(self._by_length)

    def encode(self, text: str) -> tuple[Codes, int]:
        """The codes of `text`, and how many bytes of it (white space between words) belong to no unit."""
        units = self._split(text)
        codes = np.fromiter(map(self.__getitem__, units), np.uint32, len(units))
        spaces = len(text) - sum(map(len, units)) if self._pretokenized else 0
        return codes.astype(smallest_type(self.size)), spaces

    def unit(self, code: int) -> str:
        """The unit of a code, `UNSPELLED` where its spelling was not kept."""
        return self._units[code]

    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes of UTF-8 and the characters of each code."""
        both = np.array(self._lengths, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def ids(self, vocabulary: Vocabulary) -> NDArray[np.int32]:
        """The id of each code."""
        return np.fromiter(map(vocabulary.id_of, self._units), np.int32, self.size)


Coder = CharacterCoder | WordCoder


def make_coder(config: TextConfig) -> Coder:
    """The coder for the unit of `config`."""
    return WordCoder(config.pretokenized) if config.unit == "word" else CharacterCoder(config.unit)


def spaces_before(codes: Codes, spaces: int, position: int) -> int:
    """How many of the `spaces` bytes between the words of a block come before the unit at `position`.

    One stands between two words of a line; those beyond that (at the ends of lines, mostly) go by line.
    """
    if spaces == 0 or position in (0, len(codes)):
        return spaces if position else 0
    words = codes != WordCoder.LINE_END_CODE
    joints = words[1:] & words[:-1]
    lines, lines_before = len(words) - int(words.sum()), position - int(words[:position].sum())
    surplus = max(0, spaces - int(joints.sum()))
    return int(joints[: position - 1].sum()) + surplus * lines_before // max(lines, 1)


class Spool:
    """A long sequence of codes in a temporary file, each block in the smallest type that holds it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb+")
        self._path = path
        self._blocks: list[tuple[DTypeLike, int, int]] = []  # type, number of codes, bytes between units
        self.length = 0

    def append(self, codes: Codes, spaces: int) -> None:
        """Write a block at the end."""
        if len(codes):
            self._file.write(np.ascontiguousarray(codes).data)
            self._blocks.append((codes.dtype, len(codes), spaces))
            self.length += len(codes)

    def read(self, start: int, stop: int) -> Iterator[tuple[Codes, int]]:
        """The blocks of the codes [start, stop), the first and last cut to size, each with its bytes between units."""
        self._file.seek(0)
        position = 0
        for dtype, count, spaces in self._blocks:
            low, high = max(start - position, 0), min(stop - position, count)
            size = np.dtype(dtype).itemsize
            if low < high:
                codes = np.frombuffer(self._file.read(count * size), dtype)
                yield codes[low:high], spaces_before(codes, spaces, high) - spaces_before(codes, spaces, low)
            else:
                self._file.seek(count * size, 1)
            position += count

    def clear(self) -> None:
        """Forget everything."""
        self._file.seek(0)
        self._file.truncate()
        self._blocks.clear()
        self.length = 0

    def close(self) -> None:
        """Close and remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

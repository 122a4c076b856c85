"""The parts that words are known by beside their own number: hashed character n-grams, affixes and shape."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.text.units import without_surrogates

SHORTEST, AFFIX = 2, 5  # characters of the shortest n-grams; of the longest prefixes and suffixes
SEPARATOR = "\n"  # is in no word
MOST_CHARACTERS = 64  # of a longer word the first and the last half of so many count
# Classes of characters in the shape of a word; any other character is a class by itself.
UPPER, LOWER, DIGIT, OTHER = 4, 5, 6, 7


class Parts(NamedTuple):
    """Hashes (M) of the parts of N words; those of word n are hashes[bounds[n] : bounds[n + 1]]; bounds (N + 1)."""

    hashes: NDArray[np.uint32]
    bounds: NDArray[np.int64]


def hash_words(words: Sequence[str], longest: int) -> Parts:
    """The parts of each word, of n-grams those of at most `longest` characters; 0: no parts at all.

    Letters of both cases have the same n-grams and affixes: the case is in the shape.
    """
    from charrnn.kernels.words import hash_parts

    if not longest or not words:
        return Parts(np.zeros(0, np.uint32), np.zeros(len(words) + 1, np.int64))
    half = MOST_CHARACTERS // 2
    short = [word if len(word) <= MOST_CHARACTERS else word[:half] + word[-half:] for word in words]
    lengths = np.fromiter(map(len, short), np.int64, len(short))
    text = without_surrogates("".join(short))
    points = np.frombuffer(text.encode("utf-32-le"), np.dtype("<u4")).astype(np.uint32)
    different, places = np.unique(points, return_inverse=True)
    characters = [chr(point) for point in different.tolist()]
    lower = np.array(
        [ord(low) if len(low := character.lower()) == 1 else ord(character) for character in characters], np.uint32
    )
    kinds = np.array([_kind(character) for character in characters], np.uint32)
    offsets = np.append(0, np.cumsum(lengths))
    most = int(((lengths + 2) * longest + 2 * AFFIX + 1).sum())
    hashes, bounds = np.empty(most, np.uint32), np.empty(len(words) + 1, np.int64)
    count = hash_parts(lower[places], kinds[places], offsets, SHORTEST, longest, AFFIX, hashes, bounds)
    return Parts(hashes[:count].copy(), bounds)


def _kind(character: str) -> int:
    """The class of a character in a shape."""
    category = unicodedata.category(character)
    if category in ("Lu", "Lt"):
        return UPPER
    if category[0] in "LM":
        return LOWER
    return DIGIT if category[0] == "N" else ord(character) + OTHER

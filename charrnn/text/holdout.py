"""Which lines of a corpus are held out, where each line is a text of its own."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
from numpy.typing import NDArray

from charrnn.text.units import LINE_END


class LineSplit:
    """Holds out the lines whose content, hashed with `seed`, falls in `fraction` of all hashes.

    Duplicates so stay together, and a line's part does not depend on the other lines. Of few lines chance may choose
    none or all: `mend` says so once all were separated.
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self._start = zlib.crc32(str(seed).encode())
        self._bound = int(fraction * 2**64)
        self._empty = mixed(np.array([zlib.crc32(b"", self._start)], np.uint64))[0]
        self._least, self._greatest = 2**64, -1  # hashes seen, those of empty lines aside

    def separate(self, text: str) -> tuple[str, str]:
        """The lines of `text`, which ends in a newline: those to train on and those to hold out."""
        lines = text.split(LINE_END)[:-1]
        sums = map(zlib.crc32, text.encode().split(b"\n"), itertools.repeat(self._start, len(lines)))
        hashes = mixed(np.fromiter(sums, np.uint64, len(lines)))
        filled = hashes[hashes != self._empty]
        if len(filled):
            self._least = min(self._least, int(filled.min()))
            self._greatest = max(self._greatest, int(filled.max()))
        out = hashes < np.uint64(self._bound)
        kept, held_out = (list(itertools.compress(lines, chosen.tolist())) for chosen in (~out, out))
        return LINE_END.join([*kept, ""]), LINE_END.join([*held_out, ""])

    def mend(self) -> bool:
        """Whether either part has no line that is not empty; separated again, both have one, if there are two.

        The line that changes its part is that with the least or the greatest hash, with its duplicates. Where all
        lines are the same, none is held out any more.
        """
        before = self._bound
        if self._greatest < 0:
            return False
        if self._least == self._greatest:
            self._bound = 0
        elif self._least >= self._bound:
            self._bound = self._least + 1
        elif self._greatest < self._bound:
            self._bound = self._greatest
        return self._bound != before


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a checksum as it is, spread evenly over 64 bits."""
    values = (values + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

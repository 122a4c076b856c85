"""Which lines of a corpus are held out for validation, if each line is a sequence by itself."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from charrnn.text.coding import Points
from charrnn.text.lines import take_lines


class LineSplit:
    """Holds out the lines whose content, hashed with `seed`, falls in `fraction` of all hashes.

    So duplicates stay together, and the part of a line does not depend on the other lines. If there are few lines, none
    or all of them may be held out by chance: `mend` corrects that.
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self._start = np.frombuffer(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), np.uint64)
        self._bound = int(fraction * 2**64)
        self._empty = mixed(self._start)[0]
        self._least, self._greatest = 2**64, -1  # hashes seen, except those of empty lines

    def separate(self, text: Points) -> tuple[Points, Points]:
        """Split text (N code points), which ends in a newline: the lines to train on, and those that are held out."""
        hashes, stops = self.hashes(text)
        out = self.held_out(hashes)
        starts = np.append(0, stops[:-1])
        return take_lines(text, starts[~out], stops[~out]), take_lines(text, starts[out], stops[out])

    def hashes(self, text: Points) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The hashes (L) of the lines of text (N code points), which ends in a newline, and their stops (L)."""
        from charrnn.kernels.text import hash_lines

        hashes, stops = np.empty(len(text), np.uint64), np.empty(len(text), np.int64)
        count = hash_lines(text, self._start[0], hashes, stops)
        hashes, stops = mixed(hashes[:count]), stops[:count]
        filled = hashes[hashes != self._empty]
        if len(filled):
            self._least = min(self._least, int(filled.min()))
            self._greatest = max(self._greatest, int(filled.max()))
        return hashes, stops

    def held_out(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which lines are held out, from their hashes (L)."""
        return hashes < np.uint64(self._bound)

    def mend(self) -> bool:
        """After all lines were split: whether one part had no line, empty ones aside, so that they must be split again.

        The line with the least or the greatest hash, with its duplicates, then changes its part. If all lines are the
        same, none is held out.
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
    """The finaliser of SplitMix64 for values of any shape: each bit changes about half of the bits of the result.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", doi:10.1145/2660193.2660195.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

"""Runs of units as they stand in a corpus: which units would make a copy longer, and how much of a text is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BASE = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial hash of a run, modulo 2^64 (Karp and Rabin 1987)


class Copies:
    """The runs of `length` + 1 units of a text (N): what is longer than `length` is made of these."""

    def __init__(self, text: NDArray[Any], length: int) -> None:
        self.length = length
        self._runs = np.unique(_hashes(text, length + 1))

    def continued(self, recent: NDArray[Any], V: int) -> NDArray[np.bool_]:
        """Which of V units (V) would make a run of the text of the last `length` units; recent (`length`)."""
        if not len(self._runs) or recent[0] < 0:  # there were not so many units yet
            return np.zeros(V, np.bool_)
        with np.errstate(over="ignore"):
            start = _hashes(recent, self.length)[0] * _BASE
        return self._are_runs(start + np.arange(1, V + 1, dtype=np.uint64))

    def copied(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of ids (M) lie in a run of more than `length` units that stands in the text."""
        marks = np.zeros(len(ids) + 1, np.int64)
        starts = np.flatnonzero(self._are_runs(_hashes(ids, self.length + 1)))
        np.add.at(marks, starts, 1)
        np.add.at(marks, starts + self.length + 1, -1)
        return marks.cumsum()[:-1] > 0

    def _are_runs(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        places = np.minimum(np.searchsorted(self._runs, hashes), len(self._runs) - 1)
        return self._runs[places] == hashes if len(self._runs) else np.zeros(len(hashes), np.bool_)


def _hashes(ids: NDArray[Any], length: int) -> NDArray[np.uint64]:
    """The hashes (M - length + 1) of all runs of so many of ids (M)."""
    count = max(0, len(ids) - length + 1)
    values, result = ids.astype(np.uint64) + np.uint64(1), np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for place in range(length):
            result = result * _BASE + values[place : place + count]
    return result

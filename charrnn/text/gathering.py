"""Gathering texts: their units one after the other, in memory, in the smallest type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charrnn.text.coding import Coder, Codes, WordCoder, code_points
from charrnn.text.holdout import LineSplit
from charrnn.text.lines import take_lines
from charrnn.text.mapped import CHUNK
from charrnn.text.units import LINE_END

CHUNK_RECORDS = 1000  # are encoded at a time
SHOWN_LABELS = 100  # in a message


class GatheredTexts:
    """Texts cut into units: their codes one after the other, and with `split` the hash of each."""

    def __init__(self, coder: Coder, split: LineSplit | None = None) -> None:
        self.hashes: list[NDArray[np.uint64]] = []
        self.count = 0
        self.coder = coder
        self._split = split
        self._codes: list[Codes] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, texts: list[str]) -> None:
        """Add some texts. An empty one is one end of line."""
        codes, lengths = _codes(texts, self.coder)
        if self._split is not None:
            # A text with several lines is hashed as one line.
            lines = [text.replace(LINE_END, "\r") for text in texts]
            self.hashes.append(self._split.hashes(code_points(LINE_END.join([*lines, ""])))[0])
        self._codes.append(codes)
        self._lengths.append(lengths)
        self.count += len(texts)

    def take(
        self, chosen: NDArray[np.bool_], max_length: int = 0
    ) -> tuple[Codes, NDArray[np.int64], NDArray[np.bool_]]:  # fmt: skip
        """The codes of the chosen texts (texts), their offsets (N + 1), and which (N) were cut to `max_length`."""
        lengths = np.concatenate(self._lengths)
        starts = (np.cumsum(lengths) - lengths)[chosen]
        lengths = lengths[chosen]
        kept = np.minimum(lengths, max_length) if max_length else lengths
        codes = take_lines(np.concatenate(self._codes), starts, starts + kept)
        return codes, np.append(0, np.cumsum(kept)), kept < lengths

    def counts(self, codes: Codes) -> NDArray[np.int64]:
        """How often each code occurs (coder.size)."""
        counts = np.zeros(self.coder.size, np.int64)
        for start in range(0, len(codes), CHUNK):
            counts += np.bincount(codes[start : start + CHUNK], minlength=self.coder.size)
        return counts


def ids_of(codes: Codes, ids: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """The ids of codes (N); ids (coder.size): of each code."""
    found = np.empty(len(codes), ids.dtype)
    for start in range(0, len(found), CHUNK):  # indexing makes a copy of the codes, in 8 bytes each
        found[start : start + CHUNK] = ids[codes[start : start + CHUNK]]
    return found


def _codes(texts: list[str], coder: Coder) -> tuple[Codes, NDArray[np.int64]]:
    """The codes of texts (N) one after the other, and how many each has (N): one or more."""
    codes, _ = coder.encode(code_points(LINE_END.join([*texts, ""])))
    if isinstance(coder, WordCoder):
        breaks = np.flatnonzero(codes == coder.LINE_END_CODE)
        ends = breaks[np.cumsum([text.count(LINE_END) + 1 for text in texts]) - 1]
    else:
        ends = np.cumsum([len(text) + 1 for text in texts]) - 1
    lengths = np.diff(ends, prepend=-1) - 1
    keep = np.ones(len(codes), np.bool_)
    keep[ends[lengths > 0]] = False
    return codes[keep], np.maximum(lengths, 1)

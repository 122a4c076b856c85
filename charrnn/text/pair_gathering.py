"""Gathering pairs of texts: the codes of both sides, and which sources there are while they are few."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.settings import listed
from charrnn.task_config import PairsConfig
from charrnn.text.coding import make_coder
from charrnn.text.fields import SPACES, shown
from charrnn.text.gathering import SHOWN_LABELS, GatheredTexts
from charrnn.text.holdout import LineSplit
from charrnn.text.pairs import AS_IT_IS, Pair, PairReader, Reading, normalized
from charrnn.text.reader import BYTES_AS_TEXT, Source

MOST_LABELS = 1000  # different sources that may be labels …
RECORDS_PER_LABEL = 10  # … where each has so many targets, on average


class GatheredPairs:
    """The pairs of some files: the codes of both sides, and the numbers of the different sources while they are few."""

    def __init__(
        self, readings: tuple[Reading, Reading], configs: tuple[TextConfig, TextConfig],
        splits: tuple[LineSplit, LineSplit] | None, known: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.sides = [GatheredTexts(make_coder(config), splits[n] if splits else None) for n, config in
                      enumerate(configs)]  # fmt: skip
        self.labels: dict[str, int] = {label: number for number, label in enumerate(known)}
        self.numbers: list[NDArray[np.int32]] = []
        self.many = False  # different sources
        self._known, self._readings = bool(known), readings
        self._bytes = "byte" in (readings[0].unit, readings[1].unit)

    def add(self, pairs: list[Pair]) -> None:
        """Add some pairs. Raises CharrnnError for a source that is none of the known labels."""
        self._number(pairs)
        for number, (side, reading) in enumerate(zip(self.sides, self._readings, strict=True)):
            texts = [pair.target if number else pair.source for pair in pairs]
            side.add([text_as_read(text, reading, self._bytes) for text in texts])

    def _number(self, pairs: list[Pair]) -> None:
        if self.many:
            return
        labels, found = self.labels, [text_as_read(pair.source, AS_IT_IS, self._bytes).strip(SPACES) for pair in pairs]
        for pair, label in zip(pairs, found, strict=True):
            if self._known and label not in labels:
                raise CharrnnError(f"{pair.name}, line {pair.line}: {unknown_label(label, list(labels))}")
        self.numbers.append(np.array([labels.setdefault(label, len(labels)) for label in found], np.int32))
        self.many = len(labels) > MOST_LABELS and not self._known

    def look_like_labels(self) -> bool:
        """Whether there are few different sources, each with many targets."""
        return not self.many and RECORDS_PER_LABEL * len(self.labels) <= self.sides[0].count


def text_as_read(text: str, reading: Reading, as_bytes: bool) -> str:
    """A field as its side reads it; `as_bytes`: its characters stand for bytes."""
    if as_bytes and reading.unit != "byte":
        text = text.encode(BYTES_AS_TEXT).decode("utf-8", "replace")
    return normalized(text, reading.form)


def unknown_label(label: str, labels: Sequence[str]) -> str:
    """What to say of a source that is none of the labels."""
    known = listed([*map(shown, labels)], SHOWN_LABELS)
    return f"the label {shown(label)} is none of the {len(labels)} that the model knows: {known}"


def read_pairs(paths: Sequence[str], config: PairsConfig, notes: list[str], digests: list[str]) -> Iterator[Pair]:
    """The pairs of some files; notes and digest of each are added when all of it has been read."""
    unit = "byte" if "byte" in config.units else "char"
    text = TextConfig(unit=unit, encoding=config.encoding, errors=config.errors)
    for path in paths:
        with contextlib.closing(Source(path, Path(tempfile.gettempdir()))) as source:
            reader = PairReader(source, text, config.columns or None)
            yield from reader
            notes.extend(f"{reader.name}: {remark}" for remark in reader.remarks())
            digests.append(reader.digest.sha256.hexdigest())

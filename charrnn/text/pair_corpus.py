"""A corpus of pairs of texts, encoded once into arrays of ids; how each side is read, and the vocabularies of both.

Where few different sources each have many targets, a source is a label: one unit, of which the output is a sample.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.task_config import PairsConfig
from charrnn.text.binary import remark_on_binary
from charrnn.text.coding import Codes, smallest_type
from charrnn.text.corpus import combined_digest, require_readable_once
from charrnn.text.encoding import Note, learn_vocabulary
from charrnn.text.fields import shown
from charrnn.text.gathering import CHUNK_RECORDS, GatheredTexts, ids_of
from charrnn.text.holdout import LineSplit
from charrnn.text.pair_gathering import MOST_LABELS, GatheredPairs, read_pairs, text_as_read
from charrnn.text.pairs import AS_IT_IS, BUFFERED, LOOKED_AT, Pair, Reading, choose_reading
from charrnn.text.vocabulary import Vocabulary

SIDES = "inputs", "outputs"
MAX_WORDS = 100_000
ROOM = 10  # units: of a short source the output may be longer, see `PairCorpus.ratio`
LARGEST_RATIO = 500.0
LONGER = 2.0  # times as long as the longest target of training, for the same length of source, an output may be


@dataclass
class Texts:
    """Texts one after the other. ids (units): of the smallest unsigned integer type. offsets (texts + 1): text n is
    ids[offsets[n] : offsets[n + 1]]."""

    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]

    @functools.cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of units of each text (texts)."""
        return np.diff(self.offsets)


@dataclass
class PairPart:
    """Pairs of texts; `labelled`: each source is one unit, a label.

    `ratio`: no target of the training part has more than ratio · (n + ROOM) units, where its source has n, unless it
    would be more than LARGEST_RATIO.
    """

    sources: Texts
    targets: Texts
    labelled: bool
    ratio: float = 1.0

    def __len__(self) -> int:
        """The number of targets: the units of the target texts, and the end of each."""
        return len(self.targets.ids) + len(self.targets.lengths)

    def sizes(self) -> dict[str, Any]:
        """Records, tokens, and units of the sources, for logs and checkpoints."""
        return {
            "records": len(self.targets.lengths), "tokens": len(self), "source_tokens": len(self.sources.ids)
        }  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One side of pairs: how text is cut into units, the form of its characters, and its vocabulary.

    Sources that are labels have these in place of a vocabulary, in the order of their numbers, and no configuration.
    """

    form: str
    config: TextConfig | None
    vocabulary: Vocabulary | None
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of ids."""
        return len(self.labels) if self.vocabulary is None else len(self.vocabulary)


@dataclass
class PairCorpus:
    """Encoded pairs; `notes` are for the user. `source` and `target` say how each side is read."""

    source: Side
    target: Side
    config: PairsConfig
    train: PairPart
    validation: PairPart | None
    digest: str
    notes: list[str] = field(default_factory=list)

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of each part, for logs and checkpoints."""
        parts = {"training": self.train, "validation": self.validation}
        return {"digest": self.digest, **{name: part.sizes() for name, part in parts.items() if part is not None}}


def load_pairs(
    paths: Sequence[str],
    config: PairsConfig,
    *,
    val_path: str | None,
    val_fraction: float,
    seed: int,
    sides: tuple[Side, Side] | None = None,
) -> PairCorpus:
    """Read and encode the pairs of the files `paths` ("-" is stdin); see `pairs.PairReader` for their formats.

    The validation part is the file `val_path`, or else the pairs whose source, hashed with `seed`, falls in
    `val_fraction` of all hashes, so that pairs of the same source stay together. Where few sources have many targets
    each, the target is hashed, and each source stays in the training part. How the texts are read is chosen by the
    first pairs where `config` leaves it open, and the vocabularies are learned from the training part; or both are
    those of given `sides`. Texts of the training part are cut to `config.max_length`.

    Raises:
        CharrnnError: a file is unreadable or empty, a record is malformed, or all sources or targets are the same.
        UsageError: stdin is given twice, or `config.columns` are not two columns.
    """
    require_readable_once([*paths] if val_path is None else [*paths, val_path])
    notes: list[str] = []
    digests: list[str] = []
    splits = (LineSplit(val_fraction, seed), LineSplit(val_fraction, seed)) if not val_path and val_fraction else None
    pairs: Iterator[Pair] = read_pairs(paths, config, notes, digests)
    first = list(islice(pairs, BUFFERED))
    some = first[:: max(1, len(first) // LOOKED_AT)]
    readings = _choose(some, config) if sides is None else (_reading_of(sides[0]), _reading_of(sides[1]))
    configs = (_text_config(config, readings[0]), _text_config(config, readings[1]))
    training = GatheredPairs(readings, configs, splits, known=sides[0].labels if sides else ())
    rest: Iterator[Pair] = chain(first, pairs)
    while chunk := list(islice(rest, CHUNK_RECORDS)):
        training.add(chunk)
    few = bool(sides and sides[0].labels) or training.look_like_labels()
    labelled = bool(sides[0].labels) if sides else few and len(config.units) < 2
    if labelled and sides is None:
        notes.append(
            f"there are only {len(training.labels)} different inputs, so each is read as one unit, a label; "
            f"`unit` {readings[0].unit},{readings[1].unit} reads them as texts"
        )
    chosen = np.zeros(training.sides[0].count, np.bool_)
    if splits is not None:
        split, texts = splits[few], training.sides[few]
        split.mend()
        chosen = split.held_out(np.concatenate(texts.hashes))
        if few:
            numbers = np.concatenate(training.numbers)
            learned = np.bincount(numbers[~chosen], minlength=len(training.labels)) > 0
            chosen &= learned[numbers]
        if not chosen.any() or chosen.all():
            chosen[:] = False
            notes.append("too few different records to hold some out: there is no validation part")
    held_out = None
    if val_path is not None:
        known = tuple(training.labels) if labelled else ()
        held_out = GatheredPairs(readings, configs, None, known=sides[0].labels if sides else known)
        rest = read_pairs([val_path], config, notes, digests)
        while chunk := list(islice(rest, CHUNK_RECORDS)):
            held_out.add(chunk)
    return _encode(training, held_out, chosen, configs, readings, config, labelled, sides, digests, notes)


def _encode(
    training: GatheredPairs, held_out: GatheredPairs | None, chosen: NDArray[np.bool_],
    configs: tuple[TextConfig, TextConfig], readings: tuple[Reading, Reading], config: PairsConfig, labelled: bool,
    given: tuple[Side, Side] | None, digests: list[str], notes: list[str],
) -> PairCorpus:  # fmt: skip
    """The corpus of gathered pairs, those `chosen` (records) for validation."""
    sides: list[Side] = []
    parts: list[tuple[Texts, Texts | None]] = []
    cut = np.zeros(int((~chosen).sum()), np.bool_)
    source = held_out or training
    held = np.ones(held_out.sides[0].count, np.bool_) if held_out else chosen
    for n, (texts, text_config, reading) in enumerate(zip(training.sides, configs, readings, strict=True)):
        if n == 0 and labelled:
            numbers = np.concatenate(training.numbers)
            labels = given[0].labels if given else _by_frequency(list(training.labels), numbers[~chosen])
            table = _renumbered(training.labels, labels)
            side = Side("none", None, None, labels)
            one = _labels(table[numbers[~chosen]])
            other = _labels(_renumbered(source.labels, labels)[np.concatenate(source.numbers)[held]])
        else:
            codes, offsets, too_long = texts.take(~chosen, config.max_length)
            cut |= too_long
            vocabulary = given[n].vocabulary if given else _learn(texts, codes, text_config, SIDES[n], notes)
            assert vocabulary is not None
            ids = texts.coder.ids(vocabulary).astype(smallest_type(len(vocabulary) - 1))
            side, one = Side(reading.form, text_config, vocabulary), Texts(ids_of(codes, ids), offsets)
            codes, offsets, _ = source.sides[n].take(held)
            ids = source.sides[n].coder.ids(vocabulary).astype(ids.dtype)
            other = Texts(ids_of(codes, ids), offsets)
        sides.append(side)
        parts.append((one, other if held.any() else None))
    if cut.any():
        notes.append(
            f"records of the training part with a text longer than `max_length` {config.max_length}, which was cut: "
            f"{int(cut.sum()):,}"
        )
    (sources, held_sources), (targets, held_targets) = parts
    ratio = min(LARGEST_RATIO, float((targets.lengths / (sources.lengths + ROOM)).max()))
    train = PairPart(sources, targets, labelled, ratio)
    validation = PairPart(held_sources, held_targets, labelled, ratio) if held_sources and held_targets else None
    return PairCorpus(sides[0], sides[1], config, train, validation, combined_digest(digests), notes)


def most_units(ratio: float, source_units: int, *, labelled: bool) -> int:
    """The most units of an output whose source has so many, its end included unless it is a label."""
    return max(1, math.ceil(LONGER * ratio * (source_units - (not labelled) + ROOM)))


def _choose(pairs: Sequence[Pair], config: PairsConfig) -> tuple[Reading, Reading]:
    """How both sides are read; one unit that was given is that of both."""
    units = config.units * 2 if len(config.units) == 1 else config.units or (None, None)
    words = config.pretokenized or None
    as_bytes = "byte" in units
    sides = [pair.source for pair in pairs], [pair.target for pair in pairs]
    source, target = (
        choose_reading([text_as_read(text, AS_IT_IS, as_bytes) for text in texts], unit, words, config.normalize)
        for texts, unit in zip(sides, units, strict=True)
    )
    return source, target


def _reading_of(side: Side) -> Reading:
    """How a side of another model is read; of labels, by characters, which are not looked at."""
    if side.config is None:
        return AS_IT_IS
    return Reading(side.config.unit, side.config.pretokenized, side.form)


def _text_config(config: PairsConfig, reading: Reading) -> TextConfig:
    """The configuration of a side."""
    words = reading.unit == "word"
    return TextConfig(
        unit=reading.unit, pretokenized=reading.pretokenized, min_count=config.min_count or (2 if words else 1),
        max_vocab=config.max_vocab if config.max_vocab >= 0 else MAX_WORDS if words else 0,
        encoding=config.encoding, errors=config.errors,
    )  # fmt: skip


def _learn(texts: GatheredTexts, codes: Codes, config: TextConfig, side: str, notes: list[str]) -> Vocabulary:
    """The vocabulary of a side of the training part. Raises CharrnnError, which names the side, if no unit is left."""
    counts = texts.counts(codes)
    remarks: list[Note] = [(None, remark)] if (remark := remark_on_binary(counts, texts.coder, config)) else []
    try:
        vocabulary = learn_vocabulary(counts, texts.coder, config, remarks)
    except CharrnnError as error:
        raise CharrnnError(f"of the {side}, {error}") from error
    notes += [text for _, text in remarks]
    return vocabulary


def _by_frequency(labels: Sequence[str], numbers: NDArray[np.int32]) -> tuple[str, ...]:
    """All labels, the most frequent first. Raises CharrnnError where there is one only."""
    if len(labels) < 2:
        raise CharrnnError(
            f"all records have the same input, {shown(labels[0])}; there must be two different ones (a language model "
            "learns from the outputs alone)"
        )
    counts = np.bincount(numbers, minlength=len(labels)).tolist()
    return tuple(label for _, label in sorted((-count, label) for label, count in zip(labels, counts, strict=True)))


def _renumbered(found: dict[str, int], labels: Sequence[str]) -> NDArray[np.int32]:
    """The number in `labels` of each label in the order in which it was found."""
    numbers = {label: number for number, label in enumerate(labels)}
    return np.array([numbers[label] for label in found], np.int32)


def _labels(numbers: NDArray[np.int32]) -> Texts:
    """Sources of one unit each."""
    return Texts(numbers.astype(smallest_type(MOST_LABELS)), np.arange(len(numbers) + 1))

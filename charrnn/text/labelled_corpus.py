"""A corpus of texts with a label each, encoded once into arrays of ids; vocabulary and labels of its training part.

Unlike the encoded texts of `corpus.py`, the ids are kept in memory, in the smallest type.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.text.binary import remark_on_binary
from charrnn.text.coding import MOST_WORDS, WordCoder, make_coder, smallest_type
from charrnn.text.corpus import combined_digest, require_readable_once, require_same_unit
from charrnn.text.encoding import Note, learn_vocabulary
from charrnn.text.fields import Columns, shown
from charrnn.text.holdout import LineSplit
from charrnn.text.labelled import RecordReader
from charrnn.text.labelled_gathering import GatheredRecords, LabelledPart
from charrnn.text.reader import Source
from charrnn.text.vocabulary import Vocabulary

# More different labels than this, and than half of the records, can hardly be classes.
MANY_LABELS = 50


@dataclass
class LabelledCorpus:
    """Records cut into units as `config` says. `labels` are in the order of their numbers, `notes` for the user.

    `columns` and `max_length` are those that it was read with. `split_off`: the validation part is a part of the
    training files, not a file of its own.

    `digest` is the SHA-256 of the decompressed bytes; of several files, that of their digests, one a line.
    """

    vocabulary: Vocabulary
    labels: tuple[str, ...]
    config: TextConfig
    train: LabelledPart
    validation: LabelledPart | None
    digest: str
    notes: list[str] = field(default_factory=list)
    columns: tuple[str | int, ...] = ()
    max_length: int = 0
    split_off: bool = False

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of each part, for logs and checkpoints."""
        parts = {"training": self.train, "validation": self.validation}
        return {"digest": self.digest, **{name: part.sizes() for name, part in parts.items() if part is not None}}


def load_labelled(
    paths: Sequence[str],
    config: TextConfig,
    *,
    columns: Columns | None = None,
    val_path: str | None,
    val_fraction: float,
    seed: int,
    max_length: int = 0,
    vocabulary: Vocabulary | None = None,
    labels: Sequence[str] | None = None,
) -> LabelledCorpus:
    """Read and encode the records of the files `paths` ("-" is stdin); see `labelled.RecordReader` for their formats.

    The validation part is the file `val_path`, or else the records whose text, hashed with `seed`, falls in
    `val_fraction` of all hashes, so that duplicates stay together. Vocabulary and labels are learned from the training
    part unless they are given: labels are numbered by falling frequency, those of the same frequency by code points.
    Texts of the training part are cut to `max_length` units; 0 is no limit. An empty text is one end of line.

    Raises:
        CharrnnError: a file is unreadable or empty, a record is malformed, there is one label only, labels look like
            numbers to forecast, or a training file has a label that is not in the given `labels`.
        UsageError: stdin is given twice, `vocabulary` has another unit than `config`, or `columns` are not two columns.
    """
    names = [*paths] if val_path is None else [*paths, val_path]
    require_readable_once(names)
    if vocabulary is not None:
        require_same_unit(vocabulary, config)
    split = LineSplit(val_fraction, seed) if val_path is None and val_fraction > 0 else None
    coder = make_coder(config)
    training = GatheredRecords(coder, split, known=None if labels is None else dict.fromkeys(labels))
    notes: list[str] = []
    digests = []
    for reader in _readers(paths, config, columns):
        digests.append(training.read(reader, notes, columns is not None))
    held_out = None
    if val_path is not None:
        held_out = GatheredRecords(coder, None)
        digests += [held_out.read(reader, notes) for reader in _readers([val_path], config, columns)]
    chosen = np.zeros(training.texts.count, np.bool_)
    if split is not None:
        split.mend()
        chosen = split.held_out(np.concatenate(training.texts.hashes))
        if chosen.all():  # all texts are empty
            chosen[:] = False
        if not chosen.any():
            notes.append("too few different texts to hold some out: there is no validation part")
    train, cut = training.take(~chosen, max_length)
    if cut:
        notes.append(f"texts of the training part that are longer than `max_length` {max_length} were cut: {cut:,}")
    if isinstance(coder, WordCoder) and coder.overflowed:
        notes.append(f"words that first appear after {MOST_WORDS:,} different ones count as unknown")
    _check_labels(training, train, ", ".join(paths), notes, learned=labels is None)
    counts = training.texts.counts(train.ids)
    remarks: list[Note] = [(None, remark)] if (remark := remark_on_binary(counts, coder, config)) else []
    vocabulary = vocabulary or learn_vocabulary(counts, coder, config, remarks)
    notes += [text for _, text in remarks]
    numbered = tuple(labels) if labels is not None else _by_frequency(training, train)
    ids = coder.ids(vocabulary).astype(smallest_type(len(vocabulary) - 1))
    validation = None
    if held_out is not None or chosen.any():
        source = held_out or training
        part, _ = source.take(chosen if held_out is None else np.ones(held_out.texts.count, np.bool_))
        validation = source.encoded(part, ids, numbered)
        if unknown := validation.sizes()["unknown_labels"]:
            notes.append(f"records of the validation part whose label the training part has not: {unknown:,}")
    train = training.encoded(train, ids, numbered)
    return LabelledCorpus(
        vocabulary,
        numbered,
        config,
        train,
        validation,
        combined_digest(digests),
        notes,
        tuple(columns or ()),
        max_length,
        split_off=held_out is None and validation is not None,
    )


def load_part(
    paths: Sequence[str],
    config: TextConfig,
    vocabulary: Vocabulary,
    labels: Sequence[str],
    *,
    columns: Columns | None = None,
) -> tuple[LabelledPart, list[str]]:
    """Read and encode records to evaluate a model with this vocabulary and these labels; also remarks for the user.

    Records whose label is not in `labels` have the label -1. Raises as `load_labelled`.
    """
    require_readable_once(paths)
    require_same_unit(vocabulary, config)
    coder = make_coder(config)
    gathered = GatheredRecords(coder, None)
    notes: list[str] = []
    for reader in _readers(paths, config, columns):
        gathered.read(reader, notes)
    part, _ = gathered.take(np.ones(gathered.texts.count, np.bool_))
    ids = coder.ids(vocabulary).astype(smallest_type(len(vocabulary) - 1))
    return gathered.encoded(part, ids, labels), notes


def _readers(paths: Sequence[str], config: TextConfig, columns: Columns | None) -> Iterator[RecordReader]:
    for path in paths:
        with contextlib.closing(Source(path, Path(tempfile.gettempdir()))) as source:
            yield RecordReader(source, config, columns)


def _by_frequency(gathered: GatheredRecords, train: LabelledPart) -> tuple[str, ...]:
    """The labels of the training part, the most frequent first."""
    counts = np.bincount(train.labels, minlength=len(gathered.labels)).tolist()
    found = [(-count, label) for label, count in zip(gathered.labels, counts, strict=True) if count]
    return tuple(label for _, label in sorted(found))


def _check_labels(
    training: GatheredRecords, train: LabelledPart, name: str, notes: list[str], *, learned: bool
) -> None:
    """Raise `CharrnnError` unless the labels can be learned; a remark if that is doubtful."""
    found, records = len(training.labels), training.texts.count
    if found > MANY_LABELS and 2 * found > records:
        if all(map(_is_number, training.labels)):
            raise CharrnnError(
                f"{name}: the labels look like numbers, and {found:,} of {records:,} records are different; "
                "did you mean the task forecast? To classify, give each label several records"
            )
        notes.append(f"{found:,} different labels for {records:,} records: are text and label interchanged?")
    if learned and (classes := len(np.unique(train.labels))) < 2:
        only = next(label for label, number in training.labels.items() if number == train.labels[0])
        held_out = "; `val_fraction` 0 would add what is held out" if found > classes else ""
        raise CharrnnError(
            f"{name}: all records to train on have the label {shown(only)}; there must be two different ones{held_out}"
        )


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True

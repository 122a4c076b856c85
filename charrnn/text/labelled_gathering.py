"""Gathering texts with labels, and the part of a corpus that they become."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.settings import listed
from charrnn.text.coding import Coder
from charrnn.text.fields import shown
from charrnn.text.gathering import CHUNK_RECORDS, SHOWN_LABELS, GatheredTexts, ids_of
from charrnn.text.holdout import LineSplit
from charrnn.text.labelled import Record, RecordReader

UNKNOWN_LABEL = -1


@dataclass
class LabelledPart:
    """Texts, one after the other, with a label each.

    ids (tokens): of the smallest unsigned integer type. offsets (records + 1): record n is ids[offsets[n] :
    offsets[n + 1]], one unit or more. labels (records) int32: the numbers of the labels, -1 where they are unknown.
    logits (records, labels): those of another model, to which a network adds its own; None: there is no other.
    """

    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int32]
    logits: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """The number of records."""
        return len(self.labels)

    @functools.cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of units of each record (records)."""
        return np.diff(self.offsets)

    def followed_by(self, other: LabelledPart) -> LabelledPart:
        """The records of both parts, without logits."""
        return LabelledPart(
            np.concatenate([self.ids, other.ids]),
            np.append(self.offsets, other.offsets[1:] + self.offsets[-1]),
            np.append(self.labels, other.labels),
        )

    def sizes(self) -> dict[str, Any]:
        """Records, tokens, and records of unknown labels, for logs and checkpoints."""
        unknown = int((self.labels == UNKNOWN_LABEL).sum())
        return {"records": len(self), "tokens": len(self.ids), "unknown_labels": unknown}


class GatheredRecords:
    """The records of some files: their codes one after the other, the lengths, and the numbers of their labels.

    Labels are numbered in the order of their first appearance. With `known`, another label is an error.
    """

    def __init__(self, coder: Coder, split: LineSplit | None, known: Collection[str] | None = None) -> None:
        self.labels: dict[str, int] = {}
        self.texts = GatheredTexts(coder, split)
        self._known = known
        self._numbers: list[NDArray[np.int32]] = []

    def read(self, reader: RecordReader, notes: list[str], table: bool = False) -> str:
        """Add the records of a file, and remarks on it to `notes`; returns its digest."""
        records = iter(reader)
        first = None
        counts: Counter[str] = Counter()
        while chunk := list(islice(records, CHUNK_RECORDS)):
            first = first or chunk[0]
            counts.update(record.label for record in chunk)
            self._add(chunk)
        notes.extend(f"{reader.name}: {remark}" for remark in reader.remarks())
        if table and first is not None and first.line == 1 and counts[first.label] == 1:
            notes.append(
                f"{reader.name}: the first line is read as a record, and no other has its label {shown(first.label)}; "
                "if it is a header, give `columns` by name"
            )
        return reader.digest.sha256.hexdigest()

    def _add(self, chunk: list[Record]) -> None:
        if self._known is not None:
            for record in chunk:
                if record.label not in self._known:
                    known = listed([*map(shown, self._known)], SHOWN_LABELS)
                    raise CharrnnError(
                        f"{record.name}, line {record.line}: the label {shown(record.label)} is not one of the "
                        f"{len(self._known)} of the model to start from ({known}); train a new model"
                    )
        numbers = [self.labels.setdefault(record.label, len(self.labels)) for record in chunk]
        self.texts.add([record.text for record in chunk])
        self._numbers.append(np.array(numbers, np.int32))

    def take(self, chosen: NDArray[np.bool_], max_length: int = 0) -> tuple[LabelledPart, int]:
        """The chosen records (records), with codes in place of ids, and how many of them were cut to `max_length`."""
        codes, offsets, cut = self.texts.take(chosen, max_length)
        return LabelledPart(codes, offsets, np.concatenate(self._numbers)[chosen]), int(cut.sum())

    def encoded(self, part: LabelledPart, ids: NDArray[np.unsignedinteger], labels: Sequence[str]) -> LabelledPart:
        """What `take` returned with ids in place of codes, and labels numbered as in `labels`, -1 for others.

        ids (coder.size): of each code.
        """
        numbers = {label: number for number, label in enumerate(labels)}
        table = np.array([numbers.get(label, UNKNOWN_LABEL) for label in self.labels], np.int32)
        return LabelledPart(ids_of(part.ids, ids), part.offsets, table[part.labels])

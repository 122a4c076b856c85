"""`charrnn score` of a classifier: how probable the label of each record is, and figures over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.predict_labels import warn_of_long
from charrnn.cli.record_lines import columns_of, hint_of, read_records
from charrnn.cli.score_output import json_text
from charrnn.cli.score_writer import json_line, note_empty, tsv, write_scores
from charrnn.config import TextConfig
from charrnn.tasks import label_figures
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_classifier import TrainedClassifier
from charrnn.text.fields import LineStream
from charrnn.text.labelled import RecordReader
from charrnn.text.labelled_gathering import UNKNOWN_LABEL
from charrnn.text.reader import BYTES_AS_TEXT


class LabelScore(NamedTuple):
    """A record: its line, its text and label, the label's number and log-probability in nats, and the predicted number.

    An unknown label has the number -1 and no log-probability.
    """

    line: Line
    text: bytes
    label: str
    true: int
    logprob: float | None
    predicted: int


@dataclass
class LabelSummary:
    """The figures of many scores; a record takes eight bytes."""

    labels: tuple[str, ...]
    logprob: float = 0.0
    records: int = 0
    unknown: int = 0
    _true: list[NDArray[np.int32]] = field(default_factory=list)
    _predicted: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, scores: list[LabelScore]) -> None:
        """Add the scores of a chunk."""
        known = [score.logprob for score in scores if score.logprob is not None]
        self.logprob = math.fsum([self.logprob, *known])
        self.records += len(scores)
        self.unknown += len(scores) - len(known)
        self._true.append(np.array([score.true for score in scores], np.int32))
        self._predicted.append(np.array([score.predicted for score in scores], np.int32))

    def as_dict(self, log_unit: float) -> dict[str, Any]:
        """A JSON object. `log_loss` is over the records whose label is known. What no record says is None."""
        none = np.zeros(0, np.int32)
        true, predicted = np.concatenate([none, *self._true]), np.concatenate([none, *self._predicted])
        count = len(self.labels)
        names = ("accuracy", "macro_f1", "baseline_accuracy")
        figures: dict[str, Any] = dict.fromkeys(names)
        if self.records:
            figures = {**label_figures.figures(true, predicted, count)}
        known = self.records - self.unknown
        return {
            "records": self.records,
            "accuracy": figures["accuracy"],
            "macro_f1": figures["macro_f1"],
            "log_loss": -self.logprob / known / log_unit + 0.0 if known else None,
            "baseline_accuracy": figures["baseline_accuracy"],
            "unknown_labels": self.unknown,
            "labels": label_figures.by_label(true, predicted, self.labels) if self.records else {},
        }


def write(model: TrainedClassifier, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each record, or with --summary one JSON object; warn of unknown labels.

    Raises CharrnnError at a line that is no record, after the lines before it have been written.
    """
    total = LabelSummary(model.labels)
    draw = _json_line if asked.format == "jsonl" else _tsv

    def lines() -> Iterator[Iterable[bytes | str]]:
        for scores in _scored(model, records(model, chunks, asked)):
            total.add(scores)
            yield (draw(score, asked.log_unit) for score in scores)

    write_scores(lines(), lambda: total.as_dict(asked.log_unit), asked)
    note_empty(asked, total.records)
    if total.unknown:
        streams.warn(f"records whose label the model does not know: {total.unknown:,}")


def _scored(
    model: TrainedClassifier, chunks: Iterable[list[tuple[Line, bytes, str]]]
) -> Iterator[list[LabelScore]]:  # fmt: skip
    """The scores of each chunk of records: line, text and label."""
    numbers = {label: number for number, label in enumerate(model.labels)}
    warned = False
    for found in chunks:
        texts = [text for _, text, _ in found]
        warned = warned or warn_of_long(model, texts)
        values = model.log_probs(texts)
        best = values.argmax(axis=1).tolist()
        scores = []
        for row, ((line, text, label), predicted) in enumerate(zip(found, best, strict=True)):
            true = numbers.get(label, UNKNOWN_LABEL)
            logprob = None if true == UNKNOWN_LABEL else float(values[row, true])
            scores.append(LabelScore(line, text, label, true, logprob, predicted))
        yield scores


def records(
    model: TrainedClassifier, chunks: Iterable[list[Line]], asked: Asked
) -> Iterator[list[tuple[Line, bytes, str]]]:  # fmt: skip
    """Line, text and label of the records, see `read_records`."""
    columns = columns_of(asked, model.sides.records.columns)
    hint = hint_of(
        asked, columns, "charrnn predict needs no label", "--columns 2,1 reads a label, a TAB and a text"
    )  # fmt: skip

    def reader(lines: LineStream) -> RecordReader:
        return RecordReader(lines, TextConfig(), columns)

    for found in read_records(reader, chunks, asked.name, unit=model.vocabulary.unit, hint=hint):
        yield [(line, record.text.encode(BYTES_AS_TEXT), record.label) for line, record in found]


def _tsv(score: LabelScore, log_unit: float) -> bytes:
    """One line of fields, the record last. The label is the one token."""
    return tsv(score.logprob, 1, score.line.data if score.line.whole is None else score.line.whole, log_unit)


def _json_line(score: LabelScore, log_unit: float) -> bytes:
    """One JSON object on a line."""
    members = streams.encode(json_line(score.logprob, 1, log_unit, label=score.label)[:-2])
    return b"".join(chain((members, b', "text": '), json_text(score.text), (b"}\n",)))

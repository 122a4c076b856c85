"""`charrnn score` of a classifier: how probable the label of each record is, and figures over all of them."""

from __future__ import annotations

import json
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
from charrnn.cli.score_output import json_text, number
from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError
from charrnn.tasks import label_figures
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_classifier import TrainedClassifier
from charrnn.text.fields import SPACES, TAB, shown
from charrnn.text.gathering import UNKNOWN_LABEL
from charrnn.text.labelled import FIRST_WORD, PREFIX

HEADER = b"logprob\ttokens\trecord\n"
_ANY_BYTE = "latin-1"  # a character for each byte: ASCII white space is found, whatever the encoding


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
        """A JSON object. `log_loss` is over the records whose label is known; where there are none, that of chance."""
        none = np.zeros(0, np.int32)
        true, predicted = np.concatenate([none, *self._true]), np.concatenate([none, *self._predicted])
        count = len(self.labels)
        names = ("accuracy", "macro_f1", "baseline_accuracy")
        figures = label_figures.figures(true, predicted, count) if len(true) else dict.fromkeys(names, 0.0)
        known = self.records - self.unknown
        return {
            "records": self.records,
            "accuracy": figures["accuracy"],
            "macro_f1": figures["macro_f1"],
            "log_loss": (-self.logprob / known if known else math.log(count)) / log_unit + 0.0,
            "baseline_accuracy": figures["baseline_accuracy"],
            "unknown_labels": self.unknown,
            "labels": label_figures.by_label(true, predicted, self.labels),
        }


def write(model: TrainedClassifier, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each record, or with --summary one JSON object; warn of unknown labels.

    Raises CharrnnError at a line that is no record, after the lines before it have been written.
    """
    total = LabelSummary(model.labels)
    with streams.Output() as out:
        if asked.header:
            out.write(HEADER)
        for scores in _scored(model, chunks):
            total.add(scores)
            if asked.summary:
                continue
            for score in scores:
                piece = _json_line(score, asked.log_unit) if asked.format == "jsonl" else _tsv(score, asked.log_unit)
                out.write(visible(piece.decode("utf-8", "replace"), keep="\t\n") if out.terminal else piece)
            out.flush()
        if asked.summary:
            found = total.as_dict(asked.log_unit)
            text = json.dumps(found, ensure_ascii=False, allow_nan=False)
            out.write((visible(text) if out.terminal else text) + "\n")
    if asked.summary and not total.records:
        streams.note("the input is empty: nothing was scored, and the zeros say nothing")
    if total.unknown:
        streams.warn(f"records whose label the model does not know: {total.unknown:,}")


def _scored(model: TrainedClassifier, chunks: Iterable[list[Line]]) -> Iterator[list[LabelScore]]:
    """The scores of each chunk of records."""
    numbers = {label: number for number, label in enumerate(model.labels)}
    warned = False
    invalid = "backslashreplace" if model.vocabulary.unit == "byte" else "replace"  # as in training
    for found in _parsed(chunks, invalid):
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


def _parsed(chunks: Iterable[list[Line]], invalid: str) -> Iterator[list[tuple[Line, bytes, str]]]:
    """Line, text and label of each record; `invalid` is how bytes of labels that are not UTF-8 are decoded.

    Blank lines are skipped, as in training.
    """
    count = blank = 0
    for chunk in chunks:
        found: list[tuple[Line, bytes, str]] = []
        for line in chunk:
            count += 1
            data = line.data.decode(_ANY_BYTE)
            if not data.strip(SPACES):
                blank += 1
                continue
            split = _prefixed(data) if data.lstrip(SPACES).startswith(PREFIX) else _tabbed(data)
            if split is None:
                if found:
                    yield found
                what = "has no TAB" if TAB not in data else "has no label"
                raise CharrnnError(
                    f"line {count} {what}: {shown(line.data.decode('utf-8', 'replace'))}; a record is a label, a TAB "
                    f"and a text, or {PREFIX}x and a text (charrnn predict needs no label)"
                )
            label, text = (part.encode(_ANY_BYTE) for part in split)
            found.append((line, text, label.decode("utf-8", invalid)))
        if found:
            yield found
    if blank:
        streams.note(f"blank lines were skipped: {blank:,}")


def _tabbed(line: str) -> tuple[str, str] | None:
    """Label and text of `label TAB text`."""
    label, tab, text = line.partition(TAB)
    return (label.strip(SPACES), text) if tab and label.strip(SPACES) else None


def _prefixed(line: str) -> tuple[str, str] | None:
    """Label and text of `__label__x text`."""
    match = FIRST_WORD.fullmatch(line)
    assert match is not None
    label, text = match.groups()
    return (label[len(PREFIX) :], text) if label != PREFIX else None


def _tsv(score: LabelScore, log_unit: float) -> bytes:
    """One line of fields, the record last; without a logprob the first is empty. The label is the one token."""
    logprob = "" if score.logprob is None else number(score.logprob / log_unit)
    whole = score.line.data if score.line.whole is None else score.line.whole
    return f"{logprob}\t1\t".encode() + whole + b"\n"


def _json_line(score: LabelScore, log_unit: float) -> bytes:
    """One JSON object on a line; the logprob of an unknown label is null."""
    logprob = None if score.logprob is None else score.logprob / log_unit + 0.0
    values = {"logprob": logprob, "tokens": 1, "label": score.label}
    members = streams.encode(json.dumps(values, ensure_ascii=False, allow_nan=False)[:-1])
    return b"".join(chain((members, b', "text": '), json_text(score.text), (b"}\n",)))

"""`charrnn score` for classifiers: log P(label | text) of records, and the figures of --summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.cli import streams
from charrnn.cli.score_output import number
from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError
from charrnn.tasks import label_figures

if TYPE_CHECKING:
    from charrnn.tasks.score_records import Line
    from charrnn.tasks.trained_classifier import TrainedClassifier

PREFIX = b"__label__"
UNKNOWN = -1


def score_labels(
    model: TrainedClassifier, chunks: Iterable[list[Line]], *, summary: bool, format: str, log_unit: float, header: bool
) -> None:  # fmt: skip
    """Write `logprob TAB tokens TAB record` for each record, or one JSON object with the figures of all.

    The log-probability of a label that the model does not know is empty (null in jsonl): it has none.
    """
    numbers = {label: n for n, label in enumerate(model.labels)}
    true: list[int] = []
    predicted: list[int] = []
    total = 0.0
    with streams.Output() as out:
        if header and not summary:
            out.write("logprob\ttokens\trecord\n")
        for chunk, pairs in _records(chunks):
            values = model.log_probs([text for _, text in pairs])
            for line, (label, text), row in zip(chunk, pairs, values, strict=True):
                place = numbers.get(label, UNKNOWN)
                logprob = None if place == UNKNOWN else float(row[place])
                true.append(place)
                predicted.append(int(row.argmax()))
                total += logprob or 0.0
                if not summary:
                    piece = _record(line, label, text, logprob, format, log_unit)
                    out.write(visible(piece.decode("utf-8", "replace"), keep="\t\n") if out.terminal else piece)
            out.flush()
        if unknown := true.count(UNKNOWN):
            streams.warn(f"records whose label the model does not know: {unknown:,}")
        if summary:
            out.write(json.dumps(_figures(model, true, predicted, total), ensure_ascii=False, allow_nan=False) + "\n")


def _records(chunks: Iterable[list[Line]]) -> Iterator[tuple[list[Line], list[tuple[str, bytes]]]]:
    """Each chunk with label and text of its lines: `label TAB text`, or `__label__x text`."""
    count = 0
    for chunk in chunks:
        pairs = []
        for line in chunk:
            count += 1
            if line.data.startswith(PREFIX):
                label, _, text = line.data.removeprefix(PREFIX).partition(b" ")
            else:
                label, tab, text = line.data.partition(b"\t")
                if not tab:
                    raise CharrnnError(
                        f"line {count} has no TAB; a record is: label TAB text (charrnn predict needs no label)"
                    )
            pairs.append((label.decode("utf-8", "replace"), text))
        yield chunk, pairs


def _record(line: Line, label: str, text: bytes, logprob: float | None, format: str, log_unit: float) -> bytes:
    scaled = None if logprob is None else logprob / log_unit
    if format == "jsonl":
        found = {"logprob": scaled, "tokens": 1, "label": label, "text": text.decode("utf-8", "replace")}
        return json.dumps(found, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return ("" if scaled is None else number(scaled)).encode() + b"\t1\t" + line.data + b"\n"


def _figures(model: TrainedClassifier, true: list[int], predicted: list[int], total: float) -> dict[str, Any]:
    """The object of --summary."""
    found, chosen = np.array(true, np.int32), np.array(predicted, np.int32)
    known = int((found >= 0).sum())
    if not true:
        streams.note("the input is empty: nothing was scored, and the zeros say nothing")
        return {"records": 0}
    figures = label_figures.figures(found, chosen, len(model.labels))
    return {
        "records": len(true),
        **{name: figures[name] for name in ("accuracy", "macro_f1")},
        "log_loss": -total / known if known else None,
        "baseline_accuracy": figures["baseline_accuracy"],
        "unknown_labels": len(true) - known,
        "labels": label_figures.by_label(found, chosen, model.labels),
    }

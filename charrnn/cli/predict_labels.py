"""`charrnn predict` of a classifier: the most probable label of each line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.score_output import json_text, number
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_classifier import Prediction, TrainedClassifier

HEADER, HEADER_OF_SEVERAL = b"label\tprobability\ttext\n", b"labels\ttext\n"
# In a field of tsv; a label from a table may have them.
_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


def write(model: TrainedClassifier, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the label of each line as soon as it is read."""
    draw = _json_line if asked.format == "jsonl" else _tsv
    with streams.Output() as out:
        if asked.header:
            out.write(HEADER if asked.best is None else HEADER_OF_SEVERAL)
        for records in _records(model, chunks, asked.best or 1):
            for line, found in records:
                pieces = draw(line, found, asked.best is not None)
                for piece in pieces:
                    out.show(piece)
            out.flush()


def warn_of_long(model: TrainedClassifier, texts: Iterable[bytes]) -> bool:
    """Whether one of the texts is longer than the model reads, of which there is a warning."""
    long = not all(map(model.reads_whole, texts))
    if long:
        streams.warn(f"of a text the first {model.longest:,} units are read, and there is a longer one")
    return long


def _records(
    model: TrainedClassifier, chunks: Iterable[list[Line]], count: int
) -> Iterator[Iterable[tuple[Line, Prediction]]]:
    """The lines of each chunk with their predictions; only one chunk is in memory at a time."""
    warned = False
    for chunk in chunks:
        texts = [line.data for line in chunk]
        warned = warned or warn_of_long(model, texts)
        yield zip(chunk, model.predict(texts, count=count), strict=True)


def _tsv(line: Line, found: Prediction, several: bool) -> Iterable[bytes]:
    """`label TAB probability TAB text`, or with `several` labels `label:probability … TAB text`.

    The text is the bytes that were read, with their tabs.
    """
    pairs = zip((label.translate(_ESCAPES) for label in found.labels), map(number, found.probabilities), strict=True)
    fields = " ".join(map(":".join, pairs)) if several else "\t".join(next(pairs))
    return (streams.encode(f"{fields}\t") + (line.data if line.whole is None else line.whole) + b"\n",)


def _json_line(line: Line, found: Prediction, several: bool) -> Iterable[bytes]:
    """One JSON object on a line, in pieces. Where a field was labelled, `line` is the whole line."""
    values: dict[str, Any] = {"label": found.label, "probability": found.probability}
    if several:
        pairs = zip(found.labels, found.probabilities, strict=True)
        values["labels"] = [{"label": label, "probability": probability} for label, probability in pairs]
    members = json.dumps(values, ensure_ascii=False, allow_nan=False)[1:-1]
    whole = () if line.whole is None else chain((b', "line": ',), json_text(line.whole))
    return chain((b'{"text": ',), json_text(line.data), (streams.encode(f", {members}"),), whole, (b"}\n",))

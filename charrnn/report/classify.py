"""The sections of a classifier: what it confuses, whether it knows, and what it looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.report import page
from charrnn.report.calibration import calibration
from charrnn.report.page import Item, Section
from charrnn.report.text import by_support, percent, visible
from charrnn.tasks import label_figures
from charrnn.tasks.trained_classifier import TrainedClassifier
from charrnn.text.packing import pack

MOST_RECORDS = 5000
MOST_UNITS = 600_000  # of all records together
MOST_LABELS = 25  # of the matrix
WRONG = 12  # records that are most certain and wrong
ATTENDED = 8  # records whose pooling is shown
SHOWN = 300  # units of one
EXPLAINED = {
    "attention": "Attention weighs the state of every unit before they are added up: the darker, the larger its part.",
    "max": "Of every number, the pooling takes the largest over the text: the darker, the more come from there.",
}

Ints = npt.NDArray[np.int64]
Record = tuple[bytes, str]


def sections(model: TrainedClassifier, records: Sequence[Record] | None, seed: int) -> Iterator[Section]:
    """See `report.sections`; records are texts with their labels."""
    if records is None:
        return
    some = _bounded(records)
    texts = [text for text, _ in some]
    numbers = {label: n for n, label in enumerate(model.labels)}
    true = np.array([numbers.get(label, -1) for _, label in some], np.int64)
    log_probs = model.log_probs(texts)
    best = log_probs.argmax(axis=1)
    sure = np.exp(log_probs.max(axis=1))
    found = label_figures.figures(true.astype(np.int32), best.astype(np.int32), len(model.labels))
    introduction = (
        f"{len(some):,} records: {percent(found['accuracy'])} have the right label; always saying "
        f"{visible(model.labels[0], 40)} would give {percent(found['baseline_accuracy'])}."
    )
    items = [_matrix(model, true, best), _by_label(model, true, best), calibration(sure, best == true, "label")]
    yield Section("How it does on held-out records", introduction, [*items, *_wrong(model, some, best, sure, true)])
    yield from _attended(model, texts, best, true)


def _bounded(records: Sequence[Record]) -> list[Record]:
    """The first records."""
    some: list[Record] = []
    total = 0
    for text, label in records[:MOST_RECORDS]:
        total += len(text)
        if some and total > MOST_UNITS:
            break
        some.append((text, label))
    return some


def _matrix(model: TrainedClassifier, true: Ints, best: Ints) -> Item:
    """How often each label was taken for which."""
    counts = np.zeros((len(model.labels), len(model.labels)), np.int64)
    np.add.at(counts, (true[true >= 0], best[true >= 0]), 1)
    order = np.argsort(-(counts.sum(axis=0) + counts.sum(axis=1)), kind="stable")[:MOST_LABELS]
    shown = counts[np.ix_(order, order)]
    shares = shown / np.maximum(counts[order].sum(axis=1, keepdims=True), 1)
    names = [visible(model.labels[n], 30) for n in order]
    left = "" if len(order) == len(counts) else f" Shown are the {len(order)} most frequent labels of {len(counts):,}."
    return page.matrix(
        "Confusion matrix",
        "A row is the right label, a column what the model said; the darker, the larger the share of the row. All that "
        f"is not on the diagonal is an error.{left}",
        names, names, [[f"{n}" if n else "" for n in row] for row in shown.tolist()],
        [[page.heat(value) for value in row] for row in shares.tolist()], "right \\ said",
    )  # fmt: skip


def _by_label(model: TrainedClassifier, true: Ints, best: Ints) -> Item:
    """Precision, recall and F1."""
    found = label_figures.by_label(true.astype(np.int32), best.astype(np.int32), model.labels)
    return page.table(
        "By label",
        "Precision: of the records that were given the label, how many have it. Recall: of those that have it, how "
        "many were found; F1 is the harmonic mean of both, all in percent.",
        ("label", "precision", "recall", "F1", "records"), by_support(found),
    )  # fmt: skip


def _wrong(
    model: TrainedClassifier, records: Sequence[Record], best: Ints, sure: npt.NDArray[np.float64], true: Ints
) -> Iterator[Item]:  # fmt: skip
    """The records that are most certain and wrong."""
    wrong = np.flatnonzero(best != true)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:WRONG].tolist()
    if worst:
        rows = [
            (
                visible(_text(records[n][0]), 200), visible(records[n][1], 40), visible(model.labels[best[n]], 40),
                percent(float(sure[n])),
            )
            for n in worst
        ]  # fmt: skip
        yield page.table(
            "Most certain, and wrong",
            "Where the model was surest of a wrong label. Read them first: often the label in the data is the mistake.",
            ("text", "label", "said", "sure"), rows, texts=3,
        )  # fmt: skip


def _text(data: bytes) -> str:
    return data[:2000].decode("utf-8", "replace")


def _attended(model: TrainedClassifier, texts: Sequence[bytes], best: Ints, true: Ints) -> Iterator[Section]:
    """What the pooling attends to, in some records that are right and some that are wrong."""
    if model.network.pooling.mode not in EXPLAINED:
        return
    usable = [n for n, text in enumerate(texts) if 0 < len(text) <= 2000]
    right = [n for n in usable if best[n] == true[n]]
    wrong = [n for n in usable if best[n] != true[n]]
    chosen = right[: ATTENDED - min(len(wrong), ATTENDED // 2)] + wrong[: ATTENDED // 2]
    found = []
    for n in chosen:
        units, weights = _weights(model, texts[n])
        values = weights / max(float(weights.max()), 1e-9)
        shown = [visible(unit, 80, keep="\t\n") for unit in units[:SHOWN]]
        said = "right" if best[n] == true[n] else "wrong"
        found.append((f"{visible(model.labels[best[n]], 40)} ({said})", page.runs(shown, values[:SHOWN].tolist())))
    if found:
        yield Section("What the pooling attends to", "", [
            page.painted(
                "Where the label comes from",
                EXPLAINED[model.network.pooling.mode]
                + " The state of a unit knows its neighbours as well, so that it may sit beside the word that matters.",
                found,
            )
        ])  # fmt: skip


def _weights(model: TrainedClassifier, text: bytes) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The units of a text, and how much of the pooled vector comes from each."""
    vocabulary, network = model.vocabulary, model.network
    read = text if vocabulary.unit == "byte" else text.decode("utf-8", "replace")
    ids = np.asarray(vocabulary.encode(read)[: model.longest], np.int32)
    batch, places = pack([ids], None)
    step, row = (int(place) for place in places[0])
    with network.lock:
        network.log_probs(batch)
        pooling = network.pooling
        first, last = int(pooling.first[step, row]), int(pooling.last[step, row])
        if pooling.mode == "attention":
            weights = pooling.attention_weights[first : last + 1, row].astype(np.float64)
        else:
            weights = np.bincount(pooling.largest[step, row] - first, minlength=last + 1 - first).astype(np.float64)
    units = [unit if vocabulary.unit != "byte" else f"{unit} " for unit in vocabulary.split(read)]
    return units[: len(ids)], weights[: len(ids)]

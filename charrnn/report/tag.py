"""The sections of a tagger: figures by type, and errors in their context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from charrnn.report import draw, page
from charrnn.report.page import Item, Section
from charrnn.report.text import by_support, percent, visible
from charrnn.tasks.label_figures import by_label
from charrnn.tasks.tag_figures import TagFigures
from charrnn.tasks.trained_tagger import Analysis, TrainedTagger

MOST_SENTENCES = 3000
MOST_TOKENS = 60_000
ERRORS = 25  # that are shown
CONTEXT = 6  # tokens before and after
CONFUSIONS = 12

Sentence = tuple[list[str], list[str]]


def sections(model: TrainedTagger, records: Sequence[Sentence] | None, seed: int) -> Iterator[Section]:
    """See `report.sections`; records are tokens with their tags."""
    if records is None:
        return
    some = _bounded(records)
    analyses = model.analyse([tokens for tokens, _ in some])
    figures = _figures(model, some, analyses)
    found = figures.as_dict()
    spans = f"; F1 of spans {percent(found['f1'])}" if "f1" in found else ""
    introduction = (
        f"{len(some):,} sentences, {found['tokens']:,} tokens: {percent(found['accuracy'])} have the right tag{spans}. "
        f"The usual tag of each word would give {percent(found['baseline_accuracy'])}."
    )
    items = [_by_type(model, some, analyses, found), _known(found)]
    items += [*_confusions(model, some, analyses), *_errors(model, some, analyses)]
    yield Section("How it does on held-out sentences", introduction, items)


def _bounded(records: Sequence[Sentence]) -> list[Sentence]:
    """The first sentences."""
    some: list[Sentence] = []
    total = 0
    for record in records[:MOST_SENTENCES]:
        total += len(record[0])
        if some and total > MOST_TOKENS:
            break
        some.append(record)
    return some


def _figures(model: TrainedTagger, records: Sequence[Sentence], analyses: Sequence[Analysis]) -> TagFigures:
    """The figures over all sentences; tags that the model has not have numbers below 0."""
    figures = TagFigures(model.tagset)
    numbers = {label: n for n, label in enumerate(model.labels)}
    others: dict[str, int] = {}
    tags = (tag for _, sentence in records for tag in sentence)
    true = [numbers[tag] if tag in numbers else others.setdefault(tag, -1 - len(others)) for tag in tags]
    figures.others = list(others)
    figures.add(
        np.array(true, np.int32), np.concatenate([one.best for one in analyses]),
        np.concatenate([one.ids for one in analyses]), np.array([len(tokens) for tokens, _ in records], np.int64),
    )  # fmt: skip
    return figures


def _by_type(
    model: TrainedTagger, records: Sequence[Sentence], analyses: Sequence[Analysis], found: dict[str, object]
) -> Item:  # fmt: skip
    """Precision, recall and F1 by type of span, or by tag."""
    spans = found.get("spans")
    if not isinstance(spans, dict):
        numbers = {label: n for n, label in enumerate(model.labels)}
        true = np.array([numbers.get(tag, -1) for _, tags in records for tag in tags], np.int32)
        spans = by_label(true, np.concatenate([one.best for one in analyses]), model.labels)
    return page.table(
        "By type",
        "Precision: of those that were found, how many are right. Recall: of those that are there, how many were "
        "found; a span counts only if its first and last word and its type are right (all in percent).",
        ("type", "precision", "recall", "F1", "there"), by_support(spans),
    )  # fmt: skip


def _known(found: dict[str, float]) -> Item:
    """Accuracy on known and unknown words."""
    unknown = found["unknown_words"]
    names, values = ["all words", "baseline"], [found["accuracy"], found["baseline_accuracy"]]
    if unknown:
        right = found["accuracy"] * found["tokens"] - found["accuracy_unknown"] * unknown
        known = right / max(found["tokens"] - unknown, 1)
        names, values = [*names, "known", "unknown"], [*values, known, found["accuracy_unknown"]]
    return page.figure(
        "Known and unknown words",
        f"The share of right tags, beside the baseline that gives every word its usual tag. {unknown:,.0f} words were "
        "not in the training text: there the network has only their letters and neighbours to go by.",
        draw.bars(names, values, "words", "share of right tags"),
    )  # fmt: skip


def _confusions(model: TrainedTagger, records: Sequence[Sentence], analyses: Sequence[Analysis]) -> Iterator[Item]:
    """The tags that are most often taken for another."""
    pairs = Counter(
        (tag, model.labels[best])
        for (_, tags), one in zip(records, analyses, strict=True)
        for tag, best in zip(tags, one.best.tolist(), strict=True)
        if tag != model.labels[best]
    )
    if pairs:
        found = pairs.most_common(CONFUSIONS)
        rows = [(visible(tag, 40), visible(said, 40), f"{count:,}") for (tag, said), count in found]
        yield page.table(
            "Most frequent confusions",
            "The right tag, what the model said, and how often. A pair that appears in both orders is a distinction "
            "that the model, or the data, draws badly.",
            ("right", "said", "times"), rows, texts=2,
        )  # fmt: skip


def _errors(model: TrainedTagger, records: Sequence[Sentence], analyses: Sequence[Analysis]) -> Iterator[Item]:
    """Errors with the words around them, evenly chosen from all."""
    places = [
        (n, place)
        for n, ((_, tags), one) in enumerate(zip(records, analyses, strict=True))
        for place, (tag, best) in enumerate(zip(tags, one.best.tolist(), strict=True))
        if tag != model.labels[best]
    ]
    chosen = places[:: max(1, -(-len(places) // ERRORS))]
    rows = []
    for n, place in chosen:
        tokens, tags = records[n]
        before, after = tokens[max(0, place - CONTEXT) : place], tokens[place + 1 : place + 1 + CONTEXT]
        both = visible(tags[place], 40), visible(model.labels[analyses[n].best[place]], 40)
        rows.append((_joined(before), visible(tokens[place], 60), _joined(after), *both))
    if rows:
        yield page.table(
            "Errors in context",
            f"{len(rows)} of {len(places):,} errors, evenly chosen: the words before, the word, the words after, its "
            "right tag and what the model said. Look for what they have in common.",
            ("before", "word", "after", "right", "said"), rows, texts=5,
        )  # fmt: skip


def _joined(tokens: Sequence[str]) -> str:
    return visible(" ".join(token[:60] for token in tokens), 160)

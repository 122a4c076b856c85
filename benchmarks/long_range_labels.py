"""Many to one over a distance: is the verb that follows singular or plural? Part of `python -m benchmarks.long_range`.

A sentence of the grammar up to its main verb, read by characters, has the number of its subject as label: up to 20
words before the end. The output is made from the last state: of one direction, or of both, each at its own end. That of
the backward one is near the subject.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from charrnn import checkpoint
from charrnn.tasks.classify import TASK
from charrnn.training.clock import stopwatch
from charrnn.training.loop import train
from charrnn.training.setup import prepare
from charrnn.training.task import Request

CELLS, HIDDEN, EMBEDDING, BATCH = ("rnn", "gru", "lstm"), 128, 32, 32
STEPS, QUICK_STEPS = 4000, 1000
FARTHEST = 20  # words from the subject to the verb
TESTED = 1000  # sentences of the longest distance; of all others together, several times as many
DISTANCES = ((1, 1), (2, 5), (6, 9), (10, 13), (14, 17), (18, 19), (FARTHEST, FARTHEST))


def longest(rules: Any) -> dict[str, Any]:
    """The grammar of the longest sentences: of each symbol the productions with most words, as probable as they were
    among themselves. These are all sentences with the farthest subject."""

    def words(symbol: str) -> int:
        if symbol not in rules:
            return 1
        return max(sum(map(words, parts)) for _, parts in rules[symbol])

    kept = {}
    for symbol, productions in rules.items():
        most = words(symbol)
        kept[symbol] = [(share, parts) for share, parts in productions if sum(map(words, parts)) == most]
    return kept


def sentences(grammar: Any, rules: Any, seed: int) -> Iterator[str]:
    """Sentences without end."""
    generator = random.Random(seed)
    while True:
        yield " ".join(grammar.sample(rules, generator)[0])


def tested(grammar: Any, rules: Any, count: int) -> dict[int, list[tuple[str, str]]]:
    """Texts and labels by distance: `count` of the farthest, and four times as many of any distance."""
    found: dict[int, list[tuple[str, str]]] = {}
    for source, number in ((rules, 4 * count), (longest(rules), count)):
        for _, sentence in zip(range(number), sentences(grammar, source, 2), strict=False):
            label, _, text = grammar.labelled(sentence).partition("\t")
            found.setdefault(grammar.agreements(sentence)[-1].distance, []).append((text, label))
    return found


def learn(cell: str, corpus: Path, steps: int, threads: int, *, bidirectional: bool) -> Any:
    """A trained classifier of one layer."""
    given = {
        **{"cell": (cell,), "layers": 1, "hidden_size": HIDDEN, "embedding_size": EMBEDDING, "unit": "char"},
        **{"bidirectional": bidirectional, "pool": "last", "ngrams": 0, "dropout": 0.0, "weight_decay": 0.01},
        **{"steps": steps, "batch_size": BATCH, "learning_rate": 0.003, "val_fraction": 0.0, "precision": "float32"},
    }
    output = corpus.with_name("model.safetensors")
    request = Request([str(corpus)], output, given, threads=threads, cache=corpus.parent)
    for _ in train(*prepare(TASK, request, stopwatch())):
        pass
    return TASK.trained(checkpoint.load(output, TASK.format), threads=threads, precision="float32")


def accuracies(model: Any, texts: dict[int, list[tuple[str, str]]]) -> list[tuple[int, float]]:
    """Of each range of `DISTANCES`: how many texts there are, and the share whose label is right."""
    found = []
    for low, high in DISTANCES:
        chosen = [pair for distance, pairs in texts.items() if low <= distance <= high for pair in pairs]
        predicted = model.predict([text for text, _ in chosen])
        right = [one.label == label for one, (_, label) in zip(predicted, chosen, strict=True)]
        found.append((len(right), float(np.mean(right)) if right else float("nan")))
    return found


def many_to_one(
    grammar: Any, folder: Path, steps: int, threads: int, *, quick: bool
) -> tuple[list[str], list[list[str]]]:  # fmt: skip
    """The columns and the rows of a table: accuracy by distance, of each cell in one direction and in two."""
    rules = grammar.build()
    texts = tested(grammar, rules, TESTED // 4 if quick else TESTED)
    corpus = folder / "number.tsv"
    count = steps * BATCH // 4  # each is read four times
    lines = zip(range(count), sentences(grammar, rules, 1), strict=False)
    corpus.write_text("".join(f"{grammar.labelled(sentence)}\n" for _, sentence in lines))
    columns, shares = ["words", "sentences"], []
    for cell in CELLS:
        for bidirectional in (False, True):
            columns.append(f"{cell}, both" if bidirectional else cell)
            shares.append(accuracies(learn(cell, corpus, steps, threads, bidirectional=bidirectional), texts))
    rows = []
    for n, (low, high) in enumerate(DISTANCES):
        counted = shares[0][n][0]
        words = f"{low}" if low == high else f"{low}-{high}"
        rows.append([words, f"{counted:,}", *(f"{share[n][1]:.1%}" if counted else "-" for share in shares)])
    return columns, rows

"""Figures of outputs beside references: exact match, errors by unit, BLEU and chrF."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def edit_distance(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many units must be inserted, deleted or replaced to turn one sequence into the other.

    Levenshtein 1966, "Binary codes capable of correcting deletions, insertions, and reversals".
    """
    numbers: dict[Hashable, int] = {}
    first, second = (
        np.array([numbers.setdefault(unit, len(numbers)) for unit in units], np.int64) for units in (one, other)
    )
    places = np.arange(len(second) + 1)
    row: NDArray[np.int64] = places
    for count, unit in enumerate(first.tolist(), 1):
        new = np.minimum(row + 1, np.append(count, row[:-1] + (second != unit)))
        row = np.minimum.accumulate(new - places) + places  # insertions
    return int(row[-1])


def unit_errors(output: Sequence[Hashable], references: Sequence[Sequence[Hashable]]) -> tuple[int, int]:
    """The distance of an output from the nearest of its references, and the units of that one."""
    return min((edit_distance(output, reference), len(reference)) for reference in references)


def output_errors(
    outputs: Iterable[tuple[Sequence[Hashable], Sequence[Sequence[Hashable]]]],
) -> dict[str, float]:
    """`exact_match`: the share of outputs, each with its references, that equal one of these; `token_error_rate`: the
    errors of all outputs, each beside the nearest of its references, divided by the units of these."""
    count = exact = errors = units = 0
    for output, references in outputs:
        wrong, length = unit_errors(output, references)
        count, exact, errors, units = count + 1, exact + (wrong == 0), errors + wrong, units + length
    return {"exact_match": exact / max(1, count), "token_error_rate": errors / max(1, units)}


def corpus_figures(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """BLEU and chrF of outputs, each with one reference or more, and their signatures, by the package sacrebleu; all
    None without it.

    Post 2018, "A call for clarity in reporting BLEU scores", doi:10.18653/v1/W18-6319; Popović 2015, "chrF: character
    n-gram F-score for automatic MT evaluation", doi:10.18653/v1/W15-3049.
    """
    names = ("bleu", "chrf", "bleu_signature", "chrf_signature")
    try:
        metrics: Any = importlib.import_module("sacrebleu.metrics")
    except ImportError:
        return dict.fromkeys(names)
    if not outputs:
        return dict.fromkeys(names)
    most = max(map(len, references))
    columns = [[(own[n] if n < len(own) else None) for own in references] for n in range(most)]
    found: dict[str, Any] = {}
    for name, metric in (("bleu", metrics.BLEU()), ("chrf", metrics.CHRF())):
        found[name] = float(metric.corpus_score(list(outputs), columns).score)
        found[f"{name}_signature"] = str(metric.get_signature())
    return {name: found[name] for name in names}

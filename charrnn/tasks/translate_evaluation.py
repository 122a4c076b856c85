"""Evaluation of a translator on pairs: how probable their targets are, and how its own outputs differ from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.tasks.translate_figures import unit_errors
from charrnn.text.pair_batches import evaluation_pairs, source_of
from charrnn.text.pair_corpus import PairPart, most_units
from charrnn.training.task import Metrics

if TYPE_CHECKING:
    from charrnn.models.translator import Translator

DECODED = 500  # records, at most, whose sources are decoded where there is a limit of units
AT_ONCE = 1000  # sources


def evaluate(network: Translator, part: PairPart, limit: int | None) -> Metrics:
    """As loss the mean -log P of a unit of the targets given their sources, ends included.

    The errors of greedy outputs decide which weights are best: they still fall where the loss rises again. Where
    sources are labels there is no output to expect, and the loss decides.
    """
    count = len(part.targets.lengths)
    chosen = np.arange(count)
    if limit is not None and limit < len(part):
        chosen = np.linspace(0, count - 1, max(1, count * limit // len(part))).astype(np.int64)
    total, tokens = 0.0, 0
    for records, batch, _ in evaluation_pairs(part, chosen):
        total -= float(network.log_probs(batch).sum())
        tokens += int(part.targets.lengths[records].sum()) + len(records)
    if part.labelled:
        return Metrics(total / tokens, tokens)
    if limit is not None and len(chosen) > DECODED:
        chosen = chosen[np.linspace(0, len(chosen) - 1, DECODED).astype(np.int64)]
    figures = output_figures(network, part, chosen)
    return Metrics(total / tokens, tokens, figures, figures["token_error_rate"])


def output_figures(network: Translator, part: PairPart, records: NDArray[np.int64]) -> dict[str, float]:
    """Exact match and token error rate of greedy outputs for the sources of some records (N).

    Records of the same source are references of one another: its output is compared with the nearest of them.
    """
    from charrnn.models.decoding import decode

    references: dict[bytes, list[bytes]] = {}
    targets, sources = part.targets, {}
    for number in records.tolist():
        source = source_of(part, number)
        sources[source.tobytes()] = source
        target = targets.ids[targets.offsets[number] : targets.offsets[number + 1]].astype(np.int32)
        references.setdefault(source.tobytes(), []).append(target.tobytes())
    exact = errors = units = 0
    keys = list(references)
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        ids = [sources[key] for key in some]
        limits = np.array([most_units(part.ratio, len(one), labelled=part.labelled) for one in ids], np.int64)
        for key, (found, *_) in zip(some, decode(network, ids, beam=1, best=1, limits=limits), strict=True):
            known = [np.frombuffer(target, np.int32).tolist() for target in references[key]]
            wrong, length = unit_errors(found.ids.tolist(), known)
            exact, errors, units = exact + (wrong == 0), errors + wrong, units + length
    return {"exact_match": exact / len(keys), "token_error_rate": errors / max(1, units)}

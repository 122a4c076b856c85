"""Evaluation of a translator on pairs: how probable their targets are, and how its own outputs differ from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import NotFiniteError
from charrnn.runtime.processes import ALONE, Processes
from charrnn.tasks.translate_figures import output_errors
from charrnn.text.batch import shards_of
from charrnn.text.packing import spread
from charrnn.text.pair_batches import evaluation_pairs, source_of
from charrnn.text.pair_corpus import PairPart, most_units
from charrnn.training.metrics import Metrics

if TYPE_CHECKING:
    from charrnn.models.translator import Translator

DECODED = 500  # different sources, at most, that are decoded where there is a limit of units


class SourceRecords(NamedTuple):
    """A source as a network reads it, and the numbers of all records that have it."""

    ids: NDArray[np.int32]
    records: list[int]


def evaluate(network: Translator, part: PairPart, limit: int | None, processes: Processes = ALONE) -> Metrics:
    """As loss the mean -log P of a unit of the targets given their sources, ends included.

    The errors of greedy outputs decide which weights are best: they still fall where the loss rises again. Where
    sources are labels there is no output to expect, and the loss decides. Where numbers are not finite, neither is
    the loss.
    """
    chosen = spread(len(part.targets.lengths), len(part), limit)
    total, tokens = 0.0, 0

    def compute(some: Any) -> tuple[float, int]:
        """log P of some targets, in nats, and the number of their units, ends included."""
        records, batch, _ = some
        return float(network.log_probs(batch).sum()), int(part.targets.lengths[records].sum()) + len(records)

    with np.errstate(invalid="ignore"):
        for log_prob, units in processes.map(compute, evaluation_pairs(part, chosen)):
            total -= log_prob
            tokens += units
    if part.labelled or not np.isfinite(total):
        return Metrics(total / tokens, tokens)
    sources = by_source(part)
    if limit is not None:
        most = min(DECODED, max(1, len(sources) * min(limit, len(part)) // len(part)))
        sources = [sources[n] for n in np.linspace(0, len(sources) - 1, most).astype(np.int64).tolist()]
    try:
        figures = output_figures(network, part, sources, processes)
    except NotFiniteError:
        return Metrics(np.inf, tokens)
    return Metrics(total / tokens, tokens, figures, figures["token_error_rate"])


def by_source(part: PairPart) -> list[SourceRecords]:
    """The different sources of a part, in the order in which they occur."""
    ids, offsets = part.sources.ids, part.sources.offsets.tolist()
    found: dict[bytes, list[int]] = {}
    for number, (start, stop) in enumerate(pairwise(offsets)):
        found.setdefault(ids[start:stop].tobytes(), []).append(number)
    return [SourceRecords(source_of(part, records[0]), records) for records in found.values()]


def output_figures(
    network: Translator, part: PairPart, sources: Sequence[SourceRecords], processes: Processes = ALONE
) -> dict[str, float]:  # fmt: skip
    """Exact match and token error rate of greedy outputs of some sources, and how many these are, `decoded_sources`.

    Records of the same source are references of one another: its output is compared with the nearest of them.
    """
    from charrnn.models.decoding import decode

    limits = np.array([most_units(part.ratio, len(one.ids), labelled=part.labelled) for one in sources], np.int64)
    shares = shards_of(len(sources), processes.size)

    def compute(share: slice) -> list[list[int]]:
        """The greedy outputs of some sources."""
        found = decode(network, [one.ids for one in sources[share]], limits=limits[share])
        return [best.ids.tolist() for best, *_ in found]

    outputs = chain(*processes.map(compute, shares))
    ids, offsets = part.targets.ids, part.targets.offsets.tolist()
    errors = output_errors(
        (output, [ids[offsets[n] : offsets[n + 1]].tolist() for n in one.records])
        for one, output in zip(sources, outputs, strict=True)
    )
    return {**errors, "decoded_sources": len(sources)}

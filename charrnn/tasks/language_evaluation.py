"""Evaluation of a language model on held-out text, in many parallel streams."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.runtime.processes import ALONE, Processes
from charrnn.text.batch import shards_of
from charrnn.text.corpus import Part
from charrnn.text.mapped import PAGES_BYTES, release_pages
from charrnn.text.vocabulary import EOS
from charrnn.training.metrics import Metrics

if TYPE_CHECKING:
    from charrnn.models import LanguageModel
    from charrnn.runtime.arrays import Array

STREAMS = 64  # at most
CONTEXT = 256  # tokens read before the first target of a stream
WINDOW = 64  # steps in one call


def evaluate(
    model: LanguageModel, part: Part, *, limit: int | None = None, processes: Processes = ALONE
) -> Metrics:  # fmt: skip
    """Evaluate the model on `part`: `loss` is in nats per token, where an unknown unit costs that of `<unk>` only.

    The figures are `bits_per_byte` and `bits_per_character`, which count the spelling of unknown units too, so that
    models with different vocabularies compare, and `perplexity` per token, as in the literature.

    Reads `part` as one text (the end-of-line as first input, every unit a target), at most `limit` tokens of it.

    The text is cut into up to `STREAMS` streams. The hidden state of each is computed from the `CONTEXT` tokens before
    it, so that the loss is nearly that of one pass from end to end. With a `limit` the streams are spread evenly. With
    `part.lines` the state is reset where a line begins. Leaves the model as it is. Raises CharrnnError where an id is
    not in the vocabulary.
    """
    total = len(part.ids)
    tokens = total if limit is None else min(total, limit)
    streams = max(1, min(STREAMS, tokens // (4 * CONTEXT)))
    length = -(-tokens // streams) if tokens == total else tokens // streams
    starts = np.arange(streams) * (length if tokens == total else total // streams)
    ends = np.minimum(starts + length, total)
    shares = shards_of(streams, processes.size)
    sums = processes.map(lambda share: _log_prob_of_each(model, part, starts[share], ends[share]), shares)
    counted = int(np.maximum(ends - starts, 0).sum())
    loss = -float(np.concatenate(list(sums)).sum()) / counted
    bits = (loss * total - part.spelling) / math.log(2)
    figures = {
        "bits_per_byte": bits / part.bytes,
        "bits_per_character": bits / part.characters,
        "perplexity": math.exp(min(loss, 700.0)),
    }
    return Metrics(loss, counted, figures)


def _log_prob_of_each(
    model: LanguageModel, part: Part, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:  # fmt: skip
    """log P (B), in nats, of streams from `starts` (B) to `ends` (B); they depend on no other stream."""
    found = np.zeros(len(starts))
    if not len(starts):
        return found
    state, length, read = state_before(model, part, starts), int((ends - starts).max()), 0
    for offset in range(0, length, WINDOW):
        inputs, targets, positions = window(part, starts, offset, min(WINDOW, length - offset))
        log_probs = model.log_probs(inputs, targets, state, inputs == EOS if part.lines else None)
        found += np.where(positions < ends, log_probs, 0).sum(axis=0)
        read += targets.size * part.ids.itemsize
        if read > PAGES_BYTES:
            release_pages(part.ids)
            read = 0
    return found


def state_before(model: LanguageModel, part: Part, starts: np.ndarray) -> Array:
    """The hidden state (S, B, H) before the positions `starts` (B) of `part`, of the `CONTEXT` tokens before each."""
    state = model.zero_state(len(starts))
    if starts.any():
        for offset in range(-CONTEXT, 0, WINDOW):
            inputs = window(part, starts, offset, WINDOW)[0]
            model.forward(inputs, state, inputs == EOS if part.lines else None)
        state[:, starts == 0] = 0  # nothing precedes these
    return state


def window(part: Part, starts: np.ndarray, offset: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets (T, B) of the positions `starts` + `offset` and on, and the positions."""
    positions = starts + (offset + np.arange(steps))[:, None]
    inside = np.clip(positions, 0, len(part.ids) - 1)
    read, before = part.ids[inside], part.ids[np.maximum(inside - 1, 0)]
    if part.bound is not None:
        part.bound.require(read)
        part.bound.require(before)
    targets, inputs = read.astype(np.int32), before.astype(np.int32)
    inputs[positions <= 0] = EOS
    return inputs, targets, positions

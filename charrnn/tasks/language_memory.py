"""The memory of a language model's corpus: how it is fitted, and the log-probabilities of texts with it.

The weights of its mixers are learned from a slice of the training part that neither the network nor the counts have
seen: from what they have seen, both would be trusted too much. After that the slice is counted, too.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.models.memory import FITTING_RATE, KEPT_RATE, LogProbs, Memory, copied
from charrnn.tasks.language_evaluation import CONTEXT, WINDOW, state_before, window
from charrnn.text.packing import by_length
from charrnn.text.vocabulary import EOS

if TYPE_CHECKING:
    from charrnn.models import LanguageModel
    from charrnn.models.memory import State
    from charrnn.runtime.arrays import Array, Ids
    from charrnn.text.corpus import Corpus, Part

SLICE = 0.05  # of the training part, at most MOST_SLICE units
MOST_SLICE = 200_000
PROBED, MISSED = 20_000, 1.5  # units that the speed is measured on; how much slower full tables make it, about
OPERATIONS = 15e9  # of the network, a second and thread
MOST_EVALUATED = 1_000_000  # units
STREAMS = 32  # in which the network reads the slice
POSITIONS = 1 << 14  # steps times rows that are computed at once


def slice_size(tokens: int) -> int:
    """How many units of a training part of `tokens` are for the mixers."""
    return min(MOST_SLICE, int(SLICE * tokens))


def seconds(network: LanguageModel, corpus: Corpus) -> float:
    """How long `fit_memory` and `bits_per_byte` take, about: measured on the first units of the training part, which
    also compiles what is not compiled yet."""
    assert corpus.calibration is not None
    ids = _checked(corpus.train, corpus.train.ids[:PROBED])
    memory = Memory.empty(corpus.vocabulary, ids, network.config.memory_size, lines=corpus.config.lines)
    state, spent = memory.start.copy(), 0.0
    for begin, end in ((0, 100), (100, len(ids))):  # the first of these may have to compile
        start = time.perf_counter()
        memory.read(ids[begin:end], None, state, memory.kept, here=begin, rate=FITTING_RATE)
        spent = time.perf_counter() - start
    held_out = 0 if corpus.validation is None else min(len(corpus.validation), MOST_EVALUATED)
    units = len(corpus.train) + 2 * len(corpus.calibration) + held_out
    forward = 2 * network.parameters.size * (len(corpus.calibration) + held_out)
    return 0.5 + MISSED * spent * units / max(1, len(ids) - 100) + forward / (network.threads * OPERATIONS)


def _checked(part: Part, ids: NDArray[Any]) -> Ids:
    """Some of a part's ids, which are in its vocabulary. Raises CharrnnError for others."""
    if part.bound is not None:
        part.bound.require(ids)
    return ids.astype(np.int32)


def fit_memory(network: LanguageModel, corpus: Corpus) -> Memory:
    """The memory of a corpus' training part, of which the network has not seen `corpus.calibration`."""
    assert corpus.calibration is not None
    seen, part = len(corpus.train), replace(corpus.train, ids=np.concatenate([corpus.train.ids, corpus.calibration]))
    text = _checked(part, part.ids)
    memory = Memory.empty(corpus.vocabulary, text, network.config.memory_size, lines=part.lines)
    state = memory.start.copy()
    memory.read(text[:seen], None, state, memory.kept, here=0, rate=FITTING_RATE)
    memory.adaptive, logits = copied(memory.kept), network_logits(memory, network, part, seen)
    memory.read(text[seen:], logits, state.copy(), memory.kept, rate=KEPT_RATE)
    memory.read(text[seen:], logits, state, memory.adaptive, here=seen, rate=FITTING_RATE)
    return memory


def bits_per_byte(memory: Memory, network: LanguageModel, part: Part) -> float:
    """The bits a byte of a held-out part, read with the memory as one text and not learned from; of a long one, of its
    first units."""
    first = replace(part, ids=part.ids[:MOST_EVALUATED])
    ids = _checked(first, first.ids)
    log_probs = memory.read(ids, network_logits(memory, network, first, 0), memory.start.copy(), memory.kept)
    nats = -float(log_probs.sum()) * len(part.ids) / len(ids) - part.spelling
    return nats / math.log(2) / part.bytes


def network_logits(memory: Memory, network: LanguageModel, part: Part, begin: int) -> Array:
    """The network's logits (N - begin, D) on the way to the units of a part (N) from `begin` on, read in parallel."""
    count = len(part.ids) - begin
    streams = max(1, min(STREAMS, count // CONTEXT))
    length = -(-count // streams)
    starts = begin + length * np.arange(streams)
    state = state_before(network, part, starts)
    result = np.empty((count, memory.code.nodes.shape[1]), np.float32)
    for offset in range(0, length, WINDOW):
        inputs, targets, positions = window(part, starts, offset, min(WINDOW, length - offset))
        hidden = network.forward(inputs, state, inputs == EOS if part.lines else None)
        inside = positions < len(part.ids)
        result[positions[inside] - begin] = memory.path_logits(network, hidden[inside], targets[inside])
    return result


class MemoryReader:
    """Reads texts with a model and its memory, which learns from them if `adapt`."""

    def __init__(self, memory: Memory, model: LanguageModel, *, adapt: bool) -> None:
        self.memory, self.model, self.adapt = memory, model, adapt

    def line_log_probs(self, units: Ids, lengths: NDArray[np.intp]) -> LogProbs:
        """log P (N) of lines, each a text by itself: units (N + 1) and lengths (L) as in `line_scoring`."""
        memory, model, targets = self.memory, self.model, np.ascontiguousarray(units[1:])
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        logits = np.zeros((len(targets), memory.code.nodes.shape[1]), np.float32)
        for some in by_length(lengths, POSITIONS):
            steps = np.arange(int(lengths[some].max()))[:, None]
            inside = steps < lengths[some]
            places = np.where(inside, bounds[some] + steps, 0)
            inputs = np.where(steps > 0, units[places], EOS).astype(np.int32)
            if len(steps):
                hidden = model.forward(inputs, model.zero_state(len(some)))
                logits[places[inside]] = memory.path_logits(model, hidden[inside], targets[places[inside]])
        if not self.adapt:
            return memory.read_lines(targets, bounds, logits, model)
        result = np.empty(len(targets))
        for begin, end in pairwise(bounds.tolist()):
            result[begin:end] = memory.adapt(targets[begin:end], logits[begin:end], memory.start.copy())
        return result

    def stream_log_probs(self, inputs: Ids, targets: Ids, state: Array, memory_state: State) -> LogProbs:
        """log P (N) of targets (N), each after inputs (N, 1); `state` (S, 1, H) and the memory's go on from both."""
        targets = np.ascontiguousarray(targets)
        hidden = self.model.forward(np.ascontiguousarray(inputs), state)[:, 0]
        logits = self.memory.path_logits(self.model, hidden, targets)
        if self.adapt:
            return self.memory.adapt(targets, logits, memory_state)
        return self.memory.read(targets, logits, memory_state, self.memory.kept)

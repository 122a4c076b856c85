"""A language model that learns from a text while it reads it, after each part was scored.

Dynamic evaluation: Krause, Kahembwe, Murray and Renals 2018, "Dynamic evaluation of neural sequence models",
arXiv:1709.07432. The text is cut into segments of `SEGMENT` units. The units of a segment are scored with the weights
as they are; then the weights learn from the segment, and its hidden states go to the cache of `models/cache.py`:

    θ ← θ - η g / (√m + ε)

g is the gradient of the mean loss of the segment, truncated at its start, and m the mean of g² over all segments so
far, this one included: a checkpoint need not have squares of gradients. An embedding of which only the rows that were
read are updated has one m for all of it. What the model learns from is never in the score of its own segment: shorter
segments are learned from sooner, and cost more steps.
"""

from __future__ import annotations

from math import inf, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.kernels.optimizers import rmsprop
from charrnn.models import LanguageModel
from charrnn.models.cache import StateCache
from charrnn.runtime.threads import Job
from charrnn.text.batch import Batch
from charrnn.text.vocabulary import EOS
from charrnn.training.optimizer import CHUNK, THREADED

if TYPE_CHECKING:
    from charrnn.runtime.arrays import Array, Ids

# Chosen on the validation part of WikiText-2 and on the last tenth of Shakespeare's plays, by words.
SEGMENT = 20  # units
RATE = 3e-3  # η
EPSILON = 3e-3  # ε


class DynamicEvaluation:
    """Reads a text, in pieces of any size, with a copy of `model` that learns from it.

    `reset`: the hidden state is reset before each end-of-line is read, as every line is a text of its own; what was
    learned is kept. The scores have the same bits for any number of threads, and in whatever pieces the text comes.
    """

    def __init__(self, model: LanguageModel, *, reset: bool) -> None:
        bfloat16 = model.context.operand != model.context.dtype
        self.model = LanguageModel(model.config, threads=model.threads, bfloat16=bfloat16)
        self.model.parameters[:] = model.parameters
        self.reset, self.cache = reset, StateCache(model.config.hidden_size)
        self.state = self.model.zero_state(1)  # after the units read so far
        # The segment: the state before it, the unit before it and its own, hidden states before those, units so far.
        self._first_state, self._units = self.state.copy(), np.full(SEGMENT + 1, EOS, np.int32)
        self._hidden: Array = np.zeros((SEGMENT, model.config.hidden_size), np.float32)
        self._filled = 0
        self._segments = 0  # learned from, and the means of squares over them
        self._table = self.model.layout.row_table or (0, 0)
        self._rest = slice(prod(self._table), None)
        self._table_square, self._squares = 0.0, np.zeros_like(self.model.parameters[self._rest])

    def log_probs(self, units: Ids) -> NDArray[np.float64]:
        """log P (N) of the next units[1:], in nats; units[0] stands for the last unit of the call before."""
        parts, begin = [np.empty(0)], 1
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for what is not finite
            while begin < len(units):
                some = units[begin : begin + SEGMENT - self._filled]
                parts.append(self._score(some))
                begin += len(some)
                if self._filled == SEGMENT:
                    self._learn()
        return np.concatenate(parts)

    def _batch(self, first: int, last: int, state: Array) -> Batch:
        """The steps from `first` to `last` of the segment, as one row."""
        inputs, targets = (self._units[at + first : at + last, np.newaxis] for at in (0, 1))
        return Batch(inputs, targets, inputs == EOS if self.reset else None, state=state)

    def _score(self, units: Ids) -> NDArray[np.float64]:
        """log P (N) of the next N units of the segment."""
        first, last = self._filled, self._filled + len(units)
        self._units[first + 1 : last + 1] = units
        self._filled, hidden = last, self._hidden[first:last]
        batch = self._batch(first, last, self.state)
        log_probs = self.model.log_probs(
            batch.inputs, batch.targets, self.state, batch.reset, hidden=hidden[:, np.newaxis]
        )  # fmt: skip
        return self.cache.mix(hidden, units, log_probs[:, 0])

    def _learn(self) -> None:
        """Learn from the segment, and begin the next one."""
        self.cache.add(self._hidden, self._units[1:])
        self.model.loss(self._batch(0, SEGMENT, self._first_state))
        self._segments += 1
        self._update_rows()
        self._update_rest()
        self.model.invalidate()
        self._first_state[:], self._units[0], self._filled = self.state, self._units[-1], 0

    def _update_rows(self) -> None:
        """One step for the rows that the segment read of an embedding that is updated by row, if there is one."""
        model, size = self.model, prod(self._table)
        if model.touched is None:
            return
        gradient = model.gradient[:size].reshape(self._table)[model.touched]
        self._table_square += (float(np.square(gradient).mean()) - self._table_square) / self._segments
        scale = np.float32(RATE / (sqrt(self._table_square) + EPSILON))
        model.parameters[:size].reshape(self._table)[model.touched] -= scale * gradient

    def _update_rest(self) -> None:
        """One step for all other weights. With a rate of 1 / n, the running mean of n squares is that of all alike."""
        parameters, gradient, squares = (
            self.model.parameters[self._rest],
            self.model.gradient[self._rest],
            self._squares,
        )
        scalars: list[Any] = [np.float32(x) for x in (1, inf, 0, RATE, 1 / self._segments, EPSILON)]

        def work(first: int, last: int, thread: int) -> None:
            for begin in range(first * CHUNK, min(last * CHUNK, len(parameters)), CHUNK):
                part = slice(begin, begin + CHUNK)
                rmsprop(parameters[part], gradient[part], squares[part], *scalars)

        self.model.context.pool.run([Job(-(-len(parameters) // CHUNK), CHUNK, work)], least=THREADED)

"""A recurrent language model: P(next unit | units so far) = softmax(W h + b), h from a stack of recurrent layers.

Mikolov et al. 2010, "Recurrent neural network based language model", Interspeech. Letters in shapes as in
`nn/block.py`; S is the number of arrays of hidden state.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charrnn import kernels
from charrnn.config import ModelConfig
from charrnn.models.network import Network
from charrnn.nn.adaptive_softmax import AdaptiveSoftmax
from charrnn.nn.block import Block
from charrnn.nn.cells import layer_class
from charrnn.nn.embedding import Embedding, OneHot, require_ids
from charrnn.nn.parameters import Layout
from charrnn.nn.recurrent import RecurrentLayer
from charrnn.nn.signal import Signal
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Flags, Ids
from charrnn.runtime.threads import Job, in_sequence
from charrnn.text.batch import Batch

if TYPE_CHECKING:
    from charrnn.models.generation import Generator

# Vocabularies of this size and larger: a step updates only those rows of the first weight that its window reads. With
# fewer units, rows without a gradient take a few per cent of a step at most; with 50,000, most of it.
BY_ROW_FROM = 5000
MOST_TABLE = 1 << 22  # largest size of a table of the gates of all units: 16 MB in float32
SCORED_POSITIONS = 16384  # steps times rows of one window in scoring


def make_blocks(config: ModelConfig) -> tuple[OneHot, list[RecurrentLayer], Softmax | AdaptiveSoftmax]:
    """Input block, recurrent layers and head, before any array is allocated."""
    V, E, H = config.vocabulary_size, config.embedding_size, config.hidden_size
    by_row = not config.tie_weights and V >= BY_ROW_FROM
    layers: list[RecurrentLayer] = []
    for index, cell in enumerate(config.cells):
        one_hot = not index and not E
        width = H if index else E or V
        layers.append(layer_class(cell)(config, index, width, one_hot=one_hot, by_row=one_hot and by_row))
    whole = V * layers[0].G <= MOST_TABLE
    head: Softmax | AdaptiveSoftmax
    if not E:
        return OneHot(V, whole=whole), layers, _make_head(config)
    embedding = Embedding(V, E, scale=1 / sqrt(E) if config.tie_weights else 1.0, by_row=by_row, whole=whole)
    head = Softmax(V, H, tied=embedding.weight) if config.tie_weights else _make_head(config)
    return embedding, layers, head


def _make_head(config: ModelConfig) -> Softmax | AdaptiveSoftmax:
    V, H = config.vocabulary_size, config.hidden_size
    return AdaptiveSoftmax(V, H, config.cutoffs) if config.cutoffs else Softmax(V, H)


def parameter_layout(config: ModelConfig) -> Layout:
    """The layout of the parameters, without allocating them."""
    first, layers, head = make_blocks(config)
    blocks: list[Block] = [first, *layers, head]
    return Layout([parameter for block in blocks for parameter in block.parameters()])


def gate_columns(config: ModelConfig) -> int:
    """The sum of G over all layers."""
    return sum(layer.G for layer in make_blocks(config)[1])


class LanguageModel(Network):
    """Ids of units in, the distribution of the next unit out.

    See `Network` for what all networks have in common. Methods that take ids raise `CharrnnError` for ids outside
    [0, V); `forward`, `log_probs` and `next_log_probs` also for arrays of a wrong shape.
    """

    def __init__(
        self, config: ModelConfig, *, threads: int = 1, dtype: npt.DTypeLike = np.float32, bfloat16: bool = False
    ) -> None:  # fmt: skip
        first, self.layers, self.output = make_blocks(config)
        self.config = config
        self._generator: Generator | None = None
        super().__init__([first, *self.layers], self.output, threads=threads, dtype=dtype, bfloat16=bfloat16)

    def forward(self, ids: Ids, state: Array, reset: Flags | None = None) -> Array:
        """Hidden states (T, B, H) of the last layer after each of the units ids (T, B).

        `state` (S, B, H) becomes that after the last step. reset (T, B): whether it is reset to zero before a step;
        None for never.
        """
        batch = Batch(ids, ids, reset)
        with self.lock:
            self.check(batch, state)
            if not ids.size:
                return np.empty((*ids.shape, self.config.hidden_size), self.dtype)
            self.pack()
            window, hidden = self.open_window(batch)
            self.begin(window, batch, state)
            self.context.pool.run([Job(ids.shape[1], 1, self.forward_rows)])
            self.copy_state(state)
            return hidden.value.copy()

    def logits(self, hidden: Array) -> Array:
        """Logits (N, V) of the next unit, given hidden states (N, H); an adaptive softmax gives log-probabilities."""
        with self.lock:
            self.pack()
            N = hidden.shape[0]
            rows = np.ascontiguousarray(hidden)[np.newaxis]
            operand = self.context.workspace.operand_of("hidden", rows)
            kernels.rounding.store_operands(rows, operand, 0, N)
            result: Array = np.empty((N, self.config.vocabulary_size), self.dtype)
            compute = self.output.logits_rows(Signal(rows, operand), result[np.newaxis])
            self.context.pool.run([Job(N, 1, compute)])
            return result

    def log_probs(
        self, ids: Ids, targets: Ids, state: Array, reset: Flags | None = None, *, hidden: Array | None = None
    ) -> npt.NDArray[np.float64]:  # fmt: skip
        """log P(target) (T, B), in nats, of targets (T, B), each given the units of ids (T, B) up to its step.

        `state` (S, B, H) becomes that after the last step; reset (T, B) as in `forward`. `hidden` (T, B, H), if given,
        becomes the hidden states of the last layer.
        """
        T, B = ids.shape
        result = np.empty((T, B))
        steps = max(1, SCORED_POSITIONS // B)
        with self.lock:
            self.check(Batch(ids, targets, reset), state)
            self.pack()
            for start in range(0, T, steps):
                part = slice(start, start + steps)
                batch = Batch(ids[part], targets[part], None if reset is None else reset[part])
                window, last = self.open_window(batch)
                self.begin(window, batch, state)
                compute = self.output.log_probs_rows(last, targets[part], result[part])
                self.context.pool.run([Job(B, 1, in_sequence(self.forward_rows, compute))])
                self.copy_state(state)
                if hidden is not None:
                    hidden[part] = last.value
        return result

    def next_log_probs(self, units: Ids, state: Array, rows: Ids, targets: Ids) -> npt.NDArray[np.float64]:
        """log P(targets[n]) (N), in nats, each given unit units[rows[n]] and the state of row rows[n] before it.

        units (B); rows, targets (N): rows ascend, and each of the B appears at least once. The softmax of a row is
        computed once for all of its targets; the results have the bits of `log_probs`. `state` (S, B, H) becomes that
        after the step.
        """
        result = np.empty(rows.size)
        batch = Batch(units[np.newaxis], units[np.newaxis])
        with self.lock:
            self.check(batch, state)
            self.output.check(targets)
            self.pack()
            window, hidden = self.open_window(batch)
            self.begin(window, batch, state)
            compute = self.output.next_log_probs_rows(hidden, rows, targets, result)
            self.context.pool.run([Job(units.size, 1, in_sequence(self.forward_rows, compute))])
            self.copy_state(state)
        return result

    def generate(
        self, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64], *, temperature: float = 1.0,
        top_k: int = 0, top_p: float = 1.0, line_end: int = -1, reset_unit: int = -1,
    ) -> Ids:  # fmt: skip
        """Draw n units for each of B samples, (n, B), by uniform numbers (n, B) in [0, 1).

        `previous` (B) is the last unit of each sample; it and `state` (S, B, H) become those after the last step. There
        are fewer than n steps if every sample has drawn `line_end` by then. The state is reset to zero before
        `reset_unit` is read. See `kernels/draw.py` for temperature, top-k and top-p. A sample does not depend on the
        other samples, nor on how its units are divided into calls.
        """
        from charrnn.models.generation import Generator, drawn, step_by_step

        require_ids(previous, self.config.vocabulary_size)
        how = float(temperature), min(int(top_k), self.config.vocabulary_size), float(top_p)
        ends = int(line_end), int(reset_unit)
        with self.lock:
            self.pack()
            if not Generator.fits(self):
                return step_by_step(self, previous, state, uniforms, drawn(*how), *ends)
            if self._generator is None or self._generator.version != self.context.version:
                self._generator = Generator(self)
            return self._generator.run(previous, state, uniforms, *how, *ends)

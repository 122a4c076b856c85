"""A classifier of sequences: P(label | sequence), many to one.

Input, recurrent layers (in one direction or both), pooling over each sequence, fully connected layers, beside these a
bag of n-grams, softmax. Letters in shapes as in `nn/block.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charrnn.models.language import BY_ROW_FROM
from charrnn.models.network import Network
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block, Log
from charrnn.nn.cells import layer_class
from charrnn.nn.dense import Dense
from charrnn.nn.embedding import Embedding, OneHot
from charrnn.nn.ngrams import NgramBag
from charrnn.nn.parameters import Layout
from charrnn.nn.pooling import Pooling
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, in_sequence
from charrnn.task_config import ClassifierConfig
from charrnn.text.batch import Batch


def make_blocks(config: ClassifierConfig) -> tuple[list[Block], Softmax]:
    """The blocks and the head, before any array is allocated."""
    V, E, H = config.vocabulary_size, config.embedding_size, config.hidden_size
    by_row = V >= BY_ROW_FROM and not config.ngrams  # only one parameter can be updated by row
    blocks: list[Block] = [Embedding(V, E, by_row=by_row) if E else OneHot(V)]
    width = E or V
    for index, cell in enumerate(config.cells):
        one_hot = not index and not E
        make = layer_class(cell)
        layer = make(config, index, width, one_hot=one_hot)
        if config.bidirectional:
            blocks.append(Bidirectional(layer, make(config, index, width, one_hot=one_hot, reverse=True)))
        else:
            blocks.append(layer)
        width = 2 * H if config.bidirectional else H
    blocks.append(Pooling(width, config.pool, bidirectional=config.bidirectional))
    for index, size in enumerate(config.dense):
        blocks.append(Dense(index, width, size))
        width = size
    if config.ngrams:
        bag = NgramBag(width, config.ngrams)
        blocks.append(bag)
        width = bag.width
    return blocks, Softmax(config.labels, width)


def parameter_layout(config: ClassifierConfig) -> Layout:
    """The layout of the parameters, without allocating them."""
    blocks, head = make_blocks(config)
    declared = [parameter for block in (*blocks, head) for parameter in block.parameters()]
    return Layout(sorted(declared, key=lambda parameter: not parameter.by_row))


class Classifier(Network):
    """Ids of units in, a distribution over labels for each sequence out; see `Network`."""

    def __init__(
        self, config: ClassifierConfig, *, threads: int = 1, dtype: npt.DTypeLike = np.float32, bfloat16: bool = False
    ) -> None:  # fmt: skip
        blocks, self.output = make_blocks(config)
        self.config = config
        super().__init__(blocks, self.output, threads=threads, dtype=dtype, bfloat16=bfloat16)

    def zero_state(self, batch: int) -> Array:
        """No state is carried from one batch to the next: zeros (S, 0, H)."""
        return super().zero_state(0)

    def rows_read(self, batch: Batch) -> Ids:
        """See `Network.rows_read`: of the table of n-grams where there is one."""
        bag = self.blocks[-1]
        if not isinstance(bag, NgramBag) or batch.reset is None or batch.ends is None:
            return super().rows_read(batch)
        return bag.rows_read(batch.inputs, batch.reset, batch.ends, len(batch.targets))

    def log_probs(self, batch: Batch) -> Log:
        """Log-probabilities (K, B, labels) of all labels of each sequence, in nats.

        Raises:
            CharrnnError: an id is outside [0, V), or the batch does not say where sequences begin and end.
        """
        with self.lock:
            K, B = batch.targets.shape
            state = super().zero_state(B)
            self.check(batch, state)
            self.pack()
            window, pooled = self.open_window(batch)
            self.begin(window, batch, state)
            logits = self.context.workspace.get("logits", K, B, self.config.labels)
            self.context.pool.run([Job(B, 1, in_sequence(self.forward_rows, self.output.logits_rows(pooled, logits)))])
            values = logits.astype(np.float64)
        values -= values.max(axis=-1, keepdims=True)
        log_probs: Log = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
        return log_probs

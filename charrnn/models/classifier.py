"""A classifier of sequences: P(label | sequence), many to one.

Input, recurrent layers (in one direction or both), pooling over each sequence, fully connected layers, softmax, to
whose logits those of a regression on n-grams are added. Letters in shapes as in `nn/block.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from charrnn.models.language import BY_ROW_FROM
from charrnn.models.network import Network
from charrnn.models.ngram_regression import BIAS, WEIGHT, NgramRegression, table_shape
from charrnn.models.stack import compute_logits, dense_stack, recurrent_stack
from charrnn.nn.block import Block, Log, Window
from charrnn.nn.embedding import Embedding, OneHot
from charrnn.nn.parameters import Layout
from charrnn.nn.pooling import Pooling
from charrnn.nn.signal import Signal
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Work
from charrnn.task_config import ClassifierConfig
from charrnn.text.batch import Batch


class OffsetSoftmax(Softmax):
    """A softmax with `offsets` (K, B, V) added to the logits; None is none. They have no gradient."""

    offsets: Array | None = None

    def chunks(self, targets: Ids) -> list[slice]:
        """All targets (K, B) at once: they are few, one a sequence."""
        return [slice(0, len(targets))]

    def logits_rows(self, hidden: Signal, logits: Array) -> Work:
        """See `Softmax.logits_rows`."""
        product = super().logits_rows(hidden, logits)

        def work(begin: int, end: int, thread: int) -> None:
            product(begin, end, thread)
            if self.offsets is not None:
                with np.errstate(over="ignore", invalid="ignore"):  # of weights that are too large
                    logits[:, begin:end] += self.offsets[:, begin:end]

        return work


def make_blocks(config: ClassifierConfig) -> tuple[list[Block], OffsetSoftmax]:
    """The blocks and the head, before any array is allocated."""
    V, E = config.vocabulary_size, config.embedding_size
    blocks: list[Block] = [Embedding(V, E, by_row=V >= BY_ROW_FROM) if E else OneHot(V)]
    recurrent, width = recurrent_stack(config, E or V, bidirectional=config.bidirectional, one_hot=not E)
    pooling = Pooling(width, config.pool, bidirectional=config.bidirectional)
    dense, width = dense_stack(config.dense, width)
    return [*blocks, *recurrent, pooling, *dense], OffsetSoftmax(config.labels, width)


def parameter_layout(config: ClassifierConfig) -> Layout:
    """The layout of the parameters, without allocating them."""
    blocks, head = make_blocks(config)
    declared = [parameter for block in (*blocks, head) for parameter in block.parameters()]
    return Layout(sorted(declared, key=lambda parameter: not parameter.by_row))


def tensor_shapes(config: ClassifierConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a checkpoint, those of the regression on n-grams included."""
    shape = table_shape(config.labels)
    return parameter_layout(config).tensor_shapes() | ({WEIGHT: shape, BIAS: shape[1:]} if config.ngrams else {})


class Classifier(Network):
    """Ids of units in, a distribution over labels for each sequence out; see `Network`."""

    def __init__(
        self, config: ClassifierConfig, *, threads: int = 1, dtype: npt.DTypeLike = np.float32, bfloat16: bool = False
    ) -> None:  # fmt: skip
        blocks, self.output = make_blocks(config)
        self.config = config
        self.pooling = next(block for block in blocks if isinstance(block, Pooling))
        self.regression: NgramRegression | None = None  # of the n-grams, if the configuration has any
        super().__init__(blocks, self.output, threads=threads, dtype=dtype, bfloat16=bfloat16)

    def zero_state(self, batch: int) -> Array:
        """No state is carried from one batch to the next: zeros (S, 0, H)."""
        return super().zero_state(0)

    def begin(self, window: Window, batch: Batch, state: Array, key: int = 0) -> None:
        """See `Network.begin`. The offsets are those of the batch, or else the logits of `regression`."""
        super().begin(window, batch, state, key)
        offsets = batch.offsets
        if offsets is None and self.regression is not None:
            offsets = self.regression.logits(batch.inputs, self.pooling.first, self.pooling.last)
        self.output.offsets = offsets

    def tensors(self) -> dict[str, Array]:
        """See `Network.tensors`; with those of the regression."""
        return {**super().tensors(), **(self.regression.tensors() if self.regression else {})}

    def load(self, tensors: Mapping[str, Array]) -> None:
        """See `Network.load`. A regression that was fitted to the data at hand stays."""
        super().load(tensors)
        if self.config.ngrams and self.regression is None:
            self.regression = NgramRegression.load(self.config.ngrams, self.config.labels, tensors)

    def log_probs(self, batch: Batch) -> Log:
        """Log-probabilities (K, B, labels) of all labels of each sequence, in nats.

        Raises:
            CharrnnError: an id is outside [0, V), or the batch does not say where sequences begin and end.
        """
        values = compute_logits(self, self.output, batch).astype(np.float64)
        values -= values.max(axis=-1, keepdims=True)
        log_probs: Log = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
        return log_probs

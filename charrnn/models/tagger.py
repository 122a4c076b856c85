"""A tagger of sequences: P(tags | words), one tag for each word.

Words as sums of vectors, recurrent layers (in one direction or both), beside these the vectors of each word and its
neighbours, fully connected layers, softmax or CRF. Letters in shapes as in `nn/block.py`; L is the number of tags.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.models.network import Network
from charrnn.models.stack import compute_logits, dense_stack, recurrent_stack
from charrnn.nn.block import Block, Log
from charrnn.nn.crf import CRF
from charrnn.nn.neighbours import Neighbours
from charrnn.nn.parameters import Layout
from charrnn.nn.softmax import Softmax
from charrnn.nn.word_vectors import WordVectors
from charrnn.runtime.arrays import Array, Ids, zeros
from charrnn.task_config import TaggerConfig
from charrnn.text.batch import Batch

FORBIDDEN = -1e9  # score of a transition that no path takes unless all paths have one


def make_blocks(config: TaggerConfig) -> tuple[list[Block], Softmax]:
    """The blocks and the head, before any array is allocated."""
    words = WordVectors(config.rows, config.embedding_size)
    recurrent, width = recurrent_stack(config, config.embedding_size, bidirectional=config.bidirectional)
    direct = Neighbours(width, words)
    dense, width = dense_stack(config.dense, direct.width)
    return [words, *recurrent, direct, *dense], CRF(config.labels, width) if config.head == "crf" else Softmax(
        config.labels, width
    )


def parameter_layout(config: TaggerConfig) -> Layout:
    """The layout of the parameters, without allocating them."""
    blocks, head = make_blocks(config)
    return Layout([parameter for block in (*blocks, head) for parameter in block.parameters()])


class Tagger(Network):
    """Words in, a tag for each out; see `Network`. Of a batch `bags` say which rows of the table its words have."""

    output: Softmax

    def __init__(
        self, config: TaggerConfig, *, threads: int = 1, dtype: npt.DTypeLike = np.float32, bfloat16: bool = False
    ) -> None:  # fmt: skip
        blocks, self.output = make_blocks(config)
        self.config = config
        super().__init__(blocks, self.output, threads=threads, dtype=dtype, bfloat16=bfloat16)

    def zero_state(self, batch: int) -> Array:
        """No state is carried from one batch to the next: zeros (S, 0, H)."""
        return super().zero_state(0)

    def rows_read(self, batch: Batch) -> Ids:
        """See `Network.rows_read`: of the table of vectors."""
        assert batch.bags is not None
        read = np.zeros(self.config.rows, np.bool_)
        read[batch.bags.rows] = True
        return np.flatnonzero(read).astype(np.int32)

    def check(self, batch: Batch, state: Array) -> None:
        """See `Network.check`. Raises `CharrnnError` also for bags that do not fit."""
        words = self.blocks[0]
        assert isinstance(words, WordVectors)
        words.check_bags(batch.inputs, batch.bags)
        if batch.reset is None or batch.ends is None:
            raise CharrnnError("the batch does not say where sequences begin and end; tags need `reset` and `ends`")
        super().check(batch, state)

    def logits(self, batch: Batch) -> Array:
        """The logits (T, B, L) of all tags at each step.

        Raises:
            CharrnnError: the batch does not fit, see `check`.
        """
        return compute_logits(self, self.output, batch)

    def log_probs(self, logits: Array, tags: Ids, lengths: npt.NDArray[np.int64]) -> Log:
        """log P(tags | words), in nats, of each of some sequences (sequences), which follow one another.

        logits (tokens, L), tags (tokens), lengths (sequences).
        """
        last = np.cumsum(lengths) - 1
        if not isinstance(self.output, CRF):
            values = logits.astype(np.float64)
            values -= values.max(axis=1, keepdims=True)
            chosen = values[np.arange(len(tags)), tags] - np.log(np.exp(values).sum(axis=1))
            summed: Log = np.add.reduceat(chosen, last - lengths + 1)
            return summed
        shape = len(tags), 1, self.config.labels
        mask, reverse_mask = self._masks(lengths)
        found: Log = np.empty(shape[:2])
        kernels.crf.sequence_log_probs(
            logits.reshape(shape), tags.reshape(-1, 1), mask, reverse_mask, self.output.transitions, self.output.start,
            self.output.end, np.empty(shape, self.dtype), np.empty(shape, self.dtype), found, 0, 1,
        )  # fmt: skip
        of_sequences: Log = found[last, 0]
        return of_sequences

    def best_tags(
        self, logits: Array, lengths: npt.NDArray[np.int64], wrong: npt.NDArray[np.bool_] | None = None
    ) -> Ids:  # fmt: skip
        """The most probable tags (tokens) of sequences that follow one another; arguments as in `log_probs`.

        wrong (L + 1, L + 1): which tags must not follow which, see `tag_schemes.ill_formed`.
        """
        crf, L = isinstance(self.output, CRF), self.config.labels
        if not crf and (wrong is None or not wrong.any()):
            found: Ids = logits.argmax(axis=1).astype(np.int32)
            return found
        links = zeros((L + 1, L + 1), self.dtype)
        if isinstance(self.output, CRF):
            links[:L, :L], links[L, :L], links[:L, L] = self.output.transitions, self.output.start, self.output.end
        if wrong is not None:
            links[wrong] = FORBIDDEN
        mask, reverse_mask = self._masks(lengths)
        count = len(logits)
        tags = np.empty((count, 1), np.int32)
        kernels.crf.best_paths(
            logits.reshape(count, 1, L), mask, reverse_mask, links[:L, :L].copy(), links[L, :L].copy(),
            links[:L, L].copy(), np.empty((2, 1, L), self.dtype), np.empty((count, 1, L), np.uint16), tags, 0, 1,
        )  # fmt: skip
        return tags[:, 0]

    def _masks(self, lengths: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """The masks (tokens, 1) of sequences that follow one another."""
        ends = np.cumsum(lengths)
        mask, reverse_mask = np.ones((int(ends[-1]), 1), self.dtype), np.ones((int(ends[-1]), 1), self.dtype)
        mask[ends - lengths] = reverse_mask[ends - 1] = 0
        return mask, reverse_mask

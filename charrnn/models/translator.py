"""A translator: P(target | source), one sequence from another.

Encoder: embedding, recurrent layers in both directions. Bridge: a layer from where they end to what the decoder reads
first. Decoder: embedding of the target so far, recurrent layers, attention over the encoder's outputs, a layer over
both, softmax. Letters in shapes as in `nn/block.py`; S is the number of sequences of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.models.language import MOST_TABLE
from charrnn.models.network import Network
from charrnn.models.program import Stage
from charrnn.models.stack import recurrent_stack
from charrnn.nn.attention import Attention
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block, Log, Window
from charrnn.nn.bridge import BridgedEmbedding, Ends
from charrnn.nn.dense import Tanh
from charrnn.nn.embedding import Embedding
from charrnn.nn.parameters import Layout
from charrnn.nn.signal import Lookup, Signal
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Flags
from charrnn.runtime.threads import Job, in_sequence
from charrnn.task_config import TranslatorConfig
from charrnn.text.batch import Batch, EncoderInput
from charrnn.text.pair_batches import pack_sources

if TYPE_CHECKING:
    from charrnn.models.decoding import Writer

Counts = NDArray[np.int64]

EMBEDDING_DROPOUT = 0.4  # as a share of the rate of the layers
ENCODER_KEY = 0x27D4EB2F  # dropout masks of the encoder are other ones than those of the decoder


class Parts(NamedTuple):
    """The blocks of a translator: over the units of the sources, over the sources, over the units of the targets."""

    encoder: list[Block]
    bridge: list[Block]
    decoder: list[Block]
    output: Softmax


def make_blocks(config: TranslatorConfig) -> Parts:
    """The blocks and the head, before any array is allocated."""
    V, E, H, tied = config.vocabulary_size, config.embedding_size, config.hidden_size, config.tie_weights
    layers, _ = recurrent_stack(config.encoder, E, bidirectional=True, part="encoder.")
    top = layers[-1]
    assert isinstance(top, Bidirectional)
    bridge = Tanh(0, H, E, name="bridge")
    scale = 1 / sqrt(E) if tied else 1.0
    embedding = BridgedEmbedding(V, E, bridge, scale=scale, dropout=EMBEDDING_DROPOUT, part="decoder.")
    decoder: list[Block] = [embedding, *recurrent_stack(config, E, bidirectional=False, part="decoder.")[0]]
    if config.attention == "dot":
        decoder += [Attention(H, top), Tanh(0, 2 * H, H, name="attention")]
    sources = config.source_vocabulary_size
    whole = sources * top.forward.G <= MOST_TABLE
    encoder = [Embedding(sources, E, whole=whole, dropout=EMBEDDING_DROPOUT, part="encoder."), *layers]
    output = Softmax(V, H, tied=embedding.weight if tied else None)
    return Parts(encoder, [Ends(top), bridge], decoder, output)


def parameter_layout(config: TranslatorConfig) -> Layout:
    """The layout of the parameters, without allocating them."""
    parts = make_blocks(config)
    blocks = (*parts.encoder, *parts.bridge, *parts.decoder, parts.output)
    return Layout([parameter for block in blocks for parameter in block.parameters()])


def prepare(blocks: list[Block], below: Signal | Lookup | None, window: Window) -> Signal:
    """`Block.prepare` of one after the other."""
    for block in blocks:
        below = block.prepare(below, window)
    assert isinstance(below, Signal)
    return below


class Translator(Network):
    """Ids of sources and of what was made of them so far in, the distribution of the next id out; see `Network`.

    The chain of blocks of `Network` is the decoder. Before it runs, stages of their own compute the encoder, over the
    places of the sources, and the bridge, over the sources; after it, their gradients.
    """

    def __init__(
        self, config: TranslatorConfig, *, threads: int = 1, dtype: npt.DTypeLike = np.float32, bfloat16: bool = False
    ) -> None:  # fmt: skip
        self.config = config
        self._source_kind: tuple[object, ...] | None = None  # of the latest window of sources, and its signals
        self._source_signals: tuple[Signal, Signal]
        self.writer: Writer | None = None  # of the latest weights that anything was written with
        self.encoder, self.bridge, decoder, self.output = make_blocks(config)
        super().__init__(
            decoder, self.output, others=[*self.encoder, *self.bridge], threads=threads, dtype=dtype, bfloat16=bfloat16
        )

    def zero_state(self, batch: int) -> Array:
        """No state is carried from one batch to the next: zeros (S, 0, H)."""
        return super().zero_state(0)

    def part(self, batch: Batch, rows: slice) -> Batch:
        """Some rows of a batch, and the sources of the sequences in them."""
        assert batch.source is not None
        assert batch.reset is not None
        inputs, places, lengths = batch.source.inputs, batch.source.places, batch.source.lengths
        before = np.append(0, np.cumsum(batch.reset.sum(axis=0)))  # sequences before each row
        some = slice(before[rows.start], before[rows.stop])
        ids = inputs.reshape(-1)[places_of(places[some], lengths[some], inputs.shape[1])]
        return replace(batch.rows(rows), source=pack_sources(ids, lengths[some]))

    def check(self, batch: Batch, state: Array) -> None:
        """See `Network.check`. Raises `CharrnnError` also for sources that do not fit."""
        source = batch.source
        if batch.reset is None or batch.ends is None or source is None:
            raise CharrnnError("the batch does not say what its sequences are made from: `reset`, `ends` and `source`")
        super().check(batch, state)
        self.check_source(source)
        count = check_sequences(batch.reset, batch.ends)
        if count != len(source.places):
            raise CharrnnError(f"the batch has {count} sequences and {len(source.places)} sources; each needs its own")

    def check_source(self, source: EncoderInput) -> None:
        """Raise `CharrnnError` unless the sources of a batch can be taken on trust."""
        (T, B), places, lengths = source.inputs.shape, source.places, source.lengths
        shapes = {source.reset.shape, source.ends.shape, (T, B)}
        if len(shapes) > 1 or places.shape != lengths.shape or not places.size:
            raise CharrnnError("the arrays of the sources do not have one shape, or there are none")
        self.encoder[0].check(source.inputs)
        count = check_sequences(source.reset, source.ends)
        if places.min() < 0 or lengths.min() < 1 or (places + (lengths - 1) * B).max() >= T * B:
            raise CharrnnError("the places of the sources are not those of sequences in their window")
        first, last = np.sort(places), np.sort(places + (lengths - 1) * B)
        if count != len(places) or not (
            np.array_equal(first, np.flatnonzero(source.reset)) and np.array_equal(last, np.flatnonzero(source.ends))
        ):
            raise CharrnnError("the places of the sources are not those at which their `reset` and `ends` are")

    def open_window(
        self, batch: Batch, *, gradient: bool = False, first_state: bool = False, rate: float = 0.0
    ) -> tuple[Window, Signal]:  # fmt: skip
        """See `Network.open_window`; also the window of the sources, which the encoder and the bridge read."""
        assert batch.source is not None
        self.open_source(batch.source, gradient=gradient, rate=rate)
        return super().open_window(batch, gradient=gradient, first_state=first_state, rate=rate)

    def open_source(self, source: EncoderInput, *, gradient: bool = False, rate: float = 0.0) -> tuple[Signal, Signal]:
        """A window of the shape of `source`; the signals of the encoder (T, B, H) and of the bridge (1, S, E)."""
        get, shape = self.context.workspace.get, source.inputs.shape
        kind = shape, len(source.places)
        if not gradient and self._source_kind == kind:
            return self._source_signals
        self._source_kind = None
        masks = get("encoder.mask", *shape), get("encoder.reverse mask", *shape)
        self.source_window = Window(source.inputs, *masks, shape[0], True, gradient, False, rate, source=source)
        memory = prepare(self.encoder, None, self.source_window)
        self._source_signals = memory, prepare(self.bridge, memory, self.source_window)
        self._source_kind = None if gradient else kind  # the claims of a gradient are made once
        return self._source_signals

    def begin_source(self, source: EncoderInput, key: int = 0) -> None:
        """Start the window of the sources: see `begin`."""
        window = self.source_window
        window.inputs, window.source, window.key = source.inputs, source, (key + ENCODER_KEY) & 0xFFFFFFFF
        window.mask[:], window.reverse_mask[:] = ~source.reset, ~source.ends
        for block in (*self.encoder, *self.bridge):
            block.begin()
            # Only padding, which nothing reads, sees what the state was before; the gradient multiplies it by zero.
            for before in block.state(last=False) if window.gradient else ():
                before[:] = 0

    def begin(self, window: Window, batch: Batch, state: Array, key: int = 0) -> None:
        """See `Network.begin`. The decoder begins when the bridge is computed."""
        assert batch.source is not None
        self.begin_source(batch.source, key)
        self._begin_decoder = partial(super().begin, window, batch, state, key)

    def stages_before(self) -> Iterator[Stage]:
        """The encoder, the bridge, the beginning of the decoder."""
        yield from self.source_stages()
        yield lambda: self._begin_decoder()

    def source_stages(self) -> Iterator[Stage]:
        """The encoder and the bridge, for a window that `begin_source` has filled."""
        window, run = self.source_window, self.context.pool.run
        S = len(window.source.places) if window.source is not None else 0
        yield partial(run, [Job(window.shape[1], 1, in_sequence(*(block.forward_rows for block in self.encoder)))])
        yield partial(run, [Job(S, 1, in_sequence(*(block.forward_rows for block in self.bridge)))])

    def encode(self, source: EncoderInput) -> tuple[Signal, Signal]:
        """The outputs of the encoder (T, B, H), and of the bridge (1, S, E); they stay valid until the next window.

        Of the sources only the ids are checked. Raises `CharrnnError` for those outside the vocabulary.
        """
        with self.lock:
            self.encoder[0].check(source.inputs)
            self.pack()
            self._program = None  # its arrays are reused
            signals = self.open_source(source)
            self.begin_source(source)
            for stage in self.source_stages():
                stage()
            return signals

    def prepare_backward(self) -> None:
        """In the order in which gradients are computed; see `Network.prepare_backward`."""
        super().prepare_backward()
        for block in (*reversed(self.bridge), *reversed(self.encoder)):
            block.prepare_backward()

    def stages_after(self) -> Iterator[Stage]:
        """The rest of the decoder's gradient, then the gradients of the bridge and the encoder."""
        yield from super().stages_after()
        window, run = self.source_window, self.context.pool.run
        S = len(window.source.places) if window.source is not None else 0
        blocks = (*self.encoder, *self.bridge)
        yield partial(run, [Job(S, 1, in_sequence(*(block.backward_rows for block in reversed(self.bridge))))])
        back = in_sequence(*(block.backward_rows for block in reversed(self.encoder)))
        yield partial(run, [Job(window.shape[1], 1, back)])
        yield partial(run, [job for block in blocks for job in block.weight_jobs()])
        yield from (block.finish_gradient for block in reversed(blocks))

    def kind(self, batch: Batch) -> tuple[object, ...]:
        """See `Network.kind`."""
        assert batch.source is not None
        return (*super().kind(batch), batch.source.inputs.shape, len(batch.source.places))

    def forward(self, batch: Batch) -> Signal:
        """Run all blocks; the signal (T, B, H) that the softmax reads. `lock` must be held.

        Raises:
            CharrnnError: the batch does not fit, see `check`.
        """
        B = batch.targets.shape[1]
        state = Network.zero_state(self, B)
        self.check(batch, state)
        self.pack()
        window, hidden = self.open_window(batch)
        self.begin(window, batch, state)
        for stage in self.stages_before():
            stage()
        self.context.pool.run([Job(B, 1, self.forward_rows)])
        return hidden

    def log_probs(self, batch: Batch) -> Log:
        """log P of the targets (T, B), in nats, each given its source and the targets before it; 0 at padding.

        Raises:
            CharrnnError: the batch does not fit, see `check`.
        """
        with self.lock:
            rows = self.forward(batch)
            log_probs: Log = np.empty(batch.targets.shape)
            work = self.output.log_probs_rows(rows, batch.targets, log_probs)
            self.context.pool.run([Job(log_probs.shape[1], 1, work)])
            if batch.weights is not None:
                log_probs[batch.weights == 0] = 0
            return log_probs


def check_sequences(reset: Flags, ends: Flags) -> int:
    """The number of sequences that begin where reset (T, B) is True and end where ends (T, B) is.

    Raises:
        CharrnnError: beginnings and ends do not take turns.
    """
    marks = np.stack([reset, ends], axis=1).reshape(2 * len(reset), -1)
    b, which = np.nonzero(marks.T)  # by row and, in a row, by time: a beginning before the end of the same step
    even = len(b) % 2 == 0
    if not even or np.any(which[::2] % 2 != 0) or np.any(which[1::2] % 2 != 1) or np.any(b[::2] != b[1::2]):
        raise CharrnnError("`reset` and `ends` do not take turns in each row: a sequence has no end or no beginning")
    return len(b) // 2


def places_of(places: Counts, lengths: Counts, step: int) -> Counts:
    """The place of each unit of sources that begin at places (S), of lengths (S), in rows of `step` places."""
    ends = np.cumsum(lengths)
    steps = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    found: Counts = np.repeat(places, lengths) + steps * step
    return found

"""Writing with a translator: the best targets of each source, or samples. The search: `kernels/decode.py`.

S sources, R rows of hypotheses; other letters as in `nn/block.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.errors import CharrnnError, NotFiniteError, UsageError
from charrnn.kernels.decode import AttentionArrays, Sampling, Search, Sources
from charrnn.kernels.generate import Network
from charrnn.models.language import MOST_TABLE
from charrnn.models.steps import Cells, Steps
from charrnn.models.translator import Translator
from charrnn.nn.attention import Attention
from charrnn.nn.bridge import BridgedEmbedding
from charrnn.nn.dense import Tanh
from charrnn.nn.packed import flat
from charrnn.nn.recurrent import RecurrentLayer
from charrnn.nn.signal import Signal
from charrnn.nn.softmax import SCORED_ROWS
from charrnn.runtime.arrays import Array, Ids, zeros
from charrnn.runtime.threads import WORTH_THREADS, Job
from charrnn.text.packing import by_length
from charrnn.text.pair_batches import joined, pack_pairs, pack_sources
from charrnn.text.vocabulary import UNKNOWN

ROWS = 96  # hypotheses that a thread computes at once: each read of the weights serves all of them
POSITIONS = 1 << 14  # units of the sources that are encoded at once, about
HISTORY = 64  # times as many units of hypotheses are kept at once, about, of 8 bytes each

Counts = NDArray[np.int64]


class Hypothesis(NamedTuple):
    """A target without its last unit, which ends it, and log P of all of it in nats.

    `ended`: False if the limit of units cut it; log P is then that of the units that are there. attention (units,
    source units): how much of it each unit, and the end if there is one, gives to each unit of the source; None if it
    was not asked for, or there is none.
    """

    ids: Ids
    log_prob: float
    ended: bool
    attention: Array | None = None


class Writer:
    """The arrays of the search, for one version of a network's weights; `begin` starts with some sources."""

    def __init__(self, network: Translator) -> None:
        self.network, self.version, self.context = network, network.context.version, network.context
        blocks = network.blocks
        layers = [block for block in blocks if isinstance(block, RecurrentLayer)]
        if not Steps.fit(layers, self.context):
            raise CharrnnError("a translator writes in float32, with layers of one `cell`")
        embedding = blocks[0]
        assert isinstance(embedding, BridgedEmbedding)
        self.layer, self.embedding, self.V = layers[0], embedding, embedding.V
        self.layer_above = blocks[-1] if isinstance(blocks[-1], Tanh) else None
        self.tabled = self.V * self.layer.G <= MOST_TABLE
        if self.layer_above:  # its weight is (2H, H): half of its rows meet the context, half of them h
            panels = self.layer_above.packed.panels
            half = panels.shape[1] // 2
            self.of_context, self.of_h = panels[:, :half].copy(), panels[:, half:].copy()
        self._made: tuple[tuple[int, ...], Network, Cells, AttentionArrays] | None = None
        self._search: tuple[tuple[int, ...], Search] | None = None
        self._room = zeros((1, 0, self.layer.G), self.context.dtype)
        self.steps = Steps(
            layers, None if self.tabled else embedding, self.layer.b[np.newaxis], network.output, self.context
        )

    @staticmethod
    def of(network: Translator) -> Writer:
        """The one of the network's present weights."""
        network.pack()
        if network.writer is None or network.writer.version != network.context.version:
            network.writer = Writer(network)
        return network.writer

    def begin(self, ids: Ids, lengths: Counts) -> None:
        """Encode sources, which are in ids one after the other, of these lengths (S)."""
        source = pack_sources(ids, lengths)
        self.longest = int(lengths.max())
        memory, first = self.network.encode(source)
        projected = memory.value
        if self.layer_above:
            projected = self.steps.array("projected", *memory.value.shape)
            projected[:] = 0
            self._multiply(memory.operand, self.of_context, projected)
        self.sources = Sources(
            flat(memory.value), flat(projected), memory.value.shape[1], source.places, source.lengths, first.value,
            first.operand,
        )  # fmt: skip
        if self.tabled:
            self.steps.table = self._table(first)

    def _table(self, first: Signal) -> Array:
        """The input's part of the gates of the first layer (V + S, G): of each unit, then of what is read first."""
        V, S, fill, panels = self.V, first.value.shape[1], kernels.inputs.fill_rows, self.layer.input
        assert panels is not None
        if self._room.shape[1] < V + S:
            room, rows = zeros((1, V + S, self.layer.G), self.context.dtype), self.embedding.table[np.newaxis]
            operand = self.context.workspace.operand_of("steps.embedding", rows)
            kernels.rounding.store_operands(rows, operand, 0, V)
            fill(room, self.layer.b, 0, V)
            self._multiply(operand, panels.panels, room[:, :V])
            self._room = room  # now that it is complete: an interruption leaves the old one
        part = self._room[:, V : V + S]
        fill(part, self.layer.b, 0, S)
        self._multiply(first.operand, panels.panels, part)
        return self._room[0, : V + S]

    def _multiply(self, a: Array, panels: Array, c: Array) -> None:
        job = Job(c.shape[1], len(a) * a.shape[2] * c.shape[2], kernels.matmul.add_products, (a, panels, c))
        self.context.pool.run([job], least=WORTH_THREADS)

    def search(self, limits: Counts, beam: int, best: int, *, unknown: bool) -> Search:
        """A search for the sources of `begin`; limits (S). Its arrays are those of the next one of the same sizes."""
        S, queues = len(limits), self.context.pool.count
        most = max(1, min(ROWS // beam, -(-S // queues)))
        key, starts = (S, beam, best, queues, most), np.zeros(S + 1, np.int64)
        np.cumsum(limits * beam, out=starts[1:])
        if self._search is None or self._search[0] != key:
            R = queues * most * beam
            self._search = key, Search(
                beam, unknown, limits, starts, np.empty(0, np.int32), np.empty(0, np.int32), np.empty((S, best)),
                np.zeros((S, best, 2), np.int32), np.empty((S, beam)), np.empty((2, R)), np.empty((R, beam + 1)),
                np.zeros((R, beam + 1), np.int32), np.empty((queues, beam), np.int32),
                np.empty((queues, most, 3), np.int32),
            )  # fmt: skip
        search = self._search[1]
        search.done.fill(-np.inf)
        search.cut.fill(-np.inf)
        history = self.context.workspace.ids("search.history", 2, int(starts[-1]))
        return search._replace(unknown=unknown, limits=limits, starts=starts, units=history[0], parents=history[1])

    def run(self, search: Search, sampling: Sampling) -> None:
        """Fill the arrays of a search; each thread takes the sources of a queue."""
        queues, most, _ = search.slots.shape
        net, cells, attention = self._arrays(queues, most * search.beam)
        weights = self.steps.array("attention_weights", queues, search.beam, self.longest)
        attention = attention._replace(weights=weights)

        def work(first: int, last: int, thread: int) -> None:
            for queue in range(first, last):
                kernels.decode.decode(net, *cells, self.sources, attention, search, sampling, queue)

        self.context.pool.run([Job(queues, 1, work)])

    def _arrays(self, queues: int, rows: int) -> tuple[Network, Cells, AttentionArrays]:
        """What `queues` of so many rows work in; those of last time if the sizes are the same."""
        if self._made is None or self._made[0] != (queues, rows):
            R, layer, get, operand = queues * rows, self.layer_above, self.steps.array, self.steps.operand
            net, cells = self.steps.arrays(R, -1, queues * min(SCORED_ROWS, rows))
            net.reset_mask[:] = 1
            hidden = get("hidden", 1, R, self.layer.H)
            weight, bias = (self.of_h, layer.b) if layer else (self.steps.first[:0], self.layer.b)
            # The weights of attention come with the sources.
            attention = AttentionArrays(weight, bias, hidden, hidden, operand("hidden", hidden))
            self._made = (queues, rows), net, cells, attention
        _, net, cells, attention = self._made
        return net._replace(table=self.steps.table), cells, attention


def read_results(search: Search) -> list[list[Hypothesis]]:
    """The hypotheses of each source, out of a search that is over."""
    results = []
    starts = search.starts.tolist()
    for source, (scores, places) in enumerate(zip(search.done.tolist(), search.done_at.tolist(), strict=True)):
        found = [(score, *place, True) for score, place in zip(scores, places, strict=True) if score > -np.inf]
        limit, cut = int(search.limits[source]), search.cut[source].tolist()
        found += [(score, limit, which, False) for which, score in enumerate(cut) if score > -np.inf]
        history = slice(starts[source], starts[source + 1])
        units, parents = search.units[history].tolist(), search.parents[history].tolist()
        hypotheses = []
        for score, steps, which, ended in found[: len(scores)]:
            ids = []
            for first in range((steps - 1) * search.beam, -1, -search.beam):
                ids.append(units[first + which])
                which = parents[first + which]
            hypotheses.append(Hypothesis(np.array(ids[::-1], np.int32), score, ended))
        if not hypotheses:
            raise NotFiniteError
        results.append(hypotheses)
    return results


def chunks_of(
    network: Translator, sources: Sequence[Ids], limits: Counts, beam: int
) -> Iterator[tuple[Counts, Writer]]:  # fmt: skip
    """The numbers of some sources that are computed at once, and the writer that began with them.

    Those of similar length, or similar `limits` where these are far longer, are computed at once; the network's lock
    must be held.
    """
    lengths = np.fromiter(map(len, sources), np.int64, len(sources))
    if not lengths.all():
        raise CharrnnError("a source is empty; it needs at least one unit")
    writer = Writer.of(network)
    for some in by_length(np.maximum(lengths, limits * beam // HISTORY), POSITIONS):
        writer.begin(np.concatenate([sources[number] for number in some.tolist()]), lengths[some])
        yield some, writer


def decode(
    network: Translator, sources: Sequence[Ids], *, beam: int = 1, best: int = 1, limits: NDArray[Any],
    unknown: bool = False, attention: bool = False,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The `best` targets of each source that a search of width `beam` finds, the most probable first.

    limits (S): most units of each, its end not counted. `unknown`: whether the unit for unknown ones, id 0, may be
    written. `attention`: whether to compute that of the hypotheses. Those that end come first. There may be fewer than
    `best`, but at least one. The targets of a source do not depend on the other sources.

    Raises:
        CharrnnError: a source is empty or has ids that the network does not know; or its numbers are not finite.
        UsageError: `beam` or `best` is out of range.
    """
    if not 1 <= best <= beam:
        raise UsageError(f"`best` is {best} and `beam` {beam}; they must be 1 or more, and `best` at most `beam`")
    results: list[list[Hypothesis]] = [[] for _ in sources]
    limits = np.asarray(limits, np.int64)
    with network.lock:
        for some, writer in chunks_of(network, sources, limits, beam):
            search = writer.search(limits[some], beam, best, unknown=unknown)
            writer.run(search, Sampling(np.empty((len(some), 0)), 1.0, 0, 1.0))
            for number, hypotheses in zip(some.tolist(), read_results(search), strict=True):
                results[number] = hypotheses
        return add_attention(network, sources, results) if attention else results


def sample(
    network: Translator, sources: Sequence[Ids], *, temperature: float, top_k: int = 0, top_p: float = 1.0,
    keys: Sequence[int], limits: NDArray[Any],
) -> list[Hypothesis]:  # fmt: skip
    """A target of each source, drawn from its distribution; log P is not computed, and 0.

    keys (S): what the random numbers of each target are a function of. See `decode` for limits (S) and what is raised,
    `kernels/draw.py` for temperature, top-k and top-p.
    """
    results: list[Hypothesis] = [Hypothesis(np.empty(0, np.int32), 0.0, ended=False)] * len(sources)
    limits = np.asarray(limits, np.int64)
    with network.lock:
        for some, writer in chunks_of(network, sources, limits, 1):
            most = limits[some]
            uniforms = np.zeros((len(some), int(most.max()) + 1))
            for row, number, limit in zip(uniforms, some.tolist(), most.tolist(), strict=True):
                row[: limit + 1] = np.random.Generator(np.random.Philox(keys[number])).random(limit + 1)
            search = writer.search(most, 1, 1, unknown=False)
            writer.run(search, Sampling(uniforms, float(temperature), min(int(top_k), network.output.V), float(top_p)))
            for number, [hypothesis] in zip(some.tolist(), read_results(search), strict=True):
                if UNKNOWN in hypothesis.ids:  # drawn only where no unit has a finite probability
                    raise NotFiniteError
                results[number] = hypothesis
    return results


def add_attention(
    network: Translator, sources: Sequence[Ids], results: list[list[Hypothesis]]
) -> list[list[Hypothesis]]:  # fmt: skip
    """The hypotheses of each source with their attention, computed all steps at once; unchanged if there is none."""
    block = network.blocks[-2]
    if not isinstance(block, Attention) or not results:
        return results
    read = [source for source, hypotheses in zip(sources, results, strict=True) for _ in hypotheses]
    written = [hypothesis for hypotheses in results for hypothesis in hypotheses]
    sizes = np.array([len(source) + len(one.ids) + 1 for source, one in zip(read, written, strict=True)])
    for some in by_length(sizes, POSITIONS):
        chosen = some.tolist()
        batch, places = pack_pairs(joined([read[n] for n in chosen]), joined([written[n].ids for n in chosen]))
        network.forward(batch)
        steps, B = np.array([len(written[n].ids) + 1 for n in chosen]), batch.targets.shape[1]
        begins = places[np.cumsum(steps) - steps]
        order = np.lexsort((begins // B, begins % B))  # by row and in a row by time, as the batch has them
        for n, weights in zip(some[order].tolist(), block.weights_of_steps(steps[order]), strict=True):
            written[n] = written[n]._replace(attention=weights[: len(weights) - (not written[n].ended)].copy())
    rows = iter(written)
    return [[next(rows) for _ in hypotheses] for hypotheses in results]

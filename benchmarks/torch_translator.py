"""The translator of this project in PyTorch, as fast as it goes there: padded batches, and searches over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.torch_parts import BothDirections, last_states, padded, real_steps

END = 1  # the unit that ends a text; the one before it, for what is unknown, is not written
LOWEST, NEVER = -1e9, -1e30  # scores of what is not there, and of what is never chosen


class Memory(NamedTuple):
    """What the decoder knows of N sources: the encoder's outputs (N, S, H), their transpose, what is added to their
    scores (N, 1, S), which is `LOWEST` at padding, and the decoder's first input (N, 1, E)."""

    outputs: Any
    transposed: Any
    mask: Any
    first: Any

    def rows(self, numbers: Any) -> Memory:
        """Those of some sources."""
        return Memory(*(part[numbers] for part in self))


class Translator(nn.Module):  # type: ignore[misc]
    """Encoder in both directions, bridge, decoder, dot-product attention after it (Luong, Pham and Manning 2015)."""

    def __init__(self, units: tuple[int, int], hidden: int, embedding: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(units[0], embedding)
        widths = [embedding, *[hidden] * (layers - 1)]
        self.encoder = nn.ModuleList(BothDirections(width, hidden // 2) for width in widths)
        self.bridge = nn.Linear(hidden, embedding)
        self.embedding = nn.Embedding(units[1], embedding)
        self.decoder = nn.LSTM(embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.attention = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(hidden, units[1])
        self.dropout = nn.Dropout(dropout)

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Take the weights of a checkpoint of this project."""
        renamed = {
            "encoder.embedding.weight": "source_embedding.weight", "decoder.embedding.weight": "embedding.weight"
        }  # fmt: skip
        state: dict[str, Any] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".rnn.")
            if part == "encoder":
                kind, _, place = rest.removesuffix("_reverse").rpartition("_l")
                direction = "backwards" if rest.endswith("_reverse") else "forwards"
                name = f"encoder.{place}.{direction}.{kind}_l0"
            state[renamed.get(name, name.replace(".rnn.", "."))] = torch.tensor(tensor)
        self.load_state_dict(state)

    def encode(self, sources: Sequence[Any]) -> Memory:
        """Read N sources of ids."""
        ids, lengths = padded(sources)
        values = self.dropout(self.source_embedding(ids))
        for layer in self.encoder:
            values = self.dropout(layer(values, lengths))
        mask = values.new_zeros(ids.shape).masked_fill(~real_steps(lengths), LOWEST)[:, None]
        first = torch.tanh(self.bridge(last_states(values, lengths)))[:, None]
        return Memory(values, values.transpose(1, 2).contiguous(), mask, first)

    def attend(self, hidden: Any, memory: Memory) -> Any:
        """What the output reads (N, T, H), of the decoder's outputs (N, T, H)."""
        shares = torch.softmax(torch.baddbmm(memory.mask, hidden, memory.transposed), dim=2)
        return torch.tanh(self.attention(torch.cat([torch.bmm(shares, memory.outputs), hidden], dim=2)))

    def loss(self, sources: Sequence[Any], targets: Sequence[Any]) -> Any:
        """The mean of -log P of the units of the targets, each of which ends with `END`."""
        memory = self.encode(sources)
        ids, lengths = padded(targets)
        inputs = self.dropout(torch.cat([memory.first, self.embedding(ids[:, :-1])], dim=1))
        real = real_steps(lengths)
        hidden = self.attend(self.dropout(self.decoder(inputs)[0]), memory)
        return nn.functional.cross_entropy(self.output(self.dropout(hidden[real])), ids[real])

    def step(self, inputs: Any, state: Any, memory: Memory) -> tuple[Any, Any]:
        """Logits (N, V) after inputs (N, 1, E), and the state."""
        hidden, state = self.decoder(inputs, state)
        return self.output(self.attend(hidden, memory))[:, 0], state


def greedy(network: Translator, sources: Sequence[Any], limits: Sequence[int]) -> list[list[int]]:
    """The most probable unit at each step, of N sources at once; limits (N) are the most units of each."""
    memory = network.encode(sources)
    inputs, state, most = memory.first, None, torch.tensor(limits)
    running, units = torch.ones(len(sources), dtype=torch.bool), []
    for done in range(1, max(limits) + 1):
        logits, state = network.step(inputs, state, memory)
        chosen = torch.where(running, logits[:, END:].argmax(dim=1) + END, END)
        units.append(chosen)
        running = running & (chosen != END) & (most > done)
        if not running.any():
            break
        inputs = network.embedding(chosen)[:, None]
    rows = torch.stack(units, dim=1).tolist()
    return [row[: row.index(END)] if END in row else row for row in rows]


def beam(network: Translator, sources: Sequence[Any], limits: Sequence[int], width: int) -> list[list[int]]:
    """The most probable target of each of N sources that a search of this width finds; limits as in `greedy`.

    What ends is one of the `width` best extensions. A source is over when what has ended is more probable than all that
    is open, or at its limit, and leaves the batch.
    """
    K, start = width, network.encode(sources)
    found: list[tuple[float, list[int]]] = [(-torch.inf, []) for _ in sources]
    numbers = torch.arange(len(sources))  # of the sources that are not over
    most = torch.tensor(limits)
    memory = start.rows(numbers.repeat_interleave(K))
    scores = torch.full((len(sources), K), LOWEST)
    scores[:, 0] = 0
    history = torch.zeros(len(sources), K, 0, dtype=torch.long)
    inputs, state, done = memory.first, None, 0
    while len(numbers):
        logits, state = network.step(inputs, state, memory)
        N, V = len(numbers), logits.shape[1]
        total = scores[:, :, None] + torch.log_softmax(logits, dim=1).view(N, K, V)
        total[:, :, END - 1] = LOWEST
        values, places = total.view(N, K * V).topk(2 * K, dim=1)
        ends = places % V == END
        ended, which = values[:, :K].masked_fill(~ends[:, :K], NEVER).max(dim=1)
        scores, order = values.masked_fill(ends, NEVER).topk(K, dim=1)
        parents = (places.gather(1, which[:, None])[:, 0] // V).tolist()
        for n, (number, score) in enumerate(zip(numbers.tolist(), ended.tolist(), strict=True)):
            if score > max(LOWEST, found[number][0]):
                found[number] = (score, history[n, parents[n]].tolist())
        places = places.gather(1, order)
        before, chosen = places // V, places % V
        done += 1
        history = torch.cat([history.gather(1, before[:, :, None].expand(-1, -1, done - 1)), chosen[:, :, None]], 2)
        ended_best = scores.new_tensor([found[number][0] for number in numbers.tolist()])
        cut = most[numbers] <= done
        for n in torch.nonzero(cut & (ended_best < LOWEST)).flatten().tolist():
            found[int(numbers[n])] = (LOWEST, history[n, 0].tolist())
        kept = torch.nonzero(~cut & (ended_best < scores[:, 0])).flatten()
        rows = (kept[:, None] * K + before[kept]).flatten()
        state = tuple(part[:, rows] for part in state)
        if len(kept) < N:
            memory = memory.rows((kept[:, None] * K + torch.arange(K)).flatten())
            numbers, scores, history, chosen = numbers[kept], scores[kept], history[kept], chosen[kept]
        inputs = network.embedding(chosen.flatten())[:, None]
    return [units for _, units in found]


def translated(
    network: Translator, sources: Sequence[Any], limits: Sequence[int], *, width: int, size: int
) -> list[list[int]]:  # fmt: skip
    """Targets by beam search, or greedy for a width of 1, of batches of `size` sources of similar length."""
    found: list[list[int]] = [[] for _ in sources]
    order = sorted(range(len(sources)), key=lambda n: len(sources[n]))
    with torch.inference_mode():
        for begin in range(0, len(order), size):
            some = order[begin : begin + size]
            asked = [sources[n] for n in some], [limits[n] for n in some]
            results = greedy(network, *asked) if width == 1 else beam(network, *asked, width)
            for n, units in zip(some, results, strict=True):
                found[n] = units
    return found

"""What happens inside a language model while it reads: states and gates of its layers, and gradients that reach back.

Arrays are copies. Letters in shapes as in `nn/block.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.models.language import LanguageModel
from charrnn.nn import lstm
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job
from charrnn.text.batch import Batch

WINDOW = 128  # steps that are read at a time
ROWS, LONG = (
    16,
    4000,
)  # a text of so many units is read in so many rows at once, each with some units before it as context
CONTEXT = 128
GATES = {"lstm": ("input", "forget", "output"), "gru": ("reset", "update"), "rnn": ()}
_PLACES = {"lstm": (0, 1, 3), "gru": (0, 1), "rnn": ()}  # of these among the blocks of H columns
CLOSED, OPEN = 0.1, 0.9


@dataclass
class Trace:
    """What N steps left behind.

    `cells` (layers, N, H): the value that a layer carries on: tanh(c) of an LSTM, h of the others. `gates`: for each
    layer and gate its name, and for each unit the share of the steps at which it was shut (H), below CLOSED, and open
    (H), above OPEN.
    """

    cells: npt.NDArray[np.float32]
    gates: list[tuple[int, str, npt.NDArray[np.float64], npt.NDArray[np.float64]]]


class Windows:
    """A text of N units in rows that are read side by side, a window of steps after the other.

    inputs (N); resets (N): whether the state is zero before a unit; None: only at the start.
    """

    def __init__(self, inputs: Ids, resets: npt.NDArray[np.bool_] | None = None) -> None:
        N = len(inputs)
        rows = ROWS if N >= LONG else 1
        length, context = -(-N // rows), CONTEXT if rows > 1 else 0
        places = np.arange(rows) * length - context + np.arange(length + context)[:, np.newaxis]
        self._counts = (np.arange(length + context)[:, np.newaxis] >= context) & (places < N)
        self._counts &= places >= np.arange(rows) * length
        self._places = np.clip(places, 0, N - 1)
        self._inputs = inputs[self._places]
        self._resets = places == 0
        if resets is not None:
            self._resets |= resets[self._places]

    def read(
        self, network: LanguageModel, *, gates: bool = False
    ) -> Iterator[tuple[Ids, npt.NDArray[np.bool_], Array]]:
        """Read window by window: the places (n) in the text of what counts, where that is in the window (T, B), and
        the hidden states (T, B, H) of the last layer.

        Until the next one the layers of the network have the window's arrays, with `gates` those of all steps. Hold the
        network's lock meanwhile.
        """
        T, B = self._places.shape
        state = network.zero_state(B)
        network.pack()
        for start in range(0, T, WINDOW):
            part = slice(start, start + WINDOW)
            some = np.ascontiguousarray(self._inputs[part])
            batch = Batch(some, some, np.ascontiguousarray(self._resets[part]))
            network.check(batch, state)
            window, hidden = network.open_window(batch, gradient=gates)  # a gradient would need those of all steps
            network.begin(window, batch, state)
            network.context.pool.run([Job(B, 1, network.forward_rows)])
            network.copy_state(state)
            counts = self._counts[part]
            yield self._places[part][counts], counts, hidden.value


def trace(network: LanguageModel, inputs: Ids, resets: npt.NDArray[np.bool_] | None = None) -> Trace:
    """Read inputs (N) from a zero state; resets (N): whether the state is zero again before a step."""
    config, N, H = network.config, len(inputs), network.config.hidden_size
    cells = np.empty((config.num_layers, N, H), np.float32)
    counts = {(n, name): np.zeros((2, H)) for n, cell in enumerate(config.cells) for name in _names(network, n, cell)}
    with network.lock:
        for places, chosen, _ in Windows(inputs, resets).read(network, gates=True):
            for n, (layer, cell) in enumerate(zip(network.layers, config.cells, strict=True)):
                after = np.tanh(layer.c[1:]) if isinstance(layer, lstm.Layer) else layer.h[1:]
                cells[n, places] = after[chosen]
                for name, gate in _names(network, n, cell).items():
                    values = layer.gate_values[..., gate * H : (gate + 1) * H][chosen]
                    counts[n, name] += (values < CLOSED).sum(axis=0), (values > OPEN).sum(axis=0)
    return Trace(cells, [(n, name, *(shares / max(N, 1))) for (n, name), shares in counts.items()])


def _names(network: LanguageModel, layer: int, cell: str) -> dict[str, int]:
    """The gates of a layer, each with its place."""
    if cell == "gru" and network.config.reset_gate == "none":
        return {"update": 0}
    return dict(zip(GATES.get(cell, ()), _PLACES.get(cell, ()), strict=True))


def reach(network: LanguageModel, ids: Ids, steps: int, rows: int = 16) -> npt.NDArray[np.float64]:
    """How strongly the loss at a place depends on what was read k steps before it (steps), k from 0.

    The norm of the gradient of the loss by the input of the first layer's gates, k steps before; the root mean square
    over `rows` places of ids (N), as a share of that at k = 0. N must be more than `steps`.
    """
    starts = np.linspace(0, len(ids) - steps - 1, rows).astype(np.int64)
    windows = ids[starts[np.newaxis] + np.arange(steps + 1)[:, np.newaxis]]  # (steps + 1, rows)
    weights = np.zeros((steps, rows), network.dtype)
    weights[-1] = 1
    batch = Batch(np.ascontiguousarray(windows[:-1]), np.ascontiguousarray(windows[1:]), weights=weights)
    with network.lock:
        network.loss(batch)
        norms = _norms(network.layers[0].dgates[..., : network.layers[0].G])
    found = np.sqrt((norms**2).mean(axis=1))[::-1]
    shares: npt.NDArray[np.float64] = found / found[0] if found[0] > 0 else np.zeros(steps)
    return shares


def _norms(dgates: Array) -> npt.NDArray[np.float64]:
    """The norms (T, B) of (T, B, G)."""
    norms: npt.NDArray[np.float64] = np.sqrt((dgates.astype(np.float64) ** 2).sum(axis=2))
    return norms

"""Blocks for one target a sequence: layers in both directions, pooling, fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError
from charrnn.models.network import Network
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block
from charrnn.nn.cells import layer_class
from charrnn.nn.dense import Dense
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.embedding import Embedding, OneHot
from charrnn.nn.pooling import MODES, Pooling
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.text.batch import Batch

V, E, H, D, CLASSES = 7, 4, 5, 6, 3
STEP = 1e-5  # of the four-point difference, as in `gradcheck`
# Lengths of the sequences of each row: of one step, of the whole row, with padding at the end, fewer than K.
PACKED = ((3, 1, 2), (7,), (2, 3), (1, 1, 1), (4, 3))


def make(
    mode: str = "mean", cells: Sequence[str] = ("gru",), *, both: bool = True, embedded: bool = True, dense: int = 1,
    width: int = H, threads: int = 2, dtype: Any = np.float64, bfloat16: bool = False, pooled: bool = True,
) -> Network:  # fmt: skip
    """A classifier with random weights and biases: ids, layers, pooling, `dense` fully connected layers, softmax."""
    config = ModelConfig(V, tuple(cells), width, E if embedded else 0)
    blocks: list[Block] = [Embedding(V, E) if embedded else OneHot(V)]
    N = E if embedded else V
    for index, cell in enumerate(cells):
        one_hot = not embedded and not index
        directions = (False, True) if both else (False,)
        layers = [layer_class(cell)(config, index, N, one_hot=one_hot, reverse=reverse) for reverse in directions]
        blocks.append(Bidirectional(*layers) if both else layers[0])
        N = width * len(layers)
    if pooled:
        blocks.append(Pooling(N, mode, bidirectional=both))
    for index in range(dense):
        blocks.append(Dense(index, N, D))
        N = D
    network = Network(blocks, Softmax(CLASSES, N), threads=threads, dtype=dtype, bfloat16=bfloat16)
    network.initialise(1)
    network.parameters += 0.3 * np.random.default_rng(0).standard_normal(network.parameters.size).astype(dtype)
    network.invalidate()
    return network


def texts(lengths: Sequence[Sequence[int]] = PACKED, seed: int = 0) -> list[list[Ids]]:
    """Random ids for the sequences of each row."""
    rng = np.random.default_rng(seed)
    return [[rng.integers(0, V, length).astype(np.int32) for length in row] for row in lengths]


def pack(rows: Sequence[Sequence[Ids]], T: int = 8, K: int = 3, *, first: int = 0) -> Batch:
    """A batch (T, B) with the sequences of each row one after the other from step `first` on, and padding."""
    B, rng = len(rows), np.random.default_rng(5)
    inputs = rng.integers(0, V, (T, B)).astype(np.int32)  # padding is arbitrary
    reset, ends, weights = np.zeros((T, B), np.bool_), np.zeros((T, B), np.bool_), np.zeros((K, B))
    for b, row in enumerate(rows):
        t = first
        for k, ids in enumerate(row):
            inputs[t : t + ids.size, b] = ids
            reset[t, b] = ends[t + ids.size - 1, b] = True
            weights[k, b] = 1 + (k + b) % 2
            t += ids.size
    return Batch(inputs, rng.integers(0, CLASSES, (K, B)).astype(np.int32), reset, ends, weights)


def turned(batch: Batch) -> Batch:
    """The batch with its rows in another order."""
    arrays = {name: getattr(batch, name) for name in ("inputs", "targets", "reset", "ends", "weights")}
    rows = {name: np.roll(array, 1, axis=1) for name, array in arrays.items() if array is not None}
    return replace(batch, **rows)


def check_gradient(network: Network, batch: Batch, dropout: DropoutKey | None = None) -> None:
    """Against differences: each parameter by itself, along a random direction with the gradient's own mixed in.

    A window of the same shape comes before: nothing of it is left in the gradient.
    """
    rng = np.random.default_rng(1)
    network.loss(turned(batch), dropout)
    network.loss(batch, dropout)
    gradient, centre = network.gradient.copy(), network.parameters.copy()

    def loss(shift: Array) -> float:
        network.parameters[:] = centre + shift
        network.invalidate()
        summed, count = network.loss(batch, dropout)
        return summed / count

    start = 0
    for parameter in network.layout.parameters:
        part = slice(start, start + int(np.prod(parameter.shape)))
        start = part.stop
        length = np.linalg.norm(gradient[part])
        assert length > 1e-6, parameter.name
        direction = np.zeros_like(gradient)
        direction[part] = rng.standard_normal(part.stop - part.start)
        direction[part] += gradient[part] / length * np.sqrt(part.stop - part.start)
        direction *= STEP / np.linalg.norm(direction)
        near, far = loss(direction) - loss(-direction), loss(2 * direction) - loss(-2 * direction)
        assert (8 * near - far) / 12 == pytest.approx(gradient @ direction, rel=1e-6, abs=0), parameter.name


def outputs(network: Network, batch: Batch) -> Array:
    """The signal (K, B, N) of the last block."""
    B = batch.inputs.shape[1]
    network.pack()
    window, signal = network.open_window(batch)
    network.begin(window, batch, network.zero_state(B))
    network.forward_rows(0, B, 0)
    return signal.value.copy()


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_agree_with_differences(mode: str, cell: str, both: bool) -> None:
    for embedded in (True, False):
        check_gradient(make(mode, (cell,), both=both, embedded=embedded), pack(texts()))


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_deep_networks_agree_with_differences(mode: str) -> None:
    dropout = DropoutKey(0.3, 3, 5)
    check_gradient(make(mode, ("lstm", "gru"), dense=2), pack(texts(), first=1))
    check_gradient(make(mode, ("gru", "gru"), dense=0), pack(texts()))
    check_gradient(make(mode, ("gru", "gru"), dense=2, embedded=False), pack(texts()), dropout)


def test_both_directions_give_one_output_a_step() -> None:
    """Without pooling, with and without resets, and with the gradient of the states before the window."""
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, V, (6, 3)).astype(np.int32), rng.integers(0, CLASSES, (6, 3)).astype(np.int32)
    network = make(cells=("lstm", "lstm"), pooled=False, dense=0)
    assert network.zero_state(3).shape == (8, 3, H)
    state = 0.5 * rng.standard_normal((8, 3, H))
    check_gradient(network, Batch(ids, targets, ids == 1, targets == 1))
    check_gradient(network, Batch(ids, targets))
    gradient, direction = np.zeros_like(state), rng.standard_normal(state.shape) * STEP
    network.loss(Batch(ids, targets, state=state.copy()), state_gradient=gradient)
    assert all(np.abs(row).min() > 0 for row in gradient)

    def loss(factor: int) -> float:
        return network.loss(Batch(ids, targets, state=state + factor * direction))[0] / targets.size

    difference = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / 12
    assert difference == pytest.approx(np.sum(gradient * direction), rel=1e-6)


def test_directions_are_those_of_single_layers() -> None:
    """Turned around in time, with the halves of each weight exchanged, a layer gives the same output turned around."""
    network, rng = make(cells=("gru",), pooled=False, dense=0), np.random.default_rng(0)
    ids = rng.integers(0, V, (6, 2)).astype(np.int32)
    found = outputs(network, Batch(ids, ids))
    exchanged = make(cells=("gru",), pooled=False, dense=0)
    for name, view in network.views.items():
        if name.startswith("layers"):
            other = name.replace("_reverse", "") if "_reverse" in name else name.replace("layers.0", "layers.0_reverse")
            exchanged.views[other][:] = view
    exchanged.invalidate()
    backward = np.ascontiguousarray(ids[::-1])
    np.testing.assert_array_equal(outputs(exchanged, Batch(backward, backward)), np.roll(found[::-1], H, axis=2))


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("mode", MODES)
def test_pooling_is_what_it_says(mode: str, both: bool) -> None:
    rows, network = texts(), make(mode, both=both, dense=0)
    outputs(network, turned(pack(rows)))  # nothing of another batch is left
    found = outputs(network, pack(rows))
    layers = make(pooled=False, both=both, dense=0)
    for name, view in layers.views.items():
        view[:] = network.views[name]
    layers.invalidate()
    for b, row in enumerate(rows):
        for k in range(3):
            if k >= len(row):
                assert not found[k, b].any()
                continue
            ids = row[k][:, np.newaxis]
            h = outputs(layers, Batch(ids, ids))[:, 0]
            expected = h.mean(axis=0) if mode == "mean" else h.max(axis=0)
            if mode == "last":
                expected = np.concatenate([h[-1, :H], h[0, H:]])
            elif mode == "attention":
                scores = np.exp(np.tanh(h) @ network.views["pool.query"])
                expected = scores / scores.sum() @ h
            np.testing.assert_allclose(found[k, b], expected, rtol=1e-12)


NUMBERS = [
    (np.float64, False),
    pytest.param(np.float32, False, marks=pytest.mark.slow),
    pytest.param(np.float32, True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("dtype", "bfloat16"), NUMBERS)
@pytest.mark.parametrize("mode", MODES)
def test_threads_and_neighbours_change_no_bit(mode: str, dtype: Any, bfloat16: bool) -> None:
    rows, dropout = texts(), DropoutKey(0.2, 1, 2)
    results = []
    for threads in (1, 2, 3):
        network = make(mode, ("gru", "gru"), width=33, threads=threads, dtype=dtype, bfloat16=bfloat16)
        loss = network.loss(pack(rows), dropout)
        results.append((loss, network.gradient.copy(), outputs(network, pack(rows))))
    for loss, gradient, values in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(gradient, results[0][1])
        np.testing.assert_array_equal(values, results[0][2])
    packed = results[0][2]
    for b, row in enumerate(rows):
        for k, ids in enumerate(row):
            for alone in (pack([[ids]], ids.size, 1), pack([[ids]], 13, 1, first=5), pack([*rows[:2], [ids]], first=1)):
                found = outputs(network, alone)[0, -1]
                np.testing.assert_array_equal(found, packed[k, b])


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_number_types_agree(mode: str) -> None:
    def gradient(**options: Any) -> Array:
        network = make(mode, ("lstm", "gru"), width=17, **options)
        network.loss(pack(texts()))
        return network.gradient.astype(np.float64)

    exact = gradient()
    for bfloat16, tolerance in ((False, 1e-4), (True, 0.1)):
        error = gradient(dtype=np.float32, bfloat16=bfloat16) - exact
        assert np.linalg.norm(error) < tolerance * np.linalg.norm(exact)


def test_a_network_learns_which_sequence_has_which_class() -> None:
    """The class of a sequence is whether its first id occurs again."""
    network, rng = make("attention", ("gru",), width=12), np.random.default_rng(0)
    rows = [[rng.integers(0, V, 4).astype(np.int32) for _ in range(2)] for _ in range(20)]
    targets = np.array([[int(ids[0] in ids[1:]) for ids in row] for row in rows], np.int32).T.copy()
    batch = replace(pack(rows, K=2), targets=targets)
    first = network.loss(batch)[0]
    for _ in range(150):
        network.parameters -= 0.5 * network.gradient
        network.invalidate()
        last = network.loss(batch)[0]
    assert last < 0.3 * first


def test_what_does_not_fit_is_refused() -> None:
    batch = pack(texts())
    with pytest.raises(CharrnnError, match="a row of the batch has 3 sequences; it has 2 targets"):
        make().loss(replace(batch, targets=batch.targets[:2], weights=None))
    with pytest.raises(ValueError, match="pooling is one of last, mean, max, attention, not sum"):
        Pooling(H, "sum")
    config = ModelConfig(V, ("gru",), H, E)
    layer = layer_class("gru")
    with pytest.raises(ValueError, match="the second against it"):
        Bidirectional(layer(config, 0, E), layer(config, 0, E))
    with pytest.raises(ValueError, match="the same index, input width and hidden size"):
        Bidirectional(layer(config, 0, E), layer(config, 1, 2 * H, reverse=True))

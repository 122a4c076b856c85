"""Encoder, bridge, decoder and attention: gradients, independence of neighbours, the function in plain NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from charrnn.errors import CharrnnError, UsageError
from charrnn.models import network as network_module
from charrnn.models.translator import Translator, parameter_layout
from charrnn.nn import softmax
from charrnn.nn.dropout import DropoutKey
from charrnn.runtime.arrays import Array
from charrnn.text.batch import Batch
from tests.translators import PAIRS, V, make, pack, pairs

STEP = 1e-5  # of the four-point difference, as in `gradcheck`
SOME = ((3, 2), (1, 4))


def check_gradient(network: Translator, batch: Batch, dropout: DropoutKey | None = None) -> None:
    """Against differences: each parameter by itself, along a random direction with the gradient's own mixed in.

    A batch of the same shape comes before: nothing of it is left in the gradient.
    """
    assert batch.source is not None
    rng, source = np.random.default_rng(1), batch.source
    network.loss(replace(batch, source=replace(source, inputs=source.inputs[::-1].copy())), dropout)
    network.loss(batch, dropout)
    gradient, centre = network.gradient.copy(), network.parameters.copy()

    def loss(shift: Array) -> float:
        network.parameters[:] = centre + shift
        network.invalidate()
        summed, count = network.loss(batch, dropout)
        return summed / count

    places = network.layout.views(np.arange(centre.size, dtype=np.float64))
    for name, indices in places.items():
        part, direction = indices.ravel().astype(np.int64), np.zeros_like(centre)
        direction[part] = rng.standard_normal(part.size)
        direction[part] += gradient[part] / np.linalg.norm(gradient[part]) * np.sqrt(part.size)
        direction *= STEP / np.linalg.norm(direction)
        near, far = loss(direction) - loss(-direction), loss(2 * direction) - loss(-2 * direction)
        slope, difference = float(gradient @ direction), (8 * near - far) / 12
        assert abs(slope) > 1e-4 * STEP, name
        assert difference == pytest.approx(slope, rel=1e-6, abs=0), name


@pytest.mark.parametrize("attention", ["dot", "none"])
@pytest.mark.parametrize("cells", [("lstm",), ("gru",), ("rnn",), ("lstm", "lstm"), ("gru", "gru"), ("rnn", "rnn")])
def test_gradients_agree_with_differences(cells: tuple[str, ...], attention: str) -> None:
    network = make(cells=cells, attention=attention, noise=0.6)
    check_gradient(network, pack(pairs()), DropoutKey(0.3, 3, 5) if len(cells) > 1 else None)


@pytest.mark.parametrize(
    "options",
    [
        {"tie_weights": True, "embedding_size": 6},
        pytest.param({"cells": ("lstm",), "peepholes": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_gradients_of_other_forms_agree_with_differences(options: dict[str, Any]) -> None:
    check_gradient(make(noise=0.6, **options), pack(pairs(), wide=True, first=1), DropoutKey(0.3, 3, 5))


def test_gradients_in_chunks_of_logits_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = make(), pack(pairs())
    whole = network.loss(batch), network.gradient.copy()
    monkeypatch.setattr(softmax, "MOST_LOGITS", 2 * V * batch.targets.shape[1])
    chunked = make()
    assert len(chunked.output.chunks(batch.targets)) == 4
    assert chunked.loss(batch)[0] == pytest.approx(whole[0][0], rel=1e-14)
    np.testing.assert_allclose(chunked.gradient, whole[1], rtol=1e-10, atol=1e-14)


def test_gradients_in_groups_of_rows_are_those_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, found = pack(pairs()), []
    for most in (network_module.MOST_GATES, 0):
        monkeypatch.setattr(network_module, "MOST_GATES", most)
        monkeypatch.setattr(network_module, "LEAST_ROWS", 2)
        network = make()
        found.append((network.loss(batch)[0], network.gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-14)
    assert not np.array_equal(found[0][1], found[1][1])  # they were added up in another order


def one_by_one(network: Translator, rows: Any) -> list[list[Array]]:
    """The log-probabilities of the targets of each pair by itself."""
    return [[network.log_probs(pack([[pair]], len(pair[1])))[:, 0] for pair in row] for row in rows]


@pytest.mark.parametrize(
    ("dtype", "bfloat16"),
    [(np.float64, False), *(pytest.param(np.float32, flag, marks=pytest.mark.slow) for flag in (False, True))],
)
@pytest.mark.parametrize("attention", ["dot", "none"])
def test_threads_and_neighbours_change_no_bit(attention: str, dtype: Any, bfloat16: bool) -> None:
    rows, dropout, results = pairs(), DropoutKey(0.2, 1, 2), []
    options: dict[str, Any] = {"cells": ("gru", "gru"), "hidden_size": 34, "dtype": dtype, "bfloat16": bfloat16}
    for threads in (1, 2, 3):
        network = make(threads=threads, attention=attention, **options)
        loss = network.loss(pack(rows), dropout)
        results.append((loss, network.gradient.copy(), network.log_probs(pack(rows))))
    for loss, gradient, log_probs in results[1:]:
        assert loss == results[0][0]
        np.testing.assert_array_equal(gradient, results[0][1])
        np.testing.assert_array_equal(log_probs, results[0][2])
    alone = one_by_one(network, rows)
    for batch, first in ((pack(rows), 0), (pack(rows, 11, wide=True, first=2), 2)):
        found = network.log_probs(batch)
        for b, row in enumerate(alone):
            expected = np.concatenate(row)
            np.testing.assert_array_equal(found[first : first + expected.size, b], expected)
            assert not found[first + expected.size :, b].any()


def sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y


def lstm(tensors: dict[str, Array], name: str, xs: Array) -> Array:
    """The outputs (T, H) of one layer over xs (T, E), from the tensors of a checkpoint."""
    W, U = tensors[name.format("weight_ih")], tensors[name.format("weight_hh")]
    bias = tensors[name.format("bias_ih")] + tensors[name.format("bias_hh")]
    h = c = np.zeros(U.shape[1])
    outputs = []
    for x in xs:
        i, f, g, o = np.split(W @ x + U @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


@pytest.mark.parametrize("attention", ["dot", "none"])
def test_the_function_is_what_it_says(attention: str) -> None:
    network = make(cells=("lstm",), attention=attention)
    tensors, rows = network.tensors(), pairs()
    found, expected = network.log_probs(pack(rows)), []
    for row in rows:
        for source, target in row:
            x = tensors["encoder.embedding.weight"][source]
            back = lstm(tensors, "encoder.rnn.{}_l0_reverse", x[::-1])[::-1]
            memory = np.concatenate([lstm(tensors, "encoder.rnn.{}_l0", x), back], axis=1)
            ends = np.concatenate([memory[-1, :3], memory[0, 3:]])
            first = np.tanh(tensors["bridge.weight"] @ ends + tensors["bridge.bias"])
            inputs = np.concatenate([[first], tensors["decoder.embedding.weight"][target[:-1]]])
            h = lstm(tensors, "decoder.rnn.{}_l0", inputs)
            if attention == "dot":
                shares = np.exp(h @ memory.T)
                context = shares / shares.sum(axis=1, keepdims=True) @ memory
                joined = np.concatenate([context, h], axis=1)
                h = np.tanh(joined @ tensors["attention.weight"].T + tensors["attention.bias"])
            logits = h @ tensors["output.weight"].T + tensors["output.bias"]
            log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            expected.append(log_softmax[np.arange(target.size), target])
    np.testing.assert_allclose(
        np.concatenate([found[: sum(len(target) for _, target in row), b] for b, row in enumerate(rows)]),
        np.concatenate(expected), rtol=1e-10,
    )  # fmt: skip


def test_a_checkpoint_has_the_names_of_its_parts() -> None:
    network = make(cells=("lstm", "lstm"))
    tensors = network.tensors()
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == parameter_layout(network.config).tensor_shapes()
    assert shapes["encoder.embedding.weight"] == (7, 4)
    assert shapes["encoder.rnn.weight_ih_l1_reverse"] == (12, 6)
    assert shapes["bridge.weight"] == (4, 6)
    assert shapes["decoder.rnn.weight_hh_l1"] == (24, 6)
    assert shapes["attention.weight"] == (6, 12)
    assert shapes["output.weight"] == (6, 6)
    other = make(cells=("lstm", "lstm"), noise=1)
    other.load(tensors)
    np.testing.assert_array_equal(other.parameters, network.parameters)
    assert "cells.0.weight_hh" not in "".join(shapes)
    assert "encoder.cells.0_reverse.peepholes" in make(cells=("lstm",), peepholes=True).tensors()


def test_it_learns_to_turn_a_sequence_around() -> None:
    network = make(hidden_size=24, embedding_size=8, noise=0.0)
    rows = pairs([SOME * 2] * 8)
    turned = [[(source, source[::-1] % (V - 2) + 2) for source, _ in row] for row in rows]
    batch = pack(turned)
    first = network.loss(batch)[0]
    for _ in range(200):
        network.parameters -= 0.5 * network.gradient
        network.invalidate()
        last = network.loss(batch)[0]
    assert last < 0.1 * first


def test_what_does_not_fit_is_refused() -> None:
    network, batch = make(), pack(pairs())
    source = batch.source
    assert source is not None
    places, lengths = source.places, source.lengths
    wrong: list[tuple[Batch, str]] = [
        (replace(batch, source=None), "what its sequences are made from"),
        (replace(batch, source=replace(source, inputs=source.inputs + 2)), "has 7 units"),
        (replace(batch, source=replace(source, places=places[1:], lengths=lengths[1:])), "are not those at which"),
        (replace(batch, source=replace(source, places=places + source.inputs.size)), "not those of sequences"),
        (replace(batch, source=replace(source, lengths=lengths * 0)), "not those of sequences"),
        (replace(batch, source=replace(source, lengths=lengths[1:])), "do not have one shape"),
        (replace(batch, source=pack(pairs(PAIRS[:2])).source), "7 sequences and 3 sources"),
        (replace(batch, ends=np.zeros_like(batch.reset)), "do not take turns"),
        (replace(batch, reset=batch.ends, ends=batch.reset), "do not take turns"),
    ]
    for found, message in wrong:
        with pytest.raises(CharrnnError, match=message):
            network.loss(found)
    settings: tuple[tuple[dict[str, Any], str], ...] = (
        ({"hidden_size": 5}, "must be even"),
        ({"embedding_size": 0}, "`embedding_size`"),
        ({"tie_weights": True}, "to be equal"),
        ({"attention": "sum"}, "dot, none"),
        ({"cells": ("lstm", "gru")}, "have the same"),
    )
    for options, message in settings:
        with pytest.raises(UsageError, match=message):
            make(**options)

"""A cell and a head that only this file knows: one class each, one entry in the table of cells, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.config import CELLS, ModelConfig
from charrnn.models import LanguageModel
from charrnn.models.network import Network
from charrnn.nn.block import Head, Log, Views
from charrnn.nn.cells import layer_class
from charrnn.nn.context import Context
from charrnn.nn.embedding import Embedding
from charrnn.nn.init import uniform, zeros
from charrnn.nn.packed import flat
from charrnn.nn.parameters import Parameter
from charrnn.nn.recurrent import Call, RecurrentLayer
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work
from charrnn.text.batch import Batch
from tests.conftest import Command

V, E, H, T, B = 7, 4, 5, 6, 3


class Layer(RecurrentLayer):
    """A leaky integrator: h = h' + (tanh(x W + h' U + b) - h') / 2, in NumPy."""

    def inputs(self, t: int, rows: slice) -> Array:
        """x W + b of a step."""
        if isinstance(self.below, Lookup):
            table: Array = self.table[0][self.below.index[t, rows]]
            return table
        found: Array = self.below.value[t, rows] @ self.weights[self.weight_ih.name] + self.b
        return found

    def forward_call(self) -> Call:
        return self.forward_steps, ()

    def forward_steps(self, begin: int, end: int) -> None:
        rows, U = slice(begin, end), self.weights[self.weight_hh.name]
        for t in range(len(self.signal.value)):
            self.h[t, rows] *= self.mask[t, rows, np.newaxis]
            before = self.h[t, rows]
            squashed = np.tanh(self.inputs(t, rows) + before @ U)
            self.gate_values[t % self.stored, rows, : self.H] = squashed
            self.h[t + 1, rows] = (before + squashed) / 2
            self.signal.value[t, rows] = self.h[t + 1, rows]

    def backward_call(self) -> Call:
        return self.backward_steps, ()

    def backward_steps(self, begin: int, end: int) -> None:
        rows, U, W = slice(begin, end), self.weights[self.weight_hh.name], self.weights[self.weight_ih.name]
        dh = np.zeros_like(self.dh[rows])
        for t in range(len(self.dout) - 1, -1, -1):
            dh = dh + self.dout[t, rows]
            gates = self.gate_values[t, rows, : self.H]
            gates[:] = dh / 2 * (1 - gates**2)
            if isinstance(self.below, Signal):
                self.dx[t, rows] = gates @ W.T + (0 if self.overwrite else self.dx[t, rows])
            dh = (dh / 2 + gates @ U.T) * self.mask[t, rows, np.newaxis]
        self.dh[rows] = dh


class SquaredError(Head):
    """One number from each hidden state, y = h w + b; log density of a normal with variance 1, but for its constant."""

    def __init__(self, H: int) -> None:
        self.weight = Parameter("output.weight", (1, H), uniform(1.0), decay=True, torch_name="output.weight")
        self.bias = Parameter("output.bias", (1,), zeros, decay=False, torch_name="output.bias")

    def parameters(self) -> list[Parameter]:
        return [self.weight, self.bias]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        self.w, self.b = weights[self.weight.name], weights[self.bias.name]
        self.dw, self.db = gradients[self.weight.name], gradients[self.bias.name]

    def gradient_rows(self, hidden: Signal, targets: Ids, scales: Log, log_probs: Log) -> Work:
        assert hidden.gradient is not None
        self.chunk = hidden, np.zeros(targets.shape)
        dhidden = hidden.gradient

        def work(begin: int, end: int, thread: int) -> None:
            rows = slice(begin, end)
            error = hidden.value[:, rows] @ self.w[0] + self.b - targets[:, rows]
            log_probs[:, rows] = -(error**2) / 2
            self.chunk[1][:, rows] = scales[:, rows] * error
            dhidden[:, rows] = (scales[:, rows] * error)[:, :, np.newaxis] * self.w[0]

        return work

    def weight_jobs(self) -> list[Job]:
        hidden, errors = self.chunk

        def work(first: int, last: int, thread: int) -> None:
            self.dw += errors.reshape(1, -1) @ flat(hidden.value)
            self.db += errors.sum()

        return [Job(1, 1, work)]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the toy cell, in the table for the time of a test."""
    monkeypatch.setitem(CELLS, "toy", __name__)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    return "toy"


def check_gradient(network: Network, batch: Batch) -> None:
    """Against differences, for each parameter by itself and along a random direction."""
    rng = np.random.default_rng(1)
    network.loss(batch)
    gradient, start = network.gradient.copy(), 0
    for parameter in network.layout.parameters:
        size = int(np.prod(parameter.shape))
        direction = np.zeros_like(gradient)
        direction[start : start + size] = rng.standard_normal(size) + gradient[start : start + size]
        start += size
        slopes = []
        for distance in (1e-5, -1e-5):
            network.parameters += distance * direction
            network.invalidate()
            summed, count = network.loss(batch)
            slopes.append(summed / count)
            network.parameters -= distance * direction
        slope = gradient @ direction
        assert abs(slope) > 1e-5, parameter.name
        assert (slopes[0] - slopes[1]) / 2e-5 == pytest.approx(slope, rel=1e-6), parameter.name


@pytest.mark.parametrize("cells", [("toy",), ("toy", "toy"), ("lstm", "toy", "gru")])
@pytest.mark.parametrize("embedding_size", [0, E])
def test_a_new_cell_is_one_class_and_one_entry(toy: str, cells: tuple[str, ...], embedding_size: int) -> None:
    network = LanguageModel(ModelConfig(V, cells, H, embedding_size), threads=2, dtype=np.float64)
    network.initialise(0)
    ids, targets = np.random.default_rng(0).integers(0, V, (2, T, B)).astype(np.int32)
    check_gradient(network, Batch(ids, targets, ids == 1))


def test_a_new_cell_learns_from_the_command_line(toy: str, charrnn: Command, tmp_path: Path, corpus: Path) -> None:
    model = tmp_path / "toy.safetensors"
    options = ("--hidden-size", "8", "--batch-size", "4", "--seq-length", "8", "--threads", "1", "-q", "-o", model)
    assert charrnn("train", corpus, "--cell", "lstm,toy", "--steps", "20", *options).status == 0
    assert charrnn("train", "--resume", "--steps", "40", "-q", "-o", model).status == 0
    scored = charrnn("score", "-c", model, "-q", "the cat sits.")
    assert scored.status == 0
    assert -60 < float(scored.out.split(b"\t")[0]) < 0


def test_a_new_cell_writes_what_it_scores(toy: str) -> None:
    """Whatever the compiled generator knows: a stack of the new cell alone is drawn from its own probabilities."""
    network = LanguageModel(ModelConfig(V, ("toy",), H, E))
    network.initialise(0)
    network.parameters *= 3
    network.invalidate()
    drawn = network.generate(np.array([1], np.int32), network.zero_state(1), np.zeros((8, 1)), temperature=0.0)[:, 0]
    ids, state = np.array([1], np.int32), network.zero_state(1)
    for unit in drawn:
        logits = network.logits(network.forward(ids[np.newaxis], state)[0])[0]
        assert unit == 1 + np.argmax(logits[1:])
        ids = np.array([unit], np.int32)


def test_a_new_head_is_one_class() -> None:
    config = ModelConfig(V, ("gru",), H, E)
    blocks = [Embedding(V, E), layer_class("gru")(config, 0, E)]
    network = Network(blocks, SquaredError(H), threads=2, dtype=np.float64)
    network.initialise(0)
    rng = np.random.default_rng(0)
    batch = Batch(rng.integers(0, V, (T, B)).astype(np.int32), rng.standard_normal((T, B)))
    check_gradient(network, batch)
    before = network.loss(batch)[0]
    for _ in range(50):
        network.parameters -= 0.5 * network.gradient
        network.invalidate()
        after = network.loss(batch)[0]
    assert after < 0.6 * before
    saved = network.tensors()
    other = Network([Embedding(V, E), layer_class("gru")(config, 0, E)], SquaredError(H), dtype=np.float64)
    other.load(saved)
    assert other.loss(batch)[0] == after

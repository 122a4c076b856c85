"""The same weights in PyTorch's own modules give the same probabilities and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from charrnn.config import ModelConfig
from charrnn.models.network import Network
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block
from charrnn.nn.cells import layer_class
from charrnn.nn.dense import Dense
from charrnn.nn.embedding import Embedding, OneHot
from charrnn.nn.pooling import MODES, Pooling
from charrnn.nn.softmax import Softmax
from charrnn.text.batch import Batch
from tests.networks import Bounded

torch = pytest.importorskip("torch", reason="needs PyTorch")

pytestmark = pytest.mark.peers

CONFIGS = [
    ModelConfig(30, (cell,) * depth, 20, embedding, activation=activation)
    for cell, activation in (("lstm", "tanh"), ("gru", "tanh"), ("rnn", "tanh"), ("rnn", "relu"))
    for depth in (1, 2, 3)
    for embedding in (0, 8)
]


def torch_model(config: ModelConfig, file: Path) -> Any:
    """The network in PyTorch's modules, with the tensors of a safetensors file loaded by name."""
    from safetensors.torch import load_file

    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[config.cells[0]]
    options = {"nonlinearity": config.activation} if config.cells[0] == "rnn" else {}
    modules = torch.nn.ModuleDict(
        {
            "rnn": kind(
                config.embedding_size or config.vocabulary_size, config.hidden_size, config.num_layers, **options
            ),
            "output": torch.nn.Linear(config.hidden_size, config.vocabulary_size),
        }
    )
    if config.embedding_size:
        modules["embedding"] = torch.nn.Embedding(config.vocabulary_size, config.embedding_size)
    modules.load_state_dict(load_file(file), strict=True)
    return modules


@pytest.mark.parametrize("cutoffs", [(50,), (10, 100), (7, 30, 200)])
def test_adaptive_softmax_agrees_with_pytorch(cutoffs: tuple[int, ...], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    H, V = 70, 300
    model = Bounded(ModelConfig(V, ("lstm",), H, 8, cutoffs=cutoffs), threads=2)
    model.initialise(0)
    rng = np.random.default_rng(1)
    model.parameters += 0.2 * rng.standard_normal(model.parameters.size).astype(np.float32)
    model.invalidate()
    save_file(model.tensors(), tmp_path / "model.safetensors")
    module = torch.nn.AdaptiveLogSoftmaxWithLoss(H, V, list(cutoffs), div_value=4.0, head_bias=True)
    tensors = load_file(tmp_path / "model.safetensors")
    own = {key.removeprefix("output."): value for key, value in tensors.items() if key.startswith("output.")}
    module.load_state_dict(own, strict=True)

    ids, targets = rng.integers(0, V, (2, 15, 6)).astype(np.int32)
    hidden = model.forward(ids, model.zero_state(6)).reshape(-1, H).copy()
    states = torch.from_numpy(hidden).requires_grad_()
    theirs, loss = module(states, torch.from_numpy(targets).long().reshape(-1))
    ours = model.log_probs(ids, targets, model.zero_state(6))
    np.testing.assert_allclose(ours.reshape(-1), theirs.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(model.logits(hidden), module.log_prob(states).detach().numpy(), atol=1e-5)

    loss.backward()
    found, gradient = model.loss_and_gradient(ids, targets, model.zero_state(6))
    assert found == pytest.approx(loss.item(), rel=1e-5)
    shaped = Bounded(model.config)
    shaped.parameters[:] = gradient
    for name, parameter in module.named_parameters():
        expected = parameter.grad.numpy()
        error = np.linalg.norm(shaped.tensors()[f"output.{name}"] - expected) / np.linalg.norm(expected)
        assert error < 1e-4, name


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"{c.cells[0]}{c.num_layers}-{c.activation}-{c.embedding_size}"
)
def test_loss_and_gradient_agree_with_pytorch(config: ModelConfig, tmp_path: Path) -> None:
    model = Bounded(config, threads=2)
    model.initialise(0)
    rng = np.random.default_rng(1)
    model.parameters += 0.1 * rng.standard_normal(model.parameters.size).astype(np.float32)
    model.invalidate()
    ids, targets = rng.integers(0, 30, (2, 15, 6)).astype(np.int32)
    loss, gradient = model.loss_and_gradient(ids, targets, model.zero_state(6))

    save_file(model.tensors(), tmp_path / "model.safetensors")
    modules = torch_model(config, tmp_path / "model.safetensors")
    units = torch.from_numpy(ids).long()
    x = modules["embedding"](units) if config.embedding_size else torch.nn.functional.one_hot(units, 30).float()
    logits = modules["output"](modules["rnn"](x)[0])
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, 30), torch.from_numpy(targets).long().reshape(-1))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)

    theirs = {name: parameter.grad.numpy() for name, parameter in modules.named_parameters()}
    ours = Bounded(config)
    ours.parameters[:] = gradient
    for name, value in ours.tensors().items():
        if "bias_hh" in name and config.cells[0] != "gru":
            continue  # redundant: ours stays zero
        if "bias_hh" in name:
            value, theirs[name] = value[-20:], theirs[name][-20:]
        error = np.linalg.norm(value - theirs[name]) / np.linalg.norm(theirs[name])
        assert error < 1e-4, name


def classifier(cell: str, embedding: int, mode: str) -> Network:
    """Two layers in both directions, pooling, a fully connected layer and a softmax over 5 classes."""
    config, layer = ModelConfig(30, (cell,) * 2, 20, embedding), layer_class(cell)
    blocks: list[Block] = [Embedding(30, embedding) if embedding else OneHot(30)]
    for index, E in enumerate((embedding or 30, 40)):
        one_hot = not index and not embedding
        blocks.append(
            Bidirectional(
                layer(config, index, E, one_hot=one_hot), layer(config, index, E, one_hot=one_hot, reverse=True)
            )
        )
    network = Network([*blocks, Pooling(40, mode, bidirectional=True), Dense(0, 40, 12)], Softmax(5, 12), threads=2)
    network.initialise(0)
    network.parameters += 0.1 * np.random.default_rng(1).standard_normal(network.parameters.size).astype(np.float32)
    network.invalidate()
    return network


def torch_logits(modules: Any, texts: list[Any], mode: str, embedding: int) -> Any:
    """The logits (n, 5) of n texts in PyTorch's modules, each text by itself."""
    rows = []
    for text in texts:
        units = torch.from_numpy(text).long()[:, None]
        x = modules["embedding"](units) if embedding else torch.nn.functional.one_hot(units, 30).float()
        h, state = modules["rnn"](x)
        h = h[:, 0]
        if mode == "last":
            final = state[0] if isinstance(state, tuple) else state
            rows.append(torch.cat([final[-2, 0], final[-1, 0]]))
        elif mode == "attention":
            rows.append(torch.softmax(torch.tanh(h) @ modules["pool"]["query"], 0) @ h)
        else:
            rows.append(h.mean(dim=0) if mode == "mean" else h.max(dim=0).values)
    return modules["output"](torch.relu(modules["dense"][0](torch.stack(rows))))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("embedding", [0, 8])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_classifiers_agree_with_pytorch(cell: str, embedding: int, mode: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    network, rng = classifier(cell, embedding, mode), np.random.default_rng(2)
    save_file(network.tensors(), tmp_path / "model.safetensors")
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    modules = torch.nn.ModuleDict(
        {
            "rnn": kind(embedding or 30, 20, num_layers=2, bidirectional=True),
            "dense": torch.nn.ModuleList([torch.nn.Linear(40, 12)]),
            "output": torch.nn.Linear(12, 5),
        }
    )
    if embedding:
        modules["embedding"] = torch.nn.Embedding(30, embedding)
    if mode == "attention":
        modules["pool"] = torch.nn.ParameterDict({"query": torch.zeros(40)})
    modules.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)

    # Two texts in each row, and padding.
    inputs, targets = rng.integers(0, 30, (15, 4)).astype(np.int32), rng.integers(0, 5, (2, 4)).astype(np.int32)
    reset, ends, texts = np.zeros((15, 4), np.bool_), np.zeros((15, 4), np.bool_), []
    for first, last in ((0, np.array([0, 3, 5, 7])), (8, np.array([13, 11, 10, 9]))):
        reset[first] = True
        ends[last, np.arange(4)] = True
        texts += [inputs[first : last[b] + 1, b].copy() for b in range(4)]
    loss, count = network.loss(Batch(inputs, targets, reset, ends))
    logits = torch_logits(modules, texts, mode, embedding)
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).long().reshape(-1))
    expected.backward()
    assert loss / count == pytest.approx(expected.item(), rel=1e-5)

    theirs = {name: parameter.grad.numpy() for name, parameter in modules.named_parameters()}
    for name, value in network.layout.to_tensors(network.layout.views(network.gradient)).items():
        if "bias_hh" in name and cell != "gru":
            continue  # redundant: ours stays zero
        if "bias_hh" in name:
            value, theirs[name] = value[-20:], theirs[name][-20:]
        error = np.linalg.norm(value - theirs[name]) / np.linalg.norm(theirs[name])
        assert error < 1e-4, name

"""A translator of PyTorch's modules, written plainly: the same tensors give the same probabilities and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charrnn.text.batch import Batch
from tests.translators import V_SOURCE, V, make, pack, pairs

torch = pytest.importorskip("torch", reason="needs PyTorch")

pytestmark = pytest.mark.peers

E, H = 4, 6
KINDS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}


def torch_translator(cell: str, depth: int, attention: str) -> Any:
    """The modules, named as in a checkpoint."""

    def part(vocabulary: int, width: int, *, both: bool) -> Any:
        rnn = KINDS[cell](E, width, depth, bidirectional=both)
        return torch.nn.ModuleDict({"embedding": torch.nn.Embedding(vocabulary, E), "rnn": rnn})

    parts = {
        "encoder": part(V_SOURCE, H // 2, both=True),
        "decoder": part(V, H, both=False),
        "bridge": torch.nn.Linear(H, E),
        "output": torch.nn.Linear(H, V),
    }
    if attention == "dot":
        parts["attention"] = torch.nn.Linear(2 * H, H)
    return torch.nn.ModuleDict(parts).double()


def log_probs_of(modules: Any, source: Any, target: Any) -> Any:
    """The log-probabilities (units) of one target, given its source."""
    memory, _ = modules["encoder"]["rnn"](modules["encoder"]["embedding"](source))
    ends = torch.cat([memory[-1, : H // 2], memory[0, H // 2 :]])
    first = torch.tanh(modules["bridge"](ends))
    inputs = torch.cat([first[None], modules["decoder"]["embedding"](target[:-1])])
    hidden, _ = modules["decoder"]["rnn"](inputs)
    if "attention" in modules:
        context = torch.softmax(hidden @ memory.T, 1) @ memory
        hidden = torch.tanh(modules["attention"](torch.cat([context, hidden], 1)))
    return torch.log_softmax(modules["output"](hidden), 1)[torch.arange(len(target)), target]


@pytest.mark.parametrize("attention", ["dot", "none"])
@pytest.mark.parametrize(("cell", "depth"), [("lstm", 1), ("lstm", 2), ("gru", 1), ("gru", 2), ("rnn", 2)])
def test_it_agrees_with_pytorch(cell: str, depth: int, attention: str) -> None:
    network, rows = make(cells=(cell,) * depth, attention=attention), pairs()
    modules = torch_translator(cell, depth, attention)
    modules.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in network.tensors().items()})
    batch: Batch = pack(rows)
    summed, count = network.loss(batch)
    assert batch.weights is not None
    loss: Any = 0.0
    for b, row in enumerate(rows):
        first = 0
        for source, target in row:
            found = log_probs_of(modules, torch.from_numpy(source).long(), torch.from_numpy(target).long())
            weights = batch.weights[first : first + target.size, b]
            loss = loss - (torch.from_numpy(weights) * found).sum()
            first += target.size
    loss.backward()
    assert summed == pytest.approx(float(loss.detach()), rel=1e-12)
    gradients = network.layout.to_tensors(network.layout.views(network.gradient))
    for name, parameter in modules.named_parameters():
        if "bias_hh" not in name or cell == "gru":
            theirs = parameter.grad.numpy() / count
            if "bias_hh" in name:  # those of r and z are in the other bias
                width = theirs.size // 3 * 2
                theirs, gradients[name] = theirs[width:], gradients[name][width:]
            np.testing.assert_allclose(gradients[name], theirs, rtol=1e-9, atol=1e-14, err_msg=name)

"""The parameters of a network: their names, shapes and places in one flat vector.

Inside, a weight is stored as the equations multiply by it: `x W_ih` has `weight_ih (E, G)`, with `G` the gates of the
cell times `H`. A checkpoint holds PyTorch's transposed shapes, names and second biases instead; `models/exchange.py`
converts.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

from charrnn.config import TAIL_DIVISOR, ModelConfig

Shape = tuple[int, ...]

# Units from which the first array, a row for each unit, is learned by the rows that a window reads. A step with fewer
# units spends at most a few per cent on rows without a gradient; with 50,000 it is most of the step.
BY_ROW_FROM = 5000


def gate_count(config: ModelConfig, layer: int) -> int:
    """How many blocks of H columns the gates of a layer have: LSTM i f g o, GRU r z n (z n without reset), RNN one."""
    cell = config.cells[layer]
    if cell == "gru":
        return 2 if config.reset_gate == "none" else 3
    return {"lstm": 4, "rnn": 1}[cell]


def input_size(config: ModelConfig, layer: int) -> int:
    """Width of what a layer reads: the embedding, or one-hot units, then the hidden state of the layer below."""
    if layer > 0:
        return config.hidden_size
    return config.embedding_size or config.vocabulary_size


def parameter_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Name and shape of every trained array, in the order of the flat vector."""
    H, V = config.hidden_size, config.vocabulary_size
    shapes: dict[str, Shape] = {}
    if config.embedding_size:
        shapes["embedding.weight"] = (V, config.embedding_size)
    for layer, cell in enumerate(config.cells):
        G = gate_count(config, layer) * H
        shapes[f"layers.{layer}.weight_ih"] = (input_size(config, layer), G)
        shapes[f"layers.{layer}.weight_hh"] = (H, G)
        shapes[f"layers.{layer}.bias"] = (G,)
        if cell == "gru" and config.reset_gate == "after":
            shapes[f"layers.{layer}.bias_hn"] = (H,)
        if cell == "lstm" and config.peepholes:
            shapes[f"layers.{layer}.peepholes"] = (3, H)
    if config.cutoffs:
        shapes["output.head.weight"] = (config.cutoffs[0] + len(config.cutoffs), H)
        shapes["output.head.bias"] = (config.cutoffs[0] + len(config.cutoffs),)
        for tail, (low, high) in enumerate(pairwise((*config.cutoffs, V))):
            width = H // TAIL_DIVISOR ** (tail + 1)
            shapes[f"output.tail.{tail}.0.weight"] = (H, width)
            shapes[f"output.tail.{tail}.1.weight"] = (width, high - low)
        return shapes
    if not config.tie_weights:
        shapes["output.weight"] = (V, H)
    shapes["output.bias"] = (V,)
    return shapes


def row_table(config: ModelConfig) -> Shape | None:
    """Shape (V, ·) of the array at the start of the flat vector that is learned by the rows a window reads; None where
    all of it is."""
    if config.tie_weights or config.vocabulary_size < BY_ROW_FROM:
        return None
    return next(iter(parameter_shapes(config).values()))


def stored_transposed(name: str) -> bool:
    """Whether a checkpoint has the transpose of the parameter with that name."""
    return name.startswith("output.tail.") or name.rpartition(".")[2].startswith("weight_")


def parameter_count(config: ModelConfig) -> int:
    """Length of the flat vector."""
    return sum(prod(shape) for shape in parameter_shapes(config).values())


def torch_computes(config: ModelConfig) -> bool:
    """Whether one of `torch.nn.LSTM`, `GRU` or `RNN` computes the same function."""
    return (
        len(set(config.cells)) == 1
        and not (config.peepholes or config.rms_norm)
        and (config.cells[0] != "gru" or config.reset_gate == "after")
    )


def tensor_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Name and shape of every weight in a checkpoint: PyTorch's, or `cells.…` where PyTorch has no such function."""
    H = config.hidden_size
    shapes: dict[str, Shape] = {}
    for name, shape in parameter_shapes(config).items():
        place, _, kind = name.rpartition(".")
        stored = shape[::-1] if stored_transposed(name) else shape
        if not place.startswith("layers."):
            shapes[name] = stored
            continue
        layer = int(place.removeprefix("layers."))
        if not torch_computes(config):
            shapes[f"cells.{layer}.{kind}"] = stored
        elif kind == "bias":
            shapes[f"rnn.bias_ih_l{layer}"] = shapes[f"rnn.bias_hh_l{layer}"] = (gate_count(config, layer) * H,)
        elif kind != "bias_hn":  # which is the last third of bias_hh
            shapes[f"rnn.{kind}_l{layer}"] = stored
    return shapes

"""The equations of every cell written out one unit at a time in float64: slow, obvious, and independent of the
kernels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from charrnn.config import ModelConfig
from charrnn.runtime.arrays import Array


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    result: Array = 1 / (1 + np.exp(-x))
    return result


def step(
    config: ModelConfig, layer: int, weights: Mapping[str, Array], x: Array, h: Array, c: Array
) -> tuple[Array, Array]:  # fmt: skip
    """One step of one layer for one sequence: x (E), h and c (H) of the step before; new h and c."""
    H = config.hidden_size
    W, U, b = (weights[f"layers.{layer}.{kind}"] for kind in ("weight_ih", "weight_hh", "bias"))
    cell = config.cells[layer]
    if cell == "rnn":
        a = x @ W + h @ U + b
        return (np.tanh(a) if config.activation == "tanh" else np.maximum(a, 0)), c
    if cell == "lstm":
        p: Array = weights.get(f"layers.{layer}.peepholes", np.zeros((3, H)))
        gates: list[Array] = np.split(x @ W + h @ U + b, 4)
        i, f, g, o = gates
        i, f, g = sigmoid(i + p[0] * c), sigmoid(f + p[1] * c), np.tanh(g)
        c = f * c + i * g
        h = sigmoid(o + p[2] * c) * np.tanh(c)
        return (h / np.sqrt(np.mean(h**2) + 1e-5) if config.rms_norm else h), c
    from_x, U_n = x @ W + b, U[:, -H:]
    if config.reset_gate == "none":
        z = sigmoid(from_x[:H] + h @ U[:, :H])
        n = np.tanh(from_x[H:] + h @ U_n)
    else:
        r = sigmoid(from_x[:H] + h @ U[:, :H])
        z = sigmoid(from_x[H : 2 * H] + h @ U[:, H : 2 * H])
        if config.reset_gate == "after":
            n = np.tanh(from_x[2 * H :] + r * (h @ U_n + weights[f"layers.{layer}.bias_hn"]))
        else:
            n = np.tanh(from_x[2 * H :] + (r * h) @ U_n)
    return (1 - z) * n + z * h, c


def from_checkpoint(config: ModelConfig, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters by the names used here, from a checkpoint's tensors, whose matrices are transposed.

    Of PyTorch's two biases the sum counts, but for the new gate of the GRU, which adds each in its place.
    """
    H = config.hidden_size
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith(("embedding.", "output."))}
    weights |= {name: tensor.T for name, tensor in weights.items() if name.startswith("output.tail.")}
    for layer, cell in enumerate(config.cells):
        mine = {
            name.removeprefix(f"cells.{layer}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"cells.{layer}.")
        }
        if not mine:
            kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            mine = {kind: tensors[f"rnn.{kind}_l{layer}"] for kind in kinds}
            first, second = mine.pop("bias_ih"), mine.pop("bias_hh").copy()
            if cell == "gru":
                mine["bias_hn"] = second[2 * H :].copy()
                second[2 * H :] = 0
            mine["bias"] = first + second
        for kind, tensor in mine.items():
            weights[f"layers.{layer}.{kind}"] = tensor.T if kind.startswith("weight") else tensor
    return weights


def log_probs(config: ModelConfig, views: Mapping[str, Array], ids: list[int], boundary: int = -1) -> Array:
    """log P of every unit (T, V) after each of the units `ids` (T), from a zero state."""
    weights = {name: view.astype(np.float64) for name, view in views.items()}
    H, V = config.hidden_size, config.vocabulary_size
    states: list[tuple[Array, Array]] = [(np.zeros(H), np.zeros(H)) for _ in config.cells]
    rows = []
    for unit in ids:
        if unit == boundary:
            states = [(np.zeros(H), np.zeros(H)) for _ in config.cells]
        x: Array = weights["embedding.weight"][unit] if config.embedding_size else np.eye(V)[unit]
        for layer, (h, c) in enumerate(states):
            states[layer] = step(config, layer, weights, x, h, c)
            x = states[layer][0]
        rows.append(output_log_probs(config, weights, x))
    return np.array(rows)


def log_softmax(logits: Array) -> Array:
    """Normalised log-probabilities."""
    result: Array = logits - np.log(np.sum(np.exp(logits)))
    return result


def output_log_probs(config: ModelConfig, weights: Mapping[str, Array], h: Array) -> Array:
    """log P of every unit (V) from a hidden state (H)."""
    if not config.cutoffs:
        matrix = weights["embedding.weight" if config.tie_weights else "output.weight"]
        return log_softmax(matrix @ h + weights["output.bias"])
    head = log_softmax(weights["output.head.weight"] @ h + weights["output.head.bias"])
    parts = [head[: config.cutoffs[0]]]
    for tail in range(len(config.cutoffs)):
        logits = h @ weights[f"output.tail.{tail}.0.weight"] @ weights[f"output.tail.{tail}.1.weight"]
        parts.append(head[config.cutoffs[0] + tail] + log_softmax(logits))
    return np.concatenate(parts)

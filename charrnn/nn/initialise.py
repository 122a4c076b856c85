"""Weights to start from."""

from __future__ import annotations

from math import sqrt

import numpy as np

from charrnn.config import ModelConfig
from charrnn.runtime.arrays import Array

KEEPING = 3.0  # sigmoid(3) = 0.95: such a unit keeps half of its state for 14 steps
# The size of recurrent weights where the hidden state is normalised. It is then several times as large as one that is
# not, and with weights of size 1 a rounding error would grow from step to step.
NORMALISED = 0.5


def orthogonal(rng: np.random.Generator, size: int) -> Array:
    """A random orthogonal matrix (size, size), uniform over all of them (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    matrix: Array = q * np.sign(np.diag(r))
    return matrix


def initialise(config: ModelConfig, views: dict[str, Array], seed: int) -> None:
    """Fill the named parameters: orthogonal recurrent weights gate by gate (Saxe et al. 2014).

    The gates that keep the state begin half open or more: the LSTM's f with a bias of 1 (Gers et al. 2000), the GRU's z
    with biases from 0 to `KEEPING`, so that its units remember for short and for long (after Tallec and Ollivier 2018).
    Other weights are uniform with the variance that keeps the size of what passes through (Glorot and Bengio 2010),
    embeddings have unit variance over their width, and other biases and the peepholes are zero.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0])))
    H = config.hidden_size
    for name, view in views.items():
        kind = name.rpartition(".")[2]
        if name == "embedding.weight":
            scale = 1 / sqrt(view.shape[1]) if config.tie_weights else 1.0
            view[:] = rng.standard_normal(view.shape) * scale
        elif kind == "weight_hh":
            normalised = config.rms_norm and config.cells[int(name.split(".")[1])] == "lstm"
            for gate in range(view.shape[1] // H):
                view[:, gate * H : (gate + 1) * H] = orthogonal(rng, H) * (NORMALISED if normalised else 1.0)
        elif kind == "weight_ih":
            one_hot = name.startswith("layers.0.") and not config.embedding_size
            bound = sqrt(6 / ((1 if one_hot else view.shape[0]) + H))
            view[:] = rng.uniform(-bound, bound, view.shape)
        elif kind == "weight":  # of the output: logits have half the size of the hidden state, projections all of it
            fan_in = view.shape[0] if name.startswith("output.tail.") else H
            bound = sqrt(3 / fan_in) * (1.0 if name.endswith(".0.weight") else 0.5)
            view[:] = rng.uniform(-bound, bound, view.shape)
        else:
            view[:] = 0
            if kind == "bias" and name.startswith("layers."):
                cell = config.cells[int(name.split(".")[1])]
                if cell == "lstm":
                    view[H : 2 * H] = 1  # f
                elif cell == "gru":
                    view[H : 2 * H] = np.linspace(0, KEEPING, H)  # z

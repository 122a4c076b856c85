"""Initial values of parameters, as functions of a random generator and a shape.

Recurrent weights are orthogonal gate by gate: Saxe, McClelland and Ganguli 2014, "Exact solutions to the nonlinear
dynamics of learning in deep linear neural networks", arXiv:1312.6120. Other weights are uniform, with a variance that
preserves that of activations and gradients: Glorot and Bengio 2010, "Understanding the difficulty of training deep
feedforward neural networks", equation 16. The LSTM's forget gate starts with a bias of 1: Gers, Schmidhuber and Cummins
2000, "Learning to forget", doi:10.1162/089976600300015015. The GRU's update gate z starts with biases from 0 to
`LONGEST_MEMORY`, so that units have different memories: after Tallec and Ollivier 2018, "Can recurrent neural networks
warp time?", arXiv:1804.11188.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from charrnn.nn.parameters import Init, Shape
from charrnn.runtime.arrays import Array

LONGEST_MEMORY = 3.0  # sigmoid(3) = 0.95: half of the state of such a unit remains after 14 steps
# Scale of the recurrent weights if the hidden state is normalised. A normalised state is several times as large as one
# that is not, and with a scale of 1 a rounding error would grow from step to step.
NORMALISED = 0.5


def orthogonal(rng: np.random.Generator, size: int) -> Array:
    """A random orthogonal matrix (size, size), uniform over all of them.

    Mezzadri 2007, "How to generate random matrices from the classical compact groups", arXiv:math-ph/0609050.
    """
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    matrix: Array = q * np.sign(np.diag(r))
    return matrix


def orthogonal_gates(scale: float = 1.0) -> Init:
    """For shape (H, gates · H): an orthogonal matrix (H, H) times `scale` for each gate."""

    def init(rng: np.random.Generator, shape: Shape) -> Array:
        return np.concatenate([orthogonal(rng, shape[0]) * scale for _ in range(shape[1] // shape[0])], axis=1)

    return init


def uniform(bound: float) -> Init:
    """Uniform in [-bound, bound), of any shape: variance bound² / 3."""
    return lambda rng, shape: rng.uniform(-bound, bound, shape)


def glorot(fan_in: int, fan_out: int) -> Init:
    """Uniform with variance 2 / (fan_in + fan_out): Glorot and Bengio 2010, equation 16."""
    return uniform(sqrt(6 / (fan_in + fan_out)))


def normal(scale: float) -> Init:
    """Normal with mean 0 and standard deviation `scale`, of any shape."""
    return lambda rng, shape: rng.standard_normal(shape) * scale


def zeros(rng: np.random.Generator, shape: Shape) -> Array:
    """Zeros, of any shape."""
    return np.zeros(shape)


def second_gate_bias(H: int, low: float, high: float) -> Init:
    """Biases (gates · H): evenly spread from `low` to `high` for the second gate, zero for the others."""

    def init(rng: np.random.Generator, shape: Shape) -> Array:
        bias = np.zeros(shape)
        bias[H : 2 * H] = np.linspace(low, high, H)
        return bias

    return init

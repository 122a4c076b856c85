"""The values that weights start from, as functions of a random generator and a shape.

Recurrent weights are orthogonal gate by gate (Saxe, McClelland and Ganguli 2014, arXiv:1312.6120). Other weights are
uniform with the variance that keeps the size of what passes through (Glorot and Bengio 2010). The gates that keep the
state begin half open or more: the LSTM's f with a bias of 1 (Gers, Schmidhuber and Cummins 2000,
doi:10.1162/089976600300015015), the GRU's z with biases from 0 to `LONGEST_MEMORY`, so that its units remember for
short and for long (after Tallec and Ollivier 2018, arXiv:1804.11188).
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from charrnn.nn.parameters import Init, Shape
from charrnn.runtime.arrays import Array

LONGEST_MEMORY = 3.0  # sigmoid(3) = 0.95: such a unit keeps half of its state for 14 steps
# The size of recurrent weights where the hidden state is normalised. It is then several times as large as one that is
# not, and with weights of size 1 a rounding error would grow from step to step.
NORMALISED = 0.5


def orthogonal(rng: np.random.Generator, size: int) -> Array:
    """A random orthogonal matrix (size, size), uniform over all of them (Mezzadri 2007, arXiv:math-ph/0609050)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    matrix: Array = q * np.sign(np.diag(r))
    return matrix


def orthogonal_gates(scale: float = 1.0) -> Init:
    """An orthogonal matrix (H, H), times `scale`, for each gate of a shape (H, gates · H)."""

    def init(rng: np.random.Generator, shape: Shape) -> Array:
        return np.concatenate([orthogonal(rng, shape[0]) * scale for _ in range(shape[1] // shape[0])], axis=1)

    return init


def uniform(bound: float) -> Init:
    """Uniform between -bound and bound."""
    return lambda rng, shape: rng.uniform(-bound, bound, shape)


def glorot(fan_in: int, fan_out: int) -> Init:
    """Uniform with the variance 2 / (fan_in + fan_out)."""
    return uniform(sqrt(6 / (fan_in + fan_out)))


def normal(scale: float) -> Init:
    """Normal with the standard deviation `scale`."""
    return lambda rng, shape: rng.standard_normal(shape) * scale


def zeros(rng: np.random.Generator, shape: Shape) -> Array:
    """Zeros."""
    return np.zeros(shape)


def second_gate_bias(H: int, low: float, high: float) -> Init:
    """Biases (gates · H) that are zero, but for those of the second gate: from `low` to `high`, evenly spread."""

    def init(rng: np.random.Generator, shape: Shape) -> Array:
        bias = np.zeros(shape)
        bias[H : 2 * H] = np.linspace(low, high, H)
        return bias

    return init

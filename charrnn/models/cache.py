"""A cache of recent hidden states: what followed where the network was in a similar one.

Grave, Joulin and Usunier 2017, "Improving neural language models with a continuous cache", arXiv:1612.04426. The cache
has the last N units of the text, w_i, and the hidden states before them, h_i; here they are compared by their angle, so
that θ fits networks of any size:

    p_cache(w) ∝ Σ_i [w_i = w] exp(θ cos(h, h_i))        p = (1 - λ) p_network + λ p_cache

Both parts are distributions, so their sum is one. H is the width of the hidden state.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.nn.packed import Packed
from charrnn.runtime.arrays import Array, Ids

# Chosen on the validation part of WikiText-2 and on the last tenth of Shakespeare's plays, by words: of θ from 3 to 30
# the largest was the best on both; more units than these are better on the one and worse on the other.
SIZE = 2000  # N
SHARPNESS = 30.0  # θ
SHARE = 0.1  # λ


class StateCache:
    """The last units of a text, and the hidden states before them; empty at first."""

    def __init__(self, H: int) -> None:
        self.directions: Array = np.zeros((SIZE, H), np.float32)
        self.units: Ids = np.zeros(SIZE, np.int32)
        self.added = 0  # units since the beginning, of which the last are kept
        self._packed = Packed(self.directions, 0, H, self.directions.dtype, transposed=True)

    def add(self, hidden: Array, units: Ids) -> None:
        """Add units (T), T at most N, and the hidden states (T, H) before them, in place of the oldest."""
        places = np.arange(self.added, self.added + len(units)) % SIZE
        self.directions[places], self.units[places] = _directions(hidden), units
        self.added += len(units)
        panels = self._packed.job()
        panels.work(*(panels.arguments or ()), 0, panels.count)

    def mix(self, hidden: Array, targets: Ids, log_probs: NDArray[np.float64]) -> NDArray[np.float64]:
        """log P (T) of targets (T), in nats, given the hidden states (T, H) before them and the network's log P (T).

        The bits of each depend on the cache and on nothing else in the arrays.
        """
        if not self.added:
            return log_probs
        T, filled = len(targets), min(self.added, SIZE)
        cosines = np.zeros((1, T, SIZE), np.float32)
        kernels.matmul.add_products(_directions(hidden)[np.newaxis], self._packed.panels, cosines, 0, T)
        result = math.log1p(-SHARE) + log_probs
        for t, row in enumerate(cosines[0, :, :filled]):
            weights = np.exp(SHARPNESS * (row - row.max()))
            found = float(weights[self.units[:filled] == targets[t]].sum()) / float(weights.sum())
            if found:
                result[t] = np.logaddexp(result[t], math.log(SHARE * found))
        return result


def _directions(hidden: Array) -> Array:
    """Hidden states (T, H) as vectors of length 1; zeros as they are."""
    lengths = np.sqrt(np.square(hidden).sum(axis=1, keepdims=True))
    return np.ascontiguousarray(hidden / np.maximum(lengths, np.finfo(hidden.dtype).tiny))

"""Log densities of numbers, Gaussian or of Student's t, and their gradients, row by row.

    e = (y - location) / exp(s)                                                 s: the logarithm of the scale
    Gaussian    log p = -log(2 pi) / 2 - s - e² / 2                             w = 1
    Student's t log p = c - s - (n + 1) / 2 log(1 + e² / n)                     w = (n + 1) / (n + e²)
    d log p / d location = w e / exp(s)         d log p / d s = w e² - 1

n: the degrees of freedom, c = log Gamma((n + 1) / 2) - log Gamma(n / 2) - log(n pi) / 2.
"""

from __future__ import annotations

import math

from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel


@kernel
def log_density(
    out: Array, targets: Array, scales: Array, degrees: float, constant: float, log_probs: Array, gradient: Array,
    begin: int, end: int,
) -> None:  # fmt: skip
    """log_probs (K, B) float64: the sums of log p of targets (K, B, C), for the rows from `begin` to `end`.

    out (K, B, 2 C): the C locations, then the C logarithms of scales. gradient (K, B, 2 C): out, that of -Σ scales
    log_probs by `out`; scales (K, B) float64. `degrees` 0 is the Gaussian; `constant`: the term of log p without e, s.
    """
    K, _, C = targets.shape
    for k in range(K):
        for b in range(begin, end):
            total = 0.0
            for c in range(C):
                s = float(out[k, b, C + c])
                inverse = math.exp(-s)
                e = (float(targets[k, b, c]) - float(out[k, b, c])) * inverse
                if degrees > 0:
                    w = (degrees + 1) / (degrees + e * e)
                    total += constant - s - 0.5 * (degrees + 1) * math.log1p(e * e / degrees)
                else:
                    w = 1.0
                    total += constant - s - 0.5 * e * e
                gradient[k, b, c] = out.dtype.type(-scales[k, b] * w * e * inverse)
                gradient[k, b, C + c] = out.dtype.type(scales[k, b] * (1 - w * e * e))
            log_probs[k, b] = total

"""Root mean square normalisation: numbers that belong together get a mean square of 1.

Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4.

    y = r x        r = 1 / sqrt(mean(x²) + ε)        dx = r (dy - y mean(dy y))

There are no weights: a gain for each number would only scale the rows of the weights that y is multiplied by.
"""

from __future__ import annotations

import numpy as np

from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import inline

EPSILON = 1e-5


@inline
def normalise(row: Array) -> float:
    """row (N): x in, y out. Returns r."""
    number = row.dtype.type
    square = number(0)
    for j in range(row.size):
        square += row[j] * row[j]
    factor: float = number(1) / np.sqrt(square / number(row.size) + number(EPSILON))
    for j in range(row.size):
        row[j] *= factor
    return factor


@inline
def normalise_backward(drow: Array, row: Array, factor: float) -> None:
    """drow (N): the gradient of y in, that of x out. row, factor: y and r from `normalise`."""
    number = row.dtype.type
    along = number(0)
    for j in range(row.size):
        along += drow[j] * row[j]
    along /= number(row.size)
    for j in range(row.size):
        drow[j] = factor * (drow[j] - row[j] * along)

"""Elementwise functions: nanoseconds an element, vectorised approximation against the C library.

python -m benchmarks.elementwise
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from charrnn.kernels import functions
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel

SIZE = 4096  # numbers, which fit the first-level cache
REPEATS = 200


@kernel
def approximate(which: int, x: Array, y: Array) -> None:
    """y = tanh, sigmoid or exp of x as the cells compute them."""
    if which == 0:
        for n in range(x.size):
            y[n] = functions.tanh(x[n])
    elif which == 1:
        for n in range(x.size):
            y[n] = functions.sigmoid(x[n])
    else:
        for n in range(x.size):
            y[n] = functions.exp(x[n])


@kernel
def library(which: int, x: Array, y: Array) -> None:
    """y = tanh, sigmoid or exp of x by calls into the C library."""
    one = x.dtype.type(1)
    if which == 0:
        for n in range(x.size):
            y[n] = np.tanh(x[n])
    elif which == 1:
        for n in range(x.size):
            y[n] = one / (one + np.exp(-x[n]))
    else:
        for n in range(x.size):
            y[n] = np.exp(x[n])


def nanoseconds(function: Callable[[int, Array, Array], None], which: int, x: Array, y: Array) -> float:
    """Median time an element."""
    function(which, x, y)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function(which, x, y)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / x.size * 1e9


def main() -> None:
    """Print the table."""
    x = np.random.default_rng(0).uniform(-5, 5, SIZE).astype(np.float32)
    y = np.empty_like(x)
    table = Table("function", "vectorised, ns", "C library, ns", "ratio")
    for which, name in enumerate(("tanh", "sigmoid", "exp")):
        ours, theirs = (nanoseconds(function, which, x, y) for function in (approximate, library))
        table.add_row(name, f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()

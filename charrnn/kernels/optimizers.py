"""The update rules, elementwise over slices of the flat parameter vector; at the end those parts of Muon that walk
along rows and columns.

Every kernel walks its slice in blocks of `BLOCK` elements counted from the start of the slice. As long as slices begin
at multiples of `BLOCK`, each element is computed by the same instructions (vector body or remainder) wherever a caller
cuts the vector into slices, so any split between threads gives the same bits.

Shared arguments: `parameters`, `gradient` and the moments are (N,) of one float type and all scalars have that type.
The gradient used is `clip(gradient * scale, -limit, limit)` plus `decay * parameters` (the L2 penalty).
"""

from __future__ import annotations

import numpy as np

from charrnn.kernels.matmul import add_transposed_product
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel

BLOCK = 4096


@kernel
def sum_of_squares(gradient: Array, out: Array) -> None:
    """Write into `out` (blocks,) float64 the sum of squares of each block of `gradient` (N,)."""
    for block in range(out.size):
        g = gradient[block * BLOCK : (block + 1) * BLOCK]
        total = 0.0
        for i in range(g.size):
            x = np.float64(g[i])
            total += x * x
        out[block] = total


@kernel
def adam(
    parameters: Array,
    gradient: Array,
    first: Array,
    second: Array,
    scale: float,
    limit: float,
    decay: float,
    shrink: float,
    rate: float,
    beta1: float,
    beta2: float,
    root: float,
    epsilon: float,
) -> None:
    """Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019): running means of the gradient and its square.

    `shrink` multiplies the parameters first (1 - learning rate * weight decay for AdamW, else 1). `rate` is the
    learning rate over 1 - beta1^t and `root` is 1 / sqrt(1 - beta2^t): the corrections for moments that start at zero.
    `beta1` and `beta2` are given as 1 - beta.
    """
    for start in range(0, parameters.size, BLOCK):
        p = parameters[start : start + BLOCK]
        dp = gradient[start : start + BLOCK]
        m = first[start : start + BLOCK]
        v = second[start : start + BLOCK]
        for i in range(p.size):
            g = min(max(dp[i] * scale, -limit), limit) + decay * p[i]
            mean = m[i] + beta1 * (g - m[i])
            square = v[i] + beta2 * (g * g - v[i])
            m[i] = mean
            v[i] = square
            p[i] = p[i] * shrink - rate * mean / (np.sqrt(square) * root + epsilon)


@kernel
def rmsprop(
    parameters: Array,
    gradient: Array,
    second: Array,
    scale: float,
    limit: float,
    decay: float,
    rate: float,
    beta2: float,
    epsilon: float,
) -> None:
    """RMSprop (Hinton 2012): the gradient over the root of the running mean of its square; `beta2` is 1 - alpha."""
    for start in range(0, parameters.size, BLOCK):
        p = parameters[start : start + BLOCK]
        dp = gradient[start : start + BLOCK]
        v = second[start : start + BLOCK]
        for i in range(p.size):
            g = min(max(dp[i] * scale, -limit), limit) + decay * p[i]
            square = v[i] + beta2 * (g * g - v[i])
            v[i] = square
            p[i] -= rate * g / (np.sqrt(square) + epsilon)


@kernel
def adagrad(
    parameters: Array,
    gradient: Array,
    second: Array,
    scale: float,
    limit: float,
    decay: float,
    rate: float,
    epsilon: float,
) -> None:
    """Adagrad (Duchi et al. 2011): the gradient over the root of the sum of all its squares so far."""
    for start in range(0, parameters.size, BLOCK):
        p = parameters[start : start + BLOCK]
        dp = gradient[start : start + BLOCK]
        v = second[start : start + BLOCK]
        for i in range(p.size):
            g = min(max(dp[i] * scale, -limit), limit) + decay * p[i]
            square = v[i] + g * g
            v[i] = square
            p[i] -= rate * g / (np.sqrt(square) + epsilon)


@kernel
def sgd(
    parameters: Array,
    gradient: Array,
    velocity: Array,
    scale: float,
    limit: float,
    decay: float,
    rate: float,
    momentum: float,
) -> None:
    """Gradient descent with momentum (Polyak 1964), in PyTorch's form: the velocity is a decaying sum of gradients."""
    for start in range(0, parameters.size, BLOCK):
        p = parameters[start : start + BLOCK]
        dp = gradient[start : start + BLOCK]
        m = velocity[start : start + BLOCK]
        for i in range(p.size):
            g = min(max(dp[i] * scale, -limit), limit) + decay * p[i]
            speed = momentum * m[i] + g
            m[i] = speed
            p[i] -= rate * speed


@kernel
def look_ahead(
    gradient: Array, momentum: Array, ahead: Array, scale: float, limit: float, beta: float, first: int, last: int
) -> None:
    """M += (1 - β) (G - M), and what it will be with the same gradient once more: rows from `first` to `last`.

    gradient, momentum and ahead are (m, n); `beta` is given as 1 - β.
    """
    for row in range(first, last):
        dp, m, u = gradient[row], momentum[row], ahead[row]
        for i in range(dp.size):
            g = min(max(dp[i] * scale, -limit), limit)
            mean = m[i] + beta * (g - m[i])
            m[i] = mean
            u[i] = mean + beta * (g - mean)


@kernel
def subtract_direction(
    parameters: Array, root: Array, ahead: Array, direction: Array, scales: Array, size: float, least: float,
    shrink: float, width: int, first: int, last: int, left: Array, right: Array,
) -> None:  # fmt: skip
    """W = shrink W - size D, where D is O = root U over the root mean square of each column, or over `least` if that is
    larger.

    W, U = `ahead`, and O = `direction`, which is written, (k, N); root (k, k) symmetric; scales (N) is memory for the
    factors of the columns. These are taken in panels of `width`: those from `first` to `last`. left, right: see
    `add_transposed_product`.
    """
    k, N = direction.shape
    for row in range(k):
        direction[row, first * width : min(last * width, N)] = 0
    add_transposed_product(root, k, ahead, 0, direction, 0, N, first, last, left, right)
    for panel in range(first, last):
        begin, end = panel * width, min((panel + 1) * width, N)
        factor = scales[begin:end]
        factor[:] = 0
        for row in range(k):
            o = direction[row, begin:end]
            for i in range(o.size):
                factor[i] += o[i] * o[i]
        for i in range(factor.size):
            factor[i] = size / max(np.sqrt(factor[i] / k), least)
        for row in range(k):
            p, o = parameters[row, begin:end], direction[row, begin:end]
            for i in range(o.size):
                p[i] = p[i] * shrink - o[i] * factor[i]

"""The update rules, elementwise over slices of the flat parameter vector.

Every kernel walks its slice in blocks of `BLOCK` elements counted from the start of the slice. As long as slices begin
at multiples of `BLOCK`, each element is computed by the same instructions (vector body or remainder) wherever a caller
cuts the vector into slices, so any split between threads gives the same bits.

Shared arguments: `parameters`, `gradient` and the moments are (N,) of one float type and all scalars have that type.
The gradient used is `clip(gradient * scale, -limit, limit)` plus `decay * parameters` (the L2 penalty).
"""

from __future__ import annotations

import numpy as np

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

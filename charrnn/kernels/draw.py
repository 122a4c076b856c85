"""Drawing the next unit from its distribution: temperature, top-k, top-p, then one uniform number decides."""

from __future__ import annotations

import numpy as np

from charrnn.kernels.functions import exp, largest
from charrnn.kernels.rounding import bits_float
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel

UNKNOWN = 0  # never drawn
LOWEST = np.float32(-87)  # exp of less is no float32
SMALLEST_TEMPERATURE = np.float32(1e-30)  # all below it take the most probable unit as well


@kernel
def draw(logits: Array, uniform: float, temperature: float, top_k: int, top_p: float) -> int:
    """A unit drawn by `uniform` in [0, 1) from the softmax of logits (V) float32, which are overwritten.

    Temperature 0 takes the most probable one. Then only the `top_k` most probable units are kept (0 keeps all), and of
    those the fewest whose probabilities add up to `top_p` (1 keeps all: nucleus sampling, Holtzman et al. 2020, "The
    curious case of neural text degeneration"); among equals, those with lower ids.
    """
    V = logits.size
    logits[UNKNOWN] = -np.inf
    top = largest(logits)
    if temperature == 0:
        for v in range(V):
            if logits[v] == top:
                return v
    divisor = max(np.float32(temperature), SMALLEST_TEMPERATURE)
    for v in range(V):
        scaled = (logits[v] - top) / divisor
        logits[v] = exp(scaled) if scaled > LOWEST else np.float32(0)
    weights = logits
    weights[UNKNOWN] = 0
    for count in (True, False):  # a loop, so that the search is compiled once
        if 0 < top_k < V if count else top_p < 1:
            keep_heaviest(weights, np.float64(top_k) if count else top_p * total(weights), count)
    target = uniform * total(weights)
    reached = 0.0
    last = UNKNOWN
    for v in range(V):
        if weights[v] > 0:
            reached += weights[v]
            last = v
            if reached > target:
                break
    return last


@kernel
def total(weights: Array) -> float:
    """Sum of weights (V), in float64."""
    result = 0.0
    for v in range(weights.size):
        result += weights[v]
    return result


@kernel
def heaviness(weights: Array, threshold: float, count: bool) -> float:
    """Number or sum of the weights (V) that reach the threshold."""
    result = 0.0
    if count:
        for v in range(weights.size):
            result += 1.0 if weights[v] >= threshold else 0.0
    else:
        for v in range(weights.size):
            result += np.float64(weights[v]) if weights[v] >= threshold else 0.0
    return result


@kernel
def keep_heaviest(weights: Array, needed: float, count: bool) -> None:
    """Zero all but the heaviest of weights (V) float32 in [0, 1]: as few as make up `needed`, a number or a sum of
    them.

    The weight of the last one kept is found bit by bit: floats that are not negative are ordered like their bits.
    """
    bits = np.uint32(0)
    for place in range(30):
        trial = np.uint32(bits | (np.uint32(1) << np.uint32(29 - place)))
        if heaviness(weights, bits_float(trial), count) >= needed:
            bits = trial
    last = bits_float(bits)
    if last == 0:
        return
    kept = heaviness(weights, bits_float(np.uint32(bits + np.uint32(1))), count)
    for v in range(weights.size):
        if weights[v] < last:
            weights[v] = 0
        elif weights[v] == last:
            if kept >= needed:
                weights[v] = 0
            else:
                kept += 1.0 if count else np.float64(last)

"""What dropout masks depend on."""

from __future__ import annotations

from typing import NamedTuple


class DropoutKey(NamedTuple):
    """Each activation is dropped with probability `rate`, in [0, 1).

    Masks are counter-based random numbers: a function of `seed`, `step` and the position in the array, see
    `kernels/dropout.py`. They are not stored; backward computes them again.
    """

    rate: float
    seed: int = 0
    step: int = 0

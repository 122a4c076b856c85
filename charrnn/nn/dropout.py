"""What the masks of dropout depend on."""

from __future__ import annotations

from typing import NamedTuple


class DropoutKey(NamedTuple):
    """Each activation is dropped with probability `rate`; the masks depend on `seed` and `step`, and on their place."""

    rate: float
    seed: int = 0
    step: int = 0

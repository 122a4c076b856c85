"""From an encoder to a decoder: where the reading of each source ended.

The outputs of the encoder are flat in memory (places, H): unit i of source s is at places[s] + i step, for lengths[s]
units.
"""

from __future__ import annotations

from typing import Any

from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel


@kernel
def gather_ends(memory: Array, places: Any, lengths: Any, step: int, out: Array, begin: int, end: int) -> None:
    """out (1, S, H): of each source the encoding where its reading ended: in the lower half of H at its last unit, in
    the upper half, which is read against time, at its first. For the sources from `begin` to `end`."""
    H = memory.shape[1]
    for s in range(begin, end):
        first, last, target = memory[places[s]], memory[places[s] + (lengths[s] - 1) * step], out[0, s]
        for j in range(H // 2):
            target[j] = last[j]
        for j in range(H // 2, H):
            target[j] = first[j]


@kernel
def add_to_ends(dout: Array, places: Any, lengths: Any, step: int, dmemory: Array, begin: int, end: int) -> None:
    """The gradient of `gather_ends`, added to dmemory (places, H)."""
    H = dmemory.shape[1]
    for s in range(begin, end):
        first, last, source = dmemory[places[s]], dmemory[places[s] + (lengths[s] - 1) * step], dout[0, s]
        for j in range(H // 2):
            last[j] += source[j]
        for j in range(H // 2, H):
            first[j] += source[j]

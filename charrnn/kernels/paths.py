"""A network's distribution over V units as logits of bits: at each node of the code's tree, of a 1.

Units below a node stand side by side in the order of the code, so that sums of their probabilities are differences.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from charrnn.kernels.contexts import Code
from charrnn.kernels.memory import bounded
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import exact, inline


@exact
def add_up(code: Code, logits: Array, sums: Any) -> None:
    """sums (V + 1) float64: of the exponentials of logits (V) in the order of the code, up to each place."""
    top = logits[0]
    for value in logits:
        top = max(top, value)
    sums[0] = 0
    for place in range(logits.size):
        sums[place + 1] = sums[place] + math.exp(logits[code.order[place]] - top)


@inline
def node_logit(code: Code, sums: Any, node: int) -> Any:
    """The network's logit of a 1 at a node; a share of 1e-9 of the whole on each side keeps it finite."""
    least = 1e-9 * sums[-1]
    one, zero = sums[code.high[node]] - sums[code.middle[node]], sums[code.middle[node]] - sums[code.low[node]]
    return bounded(np.float32(math.log((one + least) / (zero + least))))


@exact
def path_logits(code: Code, logits: Array, targets: Ids, sums: Any, out: Array) -> None:
    """out (N, D): the logits at the nodes on the way to targets (N), of a network's logits (N, V). sums (V + 1)."""
    for n in range(targets.size):
        add_up(code, logits[n], sums)
        for depth in range(code.lengths[targets[n]]):
            out[n, depth] = node_logit(code, sums, code.nodes[targets[n], depth])


@exact
def all_logits(code: Code, logits: Array, sums: Any, out: Array) -> None:
    """out (V - 1): the logits at all nodes, of a network's logits (V)."""
    add_up(code, logits, sums)
    for node in range(out.size):
        out[node] = node_logit(code, sums, node)

"""A Huffman code: each unit is a path of bits from the root of a binary tree, frequent units by short paths."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


class Tree(NamedTuple):
    """A binary tree with V units as leaves and V - 1 inner nodes, of which 0 is the root; D bits at most.

    The units of each node's subtree stand side by side in `order`: those after a 0 from low to middle, those after a 1
    from middle to high.
    """

    nodes: Ids  # (V, D): the nodes on the way to each unit
    bits: NDArray[np.uint8]  # (V, D): where the way goes on from each
    lengths: Ids  # (V)
    depths: Ids  # (V - 1)
    order: Ids  # (V): units
    low: Ids  # (V - 1)
    middle: Ids  # (V - 1)
    high: Ids  # (V - 1)


def code_lengths(counts: NDArray[np.int64]) -> list[int]:
    """How many bits each of V units has (V >= 2), by how often it occurs; those that never do count as once.

    Huffman 1952, "A method for the construction of minimum-redundancy codes", doi:10.1109/JRPROC.1952.273898.
    """
    heap = [(max(count, 1), unit, [unit]) for unit, count in enumerate(counts.tolist())]
    heapq.heapify(heap)
    lengths, number = [0] * len(heap), len(heap)
    while len(heap) > 1:
        (one, _, left), (other, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for unit in (*left, *right):
            lengths[unit] += 1
        heapq.heappush(heap, (one + other, number, left + right))
        number += 1
    return lengths


def huffman_tree(counts: NDArray[np.int64]) -> Tree:
    """The tree of the canonical Huffman code of V units (V >= 2), of which unit n occurs counts[n] times."""
    lengths = code_lengths(counts)
    V, D = len(lengths), max(lengths)
    order = sorted(range(V), key=lambda unit: (lengths[unit], unit))
    nodes, bits = np.zeros((V, D), np.int32), np.zeros((V, D), np.uint8)
    low, middle, high, depths = (np.zeros(V - 1, np.int32) for _ in range(4))
    low[:] = V
    numbers: dict[tuple[int, int], int] = {}
    code, last = 0, 0
    for place, unit in enumerate(order):
        length = lengths[unit]
        code <<= length - last
        last = length
        for depth in range(length):
            node = numbers.setdefault((depth, code >> (length - depth)), len(numbers))
            bit = code >> (length - 1 - depth) & 1
            nodes[unit, depth], bits[unit, depth], depths[node] = node, bit, depth
            low[node], high[node] = min(low[node], place), place + 1
            if not bit:
                middle[node] = place + 1
        code += 1
    return Tree(nodes, bits, np.array(lengths, np.int32), depths, np.array(order, np.int32), low, middle, high)

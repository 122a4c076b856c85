"""The gradient of a batch as a sum over shards, added up along a fixed tree by any number of processes.

Floating-point addition is not associative, so the order of a sum decides its last bits. Here it is that of a binary
tree over the numbers of the shards, whoever computes which of them: the gradient has the same bits for 1, 2, … S
processes. Sums of processes are exchanged as in the reduce-scatter and allgather of Rabenseifner 2004, "Optimization of
collective reduction operations", doi:10.1007/978-3-540-24685-5_1: each process adds up one slice of the vector.

S is the number of shards, P that of processes, N that of numbers in a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from charrnn.errors import UsageError
from charrnn.runtime.interrupts import uninterrupted
from charrnn.runtime.processes import Processes
from charrnn.text.batch import Batch, Shard

if TYPE_CHECKING:
    from charrnn.nn.dropout import DropoutKey
    from charrnn.runtime.arrays import Array
    from charrnn.training.task import Network


class Node(NamedTuple):
    """A node of the tree: the sum of the shards from `first` to `last`."""

    first: int
    last: int

    def halves(self) -> tuple[Node, Node]:
        """The two nodes below; the left one has the largest power of two that leaves something for the right one."""
        middle = self.first + (1 << (self.last - self.first - 1).bit_length() - 1)
        return Node(self.first, middle), Node(middle, self.last)

    def within(self, first: int, last: int) -> Iterator[Node]:
        """The largest nodes below this one, or itself, of which all shards are from `first` to `last`."""
        if first <= self.first and self.last <= last:
            yield self
        elif first < self.last and self.first < last:
            for half in self.halves():
                yield from half.within(first, last)


def add_up(node: Node, value: Callable[[Node], Array | None]) -> Array:
    """The sum of a node: what `value` knows of it, or else the sum of its halves. What is known is overwritten."""
    known = value(node)
    if known is not None:
        return known
    left, right = node.halves()
    total = add_up(left, value)
    total += add_up(right, value)
    return total


class Reduction:
    """The losses and gradients of a network over `shards` and `processes`, each of which computes some of the shards.

    Raises:
        UsageError: there are more processes than shards.
    """

    def __init__(self, network: Network, shards: int, processes: Processes) -> None:
        if processes.size > shards:
            raise UsageError(
                f"there are {processes.size} processes and `shards` is {shards}; start {shards} at most, or begin a "
                f"run with `shards` {processes.size} or more"
            )
        self.network, self.shards, self.processes = network, shards, processes
        self.root, self.bounds = Node(0, shards), [shards * r // processes.size for r in range(processes.size + 1)]
        self.nodes = [list(self.root.within(*self.bounds[r : r + 2])) for r in range(processes.size)]
        self._start = prod(network.layout.row_table or (0,))  # of what is not updated by row

    def loss(self, batch: Batch, dropout: DropoutKey | None) -> tuple[float, float]:
        """As `Network.loss`: the summed loss of `batch` and the sum of its weights, with the gradient of their quotient
        in the network. On process 0 `batch.state` becomes that after the last step, on others some rows of it."""
        network, processes = self.network, self.processes
        if self.shards == 1:
            return network.loss(batch, dropout)
        losses: Array = np.zeros(self.shards)
        count = 0.0

        def compute(node: Node) -> Array | None:
            nonlocal count
            if node.last - node.first > 1:
                return None
            losses[node.first], count = network.loss(batch, dropout, shard=Shard(node.first, self.shards))
            return self._gradient(copied=len(mine) > 1 or node not in mine)

        mine = self.nodes[processes.rank]
        sums = [add_up(node, compute) for node in mine]
        with uninterrupted():  # of a signal between two of these, the others would know nothing
            losses = processes.sum_disjoint(losses)
            self._reduce(sums)
            if batch.state is not None and batch.state.size:
                B = batch.inputs.shape[1]
                processes.gather_rows(batch.state, [Shard(bound, self.shards).rows(B).start for bound in self.bounds])
        return float(losses.sum()), count

    def _gradient(self, *, copied: bool) -> Array:
        """The gradient (N): the part that is always updated, and the touched rows of the rest; a copy if need be."""
        network = self.network
        if network.touched is None:
            return network.gradient.copy() if copied else network.gradient
        table = network.gradient[: self._start].reshape(network.layout.row_table)
        return np.concatenate([network.gradient[self._start :], table[network.touched].reshape(-1)])

    def _reduce(self, sums: list[Array]) -> None:
        """Set the gradient to the sum of all shards, from those of this process' nodes (N each), as `_gradient`."""
        network = self.network
        if network.touched is None:
            self.over_processes(sums, network.gradient)
            return
        total = np.empty_like(sums[0])
        self.over_processes(sums, total)
        dense = network.gradient.size - self._start
        network.gradient[self._start :] = total[:dense]
        table = network.gradient[: self._start].reshape(network.layout.row_table)
        table[network.touched] = total[dense:].reshape(-1, table.shape[1])

    def over_processes(self, sums: list[Array], total: Array) -> None:
        """Set total (N) to the sum of all shards, from those of this process' nodes (N each)."""
        processes, size = self.processes, len(sums[0])
        counts = np.diff([size * r // processes.size for r in range(processes.size + 1)]).tolist()
        slices: dict[Node, Array] = {}
        for turn in range(max(len(nodes) for nodes in self.nodes)):
            senders = [rank for rank, nodes in enumerate(self.nodes) if turn < len(nodes)]
            mine = sums[min(turn, len(sums) - 1)]
            for rank, values in zip(senders, processes.spread(mine, counts, senders), strict=True):
                slices[self.nodes[rank][turn]] = values
        processes.collect(add_up(self.root, slices.get), counts, total)

"""The adaptive softmax: exact and normalised, at a fraction of the cost for large vocabularies.

Grave et al. 2017, "Efficient softmax approximation for GPUs", arXiv:1609.04309. Units are numbered by falling
frequency. The head has those before the first cutoff, and one entry for each cluster of rarer ones. A cluster has a
softmax of its own, a tail, over a projection of the hidden state: the rarer its units, the narrower. With h the hidden
state, c0 the first cutoff:

    head = softmax(h W' + b)                         W (c0 + clusters, H)
    tail i = softmax(h D_i U_i)                      D_i (H, P_i), U_i (P_i, S_i), P_i = H // 4^(i + 1)
    P(unit) = head[unit]                             unit < c0
    P(unit) = head[c0 + i] tail i[unit - cutoff i]   else

The head is computed at every position, a tail only where the target is in it. The function is that of
`torch.nn.AdaptiveLogSoftmaxWithLoss`, which stores the transposes of D and U.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np
import numpy.typing as npt

from charrnn import kernels
from charrnn.config import TAIL_DIVISOR
from charrnn.nn import softmax
from charrnn.nn.block import Head, Log, Views
from charrnn.nn.context import Context
from charrnn.nn.embedding import require_ids
from charrnn.nn.init import uniform
from charrnn.nn.packed import Packed, flat, product_job
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Signal
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work

CACHED_LOGITS = 1 << 17  # of a tail, taken from product to gradient at once: they fit into a core's cache


class Tail:
    """A cluster of S units, from id `first` on, with a projection of width P: weights down (H, P) and up (P, S).

    The rows of its arrays (1, N, ·) are the N positions of a window whose targets are in the cluster, one sequence
    after the other, so that the positions of a thread's sequences are neighbours.
    """

    def __init__(self, name: str, first: int, H: int, P: int, S: int) -> None:
        self.name, self.first = name, first
        self.H, self.P, self.S = H, P, S
        down, up = f"{name}.0.weight", f"{name}.1.weight"
        self.down_weight = Parameter(
            down, (H, P), uniform(sqrt(3 / H)), decay=True, torch_name=down, transposed=True
        )  # fmt: skip
        self.up_weight = Parameter(
            up, (P, S), uniform(sqrt(3 / P) * 0.5), decay=True, torch_name=up, transposed=True
        )  # fmt: skip

    def parameters(self) -> list[Parameter]:
        """down (H, P), up (P, S)."""
        return [self.down_weight, self.up_weight]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of both weights and their gradients; see `Block.bind`."""
        self.context, self.workspace = context, context.workspace
        down, up = weights[self.down_weight.name], weights[self.up_weight.name]
        self.ddown, self.dup = gradients[self.down_weight.name], gradients[self.up_weight.name]
        self.no_bias = np.zeros(self.S, context.dtype)
        self.down = Packed(down, 0, self.P, context.operand)
        self.up = Packed(up, 0, self.S, context.operand)
        self._weights = down, up
        self._backward: tuple[Packed, Packed] | None = None

    @property
    def transposes(self) -> tuple[Packed, Packed]:
        """down and up, transposed and packed; made at first use, as only backward needs them."""
        if self._backward is None:
            (down, up), operand = self._weights, self.context.operand
            self._backward = (
                Packed(down, 0, self.P, operand, transposed=True), Packed(up, 0, self.S, operand, transposed=True)
            )  # fmt: skip
        return self._backward

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        return [packed.job(often=often) for packed in (self.transposes if backward else (self.down, self.up))]

    def _buffer(self, name: str, N: int, width: int) -> Array:
        return self.workspace.get(f"{self.name}.{name}", 1, N, width)

    def _operand(self, name: str, array: Array) -> Array:
        return self.workspace.operand_of(f"{self.name}.{name}", array)

    def resize(self, N: int) -> None:
        """Take arrays for N rows."""
        self.projection = self._buffer("projection", N, self.P)
        self.projection_operand = self._operand("projection", self.projection)

    def project(self, x: Array, begin: int, end: int) -> None:
        """projection (1, N, P) = x down for the rows from `begin` to `end`; x (1, N, H) is a gemm input."""
        self.projection[:, begin:end] = 0
        kernels.matmul.add_products(x, self.down.panels, self.projection, begin, end)
        kernels.rounding.store_operands(self.projection, self.projection_operand, begin, end)

    def compute_logits(self, logits: Array, begin: int, end: int) -> None:
        """logits (1, end - begin, S) = projection up for the rows from `begin` to `end`."""
        logits[:] = 0
        kernels.matmul.add_products(self.projection_operand[:, begin:end], self.up.panels, logits, 0, end - begin)

    def place(self, hidden: Array, targets: Ids) -> None:
        """Find the N positions of targets (T, B) in the cluster and take arrays; hidden (T, B, H) is a gemm input."""
        T, B = targets.shape
        # Numbered by sequence, then step.
        positions = np.flatnonzero(((targets >= self.first) & (targets < self.first + self.S)).T)
        rows, steps = positions // T, positions % T
        self.positions = (steps * B + rows).astype(np.int32)
        self.starts = np.searchsorted(rows, np.arange(B + 1)).tolist()
        self.targets = (targets.reshape(-1)[self.positions] - self.first)[np.newaxis]
        N = positions.size
        self.hidden = flat(hidden)
        self.x: Array = self.workspace.get(f"{self.name}.x", 1, N, hidden.shape[2], dtype=hidden.dtype)
        self.log_probs = self.workspace.get(f"{self.name}.log_probs", 1, N, dtype=np.float64)
        self.resize(N)

    def prepare_backward(self, scales: Log) -> None:
        """Take arrays for the gradient at these positions; scales (T, B): the weight of each target in the loss."""
        self.scales: Log = scales.reshape(-1)[self.positions][np.newaxis]
        N, operand = self.positions.size, self.context.operand
        self.rounded = operand != self.context.dtype
        width = self.S + self.S % 2 if self.rounded else self.S
        self.dlogits: Array = self.workspace.get(f"{self.name}.dlogits", 1, N, width, dtype=operand)
        self.dprojection = self._buffer("dprojection", N, self.P)
        self.dprojection_operand = self._operand("dprojection", self.dprojection)
        self.dx = self._buffer("dx", N, self.H)

    def scratch(self, thread: int) -> Array:
        """Memory (1, R, S) of a thread for the logits of R rows, as many as fit into its cache."""
        return self._buffer(f"logits.{thread}", max(1, CACHED_LOGITS // self.S), self.S)

    def start(self, begin: int, end: int) -> tuple[int, int]:
        """Gather and project the positions of the sequences from `begin` to `end`; return where they start and end."""
        first, last = self.starts[begin], self.starts[end]
        kernels.inputs.gather_rows(self.hidden, self.positions[first:last], self.x[0, first:last])
        self.project(self.x, first, last)
        return first, last

    def add_log_probs(self, log_probs: Log, begin: int, end: int, thread: int) -> None:
        """Add log P(target | cluster), in nats, to log_probs (T, B) for the sequences from `begin` to `end`."""
        first, last = self.start(begin, end)
        kernels.softmax.target_log_probs(
            self.projection_operand, self.up.panels, self.no_bias, self.targets, self.scratch(thread)[0],
            self.log_probs, first, last,
        )  # fmt: skip
        log_probs.reshape(-1)[self.positions[first:last]] += self.log_probs[0, first:last]

    def add_gradient(self, log_probs: Log, dhidden: Array, begin: int, end: int, thread: int) -> None:
        """As `add_log_probs`; and add the gradient of -Σ scales · log P to dhidden (T, B, H)."""
        down, up = (packed.panels for packed in self.transposes)
        first, last = self.start(begin, end)
        scratch = self.scratch(thread)
        for at in range(first, last, scratch.shape[1]):
            rows = slice(at, min(at + scratch.shape[1], last))
            dlogits, n = self.dlogits[:, rows], rows.stop - at
            logits = scratch[:, :n] if self.rounded else dlogits
            self.compute_logits(logits, at, rows.stop)
            kernels.softmax.cross_entropy(
                logits, self.targets[:, rows], self.scales[:, rows], self.log_probs[:, rows], dlogits, 0, n
            )
        self.dprojection[:, first:last] = 0
        kernels.matmul.add_products(self.dlogits, up, self.dprojection, first, last)
        kernels.rounding.store_operands(self.dprojection, self.dprojection_operand, first, last)
        self.dx[:, first:last] = 0
        kernels.matmul.add_products(self.dprojection_operand, down, self.dx, first, last)
        kernels.inputs.add_rows(self.dx[0, first:last], self.positions[first:last], flat(dhidden))
        log_probs.reshape(-1)[self.positions[first:last]] += self.log_probs[0, first:last]

    def weight_jobs(self) -> list[Job]:
        """Jobs that add to the gradients of down and up, once `add_gradient` has run for all sequences."""
        if not self.positions.size:
            return []
        projection, dlogits, context = flat(self.projection_operand), flat(self.dlogits), self.context
        return [
            product_job(projection, self.P, dlogits, 0, self.dup, 0, self.S, context),
            product_job(flat(self.x), self.H, flat(self.dprojection_operand), 0, self.ddown, 0, self.P, context),
        ]


class AdaptiveSoftmax(Head):
    """A softmax over the entries of the head, and the tails."""

    fixed = False  # which positions are in a tail depends on the targets

    def __init__(self, V: int, H: int, cutoffs: tuple[int, ...]) -> None:
        self.V = V
        self.cutoffs = np.array(cutoffs, np.int32)
        self.head = Softmax(cutoffs[0] + len(cutoffs), H, name="output.head")
        self.tails = [
            Tail(f"output.tail.{index}", low, H, H // TAIL_DIVISOR ** (index + 1), high - low)
            for index, (low, high) in enumerate(pairwise((*cutoffs, V)))
        ]

    def parameters(self) -> list[Parameter]:
        """Those of the head, then of each tail."""
        return [*self.head.parameters(), *(parameter for tail in self.tails for parameter in tail.parameters())]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`."""
        self.context = context
        self.head.bind(weights, gradients, context)
        for tail in self.tails:
            tail.bind(weights, gradients, context)

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        head = self.head.pack(backward=backward, often=often)
        return [*head, *(job for tail in self.tails for job in tail.pack(backward=backward, often=often))]

    def claim(self, hidden: Signal) -> None:
        """See `Head.claim`. The head may overwrite; the tails run after it and add."""
        self.head.claim(hidden)

    def check(self, ids: Ids) -> None:
        """Raise `CharrnnError` unless all of ids (T, B) are in [0, V)."""
        require_ids(ids, self.V)

    def chunks(self, targets: Ids) -> list[slice]:
        """See `Head.chunks`. The steps of a chunk depend on how many targets are in the tails."""
        # Of a tail's logits only the gradient is stored, as gemm input: half as large in bfloat16.
        share = self.context.operand.itemsize / self.context.dtype.itemsize
        sizes = np.array([0, *(tail.S * share for tail in self.tails)])
        T, B = targets.shape
        logits = B * self.head.V + sizes[self._clusters(targets)].sum(axis=1)
        ends = [0]
        used = 0.0
        for step, size in enumerate(logits.tolist()):
            used += size
            if used > softmax.MOST_LOGITS and step > ends[-1]:
                ends.append(step)
                used = size
        return [slice(start, stop) for start, stop in pairwise([*ends, T])]

    def _clusters(self, targets: Ids) -> npt.NDArray[np.intp]:
        """For each of targets (T, B) 0 if it is in the head, else the number of its tail, from 1."""
        return np.searchsorted(self.cutoffs, targets, side="right")

    def _head_targets(self, targets: Ids) -> Ids:
        clusters = self._clusters(targets)
        return np.where(clusters == 0, targets, self.cutoffs[0] - 1 + clusters).astype(np.int32)

    def logits_rows(self, hidden: Signal, logits: Array) -> Work:
        """A function that fills rows of logits (1, N, V), here log-probabilities in nats, from `hidden` (1, N, H)."""
        first, N = int(self.cutoffs[0]), hidden.value.shape[1]
        head_logits = self.context.workspace.get("logits", 1, N, self.head.V)
        compute_head = self.head.logits_rows(hidden, head_logits)
        for tail in self.tails:
            tail.resize(N)

        def work(begin: int, end: int, thread: int) -> None:
            compute_head(begin, end, thread)
            kernels.softmax.log_softmax(head_logits, begin, end)
            logits[:, begin:end, :first] = head_logits[:, begin:end, :first]
            for index, tail in enumerate(self.tails, first):
                tail.project(hidden.operand, begin, end)
                scratch = tail.scratch(thread)
                for at in range(begin, end, scratch.shape[1]):
                    rows = slice(at, min(at + scratch.shape[1], end))
                    own = scratch[:, : rows.stop - at]
                    tail.compute_logits(own, at, rows.stop)
                    kernels.softmax.log_softmax(own, 0, rows.stop - at)
                    entry = head_logits[:, rows, index : index + 1]
                    np.add(own, entry, out=logits[:, rows, tail.first : tail.first + tail.S])

        return work

    def log_probs_rows(self, hidden: Signal, targets: Ids, log_probs: Log) -> Work:
        """See `Head.log_probs_rows`: log_probs (T, B), in nats, of targets (T, B), given hidden (T, B, H)."""
        compute_head = self.head.log_probs_rows(hidden, self._head_targets(targets), log_probs)
        for tail in self.tails:
            tail.place(hidden.operand, targets)

        def work(begin: int, end: int, thread: int) -> None:
            compute_head(begin, end, thread)
            for tail in self.tails:
                tail.add_log_probs(log_probs, begin, end, thread)

        return work

    def next_log_probs_rows(self, hidden: Signal, rows: Ids, targets: Ids, log_probs: Log) -> Work:
        """See `Softmax.next_log_probs_rows`; here each of targets (N) has a softmax of its own."""
        x = hidden.operand[0]
        repeated: Array = self.context.workspace.get("repeated", 1, rows.size, x.shape[1], dtype=x.dtype)
        compute = self.log_probs_rows(Signal(repeated, repeated), targets[np.newaxis], log_probs[np.newaxis])

        def work(begin: int, end: int, thread: int) -> None:
            first, last = np.searchsorted(rows, [begin, end]).tolist()
            kernels.inputs.gather_rows(x, rows[first:last], repeated[0, first:last])
            compute(first, last, thread)

        return work

    def gradient_rows(self, hidden: Signal, targets: Ids, scales: Log, log_probs: Log) -> Work:
        """See `Head.gradient_rows`; targets, scales and log_probs (T, B)."""
        compute_head = self.head.gradient_rows(hidden, self._head_targets(targets), scales, log_probs)
        for tail in self.tails:
            tail.place(hidden.operand, targets)
            tail.prepare_backward(scales)

        def work(begin: int, end: int, thread: int) -> None:
            compute_head(begin, end, thread)
            assert hidden.gradient is not None
            for tail in self.tails:
                tail.add_gradient(log_probs, hidden.gradient, begin, end, thread)

        return work

    def weight_jobs(self) -> list[Job]:
        """See `Block.weight_jobs`."""
        return [*self.head.weight_jobs(), *(job for tail in self.tails for job in tail.weight_jobs())]

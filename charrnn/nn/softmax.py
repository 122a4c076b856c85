"""The softmax over the vocabulary: hidden states to log-probabilities, and back.

logits = hidden W' + b        loss = -log softmax(logits)[target]
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from charrnn import kernels
from charrnn.nn.block import Head, Log, Views
from charrnn.nn.context import Context
from charrnn.nn.embedding import require_ids
from charrnn.nn.init import uniform, zeros
from charrnn.nn.packed import Packed, flat, product_job, sum_job
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Signal
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work

# Logits are computed for as many steps at a time as keep them within this many numbers, whatever the vocabulary.
MOST_LOGITS = 1 << 22

SCORED_ROWS = 64  # of logits that are scored at a time: enough for a product to be worth reading the weight


class Softmax(Head):
    """weight (V, H), which may be that of the embedding (`tied`), and bias (V)."""

    def __init__(self, V: int, H: int, *, name: str = "output", tied: Parameter | None = None) -> None:
        self.V, self.H, self.tied = V, H, tied
        weight, bias = f"{name}.weight", f"{name}.bias"
        # Logits then have half the size of the hidden state.
        self.weight = tied or Parameter(weight, (V, H), uniform(sqrt(3 / H) * 0.5), decay=True, torch_name=weight)
        self.bias = Parameter(bias, (V,), zeros, decay=False, torch_name=bias)

    def parameters(self) -> list[Parameter]:
        return [self.bias] if self.tied else [self.weight, self.bias]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        self.context = context
        self.W, self.b = weights[self.weight.name], weights[self.bias.name]
        self.dW, self.db = gradients[self.weight.name], gradients[self.bias.name]
        self.to_logits = Packed(self.W, 0, self.H, context.operand, transposed=True)
        self._to_hidden: Packed | None = None

    @property
    def to_hidden(self) -> Packed:
        """The weight for the way back, which only a gradient needs."""
        if self._to_hidden is None:
            self._to_hidden = Packed(self.W, 0, self.H, self.context.operand)
        return self._to_hidden

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        return [self.to_hidden.job()] if backward else [self.to_logits.job(often=often)]

    def check(self, ids: Ids) -> None:
        require_ids(ids, self.V)

    def chunks(self, targets: Ids) -> list[slice]:
        T, B = targets.shape
        size = max(1, MOST_LOGITS // (B * self.V))
        return [slice(start, min(start + size, T)) for start in range(0, T, size)]

    def logits_rows(self, hidden: Signal, logits: Array) -> Work:
        """What computes rows of logits (T, B, V) from `hidden` (T, B, H)."""

        def work(begin: int, end: int, thread: int) -> None:
            kernels.inputs.fill_rows(logits, self.b, begin, end)
            kernels.matmul.add_products(hidden.operand, self.to_logits.panels, logits, begin, end)

        return work

    def log_probs_rows(self, hidden: Signal, targets: Ids, log_probs: Log) -> Work:
        def work(begin: int, end: int, thread: int) -> None:
            kernels.softmax.target_log_probs(
                hidden.operand, self.to_logits.panels, self.b, targets, self._scratch(thread, begin, end), log_probs,
                begin, end,
            )  # fmt: skip

        return work

    def next_log_probs_rows(self, hidden: Signal, rows: Ids, targets: Ids, log_probs: Log) -> Work:
        """What computes log_probs (N), those of targets (N), each after row rows[n] of `hidden` (1, B, H).

        rows (N) ascend, and each of the B appears at least once.
        """
        x = hidden.operand[0]

        def work(begin: int, end: int, thread: int) -> None:
            first = int(np.searchsorted(rows, begin))
            kernels.softmax.next_log_probs(
                x, self.to_logits.panels, self.b, rows, targets, self._scratch(thread, begin, end), log_probs, first,
                begin, end,
            )  # fmt: skip

        return work

    def _scratch(self, thread: int, begin: int, end: int) -> Array:
        return self.context.workspace.get(f"logits.{thread}", min(SCORED_ROWS, end - begin), self.V)

    def gradient_rows(self, hidden: Signal, targets: Ids, scales: Log, log_probs: Log) -> Work:
        """See `Head.gradient_rows`. The logits keep their own gradient, for `weight_jobs`."""
        workspace, dhidden = self.context.workspace, hidden.gradient
        assert dhidden is not None
        logits = workspace.get("logits", *targets.shape, self.V)
        dlogits = workspace.operand_of("logits", logits)
        compute_logits = self.logits_rows(hidden, logits)
        panels = self.to_hidden.panels
        self._chunk = hidden, logits, dlogits

        def work(begin: int, end: int, thread: int) -> None:
            compute_logits(begin, end, thread)
            kernels.softmax.cross_entropy(logits, targets, scales, log_probs, dlogits, begin, end)
            if self.overwrite:
                dhidden[:, begin:end] = 0
            kernels.matmul.add_products(dlogits, panels, dhidden, begin, end)

        return work

    def weight_jobs(self) -> list[Job]:
        hidden, logits, dlogits = self._chunk
        product = product_job(flat(dlogits), self.V, flat(hidden.operand), 0, self.dW, 0, self.H, self.context)
        return [product, sum_job(flat(logits), self.db)]

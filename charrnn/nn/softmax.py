"""The softmax over the vocabulary: from hidden states to log-probabilities, and the gradients back.

    logits = hidden W' + b        loss = -log softmax(logits)[target]

W may be the embedding: Press and Wolf 2017, "Using the output embedding to improve language models", arXiv:1608.05859.
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

# The most logits of a chunk of steps: 16 MB in float32, whatever the vocabulary.
MOST_LOGITS = 1 << 22

SCORED_ROWS = 64  # rows of logits computed at once: each read of the weight from memory serves all of them


class Softmax(Head):
    """Weight (V, H), which is `tied` to that of the embedding if given, and bias (V). `name` is where theirs begin."""

    def __init__(self, V: int, H: int, *, name: str = "output", tied: Parameter | None = None) -> None:
        self.V, self.H, self.tied = V, H, tied
        weight, bias = f"{name}.weight", f"{name}.bias"
        # The variance of the logits is then a quarter of that of the hidden state.
        self.weight = tied or Parameter(weight, (V, H), uniform(sqrt(3 / H) * 0.5), decay=True, torch_name=weight)
        self.bias = Parameter(bias, (V,), zeros, decay=False, torch_name=bias)

    def parameters(self) -> list[Parameter]:
        """Weight and bias; the bias alone if the weight is the embedding's."""
        return [self.bias] if self.tied else [self.weight, self.bias]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of weight (V, H), bias (V) and their gradients; see `Block.bind`."""
        self.context = context
        self.W, self.b = weights[self.weight.name], weights[self.bias.name]
        self.dW, self.db = gradients[self.weight.name], gradients[self.bias.name]
        self.to_logits = Packed(self.W, 0, self.H, context.operand, transposed=True)
        self._to_hidden: Packed | None = None

    @property
    def to_hidden(self) -> Packed:
        """The weight, packed for the gradient of the hidden state; made at first use, as only backward needs it."""
        if self._to_hidden is None:
            self._to_hidden = Packed(self.W, 0, self.H, self.context.operand)
        return self._to_hidden

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        return [self.to_hidden.job()] if backward else [self.to_logits.job(often=often)]

    def check(self, ids: Ids) -> None:
        """Raise `CharrnnError` unless all of ids (T, B) are in [0, V)."""
        require_ids(ids, self.V)

    def chunks(self, targets: Ids) -> list[slice]:
        """See `Head.chunks`. For targets (T, B): steps with at most `MOST_LOGITS` logits in all, at least one step."""
        T, B = targets.shape
        size = max(1, MOST_LOGITS // (B * self.V))
        return [slice(start, min(start + size, T)) for start in range(0, T, size)]

    def logits_rows(self, hidden: Signal, logits: Array) -> Work:
        """A function that fills some rows of logits (T, B, V) from `hidden` (T, B, H)."""

        def work(begin: int, end: int, thread: int) -> None:
            kernels.inputs.fill_rows(logits, self.b, begin, end)
            kernels.matmul.add_products(hidden.operand, self.to_logits.panels, logits, begin, end)

        return work

    def log_probs_rows(self, hidden: Signal, targets: Ids, log_probs: Log) -> Work:
        """See `Head.log_probs_rows`: log_probs (T, B), in nats, of targets (T, B), given hidden (T, B, H).

        The logits of a few rows at a time go from product to softmax within the cache.
        """

        def work(begin: int, end: int, thread: int) -> None:
            kernels.softmax.target_log_probs(
                hidden.operand, self.to_logits.panels, self.b, targets, self._scratch(thread, begin, end), log_probs,
                begin, end,
            )  # fmt: skip

        return work

    def next_log_probs_rows(self, hidden: Signal, rows: Ids, targets: Ids, log_probs: Log) -> Work:
        """A function that fills log_probs (N), in nats: targets[n] given the hidden state of row rows[n] (1, B, H).

        targets, rows (N): rows ascend, and each of the B appears at least once. The softmax of a row is computed once.
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
        """See `Head.gradient_rows`; targets, scales and log_probs (T, B).

        The gradient of the logits (T, B, V) takes their place, for `weight_jobs`.
        """
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
        """See `Block.weight_jobs`: dW += dlogits' hidden, db += Σ dlogits, for the chunk of `gradient_rows`."""
        hidden, logits, dlogits = self._chunk
        product = product_job(flat(dlogits), self.V, flat(hidden.operand), 0, self.dW, 0, self.H, self.context)
        return [product, sum_job(flat(logits), self.db)]

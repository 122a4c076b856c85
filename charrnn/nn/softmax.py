"""The softmax over the vocabulary: hidden states to log-probabilities, and back.

logits = hidden W' + b        loss = -mean log softmax(logits)[target]
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charrnn.kernels import inputs, matmul, rounding, softmax
from charrnn.nn.recurrent import Packed, Scratch, flat, product_job, sum_job
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work
from charrnn.runtime.workspace import Workspace

# Logits are computed for as many steps at a time as keep them within this many numbers, whatever the vocabulary.
LOGITS_AT_ONCE = 1 << 22

ROWS_AT_ONCE = 64  # of logits that are scored: enough for a product to be worth reading the weight


class Output:
    """The output layer over views into the flat vectors: weight (V, H), bias (V) and their gradients."""

    def __init__(self, weight: Array, bias: Array, dweight: Array, dbias: Array, workspace: Workspace) -> None:
        self.weight, self.bias, self.dweight, self.dbias, self.workspace = weight, bias, dweight, dbias, workspace
        self.V, self.H = weight.shape
        self.to_logits = Packed(weight, 0, self.H, workspace.operand, transposed=True)
        self._to_hidden: Packed | None = None

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """Jobs that pack the weight for the forward or the backward direction; `often`: after every step."""
        if not backward:
            return [self.to_logits.job(often=often)]
        if self._to_hidden is None:
            self._to_hidden = Packed(self.weight, 0, self.H, self.workspace.operand)
        return [self._to_hidden.job()]

    def chunks(self, targets: Ids) -> list[slice]:
        """The steps of targets (T, B) cut into runs whose logits are computed at once."""
        T, B = targets.shape
        size = max(1, LOGITS_AT_ONCE // (B * self.V))
        return [slice(start, min(start + size, T)) for start in range(0, T, size)]

    def logits_rows(self, hidden: Array, logits: Array) -> Work:
        """What computes rows of logits (T, B, V) from hidden (T, B, H) as an operand."""

        def work(begin: int, end: int, thread: int) -> None:
            inputs.fill_rows(logits, self.bias, begin, end)
            matmul.add_products(hidden, self.to_logits.panels, logits, begin, end)

        return work

    def log_probs_rows(self, hidden: Array, targets: Ids, log_probs: npt.NDArray[np.float64]) -> Work:
        """What computes rows of log_probs (T, B), those of targets (T, B), from hidden (T, B, H) as an operand."""

        def work(begin: int, end: int, thread: int) -> None:
            logits = self.workspace.get(f"logits.{thread}", min(ROWS_AT_ONCE, end - begin), self.V)
            softmax.target_log_probs(
                hidden, self.to_logits.panels, self.bias, targets, logits, log_probs, begin, end
            )  # fmt: skip

        return work

    def next_log_probs_rows(
        self, hidden: Array, rows: Ids, targets: Ids, log_probs: npt.NDArray[np.float64]
    ) -> Work:  # fmt: skip
        """What computes log_probs (N), those of targets (N), each after row rows[n] of hidden (B, H) as an operand.

        rows (N) ascend, and each of the B appears at least once.
        """

        def work(begin: int, end: int, thread: int) -> None:
            logits = self.workspace.get(f"logits.{thread}", min(ROWS_AT_ONCE, end - begin), self.V)
            first = int(np.searchsorted(rows, begin))
            softmax.next_log_probs(
                hidden, self.to_logits.panels, self.bias, rows, targets, logits, log_probs, first, begin, end
            )  # fmt: skip

        return work

    def gradient_rows(
        self, hidden: Array, targets: Ids, log_probs: npt.NDArray[np.float64], dhidden: Array, scale: float
    ) -> Work:  # fmt: skip
        """What computes rows of log_probs and dhidden (T, B, H), the gradient of `scale` times the summed loss, from
        hidden (T, B, H) as an operand.

        The logits keep their own gradient, for `weight_jobs`.
        """
        logits = self.workspace.get("logits", *targets.shape, self.V)
        dlogits = self.workspace.operand_of("logits", logits)
        compute_logits = self.logits_rows(hidden, logits)
        assert self._to_hidden is not None
        panels = self._to_hidden.panels

        def work(begin: int, end: int, thread: int) -> None:
            compute_logits(begin, end, thread)
            softmax.cross_entropy(logits, targets, scale, log_probs, begin, end)
            rounding.store_operands(logits, dlogits, begin, end)
            dhidden[:, begin:end] = 0
            matmul.add_products(dlogits, panels, dhidden, begin, end)

        return work

    def weight_jobs(self, hidden: Array, scratch: Scratch) -> list[Job]:
        """Jobs that add to the gradients of the weights after `gradient_rows` has been run for all rows of the same
        hidden."""
        T, B, _ = hidden.shape
        logits = self.workspace.get("logits", T, B, self.V)
        dlogits = flat(self.workspace.operand_of("logits", logits))
        product = product_job(dlogits, self.V, flat(hidden), 0, self.dweight, 0, self.H, scratch)
        return [product, sum_job(flat(logits), self.dbias)]

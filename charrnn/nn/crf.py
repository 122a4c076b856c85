"""A head for tags that depend on each other: a linear-chain conditional random field over the logits of each step.

Lafferty et al. 2001, "Conditional random fields"; on recurrent layers: Lample et al. 2016, "Neural architectures for
named entity recognition", doi:10.18653/v1/N16-1030. The equations are in `kernels/crf.py`.
"""

from __future__ import annotations

from charrnn import kernels
from charrnn.nn.block import Log, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import zeros
from charrnn.nn.packed import sum_job
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Signal
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work


class CRF(Softmax):
    """Logits as those of a softmax over V tags; scores of transitions (V, V), of the first and of the last tag (V).

    The log-probability of a sequence of tags stands at its last step. A window must say where sequences begin and end.
    """

    def __init__(self, V: int, H: int) -> None:
        super().__init__(V, H)
        self.extra = [
            Parameter(f"crf.{name}", shape, zeros, decay=False, torch_name=f"crf.{name}")
            for name, shape in (("transitions", (V, V)), ("start", (V,)), ("end", (V,)))
        ]

    def parameters(self) -> list[Parameter]:
        """Weight and bias of the logits; transitions, start and end."""
        return [*super().parameters(), *self.extra]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`."""
        super().bind(weights, gradients, context)
        self.scores: tuple[Array, Array, Array]
        self.transitions, self.start, self.end = (weights[parameter.name] for parameter in self.extra)
        self.dtransitions, self.dstart, self.dend = (gradients[parameter.name] for parameter in self.extra)

    def open(self, window: Window) -> None:
        """Read from `window` where sequences begin and end."""
        self.window = window

    def chunks(self, targets: Ids) -> list[slice]:
        """All steps at once: a sequence is not cut."""
        return [slice(0, len(targets))]

    def gradient_rows(self, hidden: Signal, targets: Ids, scales: Log, log_probs: Log) -> Work:
        """See `Head.gradient_rows`; targets, scales and log_probs (T, B)."""
        (T, B), L, workspace, dhidden = targets.shape, self.V, self.context.workspace, hidden.gradient
        assert dhidden is not None
        logits = workspace.get("logits", T, B, L)
        dlogits = workspace.operand_of("logits", logits)
        alphas, sums = workspace.get("crf.alphas", T, B, L), workspace.get("crf.sums", T, B, L)
        self._rows = (
            workspace.get("crf.transitions", B, L, L),
            workspace.get("crf.start", B, L),
            workspace.get("crf.end", B, L),
        )
        marginals = workspace.get("crf.marginals", B, 2, L)
        compute_logits, panels, window = self.logits_rows(hidden, logits), self.to_hidden.panels, self.window
        self._chunk = hidden, logits, dlogits

        def work(begin: int, end: int, thread: int) -> None:
            compute_logits(begin, end, thread)
            kernels.crf.sequence_gradient(
                logits, targets, scales, window.mask, window.reverse_mask, self.transitions, self.start, self.end,
                alphas, sums, log_probs, dlogits, *self._rows, marginals, begin, end,
            )  # fmt: skip
            if self.overwrite:
                dhidden[:, begin:end] = 0
            kernels.matmul.add_products(dlogits, panels, dhidden, begin, end)

        return work

    def weight_jobs(self) -> list[Job]:
        """See `Block.weight_jobs`: the gradients of the rows are added up in their order."""
        totals = self.dtransitions.reshape(-1), self.dstart, self.dend
        rows = [array.reshape(len(array), -1) for array in self._rows]
        return [*super().weight_jobs(), *map(sum_job, rows, totals)]

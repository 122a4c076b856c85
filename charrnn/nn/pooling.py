"""Pooling: one vector for each sequence, from the hidden states of its steps.

    last        the state after the last step; of a layer in both directions, each half after the last step it reads
    mean, max   over the steps, number by number
    attention   Σ α h, α = softmax(q · tanh(h)) over the steps, with a learned vector q, the query

The weighted mean is that of Zhou et al. 2016, "Attention-based bidirectional long short-term memory networks for
relation classification", doi:10.18653/v1/P16-2034: as Yang et al. 2016, "Hierarchical attention networks for document
classification", doi:10.18653/v1/N16-1174, but without a layer between h and tanh.
"""

from __future__ import annotations

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import zeros
from charrnn.nn.packed import flat, sum_job
from charrnn.nn.parameters import Parameter
from charrnn.nn.recurrent import Call
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job

MODES = ("last", "mean", "max", "attention")


class Pooling(Block):
    """From a signal (T, B, N) to (K, B, N): the k-th sequence of row b gives the output (k, b); unused ones are 0.

    A sequence begins at a step where the window's mask is 0 and ends at one where its reverse mask is 0; all other
    steps are padding. `mode`: one of `MODES`, else `ValueError`. `bidirectional`: the upper half of N comes from a
    layer that reads against time. The query (N) starts as zeros: attention starts as the mean.
    """

    pools = True

    def __init__(self, N: int, mode: str = "last", *, bidirectional: bool = False) -> None:
        if mode not in MODES:
            raise ValueError(f"pooling is one of {', '.join(MODES)}, not {mode}")
        self.N, self.mode = N, mode
        self.half = N // 2 if bidirectional else N
        self.query = Parameter("pool.query", (N,), zeros, decay=True, torch_name="pool.query")

    def parameters(self) -> list[Parameter]:
        """The query (N) of attention; no other mode has any."""
        return [self.query] if self.mode == "attention" else []

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of the query (N) and its gradient; see `Block.bind`."""
        self.context = context
        if self.mode == "attention":
            self.q, self.dq = weights[self.query.name], gradients[self.query.name]

    def array(self, name: str, *shape: int) -> Array:
        """A workspace array that belongs to this block."""
        return self.context.workspace.get(f"pool.{name}", *shape)

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` (T, B, N), the output (K, B, N)."""
        assert isinstance(below, Signal)
        workspace, (T, B), K = self.context.workspace, window.shape, window.outputs
        self.window, self.below = window, below
        self.first, self.last = workspace.ids("pool.first", K, B), workspace.ids("pool.last", K, B)
        out = self.array("out", K, B, self.N)
        self.signal = Signal(out, workspace.operand_of("pool.out", out))
        if window.gradient:
            self.signal.gradient = self.array("dout", K, B, self.N)
        if self.mode == "max":
            self.largest = workspace.ids("pool.largest", K, B, self.N)
        elif self.mode == "attention":
            self.attention_weights = self.array("weights", T, B)
        self._forward = self.forward_call()
        return self.signal

    def begin(self) -> None:
        """Find the sequences: the first and the last step (K, B) of each, `first` and `last`.

        Raises `CharrnnError` if a row has more sequences than outputs.
        """
        most = int((self.window.reverse_mask == 0).sum(axis=0).max(initial=0))
        if most > self.window.outputs:
            raise CharrnnError(f"a row of the batch has {most} sequences; it has {self.window.outputs} targets")
        masks = self.window.mask, self.window.reverse_mask
        kernels.pooling.find_sequences(*masks, self.first, self.last, 0, self.first.shape[1])

    def forward_call(self) -> Call:
        """The kernel that computes the output, and its arguments but for the rows."""
        pooling, x, out = kernels.pooling, self.below.value, self.signal.value
        if self.mode == "last":
            return pooling.last_forward, (x, self.first, self.last, self.half, out)
        if self.mode == "mean":
            return pooling.mean_forward, (x, self.first, self.last, out)
        if self.mode == "max":
            return pooling.max_forward, (x, self.first, self.last, self.largest, out)
        return pooling.attention_forward, (x, self.first, self.last, self.q, self.attention_weights, out)

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Pool the sequences, and store the output's gemm input; see `Block`."""
        signal, (kernel, arguments) = self.signal, self._forward
        kernel(*arguments, begin, end)
        kernels.rounding.store_operands(signal.value, signal.operand, begin, end)

    def prepare_backward(self) -> None:
        """See `Block.prepare_backward`."""
        self._backward = self.backward_call()

    def backward_call(self) -> Call:
        """The kernel that computes the gradient of the input, and its arguments but for the rows."""
        pooling, dout, (dx, overwrite) = kernels.pooling, self.signal.gradient, self.below.claim()
        if self.mode == "last":
            return pooling.last_backward, (dout, self.first, self.last, self.half, dx, overwrite)
        if self.mode == "mean":
            return pooling.mean_backward, (dout, self.first, self.last, dx, overwrite)
        if self.mode == "max":
            return pooling.max_backward, (dout, self.first, self.last, self.largest, dx, overwrite)
        self.dquery = self.array("dquery", *dx.shape)
        return pooling.attention_backward, (
            self.below.value, self.first, self.last, self.q, self.attention_weights, self.signal.value, dout,
            self.dquery, dx, overwrite,
        )  # fmt: skip

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """See `Block.backward_rows`."""
        kernel, arguments = self._backward
        kernel(*arguments, begin, end)

    def weight_jobs(self) -> list[Job]:
        """The gradient of the query (N), summed over all steps and rows in their order, whatever the threads."""
        return [sum_job(flat(self.dquery), self.dq)] if self.mode == "attention" else []

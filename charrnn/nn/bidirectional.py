"""Two layers over the same input, one in each direction of time.

Schuster and Paliwal 1997, "Bidirectional recurrent neural networks", doi:10.1109/78.650093.
"""

from __future__ import annotations

from charrnn import kernels
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.parameters import Parameter
from charrnn.nn.recurrent import RecurrentLayer
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job


class Bidirectional(Block):
    """The outputs (T, B, 2H) of two layers of H units side by side, those of `forward` first.

    A layer above reads E = 2H numbers a step. Raises `ValueError` unless `backward`, and it alone, reads against time,
    and both have the same index, input width and hidden size.
    """

    def __init__(self, forward: RecurrentLayer, backward: RecurrentLayer) -> None:
        if forward.reverse or not backward.reverse:
            raise ValueError("the first of two layers reads in the direction of time, the second against it")
        if (forward.index, forward.E, forward.H) != (backward.index, backward.E, backward.H):
            raise ValueError("two layers side by side need the same index, input width and hidden size")
        self.forward, self.backward, self.layers = forward, backward, (forward, backward)
        self.H = forward.H
        self.states, self.state_size = forward.states + backward.states, forward.state_size
        self.gate_columns = forward.gate_columns + backward.gate_columns

    def parameters(self) -> list[Parameter]:
        """Those of the layer that reads forward, then those of the other."""
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`."""
        self.context = context
        for layer in self.layers:
            layer.bind(weights, gradients, context)

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        return [job for layer in self.layers for job in layer.pack(backward=backward, often=often)]

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` or a `Lookup` of width E, the output has width 2H."""
        self.outputs = [layer.prepare(below, window) for layer in self.layers]
        workspace, name, shape = self.context.workspace, f"{self.forward.name}.both", (*window.shape, 2 * self.H)
        value = workspace.get(name, *shape)
        self.signal = Signal(value, workspace.operand_of(name, value))
        if window.gradient:
            self.signal.gradient = workspace.get(f"{name}.gradient", *shape)
        return self.signal

    def begin(self) -> None:
        """See `Block.begin`."""
        for layer in self.layers:
            layer.begin()

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Both layers, their outputs side by side, and the gemm input of that; see `Block`."""
        for layer in self.layers:
            layer.forward_rows(begin, end, thread)
        signal, (ahead, back) = self.signal, self.outputs
        signal.value[:, begin:end, : self.H] = ahead.value[:, begin:end]
        signal.value[:, begin:end, self.H :] = back.value[:, begin:end]
        kernels.rounding.store_operands(signal.value, signal.operand, begin, end)

    def prepare_backward(self) -> None:
        """Both layers claim the gradient of the layer below: the first may overwrite it, the second adds."""
        for layer in self.layers:
            layer.prepare_backward()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """Give each layer its half of the gradient (T, B, 2H), then run both backward; see `Block`."""
        gradient = self.signal.gradient
        assert gradient is not None
        for layer, half in zip(self.layers, (gradient[:, :, : self.H], gradient[:, :, self.H :]), strict=True):
            layer.dout[:, begin:end] = half[:, begin:end]
            layer.backward_rows(begin, end, thread)

    def weight_jobs(self) -> list[Job]:
        """See `Block.weight_jobs`."""
        return [job for layer in self.layers for job in layer.weight_jobs()]

    def finish_gradient(self) -> None:
        """In the order of `prepare_backward`; see `Block.finish_gradient`."""
        for layer in self.layers:
            layer.finish_gradient()

    def state(self, *, last: bool) -> list[Array]:
        """The states of both layers, each before the step that its layer reads first; see `Block.state`."""
        return [array for layer in self.layers for array in layer.state(last=last)]

    def state_gradient(self) -> list[Array]:
        """The gradients of `state(last=False)`; see `Block.state_gradient`."""
        return [array for layer in self.layers for array in layer.state_gradient()]

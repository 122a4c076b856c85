"""Fully connected layers, with rectified linear units or tanh.

    out = dropout(relu(x W + b))        out = dropout(tanh(x W + b))

With relu, initial weights preserve the variance through relu: He et al. 2015, "Delving deep into rectifiers: surpassing
human-level performance on ImageNet classification", arXiv:1502.01852, equation 10.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from charrnn import kernels
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import glorot, uniform, zeros
from charrnn.nn.packed import Packed, flat, product_job, sum_job
from charrnn.nn.parameters import Init, Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.threads import Job


class Dense(Block):
    """From a signal (K, B, E) to (K, B, N), in a checkpoint `torch.nn.Linear`; `index`: its number among such layers.

    Dropout acts on the output with the rate of the window, as in the recurrent layers. `name`: dense.`index` unless it
    is given.
    """

    def __init__(self, index: int, E: int, N: int, *, name: str = "") -> None:
        self.index, self.E, self.N = index, E, N
        self.name = name or f"dense.{index}"
        weight, bias = f"{self.name}.weight", f"{self.name}.bias"
        self.weight = Parameter(weight, (E, N), self.weight_init(), decay=True, torch_name=weight, transposed=True)
        self.bias = Parameter(bias, (N,), zeros, decay=False, torch_name=bias)

    def weight_init(self) -> Init:
        """The initial values of W (E, N)."""
        return uniform(sqrt(6 / self.E))

    def parameters(self) -> list[Parameter]:
        """W (E, N), b (N)."""
        return [self.weight, self.bias]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of W (E, N), b (N) and their gradients; see `Block.bind`."""
        self.context = context
        self.W, self.b = weights[self.weight.name], weights[self.bias.name]
        self.dW, self.db = gradients[self.weight.name], gradients[self.bias.name]
        self.packed = Packed(self.W, 0, self.N, context.operand)
        self._transpose: Packed | None = None

    @property
    def transpose(self) -> Packed:
        """W', packed; made at first use, as only backward needs it."""
        if self._transpose is None:
            self._transpose = Packed(self.W, 0, self.N, self.context.operand, transposed=True)
        return self._transpose

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        return [(self.transpose if backward else self.packed).job(often=often)]

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` (K, B, E), the output (K, B, N)."""
        assert isinstance(below, Signal)
        workspace, shape = self.context.workspace, (*below.value.shape[:2], self.N)
        self.window, self.below = window, below
        out = workspace.get(f"{self.name}.out", *shape)
        self.signal = Signal(out, workspace.operand_of(f"{self.name}.out", out))
        if window.gradient:
            self.signal.gradient = workspace.get(f"{self.name}.dout", *shape)
        return self.signal

    def _dropout_key(self) -> np.uint32:
        return self.window.dropout_key(0xC2B2AE35 * (self.index + 1))

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """The product, the activation, dropout, and the output's gemm input; see `Block`."""
        out, rate = self.signal.value, self.window.rate
        kernels.inputs.fill_rows(out, self.b, begin, end)
        kernels.matmul.add_products(self.below.operand, self.packed.panels, out, begin, end)
        self.activate(begin, end)
        if rate > 0:
            kernels.dropout.apply_dropout(out, rate, self._dropout_key(), begin, end)
        kernels.rounding.store_operands(out, self.signal.operand, begin, end)

    def activate(self, begin: int, end: int) -> None:
        """relu, in place of the output (K, B, N), for the rows from `begin` to `end`."""
        rows = self.signal.value[:, begin:end]
        np.maximum(rows, 0, out=rows)

    def activation_gradient(self, begin: int, end: int) -> None:
        """Its gradient, in place of that of the output (K, B, N); of what dropout zeroed it is zero already."""
        self.dout[:, begin:end] *= self.signal.value[:, begin:end] > 0

    def prepare_backward(self) -> None:
        """See `Block.prepare_backward`."""
        assert self.signal.gradient is not None
        # The gradient of x W + b takes the place of that of the output.
        self.dout = self.signal.gradient
        self.dout_operand = self.context.workspace.operand_of(f"{self.name}.dout", self.dout)
        self.panels, (self.dx, self.overwrite) = self.transpose.panels, self.below.claim()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """The gradients of dropout, the activation and the product; see `Block`."""
        if self.window.rate > 0:
            kernels.dropout.apply_dropout(self.dout, self.window.rate, self._dropout_key(), begin, end)
        self.activation_gradient(begin, end)
        kernels.rounding.store_operands(self.dout, self.dout_operand, begin, end)
        if self.overwrite:
            self.dx[:, begin:end] = 0
        kernels.matmul.add_products(self.dout_operand, self.panels, self.dx, begin, end)

    def weight_jobs(self) -> list[Job]:
        """dW += x' d(x W + b), db += Σ d(x W + b); see `Block.weight_jobs`."""
        x, dout = flat(self.below.operand), flat(self.dout_operand)
        return [product_job(x, self.E, dout, 0, self.dW, 0, self.N, self.context), sum_job(flat(self.dout), self.db)]


class Tanh(Dense):
    """As `Dense`, with tanh; the initial weights are those of Glorot and Bengio, see `init.py`."""

    def weight_init(self) -> Init:
        """See `Dense.weight_init`."""
        return glorot(self.E, self.N)

    def activate(self, begin: int, end: int) -> None:
        """See `Dense.activate`."""
        kernels.dense.apply_tanh(self.signal.value, begin, end)

    def activation_gradient(self, begin: int, end: int) -> None:
        """See `Dense.activation_gradient`."""
        kernels.dense.tanh_gradient(self.signal.value, 1 - self.window.rate, self.dout, begin, end)

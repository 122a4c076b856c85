"""Numbers in, distributions of numbers out: the input of a forecaster, its output layer, and its head.

    out = below W' + b,   out[:C] += beside D'        C locations, then C logarithms of scales

D is the direct path: linear in what the output reads beside the recurrent layers. Lai et al. 2018, "Modeling long- and
short-term temporal patterns with deep neural networks", doi:10.1145/3209978.3210006, section 3.6. W starts as zeros, so
that training starts from what the direct path knows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.nn.block import Block, Head, Log, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import zeros
from charrnn.nn.packed import Packed, flat, product_job, sum_job
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.threads import Job, Work


class Numbers(Block):
    """The window's inputs (T, B, N) as they are, N numbers a step."""

    def __init__(self, N: int) -> None:
        self.N = N

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`; it has no weights."""
        self.context = context

    def check(self, ids: NDArray[Any]) -> None:
        """Raise `CharrnnError` unless the inputs (T, B, N) are N finite numbers a step."""
        require_numbers(ids, self.N, "inputs")

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """A signal (T, B, N) that `begin` fills; see `Block.prepare`. `below` is None."""
        workspace, shape = self.context.workspace, (*window.shape, self.N)
        self.window = window
        value = workspace.get("numbers", *shape)
        self.signal = Signal(value, workspace.operand_of("numbers", value))
        if window.gradient:
            self.signal.gradient = workspace.get("numbers.gradient", *shape)
        return self.signal

    def begin(self) -> None:
        """Copy the inputs, and their gemm input."""
        self.signal.value[:] = self.window.inputs
        kernels.rounding.store_operands(self.signal.value, self.signal.operand, 0, self.window.shape[1])


class LocationScale(Block):
    """From a signal (K, B, N), and F numbers `beside` it, to (K, B, 2 C), see above: `output` and `direct` layers."""

    def __init__(self, N: int, F: int, C: int) -> None:
        self.N, self.F, self.C = N, F, C
        name = "output.weight"
        self.weight = Parameter(name, (N, 2 * C), zeros, decay=True, torch_name=name, transposed=True)
        self.bias = Parameter("output.bias", (2 * C,), zeros, decay=False, torch_name="output.bias")
        name = "direct.weight"
        self.direct = Parameter(name, (F, C), zeros, decay=False, torch_name=name, transposed=True)

    def parameters(self) -> list[Parameter]:
        """W (N, 2 C), b (2 C), D (F, C)."""
        return [self.weight, self.bias, self.direct]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of W, b, D and their gradients; see `Block.bind`."""
        self.context = context
        self.W, self.b, self.D = (weights[one.name] for one in self.parameters())
        self.dW, self.db, self.dD = (gradients[one.name] for one in self.parameters())
        self.packed = Packed(self.W, 0, 2 * self.C, context.operand)
        self.packed_direct = Packed(self.D, 0, self.C, context.operand)
        self._transpose: Packed | None = None

    @property
    def transpose(self) -> Packed:
        """W', packed; made at first use, as only backward needs it."""
        if self._transpose is None:
            self._transpose = Packed(self.W, 0, 2 * self.C, self.context.operand, transposed=True)
        return self._transpose

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        if backward:
            return [self.transpose.job(often=often)]
        return [self.packed.job(often=often), self.packed_direct.job(often=often)]

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` (K, B, N), the output (K, B, 2 C)."""
        assert isinstance(below, Signal)
        workspace, (K, B) = self.context.workspace, below.value.shape[:2]
        self.window, self.below = window, below
        self.beside = workspace.get("beside", K, B, self.F)
        self.beside_operand = workspace.operand_of("beside", self.beside)
        self.linear = workspace.get("direct.out", K, B, self.C)
        out = workspace.get("output.out", K, B, 2 * self.C)
        self.signal = Signal(out, out)
        if window.gradient:
            self.signal.gradient = workspace.get("output.dout", K, B, 2 * self.C)
        return self.signal

    def begin(self) -> None:
        """Copy what the output reads beside the recurrent layers. Raises `CharrnnError` unless it is F numbers."""
        found = self.window.beside
        if found is None or found.shape != self.beside.shape:
            shape = None if found is None else found.shape
            raise CharrnnError(f"what a batch has `beside` has the shape {shape}; it must be {self.beside.shape}")
        self.beside[:] = found
        kernels.rounding.store_operands(self.beside, self.beside_operand, 0, self.beside.shape[1])

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Both products; see `Block`."""
        out = self.signal.value
        kernels.inputs.fill_rows(out, self.b, begin, end)
        kernels.matmul.add_products(self.below.operand, self.packed.panels, out, begin, end)
        self.linear[:, begin:end] = 0
        kernels.matmul.add_products(self.beside_operand, self.packed_direct.panels, self.linear, begin, end)
        with np.errstate(over="ignore", invalid="ignore"):  # of weights that are too large
            out[:, begin:end, : self.C] += self.linear[:, begin:end]

    def prepare_backward(self) -> None:
        """See `Block.prepare_backward`."""
        assert self.signal.gradient is not None
        self.dout = self.signal.gradient
        self.dout_operand = self.context.workspace.operand_of("output.dout", self.dout)
        self.panels, (self.dx, self.overwrite) = self.transpose.panels, self.below.claim()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """The gradient of the signal below; see `Block`."""
        kernels.rounding.store_operands(self.dout, self.dout_operand, begin, end)
        if self.overwrite:
            self.dx[:, begin:end] = 0
        kernels.matmul.add_products(self.dout_operand, self.panels, self.dx, begin, end)

    def weight_jobs(self) -> list[Job]:
        """dW += below' dout, db += Σ dout, dD += beside' dout[:C]; see `Block.weight_jobs`."""
        dout = flat(self.dout_operand)
        return [
            product_job(flat(self.below.operand), self.N, dout, 0, self.dW, 0, 2 * self.C, self.context),
            product_job(flat(self.beside_operand), self.F, dout, 0, self.dD, 0, self.C, self.context),
            sum_job(flat(self.dout), self.db),
        ]


class Density(Head):
    """The log density of C numbers a target: Gaussian, or with `degrees` of freedom Student's t. No parameters."""

    def __init__(self, C: int, degrees: float = 0.0) -> None:
        self.C, self.degrees = C, degrees
        self.constant = log_constant(degrees)

    def check(self, ids: NDArray[Any]) -> None:
        """Raise `CharrnnError` unless the targets (K, B, C) are C finite numbers each."""
        require_numbers(ids, self.C, "targets")

    def gradient_rows(self, hidden: Signal, targets: NDArray[Any], scales: Log, log_probs: Log) -> Work:
        """See `Head.gradient_rows`; hidden (K, B, 2 C), targets (K, B, C)."""
        gradient = hidden.gradient
        assert gradient is not None

        def work(begin: int, end: int, thread: int) -> None:
            kernels.density.log_density(
                hidden.value, targets, scales, self.degrees, self.constant, log_probs, gradient, begin, end
            )

        return work


def log_constant(degrees: float) -> float:
    """The term of a log density that depends on nothing else, see `kernels/density.py`; 0 degrees: Gaussian."""
    if not degrees:
        return -0.5 * math.log(2 * math.pi)
    return math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)


def require_numbers(values: NDArray[Any], N: int, name: str) -> None:
    """Raise `CharrnnError` unless values (T, B, N) are N finite numbers each."""
    if values.ndim != 3 or values.shape[2] != N or values.dtype.kind != "f":
        raise CharrnnError(f"the batch's {name} have the shape {values.shape}; each must be {N} numbers")
    if not np.isfinite(values).all():
        raise CharrnnError(f"the batch's {name} are not all finite numbers")

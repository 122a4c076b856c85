"""The GRU layer. Equations and their source: `kernels/gru.py`."""

from __future__ import annotations

import dataclasses

import numpy as np

from charrnn import kernels
from charrnn.config import RecurrentConfig
from charrnn.nn.block import Views
from charrnn.nn.context import Context
from charrnn.nn.init import LONGEST_MEMORY, second_gate_bias, zeros
from charrnn.nn.packed import flat, product_job, sum_job
from charrnn.nn.parameters import Init, Parameter, Stored
from charrnn.nn.recurrent import Call, RecurrentLayer
from charrnn.runtime.threads import Job


class Layer(RecurrentLayer):
    """Gates r, z, n; without a reset gate z, n."""

    @classmethod
    def gate_count(cls, config: RecurrentConfig) -> int:
        """3, without a reset gate 2."""
        return 2 if config.reset_gate == "none" else 3

    @classmethod
    def torch_computes(cls, config: RecurrentConfig) -> bool:
        """Whether PyTorch has a layer that computes the same function: with the reset gate after the product."""
        return config.reset_gate == "after"

    def bias_init(self) -> Init:
        """Those of z spread from 0 to `init.LONGEST_MEMORY` (without a reset gate those of n), else 0."""
        return second_gate_bias(self.H, 0, LONGEST_MEMORY)

    def second_bias(self) -> slice:
        """The columns of r and z: those of n are `bias_hn`, which is not redundant."""
        return slice(0, 2 * self.H)

    def parameters(self) -> list[Parameter]:
        """W_ih (E, G), W_hh (H, G), b (G), and b_hn (H) if the reset gate comes after the product."""
        if self.config.reset_gate != "after":
            return super().parameters()
        bias_hn = self._parameter("bias_hn", (self.H,), zeros, decay=False)
        if self._as_torch:  # a part of PyTorch's second bias
            stored = Stored(self.torch_name("bias_hh"), (self.G,), 2 * self.H, self.G)
            bias_hn = dataclasses.replace(bias_hn, torch_name=stored.name, stored=stored)
        self.bias_hn = bias_hn
        return [*super().parameters(), bias_hn]

    def parts(self) -> list[tuple[int, int]]:
        """Those of r z and n, since the reset gate acts on n alone; without one, all columns in one part."""
        if self.config.reset_gate == "none":
            return super().parts()
        return [(0, self.G - self.H), (self.G - self.H, self.H)]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`."""
        super().bind(weights, gradients, context)
        gru = kernels.gru
        self.reset = {"after": gru.AFTER, "before": gru.BEFORE, "none": gru.NONE}[self.config.reset_gate]
        after = self.config.reset_gate == "after"
        self.b_hn = weights[self.bias_hn.name] if after else np.zeros(0, context.dtype)
        self.db_hn = gradients[self.bias_hn.name] if after else self.b_hn

    def prepare_cell(self, T: int, B: int) -> None:
        """`side` (T, B, H), what the second product reads or makes, see `kernels/gru.py`, and its gemm input."""
        self.side = self.array("side", self.stored, B, self.H)
        self.side_operand = self.operand("side", self.side)

    def forward_call(self) -> Call:
        """`gru_forward`; see `RecurrentLayer.forward_call`."""
        rz, n = self.recurrent[0].panels, self.recurrent[-1].panels
        return kernels.gru.gru_forward, (
            *self.x, self.gate_values, rz, n, self.b_hn, self.reset, self.h, self.h_operand, self.side,
            self.side_operand, self.signal.value, self.mask, self.reverse,
        )  # fmt: skip

    def prepare_cell_backward(self) -> None:
        """Scratch (B, H) for the gradient of r h', if the reset gate comes before the product."""
        self.drh = self.array("drh", *self.dh.shape)

    def backward_call(self) -> Call:
        """`gru_backward`; see `RecurrentLayer.backward_call`."""
        rz, n = self.transposes[0][0].panels, self.transposes[0][-1].panels
        return kernels.gru.gru_backward, (
            self.gate_values, self.dgates, rz, n, self.reset, self.h, self.side, self.side_operand, self.dout,
            self.input_transpose, self.dx, self.overwrite, self.row, self.dh, self.drh, self.mask, self.reverse,
            self.window.first_state,
        )  # fmt: skip

    def recurrent_jobs(self) -> list[Job]:
        """Jobs that add to dW_hh (H, G) part by part, and to db_hn (H), see `kernels/gru.py`."""
        if self.config.reset_gate == "none":
            return super().recurrent_jobs()
        (_, rz), (_, H) = self.parts()
        before, side, dgates = flat(self.states_before()), flat(self.side_operand), flat(self.dgates)
        jobs = [product_job(before, H, dgates, 0, self.dW_hh, 0, rz, self.context)]
        if self.config.reset_gate == "before":
            return [*jobs, product_job(side, H, dgates, rz, self.dW_hh, rz, H, self.context)]
        jobs.append(product_job(before, H, side, 0, self.dW_hh, rz, H, self.context))
        return [*jobs, sum_job(flat(self.side), self.db_hn)]

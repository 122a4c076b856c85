"""The LSTM layer. Equations and their sources: `kernels/lstm.py`."""

from __future__ import annotations

from charrnn import kernels
from charrnn.config import RecurrentConfig
from charrnn.nn.block import Views
from charrnn.nn.context import Context
from charrnn.nn.init import NORMALISED, orthogonal_gates, second_gate_bias, zeros
from charrnn.nn.packed import ADDITION
from charrnn.nn.parameters import Init, Parameter
from charrnn.nn.recurrent import Call, RecurrentLayer
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job


class Layer(RecurrentLayer):
    """Gates i, f, g, o, optionally with peepholes (3, H) or a normalised h; the state is h and the cell c."""

    states = 2
    gates = 4

    @classmethod
    def torch_computes(cls, config: RecurrentConfig) -> bool:
        """Whether PyTorch has a layer that computes the same function: without peepholes and normalisation."""
        return not (config.peepholes or config.rms_norm)

    def recurrent_init(self) -> Init:
        """Orthogonal by gate; half as large if h is normalised, see `init.NORMALISED`."""
        return orthogonal_gates(NORMALISED if self.config.rms_norm else 1.0)

    def bias_init(self) -> Init:
        """1 for the forget gate f, else 0."""
        return second_gate_bias(self.H, 1, 1)

    def parameters(self) -> list[Parameter]:
        """W_ih (E, 4H), W_hh (H, 4H), b (4H), and peepholes p_i, p_f, p_o (3, H) if there are any."""
        if not self.config.peepholes:
            return super().parameters()
        self.peepholes = self._parameter("peepholes", (3, self.H), zeros, decay=True)
        return [*super().parameters(), self.peepholes]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`."""
        super().bind(weights, gradients, context)
        self.p = weights[self.peepholes.name] if self.config.peepholes else None
        self.dp = gradients[self.peepholes.name] if self.config.peepholes else None

    def prepare_cell(self, T: int, B: int) -> None:
        """c (T + 1, B, H), and the factors (T, B) that normalise h; without backward, fewer steps of both."""
        self.c = self.array("c", self.stored + 1, B, self.H)
        self.factors = self.array("factors", self.stored, B) if self.config.rms_norm else None

    def state(self, *, last: bool) -> list[Array]:
        """h (B, H), c (B, H); see `Block.state`."""
        step = self.state_step(last=last)
        return [self.h[step], self.c[step % len(self.c)]]

    def forward_call(self) -> Call:
        """`lstm_forward`; see `RecurrentLayer.forward_call`."""
        return kernels.lstm.lstm_forward, (
            *self.x, self.gate_values, self.recurrent[0].panels, self.p, self.factors, self.h, self.h_operand, self.c,
            self.signal.value, self.mask, self.reverse,
        )  # fmt: skip

    def prepare_cell_backward(self) -> None:
        """dc (B, H)."""
        self.dc = self.array("dc", *self.dh.shape)

    def backward_call(self) -> Call:
        """`lstm_backward`; see `RecurrentLayer.backward_call`."""
        return kernels.lstm.lstm_backward, (
            self.gate_values, self.dgates, self.transposes[0][0].panels, self.p, self.factors, self.c, self.dout,
            self.input_transpose, self.dx, self.overwrite, self.row, self.dh, self.dc, self.mask, self.reverse,
            self.window.first_state,
        )  # fmt: skip

    def state_gradient(self) -> list[Array]:
        """dh (B, H), dc (B, H); see `Block.state_gradient`."""
        return [self.dh, self.dc]

    def weight_jobs(self) -> list[Job]:
        """Those of every layer, and the gradient of the peepholes (3, H)."""
        jobs, dp = super().weight_jobs(), self.dp
        if dp is None:
            return jobs

        def work(first: int, last: int, thread: int) -> None:
            kernels.lstm.lstm_peephole_gradient(self.dgates, self.c, self.mask, dp, self.reverse, first, last)

        T, B = self.window.shape
        return [*jobs, Job(self.H, 3 * ADDITION * T * B, work)]

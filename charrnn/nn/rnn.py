"""The plain recurrent layer. Equations and their source: `kernels/rnn.py`."""

from __future__ import annotations

from charrnn import kernels
from charrnn.config import RecurrentConfig
from charrnn.nn.recurrent import Call, RecurrentLayer


class Layer(RecurrentLayer):
    """One gate; its activation is tanh or ReLU."""

    @classmethod
    def torch_computes(cls, config: RecurrentConfig) -> bool:
        """Whether PyTorch has a layer that computes the same function: always."""
        return True

    @property
    def relu(self) -> bool:
        """Whether the activation is max(0, ·) instead of tanh."""
        return self.config.activation == "relu"

    def forward_call(self) -> Call:
        """`rnn_forward`; see `RecurrentLayer.forward_call`."""
        return kernels.rnn.rnn_forward, (
            *self.x, self.gate_values, self.recurrent[0].panels, self.relu, self.h, self.h_operand, self.signal.value,
            self.mask, self.reverse,
        )  # fmt: skip

    def backward_call(self) -> Call:
        """`rnn_backward`; see `RecurrentLayer.backward_call`."""
        return kernels.rnn.rnn_backward, (
            self.gate_values, self.dgates, self.transposes[0][0].panels, self.relu, self.dout, self.input_transpose,
            self.dx, self.overwrite, self.row, self.dh, self.mask, self.reverse, self.window.first_state,
        )  # fmt: skip

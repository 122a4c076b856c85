"""A language model as tests use it: the boundary of sequences is one of its ids, and a loss comes with its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from charrnn.nn.dropout import DropoutKey
from charrnn.runtime.arrays import Array, Flags, Ids
from charrnn.text.batch import Batch

# Every cell and option, and what cuts across them.
OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "lstm": (("lstm",), {}),
    "lstm peepholes": (("lstm",), {"peepholes": True}),
    "lstm rms norm": (("lstm",), {"rms_norm": True}),
    "gru reset after": (("gru",), {}),
    "gru reset before": (("gru",), {"reset_gate": "before"}),
    "gru reset none": (("gru",), {"reset_gate": "none"}),
    "rnn tanh": (("rnn",), {}),
    "rnn relu": (("rnn",), {"activation": "relu"}),
}
CONFIGS = {
    **{name: ModelConfig(11, cell * 2, 9, 4, **options) for name, (cell, options) in OPTIONS.items()},
    "one-hot": ModelConfig(11, ("lstm",), 9),
    "mixed": ModelConfig(11, ("rnn", "lstm", "gru"), 9, 4, reset_gate="before"),
    "mixed, peepholes": ModelConfig(11, ("rnn", "lstm", "gru"), 9, 4, peepholes=True, reset_gate="before"),
    "mixed, both": ModelConfig(11, ("gru", "lstm"), 9, 4, peepholes=True, rms_norm=True),
    "tied": ModelConfig(11, ("gru",), 9, 9, tie_weights=True),
    "adaptive": ModelConfig(11, ("lstm", "lstm"), 9, 4, cutoffs=(4,)),
    "adaptive, two tails": ModelConfig(11, ("gru",), 16, cutoffs=(2, 5)),
}
# Values of `bfloat16`: all kernels are compiled once more for it.
PRECISIONS = [False, pytest.param(True, marks=pytest.mark.slow)]
VARIANTS = ("lstm peepholes", "lstm rms norm", "mixed, peepholes", "mixed, both")


def names(configs: Iterable[str], *, generated: bool = False) -> list[Any]:
    """Parameters of a test. With peepholes, with normalisation and with both, every kernel of the LSTM is compiled once
    more, for each number type: these are slow. `generated`: so are other cells, where code is compiled for each."""
    slow = [name for name in configs if name.startswith((*VARIANTS, *("gru", "rnn", "tied") * generated))]
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in configs]


class Bounded(LanguageModel):
    """Resets the state before the id `boundary` is read, as the data side asks for; -1 for never."""

    def __init__(self, config: ModelConfig, *, boundary: int = -1, **options: Any) -> None:
        super().__init__(config, **options)
        self.boundary = boundary

    def resets(self, ids: Ids) -> Flags | None:
        return None if self.boundary < 0 else ids == self.boundary

    def forward(self, ids: Ids, state: Array, reset: Flags | None = None) -> Array:
        return super().forward(ids, state, self.resets(ids) if reset is None else reset)

    def log_probs(
        self, ids: Ids, targets: Ids, state: Array, reset: Flags | None = None, *, hidden: Array | None = None
    ) -> npt.NDArray[np.float64]:  # fmt: skip
        return super().log_probs(ids, targets, state, self.resets(ids) if reset is None else reset, hidden=hidden)

    def generate(self, *arguments: Any, **options: Any) -> Ids:
        return super().generate(*arguments, reset_unit=self.boundary, **options)

    def loss_and_gradient(
        self, ids: Ids, targets: Ids, state: Array, *, dropout: float = 0.0, seed: int = 0, step: int = 0
    ) -> tuple[float, Array]:
        """The mean loss, and its gradient, which the next call overwrites; `state` moves on."""
        key = DropoutKey(dropout, seed, step) if dropout else None
        summed, count = self.loss(Batch(ids, targets, self.resets(ids), state=state), key)
        return summed / count, self.gradient

    def next_log_probs(self, units: Ids, state: Array, rows: Ids, targets: Ids) -> npt.NDArray[np.float64]:
        state[:, units == self.boundary] = 0
        return super().next_log_probs(units, state, rows, targets)


def make(config: ModelConfig, *, threads: int = 1, boundary: int = -1) -> Bounded:
    """A network with random weights and biases."""
    model = Bounded(config, threads=threads, boundary=boundary)
    model.initialise(4)
    model.parameters += 0.2 * np.random.default_rng(0).standard_normal(model.parameters.size).astype(np.float32)
    model.invalidate()
    return model


def text(T: int, B: int, seed: int = 0, vocabulary: int = 11) -> Ids:
    """Random ids (T, B)."""
    return np.random.default_rng(seed).integers(0, vocabulary, (T, B)).astype(np.int32)

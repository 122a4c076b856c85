"""What a model is, how text is cut into units and how training runs: frozen records, validated once.

Each record raises `UsageError` with one line that says what was found and what is needed.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from charrnn.errors import UsageError

# Each kind of recurrent layer, and the module whose class `Layer` it is.
CELLS = {"lstm": "charrnn.nn.lstm", "gru": "charrnn.nn.gru", "rnn": "charrnn.nn.rnn"}
RESET_GATES = ("after", "before", "none")
ACTIVATIONS = ("tanh", "relu")
UNITS = ("char", "word", "byte")
OPTIMIZERS = ("adamw", "adam", "rmsprop", "adagrad", "sgd")
SCHEDULES = ("cosine", "linear", "constant", "plateau")
MAX_LAYERS = 1000
TAIL_DIVISOR = 4  # of the width of an adaptive softmax, from each cluster to the next
PRECISIONS = ("auto", "float32", "bfloat16")


def require_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise `UsageError` unless `value` is one of `choices`."""
    if value not in choices:
        raise UsageError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")


def require_range(name: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Raise `UsageError` unless `value` is finite and in [low, high], or in (low, high] with `above`."""
    if not math.isfinite(value) or value < low or value > high or (above and value == low):
        need = f"more than {low:g}" if above else f"at least {low:g}"
        if high != math.inf:
            need += f" and at most {high:g}"
        raise UsageError(f"{name} is {value:g}; it must be {need}")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network: input (one-hot, or an embedding), a stack of recurrent layers, a softmax over the vocabulary.

    `cells` has one entry a layer; `embedding_size` 0 is one-hot input. `cutoffs` of an adaptive softmax (see
    `models/adaptive.py`) are the ids at which its clusters begin; none is a full softmax.
    """

    vocabulary_size: int
    cells: tuple[str, ...]
    hidden_size: int
    embedding_size: int = 0
    peepholes: bool = False
    rms_norm: bool = False
    reset_gate: str = "after"
    activation: str = "tanh"
    tie_weights: bool = False
    cutoffs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require_range("vocabulary size", self.vocabulary_size, 2)
        require_range("`layers`", len(self.cells), 1, MAX_LAYERS)
        for cell in self.cells:
            require_choice("`cell`", cell, CELLS)
        require_range("`hidden_size`", self.hidden_size, 1)
        require_range("`embedding_size`", self.embedding_size, 0)
        require_choice("`reset_gate`", self.reset_gate, RESET_GATES)
        require_choice("`activation`", self.activation, ACTIVATIONS)
        for option, given in (("`peepholes`", self.peepholes), ("`rms_norm`", self.rms_norm)):
            if given and "lstm" not in self.cells:
                raise UsageError(f"{option} is for LSTM layers, and `cell` is {','.join(self.cells)}; leave it out")
        if self.reset_gate != "after" and "gru" not in self.cells:
            raise UsageError(
                f"`reset_gate` {self.reset_gate} is for GRU layers, and `cell` is {','.join(self.cells)}; leave it out"
            )
        if self.activation != "tanh" and "rnn" not in self.cells:
            raise UsageError(
                f"`activation` {self.activation} is for RNN layers, and `cell` is {','.join(self.cells)}; leave it out"
            )
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise UsageError(
                f"`tie_weights` needs an embedding as wide as the hidden state: `embedding_size` is "
                f"{self.embedding_size} and `hidden_size` {self.hidden_size}; make them equal"
            )
        if self.cutoffs:
            self._check_cutoffs()

    def _check_cutoffs(self) -> None:
        given = ",".join(map(str, self.cutoffs))
        if self.tie_weights:
            raise UsageError(
                f"`cutoffs` {given} and `tie_weights` exclude each other: the output layer of an adaptive softmax has "
                "not the shape of the embedding; leave one out"
            )
        bounds = (0, *self.cutoffs, self.vocabulary_size)
        if any(low >= high for low, high in pairwise(bounds)):
            raise UsageError(
                f"`cutoffs` is {given}; it must be numbers that rise, from 1 to less than the {self.vocabulary_size} "
                "units of the vocabulary"
            )
        if self.hidden_size < TAIL_DIVISOR ** len(self.cutoffs):
            raise UsageError(
                f"`cutoffs` names {len(self.cutoffs)} clusters, each {TAIL_DIVISOR} times as narrow as the one before, "
                f"and nothing is left of `hidden_size` {self.hidden_size} for the last; leave some out"
            )

    @property
    def num_layers(self) -> int:
        """The number of recurrent layers."""
        return len(self.cells)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How text becomes units. `max_vocab` 0 is no limit."""

    unit: str = "char"
    pretokenized: bool = False
    lines: bool = False
    min_count: int = 1
    max_vocab: int = 0
    encoding: str = "utf-8"
    errors: str = "strict"

    def __post_init__(self) -> None:
        require_choice("`unit`", self.unit, UNITS)
        if self.pretokenized and self.unit != "word":
            raise UsageError(f"`pretokenized` is for `unit` word, and `unit` is {self.unit}; leave it out")
        require_range("`min_count`", self.min_count, 1)
        require_range("`max_vocab`", self.max_vocab, 0)
        require_choice("`errors`", self.errors, ("strict", "replace"))
        try:
            "".encode(self.encoding)
        except LookupError:
            raise UsageError(f"`encoding` is {self.encoding!r}, which Python does not know; try utf-8") from None


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How the weights are learned. Times in seconds, `seq_length` in steps; 0 or None switches a limit off.

    `epochs`, `steps` and `max_time` are budgets: the first to be reached ends training.
    """

    batch_size: int
    seq_length: int
    learning_rate: float
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup: int = 0
    dropout: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    clip_value: float = 0.0
    epochs: float | None = None
    steps: int | None = None
    max_time: float | None = None
    patience: int = 0
    val_fraction: float = 0.1
    eval_every: int = 0
    seed: int = 0
    sample_every: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        require_range("`batch_size`", self.batch_size, 1)
        require_range("`seq_length`", self.seq_length, 1)
        require_range("`learning_rate`", self.learning_rate, 0, above=True)
        require_choice("`optimizer`", self.optimizer, OPTIMIZERS)
        require_range("`momentum`", self.momentum, 0, 0.999999)
        require_choice("`schedule`", self.schedule, SCHEDULES)
        require_range("`warmup`", self.warmup, 0)
        require_range("`dropout`", self.dropout, 0, 0.99)
        require_range("`weight_decay`", self.weight_decay, 0)
        require_range("`clip_norm`", self.clip_norm, 0)
        require_range("`clip_value`", self.clip_value, 0)
        if self.epochs is not None:
            require_range("`epochs`", self.epochs, 0, above=True)
        if self.steps is not None:
            require_range("`steps`", self.steps, 1)
        if self.max_time is not None:
            require_range("`max_time`", self.max_time, 0, above=True)
        require_range("`patience`", self.patience, 0)
        require_range("`val_fraction`", self.val_fraction, 0, 0.9)
        require_range("`eval_every`", self.eval_every, 0)
        require_range("`seed`", self.seed, 0)
        require_range("`sample_every`", self.sample_every, 0)
        require_choice("`precision`", self.precision, PRECISIONS)

"""A tiny network with the interface of `LanguageModel` and no compiled code, for tests of what is built on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.checkpoint import Checkpoint, save
from charrnn.config import ModelConfig, TextConfig
from charrnn.formats import TextSide
from charrnn.models.language import parameter_layout
from charrnn.tasks.trained_language import TrainedLanguageModel
from charrnn.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from charrnn.models import LanguageModel


class ToyModel:
    """h = tanh(0.6 roll(h) + embedding[input]), logits = h W: every row by itself, in float32."""

    def __init__(self, vocabulary_size: int, *, hidden_size: int = 5, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.embedding = random.normal(size=(vocabulary_size, hidden_size)).astype(np.float32)
        self.weight = (1.5 * random.normal(size=(vocabulary_size, hidden_size))).astype(np.float32)
        self.calls: list[tuple[int, int]] = []

    def zero_state(self, batch: int) -> NDArray[np.float32]:
        return np.zeros((1, batch, self.embedding.shape[1]), np.float32)

    def forward(
        self, inputs: NDArray[np.int32], state: NDArray[np.float32], reset: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        assert inputs.dtype == np.int32
        assert state.flags.c_contiguous
        assert state.shape[1] == inputs.shape[1]
        self.calls.append(inputs.shape)
        hidden = np.empty((*inputs.shape, self.embedding.shape[1]), np.float32)
        for step, row in enumerate(inputs):
            if reset is not None:
                state[0, reset[step]] = 0.0
            state[0] = np.tanh(0.6 * np.roll(state[0], 1, axis=1) + self.embedding[row])
            hidden[step] = state[0]
        return hidden

    def logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros((len(hidden), len(self.weight)), np.float32)
        for column in range(hidden.shape[1]):
            total += hidden[:, column : column + 1] * self.weight[:, column]
        return total

    def generate(
        self, previous: Any, state: Any, uniforms: Any, *, temperature: float, top_k: int, top_p: float, line_end: int,
        reset_unit: int,
    ) -> NDArray[np.int32]:  # fmt: skip
        from charrnn.models.generation import drawn, step_by_step

        model = cast("LanguageModel", self)
        return step_by_step(model, previous, state, uniforms, drawn(temperature, top_k, top_p), line_end, reset_unit)

    def log_probs(self, ids: Any, targets: NDArray[np.int32], state: Any) -> NDArray[np.float64]:
        hidden = self.forward(ids, state)
        values = self._normalised(self.logits(hidden.reshape(-1, hidden.shape[2])))
        return values[np.arange(targets.size), targets.ravel()].reshape(targets.shape)

    def next_log_probs(
        self, units: NDArray[np.int32], state: Any, rows: NDArray[np.int32], targets: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        assert (np.unique(rows) == np.arange(len(units))).all()
        assert (np.diff(rows) >= 0).all()
        logits = self.logits(self.forward(units[np.newaxis], state)[0])
        return self._normalised(logits)[rows, targets]

    @staticmethod
    def _normalised(logits: NDArray[np.float32]) -> NDArray[np.float64]:
        result = logits.astype(np.float64)
        result -= result.max(axis=1, keepdims=True)
        # One addition after the other, so that the batch cannot change the rounding.
        result -= np.log(np.cumsum(np.exp(result), axis=1)[:, -1:])
        return result


def toy_model(vocabulary: Vocabulary, **options: Any) -> LanguageModel:
    """A toy over `vocabulary`, passed off as a `LanguageModel`."""
    return cast("LanguageModel", ToyModel(len(vocabulary), **options))


def toy_trained(vocabulary: Vocabulary, *, lines: bool = False, **options: Any) -> TrainedLanguageModel:
    """A toy, passed off as a model that was trained."""
    text = TextConfig(unit=vocabulary.unit, pretokenized=vocabulary.pretokenized, lines=lines)
    return TrainedLanguageModel(toy_model(vocabulary, **options), TextSide(vocabulary, text))


def learn(text: str, unit: str = "char", **options: Any) -> Vocabulary:
    """The vocabulary of a text."""
    config = TextConfig(unit=unit, **options)
    blank = Vocabulary.learn({"a": 1}, TextConfig(unit="char"))
    splitter = Vocabulary(unit, config.pretokenized, blank.units, blank.fallback)
    return Vocabulary.learn(Counter(splitter.split(text)), config)


def toy_checkpoint(path: Path, vocabulary: Vocabulary, *, lines: bool = False) -> Path:
    """A checkpoint at `path` of a small LSTM with random weights, for commands that are run as a whole."""
    config = ModelConfig(vocabulary_size=len(vocabulary), cells=("lstm",), hidden_size=8)
    random = np.random.default_rng(1)
    weights = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in parameter_layout(config).tensor_shapes().items()
    }
    text = TextConfig(unit=vocabulary.unit, pretokenized=vocabulary.pretokenized, lines=lines)
    save(path, Checkpoint(config, TextSide(vocabulary, text), weights=weights))
    return path

"""Default options of a translator, chosen by the records.

| units of the training part's outputs | epochs, without a budget or with a time limit | dropout |
|:                                    :|:                                             :|:       :|
| fewer than 100,000                   | 100                                           | 0.5     |
| fewer than 1 million                 | 20                                            | 0.2     |
| more                                 | 5                                             | 0.2     |

Always: one LSTM layer of 256 units, half of them each way in the encoder, embeddings of 128. `docs/training.md` has the
experiments.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from charrnn.config import TrainingConfig
from charrnn.task_config import PairsConfig, TranslatorConfig
from charrnn.tasks import record_defaults
from charrnn.tasks.language_defaults import PATIENCE
from charrnn.text.pair_corpus import PairCorpus
from charrnn.training.options import Options, given_fields

HIDDEN, EMBEDDING = 256, 128
BATCH = 64
LEARNING_RATE = 3e-3  # of AdamW


class Scale(NamedTuple):
    """Defaults for fewer than `below` units of outputs."""

    below: float
    epochs: int
    dropout: float


SCALES = (Scale(100_000, 100, 0.5), Scale(1_000_000, 20, 0.2), Scale(math.inf, 5, 0.2))


def records(given: Options) -> PairsConfig:
    """How records are read. Raises UsageError for options that are not valid."""
    return PairsConfig(**given_fields(PairsConfig, given))


def resolve_model(given: Options, dataset: PairCorpus) -> TranslatorConfig:
    """The network. Raises UsageError for given options that are not valid together."""
    tied = given.get("tie_weights", False)
    hidden = given.get("hidden_size", HIDDEN)
    chosen: dict[str, Any] = {"hidden_size": hidden, "embedding_size": hidden if tied else EMBEDDING}
    fields = record_defaults.model_fields(TranslatorConfig, given)
    sizes = {"vocabulary_size": dataset.target.size, "source_vocabulary_size": dataset.source.size}
    return TranslatorConfig(**(chosen | fields | sizes))


def resolve_training(given: Options, dataset: PairCorpus) -> TrainingConfig:
    """The training options. Raises UsageError for options that are not valid."""
    scale = next(scale for scale in SCALES if len(dataset.train) < scale.below)
    budget = {"epochs": scale.epochs, "patience": PATIENCE}
    return record_defaults.resolve_training(
        given, learning_rate=LEARNING_RATE, budget=budget, batch_size=BATCH, dropout=scale.dropout
    )  # fmt: skip

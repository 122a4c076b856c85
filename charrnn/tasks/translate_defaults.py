"""Default options of a translator, chosen by the records. `docs/training.md` has the experiments."""

from __future__ import annotations

from typing import Any

from charrnn.config import TrainingConfig
from charrnn.errors import UsageError
from charrnn.task_config import PairsConfig, TranslatorConfig
from charrnn.tasks import record_defaults
from charrnn.tasks.language_defaults import PATIENCE, resolve_cells
from charrnn.text.pair_corpus import PairCorpus
from charrnn.training.options import Options, given_fields

HIDDEN, EMBEDDING = 256, 128
BATCH, EPOCHS = 64, 40
LEARNING_RATE = 3e-3  # of AdamW
DROPOUT = 0.3


def records(given: Options) -> PairsConfig:
    """How records are read. Raises UsageError for options that are not valid."""
    return PairsConfig(**given_fields(PairsConfig, given))


def resolve_model(given: Options, dataset: PairCorpus) -> TranslatorConfig:
    """The network. Raises UsageError for given options that are not valid together."""
    tied = given.get("tie_weights", False)
    hidden = given.get("hidden_size", HIDDEN)
    chosen: dict[str, Any] = {"hidden_size": hidden, "embedding_size": hidden if tied else EMBEDDING}
    fields = given_fields(TranslatorConfig, given)
    cells = resolve_cells(given, words=False)
    if len(set(cells)) > 1:
        raise UsageError(f"`cell` is {','.join(cells)}; a translator has layers of one kind: name one `cell`")
    sizes = {"vocabulary_size": dataset.target.size, "source_vocabulary_size": dataset.source.size}
    return TranslatorConfig(cells=cells, **(chosen | fields | sizes))


def resolve_training(given: Options) -> TrainingConfig:
    """The training options. Raises UsageError for options that are not valid."""
    budget = {"epochs": EPOCHS, "patience": PATIENCE}
    return record_defaults.resolve_training(
        given, learning_rate=LEARNING_RATE, budget=budget, batch_size=BATCH, dropout=DROPOUT
    )  # fmt: skip

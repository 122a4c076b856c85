"""Default options of a classifier, chosen by the records.

Texts of fewer than three words on average are read by characters, longer ones by words. `docs/training.md` has the
experiments.
"""

from __future__ import annotations

import contextlib
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from charrnn.config import TextConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.task_config import ClassifierConfig
from charrnn.tasks import record_defaults
from charrnn.tasks.language_defaults import MAX_WORDS, PATIENCE
from charrnn.text.labelled import RecordReader
from charrnn.text.reader import Source
from charrnn.training.options import Options, given_fields
from charrnn.training.task import Request

LOOKED_AT = 1000  # records of the first file, to choose the unit
WORDS_FROM = 3.0  # words a text
HIDDEN, EMBEDDING = 128, 64
BATCH, EPOCHS = 32, 12
LEARNING_RATE = 1e-3  # of AdamW: the regression on n-grams knows most from the start
DROPOUT = 0.5


def resolve_text(request: Request) -> TextConfig:
    """How texts are cut into units. Raises UsageError for given options that are not valid."""
    given = request.given
    if given.get("lines"):
        raise UsageError("`lines` is for language models: each record is a text of its own; leave it out")
    chosen: dict[str, Any] = {"unit": given.get("unit") or ("word" if given.get("pretokenized") else _unit(request))}
    words = chosen["unit"] == "word"
    chosen |= {"min_count": 2 if words else 1, "max_vocab": MAX_WORDS if words else 0}
    return TextConfig(**(chosen | given_fields(TextConfig, given)))


def _unit(request: Request) -> str:
    """By the first records; from standard input, which is read once, words."""
    if request.corpora[:1] in ([], ["-"]):
        return "word"
    config = TextConfig(**{name: request.given[name] for name in ("encoding", "errors") if name in request.given})
    columns = record_defaults.records(request.given).columns or None
    with contextlib.closing(Source(request.corpora[0], Path(tempfile.gettempdir()))) as source:
        texts = [record.text for record in islice(RecordReader(source, config, columns), LOOKED_AT)]
    return "word" if sum(len(text.split()) for text in texts) >= WORDS_FROM * len(texts) else "char"


def resolve_model(given: Options, text: TextConfig, units: int, labels: int) -> ClassifierConfig:
    """The network. Raises UsageError for given options that are not valid together."""
    ngrams = 2 if text.unit == "word" else 4
    chosen: dict[str, Any] = {"hidden_size": HIDDEN, "embedding_size": EMBEDDING, "ngrams": ngrams}
    fields = record_defaults.model_fields(ClassifierConfig, given)
    return ClassifierConfig(vocabulary_size=units, **(chosen | fields | {"labels": labels}))


def resolve_training(given: Options) -> TrainingConfig:
    """The training options. Raises UsageError for options that are not valid."""
    budget = {"epochs": EPOCHS, "patience": PATIENCE}
    return record_defaults.resolve_training(
        given, learning_rate=LEARNING_RATE, budget=budget, batch_size=BATCH, dropout=DROPOUT
    )  # fmt: skip

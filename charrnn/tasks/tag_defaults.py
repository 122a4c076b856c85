"""Default options of a tagger. `docs/training.md` has the experiments."""

from __future__ import annotations

from typing import Any

from charrnn.config import TextConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.task_config import RecordsConfig, TaggerConfig
from charrnn.tasks import record_defaults
from charrnn.tasks.language_defaults import MAX_WORDS, PATIENCE
from charrnn.text.tag_schemes import NONE
from charrnn.text.tagged_corpus import TaggedCorpus
from charrnn.training.options import Options, given_fields

NGRAMS = 3
HIDDEN, EMBEDDING = 128, 128
BATCH, EPOCHS = 32, 20
LEARNING_RATE = 3e-3  # of AdamW
DROPOUT = 0.5


def records(given: Options) -> RecordsConfig:
    """How records are read. Raises UsageError for options that are not valid."""
    if given.get("max_length"):
        raise UsageError("`max_length` is not for sentences of tokens: they are read whole; leave it out")
    return record_defaults.records(given)


def resolve_text(given: Options) -> TextConfig:
    """How text is read: words are the tokens as they stand. Raises UsageError for other units."""
    if given.get("lines"):
        raise UsageError("`lines` is for language models: a blank line ends a sentence; leave it out")
    if given.get("unit", "word") != "word":
        raise UsageError(f"`unit` is {given['unit']}, and tags are those of words, a token a line; leave it out")
    chosen: dict[str, Any] = {"max_vocab": MAX_WORDS}
    return TextConfig(**(chosen | given_fields(TextConfig, given) | {"unit": "word", "pretokenized": True}))


def resolve_model(given: Options, dataset: TaggedCorpus) -> TaggerConfig:
    """The network. Raises UsageError for given options that are not valid together."""
    tagset = dataset.tagset
    head = "softmax" if tagset.scheme == NONE else "crf"
    chosen: dict[str, Any] = {"hidden_size": HIDDEN, "embedding_size": EMBEDDING, "head": head}
    fields = record_defaults.model_fields(TaggerConfig, given)
    sizes = {
        "vocabulary_size": len(dataset.vocabulary), "labels": len(tagset.labels), "buckets": dataset.buckets,
        "char_ngrams": dataset.longest,
    }  # fmt: skip
    return TaggerConfig(**(chosen | fields | sizes))


def resolve_training(given: Options) -> TrainingConfig:
    """The training options. Raises UsageError for options that are not valid."""
    budget = {"epochs": EPOCHS, "patience": PATIENCE}
    return record_defaults.resolve_training(
        given, learning_rate=LEARNING_RATE, budget=budget, batch_size=BATCH, dropout=DROPOUT
    )  # fmt: skip

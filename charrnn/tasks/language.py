"""The task `language`: a text is learned unit by unit, each from all that came before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, SamplingConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.formats import LANGUAGE, LanguageFormat, TextSide
from charrnn.tasks import language_advice, language_defaults, language_evaluation
from charrnn.tasks.sampling import sample
from charrnn.tasks.trained_language import TrainedLanguageModel
from charrnn.text.batches import Batches
from charrnn.text.corpus import Corpus, Part, load_corpus
from charrnn.training.options import Options, require_same
from charrnn.training.task import Advice, Description, Metrics, Request, RunSpec, Task

if TYPE_CHECKING:
    from charrnn.models import LanguageModel

SAMPLE_UNITS = 200  # that are shown during training


class Language(Task[Corpus, "LanguageModel"]):
    """See `Task`. A dataset is an encoded corpus."""

    format: LanguageFormat = LANGUAGE
    figures = ("bits_per_byte", "bits_per_character")

    def read(self, request: Request, initial: Checkpoint | None) -> Corpus:
        """The corpus; the vocabulary, the unit and how words are found are those of `initial`."""
        given = request.given
        if initial is not None:
            units = {"unit": initial.text.unit, "pretokenized": initial.text.pretokenized}
            require_same(given, units, request.init_from or str(request.output), "leave it out")
            given = {**units, **given}
        return load_corpus(
            request.corpora,
            language_defaults.resolve_text(given),
            val_path=request.val,
            val_fraction=given.get("val_fraction", language_defaults.VAL_FRACTION),
            seed=given.get("seed", language_defaults.SEED),
            cache_dir=request.cache,
            vocabulary=initial.vocabulary if initial else None,
        )

    def configure(
        self, request: Request, dataset: Corpus, model: ModelConfig | None
    ) -> tuple[ModelConfig, TrainingConfig]:
        """See `language_defaults`."""
        given, text, tokens = request.given, dataset.config, len(dataset.train)

        @cache
        def speed() -> float:
            from charrnn.tasks.machine_speed import arithmetic_speed

            return arithmetic_speed(request.threads, given.get("precision", "auto"))

        if model is None:
            model = language_defaults.resolve_model(given, text, len(dataset.vocabulary), tokens, speed)
        return model, language_defaults.resolve_training(given, text, model, tokens, speed)

    def network(self, model: ModelConfig, config: TrainingConfig, dataset: Corpus, threads: int) -> LanguageModel:
        """A language model to be trained."""
        language_defaults.require_memory_to_train(model, config, len(dataset.train))

        from charrnn.models import LanguageModel

        return LanguageModel(model, threads=threads, bfloat16=config.precision == "bfloat16")

    def memory(self, model: ModelConfig, config: TrainingConfig, dataset: Corpus) -> int:
        """See `language_defaults.memory_needed`."""
        return language_defaults.memory_needed(model, config, len(dataset.train))

    def batches(self, dataset: Corpus, config: TrainingConfig) -> Batches:
        """Windows of parallel streams over the training part."""
        part = dataset.train
        return Batches(
            part.ids, config.batch_size, config.seq_length, lines=part.lines, seed=config.seed, bound=part.bound
        )

    def evaluate(self, network: LanguageModel, part: Part, *, limit: int | None = None) -> Metrics:
        """See `language_evaluation`."""
        return language_evaluation.evaluate(network, part, limit=limit)

    def record(self, dataset: Corpus) -> TextSide:
        """Both sides of a language model are this text."""
        return TextSide(dataset.vocabulary, dataset.config)

    def describe(self, dataset: Corpus, network: LanguageModel) -> Description:
        """The size of the vocabulary, and how text is cut into units."""
        config, units, held_out = network.config, len(dataset.vocabulary), dataset.validation
        text = (
            f"{len(dataset.train):,} tokens to learn from, {0 if held_out is None else len(held_out):,} held out, "
            f"{units:,} units"
        )
        cells = config.cells
        embedding = f"embedding {config.embedding_size}" if config.embedding_size else "one-hot input"
        model = (
            f"{cells[0] if len(set(cells)) == 1 else ','.join(cells)}, {len(cells)} x {config.hidden_size}, "
            f"{embedding}{', adaptive softmax' if config.cutoffs else ''}: {network.parameters.size:,} parameters"
        )
        return Description(
            {"vocabulary": units}, {"text": dataclasses.asdict(dataset.config)}, (("text", text), ("model", model))
        )

    def options(self, run: Checkpoint) -> Options:
        """The fields of TextConfig."""
        return dataclasses.asdict(run.text)

    def check_options(self, given: Options, recorded: Options, init_from: str | None) -> None:
        """Options for text as characters, or for choosing units, do nothing where there is no such choice."""
        unit = recorded.get("unit", given.get("unit", "char"))
        for name in ("encoding", "errors"):
            if name in given and unit == "byte":
                raise UsageError(f"`{name}` is for text read as characters, and `unit` is byte; leave it out")
        for name in ("min_count", "max_vocab"):
            if name in given and unit == "byte":
                raise UsageError(f"`{name}` chooses among units, and `unit` byte has all 256; leave it out")
            if name in given and init_from is not None:
                raise UsageError(f"`{name}` chooses among units, and `init_from` {init_from} has its own; leave it out")

    def sample(self, network: LanguageModel, dataset: Corpus, seed: int) -> str:
        """A text without a prompt."""
        config = SamplingConfig(length=SAMPLE_UNITS, lines=dataset.config.lines, seed=seed)
        pieces = sample(network, dataset.vocabulary, [b""], config)
        return b"".join(piece.data for piece in pieces).decode("utf-8", "replace")

    def advise_at_start(self, spec: RunSpec) -> Iterator[Advice]:
        """On little text, and lines that are held out unevenly."""
        corpus = _corpus_of(spec)
        by_lines = corpus.config.lines and not spec.source.get("val")
        asked = spec.config.val_fraction if by_lines else 0.0
        return language_advice.at_start(corpus, asked, initialised=spec.initialised)

    def advise_at_end(self, spec: RunSpec) -> Iterator[Advice]:
        """On unknown units."""
        return language_advice.at_end(_corpus_of(spec), initialised=spec.initialised)


def _corpus_of(spec: RunSpec) -> Corpus:
    corpus: Any = spec.dataset
    assert isinstance(corpus, Corpus)
    return corpus


def trained(checkpoint: Checkpoint, *, threads: int, precision: str) -> TrainedLanguageModel:
    """The model of a checkpoint, to score and sample with."""
    return TrainedLanguageModel.of(checkpoint, threads=threads, precision=precision)


TASK = Language()

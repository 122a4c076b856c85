"""The task `language`: a recurrent language model, P(unit | all units before it), of characters, words or bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.formats import LANGUAGE, LanguageFormat, TextSide
from charrnn.runtime.processes import ALONE, Processes
from charrnn.sampling_config import SamplingConfig
from charrnn.settings import counted
from charrnn.tasks import language_advice, language_defaults, language_evaluation, language_memory
from charrnn.tasks.sampling import sample
from charrnn.tasks.trained_language import TrainedLanguageModel
from charrnn.text.batches import Batches
from charrnn.text.corpus import Corpus, Part, load_corpus
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options, require_same
from charrnn.training.task import Advice, Description, Request, RunSpec, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charrnn.models import LanguageModel

SAMPLE_UNITS = 200  # length of the samples shown during training


class Language(Task[Corpus, "LanguageModel"]):
    """The language task; its dataset is an encoded corpus. For the methods see `Task`."""

    format: LanguageFormat = LANGUAGE
    figures = ("bits_per_byte", "bits_per_character")
    verbs = ("sample", "score")
    settings = (TextConfig, ModelConfig, TrainingConfig)

    def read(self, request: Request, initial: Checkpoint | None) -> Corpus:
        """Read and encode the corpus, with the vocabulary, unit and tokenisation of `initial` if it is given."""
        given = request.given
        if initial is not None:
            units = {"unit": initial.text.unit, "pretokenized": initial.text.pretokenized}
            require_same(given, units, request.init_from or str(request.output), "leave it out")
            given = {**units, **given}
        corpus = load_corpus(
            request.corpora,
            language_defaults.resolve_text(given),
            val_path=request.val,
            val_fraction=given.get("val_fraction", language_defaults.VAL_FRACTION),
            seed=given.get("seed", language_defaults.SEED),
            cache_dir=request.cache,
            vocabulary=initial.vocabulary if initial else None,
        )
        if given.get("memory", initial is not None and initial.model.memory):
            if corpus.config.unit == "word":
                raise UsageError("`memory` is for characters and bytes, and `unit` is word; leave it out")
            corpus.hold_back(language_memory.slice_size(len(corpus.train)))
        return corpus

    def configure(
        self, request: Request, dataset: Corpus, model: ModelConfig | None
    ) -> tuple[ModelConfig, TrainingConfig]:
        """The given options, and the defaults of `language_defaults` for the rest."""
        given, text, tokens = request.given, dataset.config, len(dataset.train)

        @cache
        def speed() -> float:
            """Floating-point operations a second."""
            from charrnn.tasks.machine_speed import arithmetic_speed

            return request.processes.size * arithmetic_speed(request.threads, given.get("precision", "auto"))

        if model is None:
            model = language_defaults.resolve_model(given, text, len(dataset.vocabulary), tokens, speed)
        return model, language_defaults.resolve_training(given, text, model, tokens, speed)

    def network(self, model: ModelConfig, config: TrainingConfig, dataset: Corpus, threads: int) -> LanguageModel:
        """A language model, all zeros. Raises CharrnnError when there is too little memory to train it."""
        language_defaults.require_memory_to_train(model, config, len(dataset.train))

        from charrnn.models import LanguageModel

        return LanguageModel(model, threads=threads, bfloat16=config.precision == "bfloat16")

    def memory(self, model: ModelConfig, config: TrainingConfig, dataset: Corpus) -> int:
        """The memory of a run in bytes, see `language_defaults.memory_needed`."""
        return language_defaults.memory_needed(model, config, len(dataset.train))

    def batches(self, dataset: Corpus, config: TrainingConfig) -> Batches:
        """Windows of parallel streams over the training part, for truncated backpropagation through time."""
        part = dataset.train
        return Batches(
            part.ids, config.batch_size, config.seq_length, lines=part.lines, seed=config.seed, bound=part.bound
        )

    def evaluate(
        self, network: LanguageModel, part: Part, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        """Loss in nats per token, bits per byte and per character, perplexity; see `language_evaluation`."""
        return language_evaluation.evaluate(network, part, limit=limit, processes=processes)

    def record(self, dataset: Corpus) -> TextSide:
        """The vocabulary and the options of the text, which is input and output of a language model."""
        return TextSide(dataset.vocabulary, dataset.config)

    def describe(self, dataset: Corpus, network: LanguageModel) -> Description:
        """Sizes of vocabulary and network, and the options of the text."""
        config, units, held_out = network.config, len(dataset.vocabulary), dataset.validation
        parts = [f"{counted(len(dataset.train), 'token')} to learn from"]
        if dataset.calibration is not None:
            parts.append(f"{len(dataset.calibration):,} for the weights of the memory")
        parts += [f"{0 if held_out is None else len(held_out):,} held out", f"{units:,} units"]
        cells = config.cells
        embedding = f"embedding {config.embedding_size}" if config.embedding_size else "one-hot input"
        model = (
            f"{cells[0] if len(set(cells)) == 1 else ','.join(cells)}, {len(cells)} x {config.hidden_size}, "
            f"{embedding}{', adaptive softmax' if config.cutoffs else ''}: {network.parameters.size:,} parameters"
        )
        lines = (("text", ", ".join(parts)), ("model", model))
        return Description({"vocabulary": units}, {"text": dataclasses.asdict(dataset.config)}, lines)

    def trained(self, run: Checkpoint, *, threads: int, precision: str) -> TrainedLanguageModel:
        """The model of a checkpoint, to score and sample with."""
        return TrainedLanguageModel.of(run, threads=threads, precision=precision)

    def options(self, run: Checkpoint) -> Options:
        """The recorded fields of TextConfig, and whether there is a memory."""
        return {**dataclasses.asdict(run.text), "memory": run.model.memory}

    def check_options(self, given: Options, recorded: Options, init_from: str | None) -> None:
        """Raise UsageError for options of encoding with bytes, and of the vocabulary where it is fixed."""
        unit = recorded.get("unit", given.get("unit", "char"))
        for name in ("encoding", "errors"):
            if name in given and unit == "byte":
                raise UsageError(f"`{name}` is for text read as characters, and `unit` is byte; leave it out")
        if "memory_size" in given and not given.get("memory", recorded.get("memory")):
            raise UsageError("`memory_size` is for `memory`; give that too, or leave it out")
        for name in ("min_count", "max_vocab"):
            if name in given and unit == "byte":
                raise UsageError(f"`{name}` chooses among units, and `unit` byte has all 256; leave it out")
            if name in given and init_from is not None:
                raise UsageError(f"`{name}` chooses among units, and `init_from` {init_from} has its own; leave it out")

    def completion_seconds(self, network: LanguageModel, dataset: Corpus) -> float:
        """The seconds that the memory takes, about."""
        return 0.0 if dataset.calibration is None else language_memory.seconds(network, dataset)

    def complete(
        self, network: LanguageModel, dataset: Corpus
    ) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:  # fmt: skip
        """Fit the memory of the training part, and evaluate both together on the held-out part."""
        if dataset.calibration is None:
            return {}, {}
        memory = language_memory.fit_memory(network, dataset)
        if dataset.validation is None:
            return memory.tensors(), {}
        bits = language_memory.bits_per_byte(memory, network, dataset.validation)
        return memory.tensors(), {"memory_bits_per_byte": bits}

    def sample(self, network: LanguageModel, dataset: Corpus, seed: int) -> str:
        """A sample of `SAMPLE_UNITS` units without a prompt, as text."""
        config = SamplingConfig(length=SAMPLE_UNITS, lines=dataset.config.lines, seed=seed)
        pieces = sample(network, dataset.vocabulary, [b""], config)
        return b"".join(piece.data for piece in pieces).decode("utf-8", "replace")

    def advise_at_start(self, spec: RunSpec) -> Iterator[Advice]:
        """Advice on a small corpus, and on a held-out part that is larger than intended."""
        corpus = _corpus_of(spec)
        by_lines = corpus.config.lines and not spec.source.get("val")
        val_fraction = spec.config.val_fraction if by_lines else 0.0
        return language_advice.at_start(corpus, val_fraction, initialised=spec.initialised)

    def advise_at_end(self, spec: RunSpec, final: Metrics | None) -> Iterator[Advice]:
        """Advice on out-of-vocabulary units."""
        return language_advice.at_end(_corpus_of(spec), initialised=spec.initialised)


def _corpus_of(spec: RunSpec) -> Corpus:
    corpus: Any = spec.dataset
    assert isinstance(corpus, Corpus)
    return corpus


TASK = Language()

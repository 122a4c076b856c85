"""The task `translate`: P(target | source), sequences of different lengths; one to many, where sources are labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainingConfig
from charrnn.models.translator import parameter_layout
from charrnn.runtime.processes import ALONE, Processes
from charrnn.task_config import PairsConfig, TranslatorConfig
from charrnn.tasks import translate_defaults
from charrnn.tasks.language_defaults import SEED, VAL_FRACTION
from charrnn.tasks.training_memory import PYTHON, largest_batch, require_memory_to_train
from charrnn.tasks.translate_evaluation import by_source, evaluate
from charrnn.tasks.translate_format import TRANSLATE, TranslateFormat, TranslatorSides
from charrnn.text.pair_batches import PairBatches, source_of
from charrnn.text.pair_corpus import PairCorpus, PairPart, Side, load_pairs, most_units
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options, require_same
from charrnn.training.task import Advice, Description, Request, RunSpec, Task

if TYPE_CHECKING:
    from charrnn.models.translator import Translator
    from charrnn.tasks.trained_translator import TrainedTranslator


class Translate(Task[PairCorpus, "Translator"]):
    """The task of translation; its dataset is a corpus of pairs of texts. For the methods see `Task`."""

    format: TranslateFormat = TRANSLATE
    figures = ("exact_match", "token_error_rate")
    verbs = ("predict", "score", "sample")
    settings = (PairsConfig, TranslatorConfig, TrainingConfig)

    def read(self, request: Request, initial: Checkpoint | None) -> PairCorpus:
        """Read the pairs, with vocabularies or labels, and units, of `initial` if it is given."""
        given = request.given
        sides = None
        if initial is not None:
            data = initial.data
            sides = data.source, data.target
            units = {"unit": _units(*sides), "pretokenized": data.records.pretokenized}
            require_same(given, units, request.init_from or str(request.output), "leave it out")
            given = {**given, **units}
        return load_pairs(
            request.corpora,
            translate_defaults.records(given),
            val_path=request.val,
            val_fraction=given.get("val_fraction", VAL_FRACTION),
            seed=given.get("seed", SEED),
            sides=sides,
        )

    def configure(
        self, request: Request, dataset: PairCorpus, model: TranslatorConfig | None
    ) -> tuple[TranslatorConfig, TrainingConfig]:
        """The given options, and the defaults of `translate_defaults` for the rest."""
        config = translate_defaults.resolve_training(request.given, dataset)
        return model or translate_defaults.resolve_model(request.given, dataset), config

    def network(self, model: TranslatorConfig, config: TrainingConfig, dataset: PairCorpus, threads: int) -> Translator:
        """A translator, all zeros. Raises CharrnnError when there is too little memory to train it."""
        options = "`hidden_size`, `embedding_size`, `layers`, `batch_size`, `max_length` or `max_vocab`"
        require_memory_to_train(self.memory(model, config, dataset), parameter_layout(model).size, options)

        from charrnn.models.translator import Translator

        return Translator(model, threads=threads, bfloat16=config.precision == "bfloat16")

    def memory(self, model: TranslatorConfig, config: TrainingConfig, dataset: PairCorpus) -> int:
        """Weights with all copies, the activations of the largest batch, and Python itself."""
        weights, part = parameter_layout(model).training_size, dataset.train
        count = min(config.batch_size, len(part.targets.lengths))
        source_units, target_units = (
            largest_batch(texts.lengths + 1, config.batch_size) for texts in (part.sources, part.targets)
        )
        units, V = source_units + target_units, model.vocabulary_size
        activations = units * (18 * model.hidden_size * model.num_layers + 9 * model.embedding_size)
        activations += 6 * units * model.hidden_size
        activations += 2 * min(target_units * V, max(1 << 22, count * V))  # logits, see `nn.softmax`
        ids = part.sources.ids.nbytes + part.targets.ids.nbytes
        return 4 * (weights + activations) + ids + PYTHON

    def batches(self, dataset: PairCorpus, config: TrainingConfig) -> PairBatches:
        """Pairs in an order keyed by seed and epoch, both sides packed one after the other."""
        return PairBatches(dataset.train, config.batch_size, config.seed)

    def evaluate(
        self, network: Translator, part: PairPart, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        """See `translate_evaluation.evaluate`."""
        return evaluate(network, part, limit, processes)

    def is_whole(self, metrics: Metrics, part: PairPart) -> bool:
        """See `Task`; also whether all sources were decoded."""
        decoded = part.labelled or metrics.figures.get("decoded_sources") == len(by_source(part))
        return super().is_whole(metrics, part) and decoded

    def advise_at_end(self, spec: RunSpec, final: Metrics | None) -> Iterator[Advice]:
        """Say so where there was no time to decode all sources that are held out."""
        part = spec.dataset.validation
        if final is not None and isinstance(part, PairPart) and not self.is_whole(final, part):
            decoded = int(final.figures.get("decoded_sources", 0))
            yield (
                "sampled",
                f"the time was too short to decode all inputs that are held out: exact match and token error rate are "
                f"those of {decoded:,} of {len(by_source(part)):,}",
            )

    def record(self, dataset: PairCorpus) -> TranslatorSides:
        """Vocabularies, or labels, and how the pairs were read."""
        return TranslatorSides(dataset.source, dataset.target, dataset.config, dataset.train.ratio)

    def shown_by(self, data: TranslatorSides) -> tuple[str, str | None]:
        """See `Task`. Labels have many right outputs, so that of one is drawn."""
        labels = data.source.labels
        return ("sample", labels[0]) if labels else super().shown_by(data)

    def describe(self, dataset: PairCorpus, network: Translator) -> Description:
        """Sizes, and how both sides are read."""
        config, train, held, source = network.config, dataset.train, dataset.validation, dataset.source
        records = len(train.targets.lengths)
        lengths = len(train.sources.ids) / records, len(train.targets.ids) / records
        lines = (
            ("records", f"{records:,} to learn from, {len(held.targets.lengths) if held else 0:,} held out"),
            ("input", f"{source.size:,} labels, one unit each" if train.labelled else _words(source, lengths[0])),
            ("output", _words(dataset.target, lengths[1])),
            (
                "model",
                f"{', '.join(config.cells)} of {config.hidden_size}, embedding {config.embedding_size}, "
                f"attention {config.attention}, {network.parameters.size:,} parameters",
            ),
        )
        counts = {"vocabulary": dataset.target.size, "source_vocabulary": source.size}
        return Description(counts, {"records": dataclasses.asdict(dataset.config)}, lines, examples="records")

    def sample(self, network: Translator, dataset: PairCorpus, seed: int) -> str | None:
        """A source that is held out, or else trained on, and the greedy output of it."""
        from charrnn.models.decoding import decode

        part = dataset.validation or dataset.train
        source = source_of(part, seed % len(part.targets.lengths))
        limit = np.array([most_units(part.ratio, len(source), labelled=part.labelled)], np.int64)
        [[found]] = decode(network, [source], limits=limit)
        read, target = dataset.source, dataset.target.vocabulary
        assert target is not None
        text = read.vocabulary.decode(source[:-1]) if read.vocabulary else read.labels[int(source[0])]
        return f"{text} → {target.decode(found.ids)}"

    def trained(self, run: Checkpoint, *, threads: int, precision: str) -> TrainedTranslator:
        """The translator of a checkpoint; see `Task.trained`."""
        from charrnn.tasks.trained_translator import TrainedTranslator

        return TrainedTranslator.of(run, threads=threads, precision=precision)

    def options(self, run: Checkpoint) -> Options:
        """The recorded fields of PairsConfig."""
        return dataclasses.asdict(run.data.records)


def _units(source: Side, target: Side) -> str:
    """The units of a model as the option has them."""
    assert target.config is not None
    if source.config is None or source.config.unit == target.config.unit:
        return target.config.unit
    return f"{source.config.unit},{target.config.unit}"


def _words(side: Side, length: float) -> str:
    """How a side is read, in words."""
    assert side.config is not None
    cut = " as white space separates them" * side.config.pretokenized
    form = f", characters as {side.form.upper()}" * (side.form != "none")
    return f"by {side.config.unit}{cut}{form}, {side.size:,} units, {length:.1f} a record"


TASK = Translate()

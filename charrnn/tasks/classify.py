"""The task `classify`: P(label | text), many to one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import TextConfig, TrainingConfig
from charrnn.formats import TextSide
from charrnn.models.classifier import parameter_layout
from charrnn.models.ngram_regression import regression_numbers
from charrnn.runtime.processes import ALONE, Processes
from charrnn.task_config import ClassifierConfig, RecordsConfig
from charrnn.tasks import classify_defaults, label_figures, record_defaults
from charrnn.tasks.classify_format import CLASSIFY, ClassifierSides, ClassifyFormat
from charrnn.tasks.language_defaults import SEED, VAL_FRACTION
from charrnn.tasks.training_memory import PYTHON, largest_batch, require_memory_to_train
from charrnn.text.labelled_corpus import LabelledCorpus, load_labelled
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.packing import PackedBatches, evaluation_batches, spread
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options, require_same
from charrnn.training.task import Description, Request, Task

if TYPE_CHECKING:
    from charrnn.models.classifier import Classifier
    from charrnn.tasks.trained_classifier import TrainedClassifier


class Classify(Task[LabelledCorpus, "Classifier"]):
    """The task of classification; its dataset is a corpus of labelled texts. For the methods see `Task`."""

    format: ClassifyFormat = CLASSIFY
    figures = ("accuracy", "macro_f1", "baseline_accuracy")
    verbs = ("predict", "score")
    settings = (TextConfig, RecordsConfig, ClassifierConfig, TrainingConfig)

    def read(self, request: Request, initial: Checkpoint | None) -> LabelledCorpus:
        """Read the records, with vocabulary, unit and labels of `initial` if it is given."""
        given = request.given
        if initial is not None:
            units = {name: getattr(initial.data.text.config, name) for name in ("unit", "pretokenized")}
            require_same(given, units, request.init_from or str(request.output), "leave it out")
            given = {**units, **given}
        request = dataclasses.replace(request, given=given)
        records = record_defaults.records(given)
        return load_labelled(
            request.corpora,
            classify_defaults.resolve_text(request),
            columns=records.columns or None,
            val_path=request.val,
            val_fraction=given.get("val_fraction", VAL_FRACTION),
            seed=given.get("seed", SEED),
            max_length=records.max_length,
            vocabulary=initial.data.text.vocabulary if initial else None,
            labels=initial.data.labels if initial else None,
        )

    def configure(
        self, request: Request, dataset: LabelledCorpus, model: ClassifierConfig | None
    ) -> tuple[ClassifierConfig, TrainingConfig]:
        """The given options, and the defaults of `classify_defaults` for the rest."""
        given = request.given
        if model is None:
            units, labels = len(dataset.vocabulary), len(dataset.labels)
            model = classify_defaults.resolve_model(given, dataset.config, units, labels)
        return model, classify_defaults.resolve_training(given)

    def network(
        self, model: ClassifierConfig, config: TrainingConfig, dataset: LabelledCorpus, threads: int
    ) -> Classifier:
        """A classifier, all zeros but for the regression on n-grams, which is fitted to all records of the training
        files, those that are held out included.

        Cross-fitted logits become part of the dataset: in training and validation no record meets a regression that has
        seen it. Raises CharrnnError when there is too little memory to train the network.
        """
        options = "`hidden_size`, `embedding_size`, `layers`, `batch_size`, `max_length` or `max_vocab`"
        require_memory_to_train(self.memory(model, config, dataset), parameter_layout(model).size, options)

        from charrnn.models.classifier import Classifier
        from charrnn.models.ngram_regression import fit

        network = Classifier(model, threads=threads, bfloat16=config.precision == "bfloat16")
        if model.ngrams:
            known, train = _known(dataset), dataset.train
            pool = network.context.pool
            network.regression, logits = fit(known, model.labels, model.ngrams, config.seed, pool)
            dataset.train = dataclasses.replace(train, logits=logits[: len(train)])
            if len(known) > len(train) and dataset.validation is not None:
                dataset.validation = dataclasses.replace(dataset.validation, logits=logits[len(train) :])
        return network

    def memory(self, model: ClassifierConfig, config: TrainingConfig, dataset: LabelledCorpus) -> int:
        """Weights with all copies, activations of the largest batch, the regression on n-grams, and Python itself."""
        weights, part = parameter_layout(model).training_size, dataset.train
        units = largest_batch(part.lengths, config.batch_size)
        directions = 2 if model.bidirectional else 1
        activations = units * (18 * model.hidden_size * model.num_layers * directions + model.embedding_size)
        known = _known(dataset)
        regression = regression_numbers(known, model.labels, model.ngrams) if model.ngrams else 0
        return 4 * (weights + activations + regression) + part.ids.nbytes + known.ids.nbytes + PYTHON

    def batches(self, dataset: LabelledCorpus, config: TrainingConfig) -> PackedBatches:
        """Records in an order keyed by seed and epoch, packed one after the other."""
        return PackedBatches(dataset.train, config.batch_size, config.seed)

    def evaluate(
        self, network: Classifier, part: LabelledPart, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        """Accuracy and F1, and as loss the mean -log P(label | text) over records whose label is known."""
        chosen = spread(len(part), len(part), limit)

        def compute(some: Any) -> tuple[Any, Any, Any]:
            records, batch, places = some
            values, labels = network.log_probs(batch)[places[:, 0], places[:, 1]], part.labels[records]
            known = labels >= 0
            return labels, values.argmax(axis=1).astype(np.int32), values[known, labels[known]]

        results = processes.map(compute, evaluation_batches(part, chosen))
        found, predicted, chances = map(np.concatenate, zip(*results, strict=True))
        figures = label_figures.figures(found, predicted, network.config.labels)
        loss = -float(chances.mean()) if chances.size else float(np.log(network.config.labels))
        return Metrics(loss, len(found), figures)

    def record(self, dataset: LabelledCorpus) -> ClassifierSides:
        """Vocabulary and labels."""
        records = RecordsConfig(tuple(map(str, dataset.columns)), dataset.max_length)
        return ClassifierSides(TextSide(dataset.vocabulary, dataset.config), dataset.labels, records)

    def describe(self, dataset: LabelledCorpus, network: Classifier) -> Description:
        """Sizes, and how texts are read."""
        config, text, train = network.config, dataset.config, dataset.train
        held = dataset.validation
        both = ", both directions" if config.bidirectional else ""
        lines = (
            (
                "records",
                f"{len(train):,} to learn from, {len(held) if held else 0:,} held out, {len(dataset.labels)} labels",
            ),
            ("text", f"by {text.unit}, {len(dataset.vocabulary):,} units, {len(train.ids) / len(train):.1f} a record"),
            (
                "model",
                f"{', '.join(config.cells)} of {config.hidden_size}{both}, embedding {config.embedding_size}, "
                f"{config.pool} pooling, {network.parameters.size:,} parameters",
            ),
        )
        counts = {"vocabulary": len(dataset.vocabulary), "labels": len(dataset.labels)}
        return Description(counts, {"text": dataclasses.asdict(text)}, lines, "records")

    def trained(self, run: Checkpoint, *, threads: int, precision: str) -> TrainedClassifier:
        """The classifier of a checkpoint; see `Task.trained`."""
        from charrnn.tasks.trained_classifier import TrainedClassifier

        return TrainedClassifier.of(run, threads=threads, precision=precision)

    def options(self, run: Checkpoint) -> Options:
        """The recorded fields of TextConfig and RecordsConfig."""
        return {**dataclasses.asdict(run.data.text.config), **dataclasses.asdict(run.data.records)}


def _known(dataset: LabelledCorpus) -> LabelledPart:
    """All records of the training files, which the regression on n-grams is fitted to; those held out are the last."""
    held_out = dataset.validation if dataset.split_off else None
    return dataset.train if held_out is None else dataset.train.followed_by(held_out)


TASK = Classify()

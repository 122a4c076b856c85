"""The task `tag`: P(tags | words), many to many of equal length."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import TextConfig, TrainingConfig
from charrnn.formats import TextSide
from charrnn.models.tagger import parameter_layout
from charrnn.runtime.processes import ALONE, Processes
from charrnn.task_config import RecordsConfig, TaggerConfig
from charrnn.tasks import tag_defaults
from charrnn.tasks.language_defaults import SEED, VAL_FRACTION
from charrnn.tasks.tag_figures import TagFigures
from charrnn.tasks.tag_format import TAG, TagFormat, TaggerSides
from charrnn.tasks.training_memory import PYTHON, largest_batch, require_memory_to_train
from charrnn.text.packing import ranges, spread
from charrnn.text.tag_schemes import NONE, ill_formed
from charrnn.text.tagged_batches import TaggedBatches, WordBags, evaluation_sentences
from charrnn.text.tagged_corpus import TaggedCorpus, TaggedPart, load_tagged
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options
from charrnn.training.task import Description, Request, Task

if TYPE_CHECKING:
    from charrnn.models.tagger import Tagger
    from charrnn.tasks.trained_tagger import TrainedTagger


class Tag(Task[TaggedCorpus, "Tagger"]):
    """The task of tagging; its dataset is a corpus of tagged sentences. For the methods see `Task`."""

    format: TagFormat = TAG
    figures = ("accuracy", "f1", "baseline_accuracy")
    verbs = ("predict", "score")
    settings = (TextConfig, RecordsConfig, TaggerConfig, TrainingConfig)

    def read(self, request: Request, initial: Checkpoint | None) -> TaggedCorpus:
        """Read the sentences, with vocabulary and tags of `initial` if it is given."""
        given = request.given
        records = tag_defaults.records(given)
        longest = given.get("char_ngrams", tag_defaults.NGRAMS)
        return load_tagged(
            request.corpora,
            tag_defaults.resolve_text(given),
            longest=initial.model.char_ngrams if initial else longest,
            buckets=initial.model.buckets if initial else None,
            columns=records.columns or None,
            val_path=request.val,
            val_fraction=given.get("val_fraction", VAL_FRACTION),
            seed=given.get("seed", SEED),
            vocabulary=initial.data.text.vocabulary if initial else None,
            tagset=initial.data.tagset if initial else None,
        )

    def configure(
        self, request: Request, dataset: TaggedCorpus, model: TaggerConfig | None
    ) -> tuple[TaggerConfig, TrainingConfig]:
        """The given options, and the defaults of `tag_defaults` for the rest."""
        config = tag_defaults.resolve_training(request.given)
        return model or tag_defaults.resolve_model(request.given, dataset), config

    def network(self, model: TaggerConfig, config: TrainingConfig, dataset: TaggedCorpus, threads: int) -> Tagger:
        """A tagger, all zeros. Raises CharrnnError when there is too little memory to train it."""
        options = "`hidden_size`, `embedding_size`, `layers`, `batch_size` or `max_vocab`"
        require_memory_to_train(self.memory(model, config, dataset), parameter_layout(model).size, options)

        from charrnn.models.tagger import Tagger

        return Tagger(model, threads=threads, bfloat16=config.precision == "bfloat16")

    def memory(self, model: TaggerConfig, config: TrainingConfig, dataset: TaggedCorpus) -> int:
        """Weights with all copies, the activations of the largest batch, and Python itself."""
        weights, part = parameter_layout(model).training_size, dataset.train
        units, sentences = largest_batch(part.lengths, config.batch_size), min(config.batch_size, len(part.lengths))
        directions = 2 if model.bidirectional else 1
        activations = units * (18 * model.hidden_size * model.num_layers * directions + 9 * model.embedding_size)
        activations += units * 4 * model.labels + sentences * model.labels**2 * (model.head == "crf")
        return 4 * (weights + activations) + 5 * len(part) + 8 * len(part.words.parts.hashes) + PYTHON

    def batches(self, dataset: TaggedCorpus, config: TrainingConfig) -> TaggedBatches:
        """Sentences in an order keyed by seed and epoch, packed one after the other."""
        V = len(dataset.vocabulary)
        return TaggedBatches(dataset.train, V, dataset.buckets, config.batch_size, config.seed)

    def evaluate(
        self, network: Tagger, part: TaggedPart, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        """Accuracy, F1 of spans, and as loss the mean -log P(tags | words) a token, over sentences of known tags.

        F1 or accuracy decides which weights are best: the loss of a tagger rises while it still makes fewer errors.
        """
        chosen = spread(len(part.lengths), len(part), limit)
        config, tagset = network.config, part.tagset
        bags = WordBags(part.words.ids, part.words.parts, config.vocabulary_size, config.buckets)
        figures, wrong = TagFigures(tagset, list(tagset.others)), ill_formed(tagset.labels, tagset.scheme)
        total, scored = 0.0, 0

        def compute(some: Any) -> tuple[Any, Any, float]:
            """The numbers of some sentences, the best tags of their words, and log P of those whose tags are known."""
            sentences, batch, places = some
            lengths = part.lengths[sentences]
            true = part.tags[ranges(part.offsets[:-1][sentences], lengths)]
            logits = network.logits(batch).reshape(-1, config.labels)[places]
            known = np.logical_and.reduceat(true >= 0, np.cumsum(lengths) - lengths)
            log_prob = float(network.log_probs(logits, np.maximum(true, 0), lengths)[known].sum())
            return sentences, network.best_tags(logits, lengths, wrong), log_prob

        for sentences, best, log_prob in processes.map(compute, evaluation_sentences(part, chosen, bags)):
            lengths = part.lengths[sentences]
            tokens = ranges(part.offsets[:-1][sentences], lengths)
            true = part.tags[tokens]
            figures.add(true, best, part.words.ids[part.ids[tokens]], lengths)
            total -= log_prob
            scored += int(lengths[np.logical_and.reduceat(true >= 0, np.cumsum(lengths) - lengths)].sum())
        loss = total / scored if scored else float(np.log(config.labels))
        brief = figures.brief()
        return Metrics(loss, figures.tokens, brief, 1 - brief.get("f1", brief["accuracy"]))

    def record(self, dataset: TaggedCorpus) -> TaggerSides:
        """Vocabulary and tags."""
        records = RecordsConfig(tuple(map(str, dataset.columns)))
        text = TextSide(dataset.vocabulary, dataset.config)
        return TaggerSides(text, dataset.tagset._replace(others=()), records)

    def describe(self, dataset: TaggedCorpus, network: Tagger) -> Description:
        """Sizes, and how words are read."""
        config, train, held, scheme = network.config, dataset.train, dataset.validation, dataset.tagset.scheme
        both = ", both directions" if config.bidirectional else ""
        parts = f", and of their parts (n-grams to {config.char_ngrams})" if config.char_ngrams else ""
        spans = "" if scheme == NONE else f", spans ({scheme.upper()})"
        lines = (
            (
                "sentences",
                f"{len(train.lengths):,} to learn from, {len(held.lengths) if held else 0:,} held out, "
                f"{len(train.ids) / len(train.lengths):.1f} tokens each, {config.labels} tags{spans}",
            ),
            ("words", f"sums of vectors of {config.embedding_size}: of {len(dataset.vocabulary):,} words{parts}"),
            (
                "model",
                f"{', '.join(config.cells)} of {config.hidden_size}{both}, {config.head}, "
                f"{network.parameters.size:,} parameters",
            ),
        )
        counts = {"vocabulary": len(dataset.vocabulary), "labels": config.labels}
        return Description(counts, {"text": dataclasses.asdict(dataset.config)}, lines, "sentences")

    def trained(self, run: Checkpoint, *, threads: int, precision: str) -> TrainedTagger:
        """The tagger of a checkpoint; see `Task.trained`."""
        from charrnn.tasks.trained_tagger import TrainedTagger

        return TrainedTagger.of(run, threads=threads, precision=precision)

    def options(self, run: Checkpoint) -> Options:
        """The recorded fields of TextConfig and RecordsConfig, and how words are hashed."""
        return {
            **dataclasses.asdict(run.data.text.config), **dataclasses.asdict(run.data.records),
            "char_ngrams": run.model.char_ngrams,
        }  # fmt: skip


TASK = Tag()

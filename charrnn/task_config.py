"""The options of the tasks other than language models: networks, and how records are read. See `config.py`."""

from __future__ import annotations

from dataclasses import dataclass, fields

from charrnn.config import MODEL, MOST_UNITS, TASK, TEXT, UNITS, RecurrentConfig, require_encoding
from charrnn.errors import UsageError
from charrnn.settings import check_settings, require_choice, require_equal, require_range, setting

POOLS = ("last", "mean", "max", "attention")
HEADS = ("softmax", "crf")
MOST_TAGS = 1 << 15
MOST_BUCKETS = 1 << 20
MOST_BEAM = 1000
FORMS = ("none", "nfc", "nfd")
ATTENTIONS = ("dot", "none")
DISTRIBUTIONS = ("auto", "gaussian", "student")
BY_DATA = "by the training part"
MOST_DEGREES = 1000.0
MAX_WINDOW, MAX_HORIZON, MAX_SERIES = 10_000, 10_000, 10_000


@dataclass(frozen=True, slots=True)
class ClassifierConfig(RecurrentConfig):
    """A classifier of sequences: recurrent layers, pooling over each sequence, `dense` layers, a softmax over labels.

    Raises:
        UsageError: a value is out of range.
    """

    labels: int = 2
    bidirectional: bool = setting(True, help="Layers read each sequence in both directions.", group=MODEL)
    pool: str = setting(
        "max", help="How the states of a sequence become one vector (classify).", group=MODEL, choices=POOLS
    )
    dense: tuple[int, ...] = setting(
        (), help="Widths of fully connected ReLU layers below the output.", group=MODEL, low=1, keywords=("none",)
    )

    ngrams: int = setting(
        0,
        help="Longest n-grams of units that the output reads beside the recurrent layers; 0 is none.",
        group=MODEL,
        low=0,
        high=8,
        shown="4; words 2",
    )

    def __post_init__(self) -> None:
        RecurrentConfig.__post_init__(self)
        require_range("number of labels", self.labels, 2)


@dataclass(frozen=True, slots=True)
class TaggerConfig(RecurrentConfig):
    """A tagger: words as sums of their own vector and those of their parts, recurrent layers, `dense` layers, a head.

    The table of vectors has `vocabulary_size` rows for words and `buckets`, a power of two, for parts.

    Raises:
        UsageError: a value is out of range.
    """

    labels: int = 2
    buckets: int = 1
    bidirectional: bool = setting(True, help="Layers read each sequence in both directions.", group=MODEL)
    dense: tuple[int, ...] = setting(
        (), help="Widths of fully connected ReLU layers below the output.", group=MODEL, low=1, keywords=("none",)
    )
    char_ngrams: int = setting(
        3,
        help="Longest n-grams of characters that the vector of a word has a part of; 0: its own vector only (tag).",
        group=MODEL,
        low=0,
        high=8,
    )
    head: str = setting(
        "softmax",
        help="Tags by themselves, or with scores of one after another (tag).",
        group=MODEL,
        choices=HEADS,
        shown="crf where tags are spans",
    )

    def __post_init__(self) -> None:
        RecurrentConfig.__post_init__(self)
        require_range("number of labels", self.labels, 2, MOST_TAGS)
        require_range("number of buckets", self.buckets, 1, MOST_BUCKETS)
        if self.buckets & (self.buckets - 1):
            raise UsageError(f"the number of buckets is {self.buckets}; it must be a power of two")
        require_range("`embedding_size`", self.embedding_size, 1)

    @property
    def rows(self) -> int:
        """Of the table of vectors."""
        return self.vocabulary_size + self.buckets


@dataclass(frozen=True, slots=True)
class TranslatorConfig(RecurrentConfig):
    """An encoder that reads a source in both directions, `hidden_size` / 2 units each, and a decoder as deep.

    `vocabulary_size` is that of the outputs; both embeddings have the width `embedding_size`.

    Raises:
        UsageError: a value is out of range.
    """

    source_vocabulary_size: int = 2
    attention: str = setting(
        "dot",
        help="What the output reads of the source: by dot-product attention at each step, or only its end (translate).",
        group=MODEL,
        choices=ATTENTIONS,
    )
    tie_weights: bool = setting(False, help="Tied weights: the output layer uses the embedding matrix.", group=MODEL)

    def __post_init__(self) -> None:
        RecurrentConfig.__post_init__(self)
        require_range("source vocabulary size", self.source_vocabulary_size, 2)
        require_range("`embedding_size`", self.embedding_size, 1)
        if self.hidden_size % 2:
            raise UsageError(
                f"`hidden_size` is {self.hidden_size}; it must be even: each direction of the encoder has half of it"
            )
        if len(set(self.cells)) > 1:
            raise UsageError(f"`cell` is {','.join(self.cells)}; all layers of a translator have the same: name one")
        if self.tie_weights:
            require_equal("`tie_weights`", "`embedding_size`", self.embedding_size, "`hidden_size`", self.hidden_size)

    @property
    def encoder(self) -> RecurrentConfig:
        """The layers of one direction of the encoder."""
        shared = {field.name: getattr(self, field.name) for field in fields(RecurrentConfig)}
        sizes = {"vocabulary_size": self.source_vocabulary_size, "hidden_size": self.hidden_size // 2}
        return RecurrentConfig(**{**shared, **sizes})


@dataclass(frozen=True, slots=True)
class RecordsConfig:
    """How records of an input and an output are read. `max_length` is in units; 0 is no limit.

    Raises:
        UsageError: a value is not allowed.
    """

    columns: tuple[str, ...] = setting(
        (), help="Columns of a table, by name or number from 1: input, then output.", group=TASK, placeholder="A,B"
    )
    max_length: int = setting(
        0,
        help="Longer training examples are cut to so many units; 0 is no limit.",
        group=TASK,
        low=0,
        high=MOST_UNITS,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.columns and len(self.columns) != 2:
            raise UsageError(f"`columns` is {','.join(self.columns)}; it must be two columns, input and output")


@dataclass(frozen=True, slots=True)
class PairsConfig(RecordsConfig):
    """How pairs of texts are read and cut into units; empty texts and numbers below the least stand for what is chosen
    by the training part. `unit` is that of both sides, or two with a comma between them.

    Raises:
        UsageError: a value is not allowed.
    """

    unit: str = setting("", help="What text is cut into.", group=TEXT, shown=BY_DATA)
    pretokenized: bool = setting(False, help="Words are exactly what whitespace separates.", group=TEXT)
    min_count: int = setting(
        0, help="Units seen fewer times are out of vocabulary, <unk>.", group=TEXT, low=1, high=MOST_UNITS
    )
    max_vocab: int = setting(
        -1, help="The most units to tell apart; 0 is no limit.", group=TEXT, low=0, high=MOST_UNITS
    )
    encoding: str = setting("utf-8", help="Encoding of the corpus.", group=TEXT, placeholder="NAME")
    errors: str = setting("strict", help="What to do with invalid bytes.", group=TEXT, choices=("strict", "replace"))
    normalize: str = setting(
        "auto", help="Composed characters: as they are, composed (nfc), or taken apart (nfd) (translate).", group=TEXT,
        choices=("auto", *FORMS), shown="auto: apart where far fewer are left",
    )  # fmt: skip

    def __post_init__(self) -> None:
        RecordsConfig.__post_init__(self)
        require_encoding(self.encoding)
        for unit in self.units:
            require_choice("`unit`", unit, UNITS)
        if len(self.units) > 2:
            raise UsageError(f"`unit` is {self.unit}; it must be one unit, or two: that of the input, then the output")
        if self.pretokenized and self.units and "word" not in self.units:
            raise UsageError(f"`pretokenized` is for `unit` word, and `unit` is {self.unit}; leave it out")

    @property
    def units(self) -> tuple[str, ...]:
        """The units that were given: none, one or two."""
        return tuple(self.unit.split(",")) if self.unit else ()


@dataclass(frozen=True, slots=True)
class ForecasterConfig(RecurrentConfig):
    """A forecaster of `series` numbers a row, from `lags` changes of each and `features` beside the recurrent layers.

    `degrees` of freedom of Student's t, 0 for the Gaussian; `baseline_lags`: rows that the regression reads with which
    it is compared.

    Raises:
        UsageError: a value is out of range.
    """

    series: int = 1
    lags: int = 1
    features: int = 1
    baseline_lags: int = 1
    degrees: float = 0.0
    dense: tuple[int, ...] = setting(
        (), help="Widths of fully connected ReLU layers below the output.", group=MODEL, low=1, keywords=("none",)
    )

    def __post_init__(self) -> None:
        RecurrentConfig.__post_init__(self)
        require_range("number of series", self.series, 1, MAX_SERIES)
        require_range("number of lags", self.lags, 1, MAX_WINDOW)
        require_range("number of features", self.features, 1)
        require_range("number of lags of the baseline", self.baseline_lags, 1, MAX_WINDOW)
        require_range("degrees of freedom", self.degrees, 0, MOST_DEGREES)
        if self.degrees and (self.degrees < 3 or self.degrees != int(self.degrees)):
            raise UsageError(f"degrees of freedom are {self.degrees:g}; they must be 0 or a whole number from 3 on")
        if self.embedding_size:
            raise UsageError("`embedding_size` is for text, and a forecaster reads numbers; leave it out")


@dataclass(frozen=True, slots=True)
class SeriesConfig:
    """How tables of numbers are read and forecast; 0 and empty texts stand for what is chosen by the training part.

    Raises:
        UsageError: a value is not allowed.
    """

    columns: tuple[str, ...] = setting(
        (), help="Columns of a table, by name or number from 1: input, then output.", group=TASK, placeholder="A,B"
    )
    group: str = setting(
        "", help="Column that names sequences, each a history of its own (forecast).", group=TASK, placeholder="NAME"
    )
    season: int = setting(
        0, help="Rows of a season; 1 is none (forecast).", group=TASK, low=1, high=MAX_WINDOW, shown=BY_DATA
    )
    window: int = setting(
        0, help="Most rows that a forecast reads (forecast).", group=TASK, low=2, high=MAX_WINDOW, shown=BY_DATA
    )
    horizon: int = setting(1, help="Rows that are forecast (forecast).", group=TASK, low=1, high=MAX_HORIZON)
    distribution: str = setting(
        "auto", help="Distribution of the next numbers (forecast).", group=TASK, choices=DISTRIBUTIONS
    )
    encoding: str = setting("utf-8", help="Encoding of the corpus.", group=TEXT, placeholder="NAME")
    errors: str = setting("strict", help="What to do with invalid bytes.", group=TEXT, choices=("strict", "replace"))

    def __post_init__(self) -> None:
        check_settings(self)
        require_encoding(self.encoding)

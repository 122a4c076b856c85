"""The options of the tasks other than language models: networks, and how records are read. See `config.py`."""

from __future__ import annotations

from dataclasses import dataclass

from charrnn.config import MODEL, TASK, RecurrentConfig
from charrnn.errors import UsageError
from charrnn.settings import check_settings, require_range, setting

POOLS = ("last", "mean", "max", "attention")
HEADS = ("softmax", "crf")
MOST_TAGS = 1 << 15
MOST_BUCKETS = 1 << 20


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
class RecordsConfig:
    """How records of an input and an output are read. `max_length` is in units; 0 is no limit.

    Raises:
        UsageError: a value is not allowed.
    """

    columns: tuple[str, ...] = setting(
        (), help="Columns of a table, by name or number from 1: input, then output.", group=TASK, placeholder="A,B"
    )
    max_length: int = setting(
        0, help="Longer training examples are cut to so many units; 0 is no limit.", group=TASK, low=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.columns and len(self.columns) != 2:
            raise UsageError(f"`columns` is {','.join(self.columns)}; it must be two columns, input and output")

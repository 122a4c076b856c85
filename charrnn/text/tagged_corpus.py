"""A corpus of tagged sentences, encoded once into arrays; vocabulary and tags of its training part."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.settings import listed
from charrnn.text.coding import code_points, smallest_type
from charrnn.text.corpus import combined_digest, require_readable_once, require_same_unit
from charrnn.text.fields import shown
from charrnn.text.holdout import LineSplit
from charrnn.text.reader import Source
from charrnn.text.tag_schemes import IOB1, as_iob2, looks_like_iob1, scheme_of
from charrnn.text.tagged import Columns, Sentence, SentenceReader
from charrnn.text.units import LINE_END, PRETOKENIZED
from charrnn.text.vocabulary import UNKNOWN, Vocabulary
from charrnn.text.word_parts import Parts, hash_words

MOST_BUCKETS = 1 << 17
SHOWN_TAGS = 5  # in a message
HASHED_AT_ONCE = 1000  # sentences
LONG_SENTENCE = 500  # tokens; in longer ones blank lines are missing, probably


class Words(NamedTuple):
    """All spellings of a corpus: ids (words) in the vocabulary, 0 where a word is not in it; counts (words): how often
    each occurs in the training part; parts: the hashes of each one's parts."""

    ids: NDArray[np.int32]
    counts: NDArray[np.int64]
    parts: Parts


class TagSet(NamedTuple):
    """The tags of a model in the order of their numbers, and how they mark spans, see `tag_schemes`.

    usual: the number of the most frequent tag of each word of the vocabulary; of the unknown word, of all tags.
    `others`: tags that only the validation part has, numbered -1, -2, … there.
    """

    labels: tuple[str, ...]
    scheme: str
    usual: tuple[int, ...]
    others: tuple[str, ...] = ()


@dataclass
class TaggedPart:
    """Sentences one after the other.

    ids (tokens): the number of each token's spelling in `words`, in the smallest unsigned type. offsets (sentences +
    1): sentence n is ids[offsets[n] : offsets[n + 1]], one token or more. tags (tokens) int32: their numbers in
    `tagset`, negative where a tag is unknown.
    """

    ids: NDArray[np.unsignedinteger]
    offsets: NDArray[np.int64]
    tags: NDArray[np.int32]
    words: Words
    tagset: TagSet

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    @functools.cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each sentence (sentences)."""
        return np.diff(self.offsets)

    def sizes(self) -> dict[str, Any]:
        """Sentences, tokens, and tokens of unknown tags, for logs and checkpoints."""
        return {
            "sentences": len(self.lengths), "tokens": len(self.ids), "unknown_tags": int((self.tags < 0).sum())
        }  # fmt: skip


@dataclass
class TaggedCorpus:
    """Tagged sentences; `notes` are for the user. The parts of words have `buckets` rows in a table, n-grams of at most
    `longest` characters, see `word_parts`."""

    vocabulary: Vocabulary
    tagset: TagSet
    config: TextConfig
    train: TaggedPart
    validation: TaggedPart | None
    longest: int
    buckets: int
    digest: str
    notes: list[str] = field(default_factory=list)
    columns: tuple[str | int, ...] = ()

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of each part, for logs and checkpoints."""
        parts = {"training": self.train, "validation": self.validation}
        return {"digest": self.digest, **{name: part.sizes() for name, part in parts.items() if part is not None}}


class Gathered:
    """The sentences of some files: numbers of their spellings and tags, in the order of first appearance."""

    def __init__(self, split: LineSplit | None) -> None:
        self.spellings: dict[str, int] = {}
        self.tags: dict[str, int] = {}
        self.hashes: list[NDArray[np.uint64]] = []
        self._split = split
        self._waiting: list[str] = []
        self.ids, self.labels, self.lengths = array("I"), array("I"), array("q")

    def read(self, reader: SentenceReader, notes: list[str]) -> str:
        """Add the sentences of a file, and remarks on it to `notes`; returns its digest."""
        spellings, tags = self.spellings, self.tags
        for sentence in reader:
            self.ids.extend([spellings.setdefault(token, len(spellings)) for token in sentence.tokens])
            self.labels.extend([tags.setdefault(tag, len(tags)) for tag in sentence.tags])
            self.lengths.append(len(sentence.tokens))
            self._hash(sentence)
        self._hash(None)
        notes.extend(f"{reader.name}: {remark}" for remark in reader.remarks())
        return reader.digest.sha256.hexdigest()

    def _hash(self, sentence: Sentence | None) -> None:
        """Hash the tokens of a sentence for the split; None: those that still wait."""
        if self._split is None:
            return
        if sentence is not None:
            self._waiting.append(" ".join(sentence.tokens))
        if self._waiting and (sentence is None or len(self._waiting) == HASHED_AT_ONCE):
            self.hashes.append(self._split.hashes(code_points(LINE_END.join([*self._waiting, ""])))[0])
            self._waiting.clear()

    def tags_by_sentence(self) -> Iterator[list[str]]:
        """The tags of each sentence."""
        names, place = list(self.tags), 0
        for length in self.lengths:
            yield [names[tag] for tag in self.labels[place : place + length]]
            place += length

    def convert(self) -> None:
        """Turn the tags, IOB1, into IOB2."""
        place = 0
        for tags in self.tags_by_sentence():
            new = [self.tags.setdefault(tag, len(self.tags)) for tag in as_iob2(tags)]
            self.labels[place : place + len(new)] = array("I", new)
            place += len(new)


def load_tagged(
    paths: Sequence[str],
    config: TextConfig,
    *,
    longest: int,
    buckets: int | None = None,
    columns: Columns | None = None,
    val_path: str | None,
    val_fraction: float,
    seed: int,
    vocabulary: Vocabulary | None = None,
    tagset: TagSet | None = None,
) -> TaggedCorpus:
    """Read and encode the sentences of the files `paths` ("-" is stdin); see `tagged.SentenceReader` for their format.

    The validation part is the file `val_path`, or else the sentences whose tokens, hashed with `seed`, fall in
    `val_fraction` of all hashes, so that duplicates stay together. Vocabulary and tags are those of the training part
    unless they are given. Of the parts of words, n-grams have at most `longest` characters; without `buckets` there are
    about as many as there are different parts.

    Raises:
        CharrnnError: a file is unreadable or empty, a line is malformed, there is one tag only, or a training file has
            a tag that is not in the given `tagset`.
        UsageError: stdin is given twice, or `columns` are not two columns.
    """
    require_readable_once([*paths] if val_path is None else [*paths, val_path])
    if vocabulary is not None:
        require_same_unit(vocabulary, config)
    split = LineSplit(val_fraction, seed) if val_path is None and val_fraction > 0 else None
    gathered = Gathered(split)
    notes: list[str] = []
    digests = [_read(path, gathered, config, columns, notes) for path in paths]
    read = len(gathered.lengths)
    scheme = tagset.scheme if tagset else scheme_of(gathered.tags, looks_like_iob1(gathered.tags_by_sentence()))
    if val_path is not None:
        digests.append(_read(val_path, gathered, config, columns, notes))
    if scheme == IOB1:
        gathered.convert()
        notes.append("spans begin with I (IOB1): the tags are read as IOB2, in which each span begins with B")
    chosen = np.zeros(len(gathered.lengths), np.bool_)
    chosen[read:] = True
    if split is not None:
        split.mend()
        chosen = split.held_out(np.concatenate(gathered.hashes))
        if not chosen.any():
            notes.append("too few different sentences to hold some out: there is no validation part")
    if read == 1 and len(gathered.ids) > LONG_SENTENCE:
        notes.append(
            f"all {len(gathered.ids):,} tokens are one sentence: no blank line, which ends a sentence, was found"
        )
    spellings, names = list(gathered.spellings), list(gathered.tags)
    numbers = np.frombuffer(gathered.ids, np.uintc).astype(smallest_type(max(len(spellings) - 1, 0)))
    tags = np.frombuffer(gathered.labels, np.uintc).astype(np.int32)
    lengths = np.frombuffer(gathered.lengths, np.int64)
    held = np.repeat(chosen, lengths)
    counts = np.bincount(numbers[~held], minlength=len(spellings))
    labels = _by_frequency(names, tags[~held]) if tagset is None else tagset.labels
    others = [name for name in names if name not in labels]
    places = {name: number for number, name in enumerate(labels)} | {name: -1 - n for n, name in enumerate(others)}
    tags = np.array([places[name] for name in names], np.int32)[tags]
    _check_tags(tags[~held], labels, others, ", ".join(paths), learned=tagset is None)
    vocabulary = vocabulary or _learn(spellings, counts, config)
    ids = vocabulary.ids_of(spellings)
    words = Words(ids, counts, hash_words(spellings, longest))
    if tagset is None:
        usual = most_frequent_tags(ids[numbers[~held]], tags[~held], len(vocabulary), len(labels))
        tagset = TagSet(labels, scheme, tuple(usual.tolist()))
    tagset = tagset._replace(others=tuple(others))
    train = TaggedPart(numbers[~held], np.append(0, np.cumsum(lengths[~chosen])), tags[~held], words, tagset)
    validation = None
    if chosen.any():
        validation = TaggedPart(numbers[held], np.append(0, np.cumsum(lengths[chosen])), tags[held], words, tagset)
        if unknown := validation.sizes()["unknown_tags"]:
            notes.append(f"tokens of the validation part whose tag the training part has not: {unknown:,}")
    return TaggedCorpus(
        vocabulary, tagset, config, train, validation, longest, buckets or choose_buckets(words.parts),
        combined_digest(digests), notes, tuple(columns or ()),
    )  # fmt: skip


def choose_buckets(parts: Parts) -> int:
    """A power of two that is about the number of different parts."""
    different = len(np.unique(parts.hashes))
    return min(1 << max(different - 1, 0).bit_length(), MOST_BUCKETS)


def most_frequent_tags(
    ids: NDArray[np.int32], tags: NDArray[np.int32], words: int, labels: int
) -> NDArray[np.int32]:  # fmt: skip
    """The most frequent tag of each id (words), of several the one of the lowest number; 0 for ids that never occur and
    for the unknown word. ids, tags (tokens)."""
    pairs, counts = np.unique(ids.astype(np.int64) * labels + tags, return_counts=True)
    order = np.lexsort((-pairs, counts))  # the best of each id comes last
    usual = np.zeros(words, np.int32)
    usual[pairs[order] // labels] = pairs[order] % labels
    usual[UNKNOWN] = 0
    return usual


def _read(path: str, gathered: Gathered, config: TextConfig, columns: Columns | None, notes: list[str]) -> str:
    with contextlib.closing(Source(path, Path(tempfile.gettempdir()))) as source:
        return gathered.read(SentenceReader(source, config, columns), notes)


def _learn(spellings: Sequence[str], counts: NDArray[np.int64], config: TextConfig) -> Vocabulary:
    """The vocabulary of the training part. Words with white space in them have their parts only."""
    found = {
        word: count
        for word, count in zip(spellings, counts.tolist(), strict=True)
        if count and PRETOKENIZED.fullmatch(word)
    }
    return Vocabulary.learn(found, config)


def _by_frequency(names: Sequence[str], tags: NDArray[np.int32]) -> tuple[str, ...]:
    """The tags of the training part, the most frequent first."""
    counts = np.bincount(tags, minlength=len(names)).tolist()
    found = sorted((-count, tag) for tag, count in zip(names, counts, strict=True) if count)
    return tuple(tag for _, tag in found)


def _check_tags(
    tags: NDArray[np.int32], labels: Sequence[str], others: Sequence[str], name: str, *, learned: bool
) -> None:  # fmt: skip
    """Raise `CharrnnError` unless the tags of the training part can be learned."""
    if not learned and (tags < 0).any():
        known = listed([*map(shown, labels)], SHOWN_TAGS)
        raise CharrnnError(
            f"{name}: the tag {shown(others[-1 - int(tags.min())])} is not one of the {len(labels)} of the model to "
            f"start from ({known}); train a new model"
        )
    if learned and len(labels) < 2:
        raise CharrnnError(
            f"{name}: all tokens to train on have the tag {shown(labels[0])}; there must be two different ones"
        )

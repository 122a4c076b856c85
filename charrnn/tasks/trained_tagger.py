"""A trained tagger: predicts the tags of sentences, and says how probable tags are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.checkpoint import Checkpoint
from charrnn.errors import NotFiniteError
from charrnn.tasks.arguments import all_words
from charrnn.tasks.tag_format import TaggerSides
from charrnn.text.packing import by_length, ranges
from charrnn.text.tag_schemes import IOB1, as_iob2, ill_formed
from charrnn.text.tagged_batches import WordBags, pack_tokens
from charrnn.text.word_parts import hash_words

if TYPE_CHECKING:
    from charrnn.models.tagger import Tagger
    from charrnn.runtime.arrays import Array

# A longer sentence is read in pieces of so many tokens, each with so many of those before and after it as context.
PIECE, CONTEXT = 1 << 13, 1 << 8


class TaggedSentence(NamedTuple):
    """The words of a sentence and their most probable tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class Analysis(NamedTuple):
    """What the network says of a sentence: ids (tokens) of its words, 0 where unknown, and the numbers (tokens) of its
    most probable tags; `logprob` is that of the tags that were given, in nats, None where one is unknown or none were.
    """

    ids: NDArray[np.int32]
    best: NDArray[np.int32]
    logprob: float | None


class TrainedTagger:
    """A trained tagger. It is immutable, and several threads may use it at once: calls wait for each other.

    Results do not depend on the number of threads, nor on the other sentences of a call. Sentences of any length are
    tagged as a whole; of more than `PIECE` tokens the layers see pieces with some context.
    """

    task = "tag"

    def __init__(self, network: Tagger, sides: TaggerSides) -> None:
        self.network, self.sides, self.tagset = network, sides, sides.tagset
        self.labels = sides.tagset.labels
        self.vocabulary, self.unit = sides.text.vocabulary, sides.text.vocabulary.unit
        self._wrong = ill_formed(self.labels, self.tagset.scheme)
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, threads: int = 1, precision: str = "float32") -> TrainedTagger:
        """The tagger of a checkpoint; `precision` as for language models.

        Raises UsageError for `threads` out of range or an unknown `precision`.
        """
        from charrnn.models.tagger import Tagger
        from charrnn.runtime.precision import uses_bfloat16

        network = Tagger(checkpoint.model, threads=threads, bfloat16=uses_bfloat16(threads, precision))
        network.load(checkpoint.weights)
        return cls(network, checkpoint.data)

    def __repr__(self) -> str:
        """What the model is made of, in short."""
        config, words = self.network.config, len(self.vocabulary)
        made = f"{','.join(config.cells)} of {config.hidden_size}, {words} words"
        return f"<TrainedTagger: {made}, {len(self.labels)} tags>"

    def predict(self, sentences: Iterable[str | Sequence[str]]) -> list[TaggedSentence]:
        """The most probable tags of each sentence, in order: a list of words, or a text that white space separates.

        Raises UsageError for a single text and for what is no sentence, CharrnnError where the model computes numbers
        that are not finite.
        """
        words = all_words("`sentences`", sentences)
        return [
            TaggedSentence(tuple(tokens), tuple(map(self.labels.__getitem__, found.best.tolist())))
            for tokens, found in zip(words, self.analyse(words), strict=True)
        ]

    def as_read(self, tags: Sequence[str]) -> list[str]:
        """The tags of a sentence as training read them: IOB1 as IOB2."""
        return as_iob2(tags) if self.tagset.scheme == IOB1 else list(tags)

    def analyse(
        self, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]] | None = None
    ) -> list[Analysis]:  # fmt: skip
        """The analysis of each sentence, and of its `tags` if given. Raises CharrnnError as `predict`."""
        empty = Analysis(np.zeros(0, np.int32), np.zeros(0, np.int32), 0.0 if tags is not None else None)
        found = [empty] * len(sentences)
        filled = [n for n, sentence in enumerate(sentences) if len(sentence)]
        if not filled:
            return found
        lengths = np.array([len(sentences[n]) for n in filled], np.int64)
        numbers: defaultdict[str, int] = defaultdict()
        numbers.default_factory = numbers.__len__  # a new word has the next number
        tokens = chain.from_iterable(sentences)
        flat = np.fromiter(map(numbers.__getitem__, tokens), np.int64, int(lengths.sum()))
        words = list(numbers)
        ids = self.vocabulary.ids_of(words)
        config = self.network.config
        bags = WordBags(ids, hash_words(words, config.char_ngrams), config.vocabulary_size, config.buckets)
        stops = np.cumsum(lengths)
        for chosen, logits in self._logits(flat, lengths, bags):
            sizes = lengths[chosen]
            best = self.network.best_tags(logits, sizes, self._wrong)
            logprobs: list[float | None] = [None] * len(chosen)
            if tags is not None:
                true = [self._numbers.get(tag, -1) for n in chosen.tolist() for tag in self.as_read(tags[filled[n]])]
                true_tags = np.array(true, np.int32)
                known = np.logical_and.reduceat(true_tags >= 0, np.cumsum(sizes) - sizes).tolist()
                values = self.network.log_probs(logits, np.maximum(true_tags, 0), sizes).tolist()
                logprobs = [value if good else None for value, good in zip(values, known, strict=True)]
            own = ids[flat[ranges(stops[chosen] - sizes, sizes)]]
            end = 0
            for n, size, logprob in zip(chosen.tolist(), sizes.tolist(), logprobs, strict=True):
                begin, end = end, end + size
                found[filled[n]] = Analysis(own[begin:end], best[begin:end], logprob)
        return found

    def _logits(
        self, words: NDArray[np.int64], lengths: NDArray[np.int64], bags: WordBags
    ) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """The numbers of some of the sentences, and the logits (tokens, L) of their tokens, one after the other."""
        stops = np.cumsum(lengths)
        for chosen in by_length(lengths):
            if lengths[chosen[0]] > PIECE:
                start = int(stops[chosen[0]] - lengths[chosen[0]])
                logits = self._in_pieces(words[start : start + int(lengths[chosen[0]])], bags)
            else:
                sizes = lengths[chosen]
                logits = self._of(words[ranges(stops[chosen] - sizes, sizes)], sizes, bags)
            if not np.isfinite(logits).all():
                raise NotFiniteError
            yield chosen, logits

    def _of(self, words: NDArray[np.int64], lengths: NDArray[np.int64], bags: WordBags) -> Array:
        batch, places = pack_tokens(words, lengths, None, bags)
        found: Array = self.network.logits(batch).reshape(-1, len(self.labels))[places]
        return found

    def _in_pieces(self, words: NDArray[np.int64], bags: WordBags) -> Array:
        """The logits (tokens, L) of a long sentence."""
        found = []
        for start in range(0, len(words), PIECE):
            first, stop = max(0, start - CONTEXT), min(len(words), start + PIECE)
            piece = words[first : stop + CONTEXT]
            found.append(self._of(piece, np.array([len(piece)], np.int64), bags)[start - first : stop - first])
        return np.concatenate(found)

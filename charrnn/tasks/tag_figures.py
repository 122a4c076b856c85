"""Figures of predicted tags: accuracy, and precision, recall and F1 of spans as the script conlleval counts them.

Tjong Kim Sang and Buchholz 2000, "Introduction to the CoNLL-2000 shared task: chunking". A span is right if its first
token, its last token and its type are. Tags that are not well formed make spans, too: one begins wherever a tag of
another type, or `I` or `E` after `O`, `E` or `S`, stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.text.tag_schemes import LETTERS, NONE, split_tag
from charrnn.text.tagged_corpus import TagSet

_O, _B, _I, _E, _S = range(len(LETTERS))
Numbers = NDArray[np.int32]


def spans(letters: Numbers, kinds: Numbers, lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last token (spans) of each span.

    letters, kinds (tokens): of the tags of sentences one after the other, of these lengths; kinds of `O` are -1.
    """
    ends = np.cumsum(lengths)
    before, after = np.full_like(letters, _O), np.full_like(letters, _O)
    kind_before, kind_after = np.full_like(kinds, -1), np.full_like(kinds, -1)
    before[1:], kind_before[1:] = letters[:-1], kinds[:-1]
    after[:-1], kind_after[:-1] = letters[1:], kinds[1:]
    before[(ends - lengths)[lengths > 0]], kind_before[(ends - lengths)[lengths > 0]] = _O, -1
    after[ends[lengths > 0] - 1], kind_after[ends[lengths > 0] - 1] = _O, -1
    inside = letters != _O
    begins = np.isin(letters, (_B, _S)) | np.isin(before, (_O, _E, _S)) | (kind_before != kinds)
    stops = np.isin(letters, (_E, _S)) | np.isin(after, (_O, _B, _S)) | (kind_after != kinds)
    return np.flatnonzero(inside & begins), np.flatnonzero(inside & stops)


def ratios(right: float, found: float, support: float) -> dict[str, float]:
    """Precision, recall and F1, each 0 where it is not defined."""
    precision, recall = right / found if found else 0.0, right / support if support else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


@dataclass
class TagFigures:
    """Figures over many sentences, which are added in any number of pieces. Tags are numbers in `tagset`; of those that
    it has not, -1 - n is the n-th of `others`."""

    tagset: TagSet
    others: list[str] = field(default_factory=list)
    sentences: int = 0
    tokens: int = 0
    right: int = 0
    baseline: int = 0
    unknown: int = 0
    unknown_right: int = 0
    _counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # of each type: right, found, support

    def add(self, true: Numbers, predicted: Numbers, words: Numbers, lengths: NDArray[np.int64]) -> None:
        """Add sentences one after the other: true and predicted tags and ids of words (tokens), lengths (sentences)."""
        self.sentences += len(lengths)
        self.tokens += len(true)
        right, unknown = true == predicted, words == 0
        self.right += int(right.sum())
        self.baseline += int((np.array(self.tagset.usual, np.int32)[words] == true).sum())
        self.unknown += int(unknown.sum())
        self.unknown_right += int((right & unknown).sum())
        if self.tagset.scheme != NONE:
            self._add_spans(true, predicted, lengths)

    def _add_spans(self, true: Numbers, predicted: Numbers, lengths: NDArray[np.int64]) -> None:
        names = [*map(split_tag, [*self.tagset.labels, *reversed(self.others)])]  # -1 is the last one
        kinds = sorted({kind for _, kind in names if kind})
        letter_of = np.array([LETTERS.index(letter) for letter, _ in names], np.int32)
        kind_of = np.array([kinds.index(kind) if kind else -1 for _, kind in names], np.int32)
        first, last = spans(letter_of[true], kind_of[true], lengths)
        found_first, found_last = spans(letter_of[predicted], kind_of[predicted], lengths)
        same_first, mine, theirs = np.intersect1d(first, found_first, assume_unique=True, return_indices=True)
        right = (last[mine] == found_last[theirs]) & (kind_of[true][same_first] == kind_of[predicted][same_first])
        counted = (
            kind_of[true][same_first[right]], kind_of[predicted][found_first], kind_of[true][first]
        )  # fmt: skip
        rows = np.stack([np.bincount(numbers, minlength=len(kinds)) for numbers in counted], axis=1)
        for kind, row in zip(kinds, rows, strict=True):
            self._counts[kind] = self._counts.get(kind, np.zeros(3, np.int64)) + row

    def brief(self) -> dict[str, float]:
        """`accuracy`, `f1` where tags are spans, `baseline_accuracy`: for training."""
        found = self.as_dict()
        return {name: found[name] for name in ("accuracy", "f1", "baseline_accuracy") if name in found}

    def as_dict(self) -> dict[str, Any]:
        """All figures, for people and for JSON; what no token says is None."""
        found: dict[str, Any] = {
            "sentences": self.sentences,
            "tokens": self.tokens,
            "accuracy": self.right / self.tokens if self.tokens else None,
            "baseline_accuracy": self.baseline / self.tokens if self.tokens else None,
            "unknown_words": self.unknown,
            "accuracy_unknown": self.unknown_right / self.unknown if self.unknown else None,
        }
        if self.tagset.scheme == NONE:
            return found
        total = sum(self._counts.values(), np.zeros(3, np.int64)).tolist()
        by_kind = {
            kind: {**ratios(*counts.tolist()), "support": int(counts[2])}
            for kind, counts in sorted(self._counts.items())
        }
        overall: dict[str, Any] = ratios(*total) if self.tokens else dict.fromkeys(ratios(*total))
        return {**found, **overall, "spans": by_kind}


def tag_names(tagset: TagSet, numbers: Sequence[int]) -> list[str]:
    """The tags of these numbers."""
    return [tagset.labels[number] for number in numbers]

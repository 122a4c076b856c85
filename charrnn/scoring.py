"""The probability of text: lines in, one score a line out, in order. Prints nothing.

A line is a sentence of its own (zero state, the end-of-line as first input and as last target), or with `stream` a
piece of one long text whose state carries over. Long lines are read in windows, so that memory for the network is
bounded; lines of similar length are scored side by side.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocabulary import EOS, UNKNOWN

if TYPE_CHECKING:
    from charrnn.models import LanguageModel
    from charrnn.text.vocabulary import Vocabulary

_WINDOW = 256  # steps in one call
_POSITIONS = 8192  # steps times lines in one call
_ROWS = 256  # lines in one call


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; `ended` is False for a last line that has none."""

    data: bytes
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Score:
    """What one line costs. Log-probabilities in nats; an end-of-line is one token, one byte and one character.

    In `logprob` unknown units are spelled out; in `logprob_unk` they cost the unknown token only;
    `logprob_known` is `logprob` without the `oov` units. The lists are filled on request: each unit as text (byte
    models: two hexadecimal digits), its log-probability and whether it is out of vocabulary.
    """

    data: bytes
    tokens: int
    oov: int
    bytes: int
    characters: int
    logprob: float
    logprob_unk: float
    logprob_known: float
    units: tuple[str, ...] = ()
    unit_logprobs: tuple[float, ...] = ()
    unit_oov: tuple[bool, ...] = ()

    @property
    def bits_per_byte(self) -> float:
        return bits(self.logprob, self.bytes)

    @property
    def bits_per_character(self) -> float:
        return bits(self.logprob, self.characters)

    @property
    def perplexity(self) -> float:
        return perplexity(self.logprob, self.tokens)


def bits(logprob: float, count: int) -> float:
    """Bits for each of `count` things; 0 where there are none."""
    return -logprob / (count * math.log(2)) + 0.0 if count else 0.0


def perplexity(logprob: float, count: int) -> float:
    """exp(-logprob / count), finite; 1 where nothing was counted."""
    if not count:
        return 1.0
    return math.exp(min(-logprob / count, math.log(sys.float_info.max)))


@dataclass(slots=True)
class Summary:
    """The sum of many scores."""

    lines: int = 0
    tokens: int = 0
    oov: int = 0
    bytes: int = 0
    characters: int = 0
    logprob: float = 0.0
    logprob_unk: float = 0.0
    logprob_known: float = 0.0

    def add(self, score: Score) -> None:
        """Count one line."""
        self.lines += 1
        for name in ("tokens", "oov", "bytes", "characters", "logprob", "logprob_unk", "logprob_known"):
            setattr(self, name, getattr(self, name) + getattr(score, name))

    def as_dict(self, log_unit: float = 1.0) -> dict[str, Any]:
        """The summary as it is printed; `log_unit` is the logarithm of the base in which `logprob` is given."""
        return {
            "lines": self.lines,
            "tokens": self.tokens,
            "oov": self.oov,
            "bytes": self.bytes,
            "characters": self.characters,
            "logprob": self.logprob / log_unit + 0.0,
            "bits_per_byte": bits(self.logprob, self.bytes),
            "bits_per_character": bits(self.logprob, self.characters),
            "perplexity": perplexity(self.logprob, self.tokens),
            "perplexity_unk": perplexity(self.logprob_unk, self.tokens),
            "perplexity_without_oov": perplexity(self.logprob_known, self.tokens - self.oov),
        }


def score_lines(
    model: LanguageModel,
    vocabulary: Vocabulary,
    chunks: Iterable[Sequence[Line]],
    *,
    stream: bool = False,
    per_token: bool = False,
) -> Iterator[list[Score]]:
    """Score each chunk of lines as it comes; the scores of a chunk are in its order."""
    # A model that starts every line afresh gives the same scores to the lines of a stream in any order.
    carried = _Stream(model) if stream and model.boundary != EOS else None
    for chunk in chunks:
        lines = [_Encoded(vocabulary, line, ended=line.ended or not stream) for line in chunk]
        if carried is None:
            _score_sentences(model, lines, per_token)
        else:
            carried.score(lines, per_token)
        yield [line.score(vocabulary, per_token) for line in lines]


class _Encoded:
    """A line as unit ids, and the sums over them as they are gathered window by window."""

    def __init__(self, vocabulary: Vocabulary, line: Line, *, ended: bool) -> None:
        self.data = line.data
        self.ended = ended
        self.text = line.data.decode("utf-8", "replace")
        ids = vocabulary.encode(line.data if vocabulary.unit == "byte" else self.text)
        # An end-of-line, the line, its own end: all but the last unit are inputs, all but the first are targets.
        self.units = np.full(len(ids) + 1 + ended, EOS, np.int32)
        self.units[1 : len(ids) + 1] = ids
        self.total = 0.0
        self.kept: list[NDArray[np.float64]] = []
        # Where the unknown units are, what their spelling adds, and which of them are out of vocabulary.
        self.unknown = np.flatnonzero(ids == UNKNOWN)
        self.spelling = np.zeros(0)
        self.oov = np.zeros(0, np.bool_)
        self.unknown_total = 0.0  # log P(<unk>) summed over those out of vocabulary
        if len(self.unknown):
            units = vocabulary.split(self.text)
            unknown = [units[position] for position in self.unknown]
            self.spelling = np.asarray(vocabulary.spelling_log_probs(unknown), np.float64)
            self.oov = np.array([vocabulary.is_oov(unit) for unit in unknown])

    def __len__(self) -> int:
        return len(self.units) - 1

    def add(self, start: int, log_probs: NDArray[np.float64], per_token: bool) -> None:
        """Take the log-probabilities (n,) of the targets from `start` on."""
        self.total = _add(self.total, log_probs)
        if len(self.unknown):
            first, last = np.searchsorted(self.unknown, [start, start + len(log_probs)])
            here = self.unknown[first:last][self.oov[first:last]] - start
            self.unknown_total = _add(self.unknown_total, log_probs[here])
        if per_token:
            self.kept.append(log_probs.copy())

    def score(self, vocabulary: Vocabulary, per_token: bool) -> Score:
        oov = int(self.oov.sum())
        logprob = self.total + float(self.spelling.sum())
        ending = int(self.ended)
        lists: dict[str, Any] = {}
        if per_token:
            values = np.concatenate([*self.kept, np.zeros(0)])
            values[self.unknown] += self.spelling
            flags = np.zeros(len(values), np.bool_)
            flags[self.unknown] = self.oov
            lists = {
                "units": tuple(self._split(vocabulary)),
                "unit_logprobs": tuple((values + 0.0).tolist()),
                "unit_oov": tuple(flags.tolist()),
            }
        return Score(
            data=self.data,
            tokens=len(self),
            oov=oov,
            bytes=len(self.data) + ending,
            characters=len(self.text) + ending,
            logprob=logprob + 0.0,
            logprob_unk=self.total + 0.0,
            logprob_known=self.total - self.unknown_total + float(self.spelling[~self.oov].sum()) + 0.0,
            **lists,
        )

    def _split(self, vocabulary: Vocabulary) -> list[str]:
        return vocabulary.split(self.data if vocabulary.unit == "byte" else self.text) + ["\n"] * self.ended


def _add(total: float, values: NDArray[np.float64]) -> float:
    """One after another: a pairwise sum would round differently where a window happens to be cut."""
    if not len(values):
        return total
    values = values.copy()
    values[0] += total
    return float(values.cumsum()[-1])


def _score_sentences(model: LanguageModel, lines: Sequence[_Encoded], per_token: bool) -> None:
    """Score lines from the zero state, those of similar length side by side."""
    waiting = sorted((line for line in lines if len(line)), key=len, reverse=True)
    first = 0
    while first < len(waiting):
        rows = min(_ROWS, max(1, _POSITIONS // min(len(waiting[first]), _WINDOW)))
        _score_batch(model, waiting[first : first + rows], per_token)
        first += rows


def _score_batch(model: LanguageModel, lines: Sequence[_Encoded], per_token: bool) -> None:
    """Score lines, the longest first, so that those that go on are always the leading columns."""
    state = model.zero_state(len(lines))
    active, start = len(lines), 0
    while active:
        steps = min(_WINDOW, len(lines[0]) - start)
        inputs = np.full((steps, active), EOS, np.int32)
        targets = np.full((steps, active), EOS, np.int32)
        ends = [min(steps, len(line) - start) for line in lines[:active]]
        for column, (line, end) in enumerate(zip(lines, ends, strict=False)):
            inputs[:end, column] = line.units[start : start + end]
            targets[:end, column] = line.units[start + 1 : start + end + 1]
        log_probs = np.ascontiguousarray(model.log_probs(inputs, targets, state).T)
        for column, (line, end) in enumerate(zip(lines, ends, strict=False)):
            line.add(start, log_probs[column, :end], per_token)
        start += steps
        going = sum(len(line) > start for line in lines[:active])
        if going < active:
            active, state = going, np.ascontiguousarray(state[:, :going])


class _Stream:
    """The state and the last unit of one long text."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.state = model.zero_state(1)
        self.before = EOS

    def score(self, lines: Sequence[_Encoded], per_token: bool) -> None:
        """Score the next lines; short lines share a window."""
        group: list[tuple[_Encoded, int, int]] = []
        size = 0
        for line in lines:
            start = 0
            while start < len(line):
                stop = min(len(line), start + _POSITIONS - size)
                group.append((line, start, stop))
                size += stop - start
                start = stop
                if size == _POSITIONS:
                    self._window(group, per_token)
                    group, size = [], 0
        if group:
            self._window(group, per_token)

    def _window(self, group: Sequence[tuple[_Encoded, int, int]], per_token: bool) -> None:
        targets = np.concatenate([line.units[start + 1 : stop + 1] for line, start, stop in group])
        inputs = np.empty_like(targets)
        inputs[0], inputs[1:] = self.before, targets[:-1]
        self.before = int(targets[-1])
        log_probs = self.model.log_probs(inputs[:, None], targets[:, None], self.state)[:, 0]
        position = 0
        for line, start, stop in group:
            line.add(start, log_probs[position : position + stop - start], per_token)
            position += stop - start

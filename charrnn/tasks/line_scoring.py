"""Scoring: lines in, the log-probability of each out, in order. Prints nothing.

A line is a sentence of its own (zero hidden state, the end-of-line as first input and as last target), or with `stream`
a piece of one long text whose hidden state is carried over.

The score of a sentence depends on its text only. So of the lines that arrive together each distinct one is scored once,
and lines with a common prefix share the network's steps over it: of the 228,000 characters of 32,000 names in
alphabetical order, three out of four belong to a prefix that was there before. `models/prefix_tree.py` computes the
prefix tree; here lines are encoded, and log-probabilities of units are summed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.models import prefix_tree as prefixes
from charrnn.tasks.language_memory import MemoryReader
from charrnn.tasks.score_records import Line, Score, Units
from charrnn.text.reader import whole_words
from charrnn.text.vocabulary import EOS, UNKNOWN

if TYPE_CHECKING:
    from charrnn.models import LanguageModel
    from charrnn.models.memory import Memory
    from charrnn.tasks.dynamic_evaluation import DynamicEvaluation
    from charrnn.text.vocabulary import Vocabulary

_WINDOW = 8192  # steps of a stream in one call
_LONG = 256  # units from which a line is summed by itself
_PIECE = 1 << 20  # bytes of a line scored at once: the arrays for them take some 30 times as many


def score_lines(
    model: LanguageModel,
    vocabulary: Vocabulary,
    chunks: Iterable[Sequence[Line]],
    *,
    stream: bool = False,
    lines: bool = False,
    per_token: bool = False,
    memory: Memory | None = None,
    adapt: bool = False,
) -> Iterator[list[Score]]:
    """Score each chunk of lines as it comes; yields the scores of a chunk in its order.

    `stream`: the lines are one text. `lines`: the model was trained on lines, each a text of its own, so that the state
    is reset at each of them even in a stream. `per_token`: scores list their units. `memory`: a memory of the
    corpus beside the model; with `adapt` a copy of it learns from each unit that was scored, in the order of the lines.
    Without a memory, a copy of the network learns, see `dynamic_evaluation`.
    Raises CharrnnError where a log-probability is not finite.
    """
    reader = None if memory is None else MemoryReader(memory.copy() if adapt else memory, model, adapt=adapt)
    carried: _Stream | DynamicEvaluation | None = None
    if adapt and memory is None:
        from charrnn.tasks.dynamic_evaluation import DynamicEvaluation

        carried = DynamicEvaluation(model, reset=lines or not stream)
    elif stream and not lines:
        carried = _Stream(model, reader)
    for chunk in chunks:
        scores: list[Score] = []
        for long, part in groupby(chunk, lambda line: len(line.data) > _PIECE):
            if long:
                for line in part:
                    text, ended = carried or _Stream(model, reader), line.ended or not stream
                    scores.append(_score_long(vocabulary, line.data, text, ended, per_token))
                continue
            some = list(part)
            data, ended = [line.data for line in some], some[-1].ended or not stream
            if carried is None:
                scores += _score_apart(model, vocabulary, data, ended, per_token, reader)
            else:
                units = _Lines(vocabulary, data, ended=ended)
                scores += units.scores(carried.log_probs(units.units), per_token)
        yield scores


def _score_apart(
    model: LanguageModel, vocabulary: Vocabulary, data: list[bytes], ended: bool, per_token: bool,
    reader: MemoryReader | None,
) -> list[Score]:  # fmt: skip
    """Scores of independent lines; duplicates and common prefixes are computed once, unless a memory learns."""
    if reader is not None and reader.adapt:
        lines = _Lines(vocabulary, data, ended=ended)
        return lines.scores(reader.line_log_probs(lines.units, lines.lengths), per_token)
    unterminated = [] if ended else [data.pop()]
    distinct = sorted(set(data))  # lines with a common prefix are neighbours
    lines = _Lines(vocabulary, distinct + unterminated, ended=ended)
    if reader is not None:
        log_probs = reader.line_log_probs(lines.units, lines.lengths)
    else:
        log_probs = prefixes.log_probs(model, lines.units, lines.lengths)
    scores = lines.scores(log_probs, per_token)
    found = dict(zip(distinct, scores, strict=False))
    return [*map(found.__getitem__, data), *scores[len(distinct) :]]


def _score_long(
    vocabulary: Vocabulary, data: bytes, text: _Stream | DynamicEvaluation, ended: bool, per_token: bool
) -> Score:  # fmt: skip
    """The score of a line too long to be scored at once, added up over its pieces."""
    parts: list[Score] = []
    for piece in _pieces(vocabulary, data):
        lines = _Lines(vocabulary, [piece], ended=False)
        parts += lines.scores(text.log_probs(lines.units), per_token)
    if ended:
        end = _Lines(vocabulary, [b""], ended=True)
        parts += end.scores(text.log_probs(end.units), per_token)

    def all_of(name: str) -> list[Any]:
        """The field of every part."""
        return [getattr(part, name) for part in parts]

    return Score(
        data,
        tokens=sum(all_of("tokens")),
        oov=sum(all_of("oov")),
        bytes=len(data) + ended,
        characters=sum(all_of("characters")),
        logprob=math.fsum(all_of("logprob")),
        logprob_unk=math.fsum(all_of("logprob_unk")),
        logprob_known=math.fsum(all_of("logprob_known")),
        parts=tuple(chain.from_iterable(all_of("parts"))),
    )


def _pieces(vocabulary: Vocabulary, data: bytes) -> Iterator[bytes]:
    """A line in pieces, cut between units. Words: bytes that are not UTF-8 become U+FFFD."""
    blocks = _blocks(data)
    if vocabulary.unit == "word":
        return (text.encode() for text in whole_words(block.decode("utf-8", "replace") for block in blocks))
    return blocks


def _blocks(data: bytes) -> Iterator[bytes]:
    """`data` in pieces of about `_PIECE` bytes, cut between UTF-8 characters."""
    start = 0
    while start < len(data):
        stop = start + _PIECE
        if stop < len(data):
            # The first byte of a character: continuation bytes, at most three, are 10xxxxxx.
            stop = next((at for at in range(stop, stop - 4, -1) if data[at] & 0xC0 != 0x80), stop)
        yield data[start:stop]
        start = stop


class _Lines:
    """Encoded lines, one after the other; only the last may lack its end-of-line (`ended` False).

    `units` (N + 1,) starts with an end-of-line, the first input. The others are targets; line i has `lengths[i]` of
    them, the last its end-of-line.
    """

    def __init__(self, vocabulary: Vocabulary, data: list[bytes], *, ended: bool) -> None:
        self.vocabulary, self.data, self.ended = vocabulary, data, ended
        # A newline is a unit by itself and part of no other unit or character, so the lines can be encoded together.
        joined = b"\n".join([*data, b""])
        text = joined.decode("utf-8", "replace")
        ids = vocabulary.encode(joined if vocabulary.unit == "byte" else text)
        self.texts = text.split("\n")[:-1]
        self.units = np.concatenate([np.array([EOS], np.int32), ids[: len(ids) - (not ended)]])
        self.lengths = np.diff(np.flatnonzero(ids == EOS), prepend=-1)
        if not ended:
            self.lengths[-1] -= 1

    def scores(self, log_probs: NDArray[np.float64], per_token: bool) -> list[Score]:
        """The score of each line, from the log-probabilities (N,) of all targets.

        Raises CharrnnError where one is not finite.
        """
        if not np.isfinite(log_probs).all():
            raise CharrnnError(
                "the model gives the text no finite probability: its weights are too large or damaged; use another one"
            )
        totals, tokens = _sums(log_probs, self.lengths).tolist(), self.lengths.tolist()
        scores = [
            Score(data, count, 0, len(data) + 1, len(text) + 1, total, total, total)
            for data, text, count, total in zip(self.data, self.texts, tokens, totals, strict=True)
        ]
        if not self.ended:
            scores[-1] = scores[-1]._replace(bytes=len(self.data[-1]), characters=len(self.texts[-1]))
        targets, stops = self.units[1:], np.cumsum(self.lengths)
        detailed: Iterable[int] = range(len(scores))
        if not per_token:
            detailed = np.unique(np.searchsorted(stops, np.flatnonzero(targets == UNKNOWN), side="right")).tolist()
        for line in detailed:
            part = slice(int(stops[line]) - tokens[line], int(stops[line]))
            scores[line] = self._detailed(scores[line], line, targets[part], log_probs[part], per_token)
        return scores

    def _detailed(
        self, score: Score, line: int, ids: NDArray[np.int32], log_probs: NDArray[np.float64], per_token: bool
    ) -> Score:
        """The score of a line with unknown units, whose spelling is added, or with all units listed."""
        text = self.data[line] if self.vocabulary.unit == "byte" else self.texts[line]
        split = partial(_split, self.vocabulary, text, ended=self.ended or line + 1 < len(self.data))
        # Positions of unknown units, the log-probabilities of their spelling, and which are out of vocabulary.
        places = np.flatnonzero(ids == UNKNOWN)
        units = split() if len(places) else ()
        unknown = [units[place] for place in places.tolist()]
        spelling = np.asarray(self.vocabulary.spelling_log_probs(unknown), np.float64)
        oov = np.array([self.vocabulary.is_oov(unit) for unit in unknown], np.bool_)
        score = score._replace(
            oov=int(oov.sum()),
            logprob=score.logprob_unk + float(spelling.sum()) + 0.0,
            logprob_known=score.logprob_unk - _sum(log_probs[places[oov]]) + float(spelling[~oov].sum()) + 0.0,
        )
        if not per_token:
            return score
        values, flags = log_probs + 0.0, np.zeros(len(log_probs), np.bool_)
        values[places] += spelling
        flags[places] = oov
        return score._replace(parts=(Units(split, values.data, cast("Sequence[bool]", flags.data)),))


def _split(vocabulary: Vocabulary, text: str | bytes, *, ended: bool) -> Sequence[str]:
    """The units of a line; bytes for a byte model."""
    if isinstance(text, str) and vocabulary.unit == "char":
        return text + "\n" * ended  # a text is a sequence of characters
    return vocabulary.split(text) + ["\n"] * ended


def _sums(values: NDArray[np.float64], lengths: NDArray[np.intp]) -> NDArray[np.float64]:
    """The sums (L,) of L runs of values (N,), each added from first to last: no bit depends on the other lines."""
    starts = np.cumsum(lengths) - lengths
    totals = np.zeros(len(lengths))
    long = lengths > _LONG
    for run in np.flatnonzero(long):
        totals[run] = _sum(values[starts[run] : starts[run] + lengths[run]])
    runs = np.flatnonzero(~long)
    step = 0
    while len(runs := runs[lengths[runs] > step]):
        totals[runs] += values[starts[runs] + step]
        step += 1
    return totals + 0.0  # no negative zero


def _sum(values: NDArray[np.float64]) -> float:
    """The sum from first to last; `numpy.sum` adds pairwise."""
    return float(values.cumsum()[-1]) if len(values) else 0.0


class _Stream:
    """The hidden state and the last unit of one long text, and the memory's state."""

    def __init__(self, model: LanguageModel, reader: MemoryReader | None) -> None:
        self.model, self.reader = model, reader
        self.state = model.zero_state(1)
        self.memory_state = None if reader is None else reader.memory.start.copy()
        self.before = EOS

    def log_probs(self, units: NDArray[np.int32]) -> NDArray[np.float64]:
        """The log-probabilities (N,) of the next units[1:]; units[0] stands for the last unit of the call before."""
        units = units.copy()
        units[0] = self.before
        self.before = units[-1]
        result = np.empty(len(units) - 1)
        for start in range(0, len(result), _WINDOW):
            part = units[start : start + _WINDOW + 1, np.newaxis]
            if self.reader is None or self.memory_state is None:
                log_probs = self.model.log_probs(part[:-1], part[1:], self.state)[:, 0]
            else:
                log_probs = self.reader.stream_log_probs(part[:-1], part[1:, 0], self.state, self.memory_state)
            result[start : start + _WINDOW] = log_probs
        return result

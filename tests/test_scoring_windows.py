"""Scoring in windows and pieces: streams, batches of lines, chunks as they come, long lines."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.tasks.line_scoring import _Lines, score_lines
from charrnn.tasks.score_records import Line, Score
from charrnn.text.vocabulary import Vocabulary
from tests.test_scoring import BYTES, CHARS, SPACED, WORDS, log_probs, scores
from tests.toy_model import ToyModel, toy_model

LETTERS = [bytes([letter]) for letter in b"abcdefghijklmnopqrst"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("the qux漢\t", max_size=20).map(str.encode), min_size=1, max_size=12),
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
    st.data(),
)
def test_a_stream_is_one_text(lines: list[bytes], ended: bool, apart: bool, window: int, data: Any) -> None:
    if not ended and not lines[-1]:
        lines[-1] = b"x"
    text = b"\n".join(lines) + b"\n" * ended
    expected = log_probs(CHARS.encode(text.decode()).tolist(), CHARS, lines=apart)
    records = [*map(Line, lines[:-1]), Line(lines[-1], ended=ended)]
    cut = data.draw(st.integers(0, len(records)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.tasks.line_scoring._WINDOW", window)
        model = toy_model(CHARS)
        chunks = list(score_lines(model, CHARS, [records[:cut], records[cut:]], stream=True, lines=apart))
    result = [score for chunk in chunks for score in chunk]
    (whole,) = score_lines(toy_model(CHARS), CHARS, [records], stream=True, lines=apart)
    assert result == whole  # where a chunk ends changes no bit
    assert [score.data for score in result] == lines
    assert math.fsum(score.logprob_unk for score in result) == pytest.approx(math.fsum(expected))
    assert sum(score.tokens for score in result) == len(expected)
    assert sum(score.bytes for score in result) == len(text)
    position = 0
    for score in result:
        part = expected[position : position + score.tokens]
        assert score.logprob_unk == pytest.approx(math.fsum(part))
        position += score.tokens


def test_lines_of_a_model_that_resets_are_scored_side_by_side_in_a_stream() -> None:
    model = ToyModel(len(CHARS))
    lines = [Line(b"%c the fox" % first) for first in b"abcdefghij"]
    (result,) = score_lines(model, CHARS, [lines + lines], stream=True, lines=True)  # type: ignore[arg-type]
    assert model.calls == [(1, 1), (9, 10)]
    assert result == scores([line.data for line in lines + lines])


def test_a_line_that_occurs_again_costs_nothing() -> None:
    model = ToyModel(len(CHARS))
    lines = [Line(b"the fox"), Line(b"the"), Line(b"the fox"), Line(b"the", ended=False)]
    (result,) = score_lines(model, CHARS, [lines], stream=True, lines=True)  # type: ignore[arg-type]
    assert model.calls == [(8, 3)]
    assert result[0] == result[2]
    assert (result[1].tokens, result[3].tokens, result[3].bytes, result[3].characters) == (4, 3, 3, 3)
    assert result[3].logprob == pytest.approx(math.fsum(scores([b"the"], per_token=True)[0].unit_logprobs[:3]))


def test_long_lines_are_read_in_windows() -> None:
    model = ToyModel(len(CHARS))
    lines = [Line(b"the quick " * 1000), Line(b"x"), Line(b"the")]
    next(score_lines(model, CHARS, [lines]))  # type: ignore[arg-type]
    assert max(steps * rows for steps, rows in model.calls) <= 8192
    assert sum(steps for steps, _ in model.calls) == 10_001
    stream = ToyModel(len(CHARS))
    next(score_lines(stream, CHARS, [lines], stream=True))  # type: ignore[arg-type]
    assert max(steps for steps, _ in stream.calls) <= 8192


def test_lines_of_similar_length_share_a_batch() -> None:
    model = ToyModel(len(CHARS))
    lines = [Line(first + b"x" * length) for first, length in zip(LETTERS, (3, 200) * 10, strict=True)]
    random.Random(1).shuffle(lines)
    next(score_lines(model, CHARS, [lines]))  # type: ignore[arg-type]
    assert len(model.calls) < 4
    assert sum(steps * rows for steps, rows in model.calls) < 2 * sum(len(line.data) + 1 for line in lines)


def test_chunks_are_answered_before_the_next_is_asked_for() -> None:
    asked = 0

    def chunks() -> Iterator[list[Line]]:
        nonlocal asked
        for _ in range(3):
            asked += 1
            yield [Line(b"the")]

    answers = score_lines(toy_model(CHARS), CHARS, chunks())
    for number in (1, 2, 3):
        next(answers)
        assert asked == number


LONG = (
    "the quick «brown» 漢字 \u3000 fox's 1.5 <unk> zebra\t\t jumps ".encode() * 40
    + b"\xff\xe6\xbc the\x80\x80\x80\x80\x80"
)


@pytest.mark.parametrize("vocabulary", [CHARS, SPACED, WORDS, BYTES], ids=["char", "word", "pretokenized", "byte"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("per_token", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("piece", [50, *(pytest.param(piece, marks=pytest.mark.slow) for piece in (7, 333))])
def test_a_long_line_is_scored_in_pieces(
    vocabulary: Vocabulary, stream: bool, piece: int, per_token: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [[Line(b"the"), Line(LONG), Line(b"fox"), Line(LONG[:400])], [Line(b""), Line(LONG, ended=False)]]

    def found() -> list[Score]:
        model = toy_model(vocabulary)
        found = score_lines(model, vocabulary, chunks, stream=stream, per_token=per_token)
        return [score for chunk in found for score in chunk]

    whole = found()
    seen: list[int] = []
    monkeypatch.setattr("charrnn.tasks.line_scoring._PIECE", piece)
    monkeypatch.setattr("charrnn.text.reader.LONGEST_CARRY", piece)

    def watched(vocabulary: Vocabulary, data: list[bytes], *, ended: bool) -> _Lines:
        seen.append(max(map(len, data)))
        return _Lines(vocabulary, data, ended=ended)

    monkeypatch.setattr("charrnn.tasks.line_scoring._Lines", watched)
    cut = found()
    assert max(seen) <= 2 * piece + 40 < len(LONG)
    assert [score.data for score in whole] == [score.data for score in cut]
    if piece == 7 and vocabulary in (SPACED, WORDS):  # a word longer than a piece is more words than one
        return
    for one, other in zip(whole, cut, strict=True):
        assert one[1:5] == other[1:5]
        assert other[5:8] == pytest.approx(one[5:8], rel=1e-9)
        assert (other.units, other.unit_oov) == (one.units, one.unit_oov)
        assert other.unit_logprobs == pytest.approx(one.unit_logprobs, rel=1e-9)
        assert len(other.units) == (other.tokens if per_token else 0)
    assert (max(len(score.parts) for score in cut) > 2) == per_token

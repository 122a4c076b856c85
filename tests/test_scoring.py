"""Scoring: against sums written out by hand, alone and in company, in windows of every size."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError
from charrnn.models import LanguageModel
from charrnn.tasks.line_scoring import _Lines, score_lines
from charrnn.tasks.score_records import Line, Score, Summary
from charrnn.text.vocabulary import EOS, UNKNOWN, Vocabulary
from tests.toy_model import ToyModel, learn, toy_model

CHARS = learn("the quick brown fox\njumps over the lazy dog, naïve café\n")
WORDS = learn("the cat sat on the mat\nthe dog ran <unk>\nthe <unk> cat\n", "word", pretokenized=True)
SPACED = learn("the cat sat on the mat\nthe dog ran, <unk>\nthe <unk> cat's 1.5\n", "word")
BYTES = learn("", "byte")
LETTERS = [bytes([letter]) for letter in b"abcdefghijklmnopqrst"]


def scores(texts: Sequence[bytes], vocabulary: Vocabulary = CHARS, **options: Any) -> list[Score]:
    (chunk,) = score_lines(toy_model(vocabulary), vocabulary, [[Line(text) for text in texts]], **options)
    return chunk


def log_probs(units: Sequence[int], vocabulary: Vocabulary, *, lines: bool = False) -> list[float]:
    """log P of each unit after the end-of-line and those before it, one step at a time, without the spelling."""
    model = ToyModel(len(vocabulary))
    state, previous, result = model.zero_state(1), EOS, []
    for unit in units:
        if lines and previous == EOS:
            state[:] = 0
        logits = model.logits(model.forward(np.array([[previous]], np.int32), state)[0])[0].astype(np.float64)
        result.append(float(logits[unit] - np.log(np.exp(logits).sum())))
        previous = unit
    return result


def test_a_line_is_a_sentence_with_its_end() -> None:
    (score,) = scores([b"the fox"])
    units = [*CHARS.encode("the fox").tolist(), EOS]
    assert score.logprob == pytest.approx(math.fsum(log_probs(units, CHARS)), rel=1e-9)
    assert (score.tokens, score.oov, score.bytes, score.characters) == (8, 0, 8, 8)
    assert score.bits_per_byte == pytest.approx(-score.logprob / math.log(2) / 8)
    assert score.perplexity == pytest.approx(math.exp(-score.logprob / 8))


def test_an_empty_line_costs_its_end() -> None:
    (score,) = scores([b""])
    assert score.logprob == pytest.approx(log_probs([EOS], CHARS)[0])
    assert (score.tokens, score.bytes, score.characters) == (1, 1, 1)


def test_an_unknown_character_is_spelled_out() -> None:
    (score,) = scores(["a漢b".encode()], per_token=True)
    plain = log_probs([*CHARS.encode("a漢b").tolist(), EOS], CHARS)
    spelling = CHARS.spelling_log_probs(["漢"])[0]
    assert spelling < -10
    assert score.logprob == pytest.approx(math.fsum(plain) + spelling)
    assert score.logprob_unk == pytest.approx(math.fsum(plain))
    assert score.logprob_known == pytest.approx(math.fsum(plain) - plain[1])
    assert (score.tokens, score.oov, score.bytes, score.characters) == (4, 1, 6, 4)
    assert list(score.units) == ["a", "漢", "b", "\n"]
    assert list(score.unit_oov) == [False, True, False, False]
    assert list(score.unit_logprobs) == pytest.approx([plain[0], plain[1] + spelling, plain[2], plain[3]])


def test_a_literal_unknown_token_is_not_out_of_vocabulary() -> None:
    (score,) = scores([b"the <unk> zebra"], WORDS)
    ids = WORDS.encode("the <unk> zebra").tolist()
    assert ids.count(UNKNOWN) == 2
    plain = log_probs([*ids, EOS], WORDS)
    literal, zebra = WORDS.spelling_log_probs(["<unk>", "zebra"])
    assert score.oov == 1
    assert score.logprob == pytest.approx(math.fsum(plain) + literal + zebra)
    assert score.logprob_unk == pytest.approx(math.fsum(plain))
    assert score.logprob_known == pytest.approx(math.fsum(plain) - plain[2] + literal)


@pytest.mark.parametrize("cutoffs", [(), (3,), (2, 5)])
def test_what_a_text_may_begin_with_adds_up_to_one_at_most(cutoffs: tuple[int, ...]) -> None:
    model = LanguageModel(ModelConfig(len(WORDS), ("gru",), 16, cutoffs=cutoffs))
    model.initialise(0)
    model.parameters *= 3
    model.invalidate()

    def begin(word: str) -> Score:
        line = Line(b"", ended=True) if word == "\n" else Line(word.encode(), ended=False)
        ((score,),) = score_lines(model, WORDS, [[line]], stream=True)
        assert score.tokens == 1
        return score

    known = math.fsum(math.exp(begin(word).logprob) for word in WORDS.units if word not in ("<unk>", "<eos>"))
    known += math.exp(begin("\n").logprob)
    unknown = math.exp(begin("zebra").logprob_unk)
    assert known + unknown == pytest.approx(1, abs=1e-6)
    assert 0.01 < known < 0.99
    spelled = math.fsum(math.exp(begin(word).logprob) for word in ("<unk>", "a", "e", "t", "at", "th", "zebra", "漢"))
    assert 0.01 * unknown < spelled < unknown


def test_byte_models_score_bytes() -> None:
    (score,) = scores([b"a\xff\xc3\xa9"], BYTES, per_token=True)
    plain = log_probs([*BYTES.encode(b"a\xff\xc3\xa9").tolist(), EOS], BYTES)
    assert score.logprob == pytest.approx(math.fsum(plain))
    assert (score.tokens, score.oov, score.bytes, score.characters) == (5, 0, 5, 4)
    assert list(score.units) == ["61", "ff", "c3", "a9", "\n"]


def test_invalid_bytes_are_unknown_characters_and_stay_in_the_record() -> None:
    (score,) = scores([b"the \xff\xfe dog"])
    assert score.data == b"the \xff\xfe dog"
    assert (score.tokens, score.oov, score.bytes) == (11, 2, 11)


TEXTS = st.text("tthe <unk>qux漢é\t\r'’1.,\x85\u2028\u0301\u00a0", max_size=30).map(str.encode)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(TEXTS, st.binary(max_size=9).map(lambda data: data.replace(b"\n", b""))), max_size=30),
    st.sampled_from([CHARS, SPACED, WORDS, BYTES]),
    st.booleans(),
)
def test_a_score_does_not_depend_on_neighbours(lines: list[bytes], vocabulary: Vocabulary, per_token: bool) -> None:
    together = scores(lines, vocabulary, per_token=per_token)
    assert [score.data for score in together] == lines
    assert together == [scores([line], vocabulary, per_token=per_token)[0] for line in lines]
    assert together[::-1] == scores(lines[::-1], vocabulary, per_token=per_token)
    assert scores(lines * 2, vocabulary, per_token=per_token) == together * 2
    for score in together:
        text = score.data.decode("utf-8", "replace")
        source = score.data if vocabulary.unit == "byte" else text
        assert (score.tokens, score.bytes, score.characters) == (
            len(vocabulary.split(source)) + 1, len(score.data) + 1, len(text) + 1
        )  # fmt: skip
        if per_token:
            assert list(score.units) == [*vocabulary.split(source), "\n"]
            assert math.fsum(score.unit_logprobs) == pytest.approx(score.logprob)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=5).map(lambda data: data.replace(b"\n", b"\xe2\x82")), max_size=8))
def test_lines_are_encoded_together_as_each_by_itself(lines: list[bytes]) -> None:
    for vocabulary in (CHARS, SPACED, WORDS, BYTES):
        encoded = _Lines(vocabulary, lines, ended=True)
        parts = np.split(encoded.units[1:], np.cumsum(encoded.lengths))[:-1]
        for data, text, part in zip(lines, encoded.texts, parts, strict=True):
            assert text == data.decode("utf-8", "replace")
            assert part.tolist() == [*vocabulary.encode(data if vocabulary is BYTES else text).tolist(), EOS]


def test_a_model_without_finite_probabilities_is_an_error() -> None:
    model = ToyModel(len(CHARS))
    model.weight[CHARS.id_of("q")] = np.nan
    with pytest.raises(CharrnnError, match="no finite probability: its weights are too large or damaged"):
        list(score_lines(model, CHARS, [[Line(b"the fox")]]))  # type: ignore[arg-type]


def test_units_are_added_from_the_first_to_the_last() -> None:
    lines = [b"the quick brown fox", b"the quick brown " * 40, b"the qu", b"", b"the quick dog"]
    for score in scores(lines, per_token=True):
        total = 0.0
        for value in score.unit_logprobs:
            total += value
        assert score.logprob == total


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


def test_the_summary_adds_up() -> None:
    result = scores([b"the <unk> zebra", b"", b"the cat"], WORDS)
    summary = Summary()
    for score in result:
        summary.add(score)
    values = summary.as_dict()
    assert list(values)[:6] == ["lines", "tokens", "oov", "bytes", "characters", "logprob"]
    assert list(values)[6:8] == ["bits_per_byte", "bits_per_character"]
    assert list(values)[8:] == ["perplexity", "perplexity_unk", "perplexity_without_oov"]
    total = math.fsum(score.logprob for score in result)
    assert (values["lines"], values["tokens"], values["oov"], values["bytes"]) == (3, 8, 1, 25)
    assert values["logprob"] == pytest.approx(total)
    assert values["perplexity"] == pytest.approx(math.exp(-total / 8))
    assert values["perplexity_unk"] == pytest.approx(math.exp(-math.fsum(s.logprob_unk for s in result) / 8))
    assert values["perplexity_without_oov"] == pytest.approx(math.exp(-math.fsum(s.logprob_known for s in result) / 7))
    assert summary.as_dict(math.log(2))["logprob"] == pytest.approx(total / math.log(2))
    assert summary.as_dict(math.log(2))["perplexity"] == values["perplexity"]


def test_numbers_are_finite_even_for_nothing_and_for_the_absurd() -> None:
    values = Summary().as_dict()
    assert (values["logprob"], values["bits_per_byte"], values["perplexity"]) == (0.0, 0.0, 1.0)
    assert math.copysign(1, values["logprob"]) == 1
    (score,) = scores(["漢".encode() * 5000], WORDS)
    assert score.oov == 1
    assert math.isfinite(score.perplexity)
    assert score.perplexity > 1e300


LONG = (
    "the quick «brown» 漢字 \u3000 fox's 1.5 <unk> zebra\t\t jumps ".encode() * 40
    + b"\xff\xe6\xbc the\x80\x80\x80\x80\x80"
)


@pytest.mark.parametrize("vocabulary", [CHARS, SPACED, WORDS, BYTES], ids=["char", "word", "pretokenized", "byte"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("piece", [7, 50, 333])
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

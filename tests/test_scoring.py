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
from charrnn.models import LanguageModel
from charrnn.scoring import Line, Score, Summary, score_lines
from charrnn.text.vocabulary import EOS, UNKNOWN, Vocabulary
from tests.toy_model import ToyModel, learn, toy_model

CHARS = learn("the quick brown fox\njumps over the lazy dog, naïve café\n")
WORDS = learn("the cat sat on the mat\nthe dog ran <unk>\nthe <unk> cat\n", "word", pretokenized=True)
BYTES = learn("", "byte")


def scores(
    lines: Sequence[bytes], vocabulary: Vocabulary = CHARS, *, boundary: int = -1, **options: Any
) -> list[Score]:
    model = toy_model(vocabulary, boundary=boundary)
    (chunk,) = score_lines(model, vocabulary, [[Line(line) for line in lines]], **options)
    return chunk


def log_probs(units: Sequence[int], vocabulary: Vocabulary, boundary: int = -1) -> list[float]:
    """log P of each unit after the end-of-line and those before it, one step at a time, without the spelling."""
    model = ToyModel(len(vocabulary), boundary=boundary)
    state, previous, result = model.zero_state(1), EOS, []
    for unit in units:
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
    assert score.units == ("a", "漢", "b", "\n")
    assert score.unit_oov == (False, True, False, False)
    assert score.unit_logprobs == pytest.approx([plain[0], plain[1] + spelling, plain[2], plain[3]])


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
    model.refresh()

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
    assert score.units == ("61", "ff", "c3", "a9", "\n")


def test_invalid_bytes_are_unknown_characters_and_stay_in_the_record() -> None:
    (score,) = scores([b"the \xff\xfe dog"])
    assert score.data == b"the \xff\xfe dog"
    assert (score.tokens, score.oov, score.bytes) == (11, 2, 11)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("the qux漢\t", max_size=40).map(str.encode), max_size=30), st.integers(1, 20), st.integers(1, 50)
)
def test_a_score_does_not_depend_on_neighbours_or_windows(lines: list[bytes], window: int, positions: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.scoring._WINDOW", window)
        patch.setattr("charrnn.scoring._POSITIONS", positions)
        together = scores(lines, per_token=True)
    assert [score.data for score in together] == lines
    assert together == [scores([line], per_token=True)[0] for line in lines]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("the qux漢\t", max_size=20).map(str.encode), min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from([-1, EOS]),
    st.integers(1, 9),
    st.data(),
)
def test_a_stream_is_one_text(lines: list[bytes], ended: bool, boundary: int, positions: int, data: Any) -> None:
    if not ended and not lines[-1]:
        lines[-1] = b"x"
    text = b"\n".join(lines) + b"\n" * ended
    expected = log_probs(CHARS.encode(text.decode()).tolist(), CHARS, boundary)
    records = [*map(Line, lines[:-1]), Line(lines[-1], ended=ended)]
    cut = data.draw(st.integers(0, len(records)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.scoring._POSITIONS", positions)
        model = toy_model(CHARS, boundary=boundary)
        chunks = list(score_lines(model, CHARS, [records[:cut], records[cut:]], stream=True))
    result = [score for chunk in chunks for score in chunk]
    (whole,) = score_lines(toy_model(CHARS, boundary=boundary), CHARS, [records], stream=True)
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
    model = ToyModel(len(CHARS), boundary=EOS)
    lines = [Line(b"the fox")] * 50
    next(score_lines(model, CHARS, [lines], stream=True))  # type: ignore[arg-type]
    assert model.calls == [(8, 50)]


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
    lines = [Line(b"x" * length) for length in (3, 200) * 20]
    random.Random(1).shuffle(lines)
    next(score_lines(model, CHARS, [lines]))  # type: ignore[arg-type]
    assert model.calls[0] == (201, 40) or model.calls == [(201, 20), (4, 20)]
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

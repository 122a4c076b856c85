"""Scoring: against sums written out by hand; a score does not depend on the other lines of its batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    assert (values["logprob"], values["bits_per_byte"], values["perplexity"]) == (0.0, None, None)
    assert math.copysign(1, values["logprob"]) == 1
    (score,) = scores(["漢".encode() * 5000], WORDS)
    assert score.oov == 1
    assert math.isfinite(score.perplexity)
    assert score.perplexity > 1e300

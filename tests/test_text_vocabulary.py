"""The vocabulary: order, limits, the two special entries, what unknown units cost, and its JSON."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.text import EOS, UNKNOWN, Vocabulary
from charrnn.text.fallback import CODE_POINTS, SpellingFallback

CHAR = TextConfig()
WORD = TextConfig(unit="word")
PRETOKENIZED = TextConfig(unit="word", pretokenized=True)
BYTE = TextConfig(unit="byte")


def test_units_are_in_order_of_frequency_then_code_point() -> None:
    vocabulary = Vocabulary.learn({"b": 2, "😀": 3, "a": 2, "\n": 9, "é": 2}, CHAR)
    assert vocabulary.units == ("<unk>", "<eos>", "😀", "a", "b", "é")
    assert vocabulary.encode("😀z\n").tolist() == [2, UNKNOWN, EOS]
    assert len(vocabulary) == 6


def test_bytes_are_all_there_whatever_the_limits() -> None:
    config = TextConfig(unit="byte", min_count=5, max_vocab=3)
    vocabulary = Vocabulary.learn({"ff": 3, "61": 7, "\n": 50}, config)
    assert len(vocabulary) == 257
    assert vocabulary.units[:5] == ("<unk>", "<eos>", "61", "ff", "00")
    assert "0a" not in vocabulary.units
    assert vocabulary.encode("a\n").tolist() == [2, EOS]
    assert UNKNOWN not in vocabulary.encode(bytes(range(256)))
    assert vocabulary.fallback.mapped == 0
    assert Vocabulary.learn({"ff": 1}, TextConfig(unit="byte")).units[2:4] == ("ff", "00")  # the others were not there


def test_rare_units_and_those_beyond_the_limit_are_unknown() -> None:
    counts = {"a": 5, "b": 4, "c": 3, "d": 1, "\n": 2}
    assert Vocabulary.learn(counts, TextConfig(min_count=2)).units[2:] == ("a", "b", "c")
    limited = Vocabulary.learn(counts, TextConfig(min_count=2, max_vocab=4))
    assert len(limited) == 4
    assert limited.units[2:] == ("a", "b")
    assert limited.fallback.mapped == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [(TextConfig(min_count=9), "lower `min_count`"), (TextConfig(max_vocab=2), "`max_vocab` 2 leaves no character")],
)
def test_limits_that_leave_nothing_are_refused(config: TextConfig, message: str) -> None:
    with pytest.raises(CharrnnError, match=message):
        Vocabulary.learn({"a": 5}, config)


def test_a_literal_unk_is_the_unknown_token_and_a_word_spelled_eos_is_unknown() -> None:
    counts = {"<unk>": 8, "a": 2, "<eos>": 3, "\n": 3}
    vocabulary = Vocabulary.learn(counts, PRETOKENIZED)
    assert vocabulary.units == ("<unk>", "<eos>", "a")
    assert vocabulary.encode("a <unk> <eos> b\n").tolist() == [2, UNKNOWN, UNKNOWN, UNKNOWN, EOS]
    assert [vocabulary.is_oov(unit) for unit in ("a", "<unk>", "<eos>", "b", "\n")] == [False, False, True, True, False]
    assert (vocabulary.fallback.literal, vocabulary.fallback.mapped) == (8, 3)
    assert not Vocabulary.learn(counts | {"<unk>": 1}, PRETOKENIZED).is_oov("<unk>")  # once is enough
    # Cut losslessly, <eos> is three units, all ordinary.
    words = Vocabulary.learn({"<": 1, "eos": 1, ">": 1, "\n": 1}, WORD)
    assert words.decode(words.encode("<eos>\n")) == "<eos>\n"
    assert EOS not in words.encode("<eos>")


def test_a_literal_unk_that_was_not_trained_on_is_out_of_vocabulary() -> None:
    vocabulary = Vocabulary.learn({"a": 2}, WORD)
    assert vocabulary.is_oov("<unk>")
    assert vocabulary.encode(" <unk>").tolist() == [UNKNOWN]
    assert np.isfinite(vocabulary.spelling_log_probs(["<unk>", " <unk>"])).all()


def test_characters_outside_the_vocabulary_are_equally_probable() -> None:
    vocabulary = Vocabulary.learn({"a": 3, "b": 1, "\n": 1}, CHAR)
    outside = CODE_POINTS - 3  # a, b, the newline
    values = vocabulary.spelling_log_probs(["a", "\n", "c", "\ufffd"])
    assert values.tolist() == [0, 0, -math.log(outside), -math.log(outside)]


def spelling_total(vocabulary: Vocabulary, longest: int) -> float:
    """The sum of P(spelling) over all unknown units of up to `longest` characters that are not literal."""
    fallback = vocabulary.fallback
    assert isinstance(fallback, SpellingFallback)
    # One code point stands for all that the fallback has not seen, times their number.
    others = CODE_POINTS - 1 - len(fallback.characters)
    known_others = [unit for unit in vocabulary.units[2:] if set(unit) - set(fallback.characters)]
    assert not known_others
    total = 0.0
    for length in range(1, longest + 1):
        for characters in itertools.product((*fallback.characters, "\U0010ffff"), repeat=length):
            unit = "".join(characters)
            if vocabulary.is_oov(unit):
                weight = others ** characters.count("\U0010ffff")
                total += weight * math.exp(vocabulary.spelling_log_probs([unit])[0])
    return total


@pytest.mark.parametrize("literal", [0, 5])
@pytest.mark.parametrize("config", [WORD, PRETOKENIZED])
def test_the_unknown_token_is_shared_out_in_full(config: TextConfig, literal: int) -> None:
    counts = {"a": 4, "b": 3, "ab": 2, "ba": 1, "aab": 1, "<unk>": literal, "\n": 3}
    vocabulary = Vocabulary.learn(counts, TextConfig(unit="word", pretokenized=config.pretokenized, min_count=2))
    fallback = vocabulary.fallback
    assert isinstance(fallback, SpellingFallback)
    assert fallback.mapped == 2
    forms = ["<unk>"] if config.pretokenized else ["<unk>", " <unk>"]
    literal_mass = math.fsum(np.exp(vocabulary.spelling_log_probs(forms))) if literal else 0.0
    assert literal_mass == pytest.approx(literal / (literal + 3), abs=1e-15)
    longest = 10
    spelled = spelling_total(vocabulary, longest)
    # What longer spellings would have: all that do not stop in time.
    stop = (fallback.stops + 1) / (sum(fallback.counts) + 2)
    tail = 3 / (literal + 3) * (1 - stop) ** longest / (1 - fallback.known_mass)
    assert literal_mass + spelled < 1
    # `spelled` counts every spelling of code points not seen, the literal forms among them: a mass of next to nothing.
    raw = math.fsum(math.exp(fallback.spelling_log_prob(form)) for form in forms)
    assert literal_mass + spelled + tail == pytest.approx(1, abs=1e-9 + raw)


def test_words_beyond_the_kept_spellings_count_as_mapped() -> None:
    assert Vocabulary.learn({"a": 3, "b": 1}, TextConfig(unit="word", min_count=2), unspelled=4).fallback.mapped == 5


VOCABULARIES = [
    Vocabulary.learn({"a": 3, "\n": 1}, CHAR),
    Vocabulary.learn({"61": 3}, BYTE),
    Vocabulary.learn({"a": 3, " b": 2, "<unk>": 1}, WORD),
    Vocabulary.learn({"a": 3, "b": 1, "\n": 1}, TextConfig(unit="word", pretokenized=True, min_count=2)),
]


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=["char", "byte", "word", "pretokenized"])
@given(text=st.text(st.characters()) | st.text(st.sampled_from("ab <unk>eos\n\ud800\udcff")))
def test_every_text_has_a_finite_probability(vocabulary: Vocabulary, text: str) -> None:
    units, ids = vocabulary.split(text), vocabulary.encode(text)
    assert len(units) == len(ids)
    assert [vocabulary.id_of(unit) for unit in units] == ids.tolist()
    values = vocabulary.spelling_log_probs(units)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert (values <= 0).all()
    assert ((values < 0) == (ids == UNKNOWN)).all()


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=["char", "byte", "word", "pretokenized"])
def test_json_round_trip(vocabulary: Vocabulary) -> None:
    stored = json.loads(json.dumps({**vocabulary.to_json(), "lines": True}))
    read = Vocabulary.from_json(stored)
    assert read == vocabulary
    units = ["zz", "<unk>", "a"]
    assert read.spelling_log_probs(units).tolist() == vocabulary.spelling_log_probs(units).tolist()


def changed(vocabulary: Vocabulary, /, **values: Any) -> dict[str, Any]:
    return {**vocabulary.to_json(), **values}


def changed_fallback(**values: Any) -> dict[str, Any]:
    word = VOCABULARIES[2].to_json()
    return {**word, "fallback": {**word["fallback"], **values}}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({}, "text unit is None"),
        (changed(VOCABULARIES[0], unit=["char"]), "text unit is"),
        (changed(VOCABULARIES[0], pretokenized=True), "pretokenized is True"),
        (changed(VOCABULARIES[0], pretokenized=0), "pretokenized is 0"),
        (changed(VOCABULARIES[0], vocabulary="ab"), "must be a list"),
        (changed(VOCABULARIES[0], vocabulary=["<unk>", "<eos>", 3]), "must be a list of texts"),
        (changed(VOCABULARIES[0], vocabulary=["<eos>", "<unk>"]), "must start with"),
        (changed(VOCABULARIES[0], vocabulary=["<unk>", "<eos>", "a", "a"]), "twice"),
        (changed(VOCABULARIES[0], vocabulary=["<unk>", "<eos>", "ab"]), "not one character"),
        (changed(VOCABULARIES[0], vocabulary=["<unk>", "<eos>", ""]), "cannot be a character"),
        (changed(VOCABULARIES[0], vocabulary=["<unk>", "<eos>", "\n"]), "cannot be a character"),
        (changed(VOCABULARIES[0], vocabulary=["<unk>", "<eos>", "\ud800"]), "cannot be a character"),
        (changed(VOCABULARIES[1], vocabulary=["<unk>", "<eos>", "61"]), "byte vocabulary"),
        (changed(VOCABULARIES[2], vocabulary=["<unk>", "<eos>", " <unk>"]), "cannot be a word"),
        (changed(VOCABULARIES[3], vocabulary=["<unk>", "<eos>", "a b"]), "white space"),
        (changed(VOCABULARIES[3], vocabulary=["<unk>", "<eos>", "<eos>"]), "twice"),
        (changed(VOCABULARIES[0], fallback=None), "fallback distribution is NoneType"),
        (changed(VOCABULARIES[0], fallback={"mapped": -1}), "mapped is -1"),
        (changed_fallback(literal=1.5), "literal is 1.5"),
        (changed_fallback(literal=True), "literal is True"),
        (changed_fallback(mapped=2**60), "mapped is"),
        (changed_fallback(characters=""), "without repetition"),
        (changed_fallback(characters="aa", counts=[1, 1]), "without repetition"),
        (changed_fallback(characters="a\n", counts=[1, 1]), "that a word can have"),
        (changed_fallback(characters="a\ud800", counts=[1, 1]), "that a word can have"),
        (changed_fallback(counts=[1]), "as many counts"),
        (changed_fallback(characters="ab", counts=[1, 0]), "above 0"),
        (changed_fallback(characters="ab", counts=[1, "2"]), "above 0"),
        (changed_fallback(stops=10**6), "stops for"),
        (changed_fallback(known_mass=1.0), "known_mass is 1.0"),
        (changed_fallback(known_mass=float("nan")), "known_mass is nan"),
    ],
)
def test_a_defect_in_the_json_is_named(stored: dict[str, Any], message: str) -> None:
    with pytest.raises(CharrnnError, match=message) as raised:
        Vocabulary.from_json(stored)
    assert "\n" not in str(raised.value)


def test_text_bytes_for_the_wrong_unit_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        VOCABULARIES[0].encode(b"a")

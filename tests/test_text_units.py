"""Cutting text into units loses nothing, on all of Unicode."""

from __future__ import annotations

import itertools
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.config import TextConfig
from charrnn.text import EOS, UNKNOWN, Vocabulary, coding, reader
from charrnn.text.coding import CharacterCoder, WordCoder, code_points, split_points
from charrnn.text.reader import whole_words
from charrnn.text.spool import spaces_before
from charrnn.text.units import (
    JOINERS,
    mark_class,
    split_bytes,
    split_pretokenized,
    split_words,
    text_bytes,
    without_surrogates,
)

ALL_UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
WITH_SURROGATES = st.text(st.characters())
# Close calls between words, numbers, marks and white space come up seldom in random Unicode.
TRICKY = st.text(st.sampled_from("ab'’_.,19 \t\n\r\x85\u00a0\u2028\u0301\u093f\u200d\ufe0f😀<unk>½"))


def vocabulary_of(text: str, unit: str, pretokenized: bool = False) -> Vocabulary:
    """The vocabulary in which every unit of `text` (and an `x`) is known."""
    config = TextConfig(unit=unit, pretokenized=pretokenized)
    bare = Vocabulary.learn({"x": 1}, config)
    return Vocabulary.learn(dict.fromkeys([*bare.split(text), "x"], 1), config)


@pytest.mark.parametrize("unit", ["char", "byte", "word"])
@given(text=ALL_UNICODE | TRICKY)
@example(text="a\n\n  b \t c\r\n")
@example(text="<eos> <pad>")
def test_decoding_gives_the_text_back(unit: str, text: str) -> None:
    if unit == "word":
        text = text.replace("<unk>", "")  # a literal <unk> is the unknown token, not a known unit
    vocabulary = vocabulary_of(text, unit)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert UNKNOWN not in ids
    assert (ids == EOS).sum() == text.count("\n")
    assert vocabulary.decode(ids) == text
    decoder = vocabulary.decoder()
    assert b"".join(decoder.feed(int(number)) for number in ids) == text.encode()


@given(st.binary())
def test_every_sequence_of_bytes_comes_back(data: bytes) -> None:
    vocabulary = vocabulary_of("", "byte")
    assert vocabulary.decode_bytes(vocabulary.encode(data)) == data
    assert [vocabulary.id_of(unit) for unit in split_bytes(data)] == vocabulary.encode(data).tolist()


@given(WITH_SURROGATES | TRICKY)
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(split_words(text)) == without_surrogates(text)


@given(TRICKY)
def test_words_split_alike_line_by_line(text: str) -> None:
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    assert [unit for line in lines for unit in split_words(line)] == split_words(text)


@given(st.text(st.sampled_from("ab \t\u2028'1.")), st.integers(1, 5))
def test_words_are_not_cut_between_pieces(text: str, size: int) -> None:
    """However a line without end arrives, it is cut where two words meet."""
    from charrnn.text import reader

    longest, reader.LONGEST_CARRY = reader.LONGEST_CARRY, 1 + len(text) // 2
    try:
        pieces = list(whole_words(text[i : i + size] for i in range(0, len(text), size)))
    finally:
        reader.LONGEST_CARRY = longest
    assert "".join(pieces) == text
    for left, right in itertools.pairwise(pieces):
        if right[0].isspace() and not left[-1].isspace():
            assert split_words(left) + split_words(right) == split_words(left + right)
        else:  # no white space to cut at
            assert not re.search(r"\S[ \t]", left)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Don't stop me", ["Don't", " stop", " me"]),
        ("it’s 3.14, or 1,000 (now)!", ["it’s", " 3.14", ",", " or", " 1,000", " (", "now", ")", "!"]),
        ("if x:\n    return  y\n", ["if", " x", ":", "\n", "   ", " return", " ", " y", "\n"]),
        ("a_b __init__", ["a", "_", "b", " __", "init", "__"]),
        ("x \n\ty", ["x", " ", "\n", "\t", "y"]),
        ("cafe\u0301 हिन्दी", ["cafe\u0301", " हिन्दी"]),
        ("a <unk><unk>", ["a", " <unk>", "<unk>"]),
        ("R2D2", ["R", "2", "D", "2"]),
    ],
)
def test_what_a_word_is(text: str, units: list[str]) -> None:
    assert split_words(text) == units


# Pieces whose meeting decides where a unit ends.
PIECES = ["<unk>", " <unk>", "<un", "k>", "don't", "a’b", " ", "  ", "\n", "1,000.5", ".", "'", "e\u0301a", "__", "x_"]
PIECES += ["\u00a0", "\u3000", "१२", "½", "\x1c", "\u200d", "漢字", "é", "😀\ufe0f"]


@settings(deadline=None)  # the first one compiles
@given(ALL_UNICODE | TRICKY | st.lists(st.sampled_from(PIECES)).map("".join))
@example("  \u00a0 a")
@example("a<unk>b <unk")
@example("1.a 1, 1,2,")
def test_compiled_code_cuts_where_the_patterns_do(text: str) -> None:
    assert compiled_split(text, pretokenized=False) == split_words(text)
    assert compiled_split(text, pretokenized=True) == split_pretokenized(text)


@pytest.mark.slow
@pytest.mark.parametrize("between", ["", " ", "a", "1"])
def test_compiled_code_knows_every_character(between: str) -> None:
    text = between.join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert compiled_split(text, pretokenized=False) == split_words(text)
    assert compiled_split(text, pretokenized=True) == split_pretokenized(text)


def compiled_split(text: str, *, pretokenized: bool) -> list[str]:
    starts, stops = split_points(code_points(text), pretokenized)
    return [text[start:stop] for start, stop in zip(starts, stops, strict=True)]


@pytest.mark.parametrize("pretokenized", [False, True])
def test_a_text_longer_than_int32_counts_has_places_of_64_bits(
    monkeypatch: pytest.MonkeyPatch, pretokenized: bool
) -> None:
    assert np.iinfo(np.int32).max == coding.SHORT_TEXT  # the greatest place is the length
    text = code_points(" one two, don't\n<unk>  «three» one\n" * 3)
    places = split_points(text, pretokenized)
    codes, spaces = WordCoder(pretokenized).encode(text)
    for longest, kind in ((len(text), np.int32), (len(text) - 1, np.int64)):
        monkeypatch.setattr(coding, "SHORT_TEXT", longest)
        for found, expected in zip(split_points(text, pretokenized), places, strict=True):
            assert found.dtype == kind
            assert found.tolist() == expected.tolist()
        again = WordCoder(pretokenized).encode(text)
        assert (again[0].tolist(), again[1]) == (codes.tolist(), spaces)


def test_words_get_numbers_in_the_order_they_appear() -> None:
    """However many there are and however the text is cut; compiled code finds those that the dictionary has."""
    words = [f"{prefix}{number}" for number in range(3000) for prefix in ("w", "é", "漢")]
    text = "\n".join([*words, *reversed(words), ""])
    numbers = {"\n": 0} | {word: number for number, word in enumerate(words, 1)}
    wanted = [numbers[unit] for unit in split_pretokenized(text)]
    for size in (len(text), 1000):
        coder = WordCoder(pretokenized=True)
        lines = list(whole_words(text[i : i + size] for i in range(0, len(text), size)))
        assert [code for line in lines for code in coder.encode(code_points(line))[0].tolist()] == wanted
        assert [coder.unit(code) for code in range(coder.size)] == list(numbers)
        sizes, lengths = coder.lengths()
        assert sizes.tolist() == [len(word.encode()) for word in numbers]
        assert lengths.tolist() == [len(word) for word in numbers]


def test_bytes_between_words_go_to_the_joints_and_then_to_the_line_ends() -> None:
    codes = np.array([1, 2, 0, 3, 4, 0], np.uint8)  # two lines of two words
    assert [spaces_before(codes, 2, position) for position in range(7)] == [0, 0, 1, 1, 1, 2, 2]
    assert [spaces_before(codes, 6, position) for position in range(7)] == [0, 0, 1, 3, 3, 4, 6]
    one_line = np.array([1, 2, 3], np.uint8)  # and that not whole: no end of line to go to
    assert [spaces_before(one_line, 5, position) for position in range(4)] == [0, 0, 1, 5]
    assert [spaces_before(one_line, 0, position) for position in range(4)] == [0, 0, 0, 0]


def test_characters_have_the_bytes_of_their_utf8() -> None:
    coder = CharacterCoder()
    text = "a\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff"
    coder.encode(code_points(text))
    assert coder.lengths()[0].tolist() == [len(character.encode()) for character in text]
    assert coder.lengths()[1].tolist() == [1] * len(text)


def test_marks_are_those_of_unicode_and_the_joiners() -> None:
    marks = re.compile(f"[{mark_class()}]")
    every = map(chr, range(0x110000))
    assert [c for c in every if bool(marks.match(c)) != (unicodedata.category(c)[0] == "M" or c in JOINERS)] == []


def test_where_a_stretch_without_line_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LONGEST_CARRY", 4)
    for text, pieces in (
        ("abcdef", ["abcdef"]),
        (" bcdef", [" bcdef"]),
        ("a bcdef", ["a", " bcdef"]),
        ("ab\t cdef", ["ab", "\t cdef"]),
        ("a b", ["a b"]),  # not that long
        ("a\nb cdef", ["a\n", "b cdef"]),
    ):
        assert list(whole_words(iter([text]))) == pieces


def test_pretokenized_words_are_what_ascii_white_space_separates() -> None:
    text = " no it was n't\tblack \u00a0monday \n\n<unk> N\r\n"
    units = ["no", "it", "was", "n't", "black", "\u00a0monday", "\n", "\n", "<unk>", "N", "\n"]
    assert split_pretokenized(text) == units


@given(st.text(st.sampled_from("ab\u00a0 \t\n")))
def test_pretokenized_words_come_out_joined_by_single_spaces(text: str) -> None:
    vocabulary = vocabulary_of(text, "word", pretokenized=True)
    lines = (re.split("[ \t]+", line.strip(" \t")) for line in text.split("\n"))
    expected = "\n".join(" ".join(words) for words in lines)
    assert vocabulary.decode(vocabulary.encode(text)) == expected
    # After a prompt the decoder goes on with a space, at the start of a line without.
    decoder = vocabulary.decoder()
    x = vocabulary.id_of("x")
    assert [decoder.feed(number) for number in (x, x, EOS, EOS, x)] == [b"x", b" x", b"\n", b"\n", b"x"]


@pytest.mark.parametrize("unit", ["char", "word"])
def test_lone_surrogates_are_read_as_the_replacement_character(unit: str) -> None:
    vocabulary = vocabulary_of("a", unit)
    assert vocabulary.split("a\udc80") == ["a", "\ufffd"]
    assert vocabulary.encode("a\udc80").tolist() == [vocabulary.id_of("a"), UNKNOWN]
    known = vocabulary_of("a\ufffd", unit)
    assert known.encode("\ud800").tolist() == [known.id_of("\ufffd")]


def test_smuggled_bytes_become_bytes_again() -> None:
    assert text_bytes("é\udc80\udcff") == b"\xc3\xa9\x80\xff"
    assert text_bytes("\ud800") == "\ufffd".encode()

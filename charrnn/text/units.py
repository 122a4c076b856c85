"""Splitting text into units: characters, bytes, words, or pretokenized words.

A newline is always a unit of its own. Words keep their spacing: one plain space before a word belongs to it, every
other run of white space is a unit, so that joining the units gives back the text.
"""

from __future__ import annotations

import functools
import re
import unicodedata

LINE_END = "\n"
UNKNOWN_WORD = "<unk>"
REPLACEMENT = "\ufffd"
REPLACEMENT_BYTES = REPLACEMENT.encode()

SURROGATES = re.compile("[\ud800-\udfff]")
# The error handler "surrogateescape" decodes an invalid byte b as U+DC00 + b; all other surrogates stand for no byte.
SURROGATES_WITHOUT_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# As KenLM and the Penn Treebank tools do, split at ASCII white space only: "10\u00a0000" is one word.
PRETOKENIZED = re.compile(r"[^ \t\n\r\v\f]+|\n")
# Combining marks (vowel signs, accents) and the two invisible joiners belong to the letter before them.
MARK_RANGES = ((0x300, 0x20000), (0xE0100, 0xE01F0))
JOINERS = "\u200c\u200d"
LETTER, SYMBOL = r"[^\W\d_]", r"[^\w\s]"
_BYTE_UNITS = tuple(LINE_END if byte == 10 else f"{byte:02x}" for byte in range(256))


def without_surrogates(text: str) -> str:
    """`text` with each lone surrogate, which no encoding can write, replaced by U+FFFD."""
    return text if text.isascii() else SURROGATES.sub(REPLACEMENT, text)


def text_bytes(text: str) -> bytes:
    """UTF-8 of `text`; an escaped invalid byte becomes that byte again, any other surrogate U+FFFD."""
    return SURROGATES_WITHOUT_BYTE.sub(REPLACEMENT, text).encode("utf-8", "surrogateescape")


def mark_class() -> str:
    """The inside of a regular-expression class that matches every combining mark and joiner."""
    ranges: list[list[int]] = []
    for low, high in MARK_RANGES:
        for code in range(low, high):
            if unicodedata.category(chr(code))[0] == "M":
                if ranges and ranges[-1][1] == code - 1:
                    ranges[-1][1] = code
                else:
                    ranges.append([code, code])
    return JOINERS + "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """The pattern whose successive matches are the whole text. Compiled at first use, since the marks take time."""
    # ASCII is excluded first, for speed: the ranges of such a large class are tested one by one.
    marks = rf"(?:(?![\x00-\x7f])[{mark_class()}])"
    word = rf"{LETTER}+(?:{marks}+{LETTER}*|['’]{LETTER}+)*"
    number = r"\d+(?:[.,]\d+)*"
    symbol = rf"{SYMBOL}{marks}*"
    # The last plain space of a run of white space belongs to the token after it.
    return re.compile(rf"\n| ?(?:{UNKNOWN_WORD}|{word}|{number}|_+|{symbol})|[^\S\n]+(?= \S)|[^\S\n]+")


def split_characters(text: str) -> list[str]:
    """The code points of `text`."""
    return list(without_surrogates(text))


def split_words(text: str) -> list[str]:
    """Words, numbers, punctuation marks and white space; joined, they are `text`."""
    return word_pattern().findall(without_surrogates(text))


def split_pretokenized(text: str) -> list[str]:
    """The words that ASCII white space separates, and the newlines."""
    return PRETOKENIZED.findall(without_surrogates(text))


def split_bytes(text: str | bytes) -> list[str]:
    """The bytes as two hexadecimal digits each, newlines as they are."""
    data = text_bytes(text) if isinstance(text, str) else text
    return [_BYTE_UNITS[byte] for byte in data]


def literal_unknowns(unit: str, pretokenized: bool) -> tuple[str, ...]:
    """The spellings of a unit that stand for the unknown token itself."""
    if unit != "word":
        return ()
    return (UNKNOWN_WORD,) if pretokenized else (UNKNOWN_WORD, " " + UNKNOWN_WORD)

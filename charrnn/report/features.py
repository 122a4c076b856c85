"""What a cell of a language model may have learned to follow: numbers that are known at each place of a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
MOST_POSITION = 200  # in a line, beyond which it stays the same
TRIPLE = '"' * 3
_QUOTES = re.compile(r'"""|"|“|”|\n\n|\n')
_CLOSING = {")": "(", "]": "[", "}": "{"}
_COMMENT = re.compile(r"(?:^|\s)(?:#|//)(?:\s|$)|/\*")


def position(text: str) -> Values:
    """How many characters came before in the line."""
    values, count = np.zeros(len(text)), 0
    for n, character in enumerate(text):
        count = 0 if character == "\n" else min(count + 1, MOST_POSITION)
        values[n] = count
    return values


def inside_quotes(text: str) -> Values:
    """1 after a double quote that is not closed yet, at most to the end of the line."""
    return _quoted(text, "\n")


def inside_quotes_over_lines(text: str) -> Values:
    """1 after a double quote that is not closed yet, at most to a blank line."""
    return _quoted(text, "\n\n")


def _quoted(text: str, end: str) -> Values:
    """1 between double quotes, which `end` closes; three of them in a row are one sign, which nothing else closes."""
    values, inside, start = np.zeros(len(text)), "", 0
    for match in _QUOTES.finditer(text):
        sign = match[0]
        values[start : match.start()] = bool(inside)
        start = match.start()
        if sign.startswith("\n"):
            inside = "" if inside != TRIPLE and sign.startswith(end) else inside
        elif sign in "“”":
            inside = inside if inside == TRIPLE else "“" if sign == "“" else ""
        elif inside in ("", sign):
            inside = "" if inside else sign
    values[start:] = bool(inside)
    return values


def inside_brackets(text: str) -> Values:
    """1 after a bracket that is not closed yet."""
    values, stack = np.zeros(len(text)), []
    for n, character in enumerate(text):
        if character in "([{":
            stack.append(character)
        elif character in _CLOSING and stack and stack[-1] == _CLOSING[character]:
            stack.pop()
        values[n] = bool(stack)
        del stack[:-50]
    return values


def after_capital(text: str) -> Values:
    """1 in a word that began with a capital."""
    values, inside, capital = np.zeros(len(text)), False, False
    for n, character in enumerate(text):
        if character.isalnum():
            capital = character.isupper() if not inside else capital
            inside = True
        else:
            inside = capital = False
        values[n] = capital
    return values


def inside_comment(text: str) -> Values:
    """1 from a sign of comments, as # and //, to the end of the line."""
    values, start = np.zeros(len(text)), 0
    for line in text.splitlines(keepends=True):
        if found := _COMMENT.search(line):
            values[start + found.start() : start + len(line.rstrip("\n"))] = 1
        start += len(line)
    return values


def indentation(text: str) -> Values:
    """1 in the white space at the start of a line."""
    values, inside = np.zeros(len(text)), True
    for n, character in enumerate(text):
        inside = character == "\n" or (inside and character in " \t")
        values[n] = inside and character != "\n"
    return values


def in_word(text: str) -> Values:
    """How many letters of the word came before."""
    values, count = np.zeros(len(text)), 0
    for n, character in enumerate(text):
        count = count + 1 if character.isalnum() or character == "_" else 0
        values[n] = min(count, 20)
    return values


FEATURES: dict[str, Callable[[str], Values]] = {
    "position in the line": position,
    "inside quotes": inside_quotes,
    "inside quotes over lines": inside_quotes_over_lines,
    "inside brackets": inside_brackets,
    "in a word with a capital": after_capital,
    "in a comment": inside_comment,
    "indentation": indentation,
    "position in the word": in_word,
}


def at_units(units: Sequence[str]) -> dict[str, Values]:
    """The features (N) after each of N units; those that do not vary are left out."""
    text, ends = "".join(units), np.cumsum([len(unit) for unit in units]) - 1
    found = {name: feature(text)[np.maximum(ends, 0)] for name, feature in FEATURES.items()} if text else {}
    return {name: values for name, values in found.items() if values.std() > 0}

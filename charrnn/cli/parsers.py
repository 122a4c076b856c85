"""Parsers of option values.

A parser takes a value from the command line, a configuration file or the default, and raises `typer.BadParameter`, to
which `main` adds the name of the option. Its docstring describes the values, for `docs/options.md`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import typer

from charrnn.settings import in_range, range_words

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([smh]?)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*((?:[kmg]?b)?)", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the entry of `known` most like `word`, or nothing when none is."""
    candidates = list(known)
    matches = difflib.get_close_matches(word, candidates, n=1) or [k for k in candidates if word and k.startswith(word)]
    return f"; did you mean {matches[0]}?" if matches else ""


def whole_number(low: int | None = None, high: int | None = None) -> Callable[[Any], int]:
    """A parser of whole numbers from `low` to `high`."""

    def parse(value: Any) -> int:
        need = range_words(low, high)
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,30}", str(value).strip()):
            raise typer.BadParameter(f"{value!s:.40} is not a whole number" + (f"; it must be {need}" if need else ""))
        number = int(value)
        if not in_range(number, low, high):
            raise typer.BadParameter(f"{number} is out of range; it must be {need}")
        return number

    parse.__doc__ = ", ".join(filter(None, ("A whole number", range_words(low, high)))) + "."
    return parse


def number(low: float | None = None, high: float | None = None, *, above: bool = False) -> Callable[[Any], float]:
    """A parser of finite numbers from `low` to `high`; with `above`, `low` itself is refused."""

    def parse(value: Any) -> float:
        need = range_words(low, high, above=above)
        try:
            result = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            result = math.nan
        if not math.isfinite(result):
            raise typer.BadParameter(f"{value!s:.40} is not a finite number" + (f"; it must be {need}" if need else ""))
        if not in_range(result, low, high, above=above):
            raise typer.BadParameter(f"{value} is out of range; it must be {need}")
        return result

    parse.__doc__ = ", ".join(filter(None, ("A number", range_words(low, high, above=above)))) + "."
    return parse


def size_between(low: int, high: int) -> Callable[[Any], int]:
    """A parser of a size in bytes, kB, MB or GB, from `low` to `high` bytes: 100MB, 1.5GB, 500000."""

    def parse(value: Any) -> int:
        match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
        if match is None:
            raise typer.BadParameter(f"{value!s:.40} is not a size; write 100MB, 2GB, or a number of bytes")
        size = int(float(match[1]) * _BYTES[match[2].lower()])
        if not low <= size <= high:
            raise typer.BadParameter(f"{value} is out of range; it must be from {low:,} to {high:,} bytes")
        return size

    parse.__doc__ = "A size in bytes, kB, MB or GB."
    return parse


def duration(value: Any) -> float:
    """A time in seconds, minutes or hours, more than 0: 90, 90s, 10m, 1.5h."""
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(f"{value!s:.40} is not a time; write 90s, 10m or 2h, or a number of seconds above 0")
    return seconds


def length(value: Any) -> float:
    """A whole number, at least 1, or inf."""
    if str(value).strip().lower() == "inf":
        return math.inf
    try:
        return whole_number(1)(value)
    except typer.BadParameter:
        raise typer.BadParameter(f"{value!s:.40} is not a length; it must be a whole number from 1, or inf") from None


def one_of(choices: Collection[str]) -> Callable[[Any], str]:
    """A parser of one word of `choices`."""

    def parse(value: Any) -> str:
        if value not in choices:
            raise typer.BadParameter(
                f"{value!s:.40} is unknown; it must be one of {', '.join(choices)}{nearest(str(value), choices)}"
            )
        return str(value)

    parse.__doc__ = f"One of {', '.join(choices)}."
    return parse


def list_of(choices: Collection[str]) -> Callable[[Any], tuple[str, ...]]:
    """A parser of words of `choices` with commas between them: `lstm`, `gru,lstm`."""
    parse_one = one_of(choices)

    def parse(value: Any) -> tuple[str, ...]:
        words = value if isinstance(value, list | tuple) else str(value).split(",")
        return tuple(parse_one(str(word).strip()) for word in words)

    parse.__doc__ = f"One of {', '.join(choices)}, or several with commas between them."
    return parse


def one_or_two_of(choices: Collection[str]) -> Callable[[Any], str]:
    """A parser of one word of `choices`, or of two with a comma between them: `char`, `char,word`."""
    parse_all = list_of(choices)

    def parse(value: Any) -> str:
        found = parse_all(value)
        if len(found) > 2:
            raise typer.BadParameter(f"{value!s:.40} has {len(found)} items; it must be one, or two: input, output")
        return ",".join(found)

    parse.__doc__ = f"One of {', '.join(choices)}, or for two sides of text two of them with a comma: input, output."
    return parse


def words(value: Any) -> tuple[str, ...]:
    """Names or numbers with commas between them."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    found = tuple(str(item).strip() for item in items)
    if not all(found):
        raise typer.BadParameter(f"{value!s:.40} has an empty name between its commas")
    return found


def numbers_or(*words: str) -> Callable[[Any], str | tuple[int, ...]]:
    """A parser of one of `words`, or of whole numbers from 1 with commas between them: `2000,10000`."""

    def parse(value: Any) -> str | tuple[int, ...]:
        if value in words:
            return str(value)
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        try:
            return tuple(map(whole_number(1), items))
        except typer.BadParameter:
            raise typer.BadParameter(
                f"{value!s:.40} is neither {' nor '.join(words)} nor whole numbers from 1 with commas between them"
            ) from None

    parse.__doc__ = f"One of {', '.join(words)}, or whole numbers from 1 with commas between them."
    return parse


def unescape(value: Any) -> str:
    r"""A text, in which `\n`, `\t`, `\0` and `\\` are understood; any other backslash stays as it is."""
    return re.sub(r"\\([nt0\\])", lambda match: _ESCAPES[match[1]], str(value))

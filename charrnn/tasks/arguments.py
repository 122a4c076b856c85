"""Checks of what trained models are given in Python: each type is checked once, where it enters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.text.tagged import split_spaces


def all_bytes(name: str, texts: Iterable[str | bytes]) -> list[bytes]:
    """The texts as UTF-8; a lone surrogate becomes U+FFFD. Bytes are returned as they are.

    Raises UsageError, which begins with `name`, for a single text and for what is no text.
    """
    found = []
    for text in _items(name, texts, "texts"):
        if not isinstance(text, str | bytes):
            raise UsageError(f"{name} has {text!r:.40}, which is no text; it must be str or bytes")
        found.append(text if isinstance(text, bytes) else _encoded(text))
    return found


def pairs_of_bytes(name: str, pairs: Iterable[tuple[str | bytes, str | bytes]]) -> list[tuple[bytes, bytes]]:
    """Pairs of texts as UTF-8. Raises UsageError, which begins with `name`, for anything else."""
    found = []
    for pair in _items(name, pairs, "pairs of texts"):
        if isinstance(pair, str | bytes) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise UsageError(f"{name} has {pair!r:.40}, which is no pair; it must be (source, target)")
        first, second = all_bytes(name, pair)
        found.append((first, second))
    return found


def all_words(name: str, sentences: Iterable[str | Sequence[str]]) -> list[list[str]]:
    """The words of sentences, each a list of them or a text that white space separates.

    Raises UsageError, which begins with `name`, for a single text and for what is no sentence.
    """
    found = []
    for sentence in _items(name, sentences, "texts, or of lists of words"):
        if isinstance(sentence, bytes) or not isinstance(sentence, Iterable):
            raise UsageError(f"{name} has {sentence!r:.40}, which is no sentence; it must be str or a list of words")
        words = split_spaces(sentence) if isinstance(sentence, str) else list(sentence)
        for word in words if {*map(type, words)} - {str} else ():
            if not isinstance(word, str):
                raise UsageError(f"{name} has the word {word!r:.40}, which is no text; it must be str")
        found.append(words)
    return found


def all_histories(name: str, histories: Any, rows: int, columns: int) -> NDArray[np.float64]:
    """Histories (N, at least `rows`, `columns`). Raises UsageError, which begins with `name`, for anything else."""
    need = f"give an array (histories, {rows} rows or more, {columns} columns)"
    try:
        found = np.asarray(histories, np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {histories!r:.40}, which are no numbers of one shape; {need}") from None
    if found.ndim != 3 or found.shape[1] < rows or found.shape[2] != columns:
        raise UsageError(f"{name} has the shape {found.shape}; {need}")
    return found


def require_dates(name: str, dates: Sequence[datetime] | None, count: int, *, needed: bool) -> None:
    """Raise UsageError, which begins with `name`, unless there are `count` dates, or none where they are not needed."""
    if dates is None and not needed:
        return
    good = isinstance(dates, Sequence) and all(isinstance(date, datetime) for date in dates)
    if dates is None or not good or len(dates) != count:
        raise UsageError(
            f"{name} is {dates!r:.40}; give a list of {count} datetimes, of the row after each history: the model "
            + ("uses the calendar" if needed else "reads nothing else")
        )


def _items(name: str, values: Any, needed: str) -> Iterable[Any]:
    if isinstance(values, str | bytes):
        raise UsageError(f"{name} is one text; give a list of {needed}")
    if not isinstance(values, Iterable):
        raise UsageError(f"{name} is {values!r:.40}; give a list of {needed}")
    return values


def _encoded(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()

"""Values of options: what is read from the text of one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli import options, parsers
from charrnn.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1.5h", 5400), (".5", 0.5), (7, 7)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parsers.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "1e3", "nan", "inf", "0", "1 0s", True, "9" * 400])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parsers.duration(text)


def test_length() -> None:
    assert parsers.length("5") == 5
    assert parsers.length("inf") == math.inf
    for wrong in ("0", "-inf", "nan", "1.5", ""):
        with pytest.raises(typer.BadParameter, match=r"whole number from 1, or inf"):
            parsers.length(wrong)


@given(st.floats() | st.integers() | st.text())
def test_numbers_are_finite_and_in_range(value: Any) -> None:
    try:
        result = parsers.number(0, 1, above=True)(value)
    except typer.BadParameter:
        return
    assert 0 < result <= 1


@given(st.text())
def test_text_without_backslashes_is_literal(text: str) -> None:
    plain = text.replace("\\", "/")
    assert parsers.unescape(plain) == plain
    assert parsers.unescape(text.replace("\\", "\\\\")) == text


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options.resolve_threads(3, environment={"CHARRNN_THREADS": "2"}) == 3
    assert options.resolve_threads(None, environment={"CHARRNN_THREADS": "2"}) == 2
    assert options.resolve_threads(None, environment={"CHARRNN_THREADS": ""}) >= 1
    for wrong in ("0", "many", "nan"):
        with pytest.raises(UsageError, match="CHARRNN_THREADS: "):
            options.resolve_threads(None, environment={"CHARRNN_THREADS": wrong})

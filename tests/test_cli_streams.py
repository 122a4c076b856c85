"""Standard output and standard error: results as bytes, messages in one line, streams that are closed."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli import streams
from charrnn.errors import CharrnnError
from tests.stand_in import run as run


@pytest.mark.parametrize(
    "error", [None, BrokenPipeError(32, "Broken pipe"), ValueError("closed"), OSError(5, "I/O error")]
)
def test_what_others_left_in_standard_output(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            if error is not None:
                raise error

    monkeypatch.setattr(sys, "stdout", Broken())  # which has no file descriptor either
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        with pytest.raises(CharrnnError, match="cannot write to standard output: I/O error"):
            streams.flush_stdout()
    else:
        streams.flush_stdout()


def test_streams_that_are_closed_are_no_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for name, ask in (("stdin", streams.stdin_is_terminal), ("stdout", streams.stdout_is_terminal)):
        monkeypatch.setattr(sys, name, closed)
        assert not ask()
        monkeypatch.setattr(sys, name, None)
        assert not ask()


def test_text_that_no_encoding_can_write_is_written_all_the_same() -> None:
    assert streams.encode("é\udcff") == b"\xc3\xa9\xff"
    assert streams.encode("é\ud800") == b"\xc3\xa9?"


@given(st.text())
def test_printable_is_one_line_without_controls(text: str) -> None:
    assert streams.printable(text).isprintable()


def test_notes_and_quiet(run: Any) -> None:
    def speak() -> None:
        streams.note("[b]note[/b]\r")
        streams.set_quiet(True)
        streams.note("unheard")
        streams.warn("a\nb")

    result = run("train", does=speak)
    assert result.err == "[b]note[/b]\\r\ncharrnn: warning: a\\nb\n"
    assert streams.is_quiet()
    assert run("train", does=lambda: streams.note("heard")).err == "heard\n"  # it was for one command
    assert not streams.is_quiet()


def test_output_is_bytes_and_written_before_an_error(run: Any) -> None:
    def write() -> None:
        with streams.Output() as out:
            out.write("é\n")
            out.write(b"\xff")
            out.write("\udcfe")
            raise CharrnnError("later")

    result = None
    with pytest.raises(UnicodeDecodeError):
        result = run("train", does=write)
    assert result is None

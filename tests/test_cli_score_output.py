"""How `charrnn score` writes its records: numbers, JSON in pieces, tables."""

from __future__ import annotations

import json
import math
import re

import pytest

from charrnn.cli import score_output, streams
from charrnn.cli.score_output import Record
from charrnn.cli.visible import TerminalFilter, visible
from charrnn.tasks.line_scoring import score_lines
from charrnn.tasks.score_records import Line, Score, Units
from charrnn.text.vocabulary import Vocabulary
from tests.test_cli_score import BYTES, CHARS, WORDS, Run
from tests.test_cli_score import run as run
from tests.toy_model import toy_model


def test_numbers_have_six_decimals_and_no_negative_zero() -> None:
    assert score_output.number(-1e-9) == "0.000000"
    assert score_output.number(-0.0) == "0.000000"
    assert score_output.number(-1.25) == "-1.250000"
    assert score_output.number(-0.0004, 3) == "0.000"
    assert score_output.number(-10.0, 0) == "-10"


@pytest.mark.slow
def test_a_long_list_of_units_is_written_in_pieces() -> None:
    text = ("the quick 漢 " * 2000).encode()
    for line, ended in ((text, True), (text, False), (b"", False)):
        model = toy_model(CHARS)
        ((score,),) = score_lines(model, CHARS, [[Line(line, ended)]], stream=True, per_token=True)
        pieces = list(score_output.json_line(Record(Line(line), score), math.log(2), per_token=True))
        record = json.loads(b"".join(pieces))
        assert record["per_token"] == [
            {"token": unit, "logprob": value / math.log(2) + 0.0, "oov": unit == "漢"}
            for unit, value in zip(score.units, score.unit_logprobs, strict=True)
        ]
        assert [entry["token"] for entry in record["per_token"]] == list(line.decode() + "\n" * ended)
        assert (len(pieces) > 9) == (len(line) > 0)
        assert b"".join(pieces) == (json.dumps(record, ensure_ascii=False) + "\n").encode()


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [(CHARS, "[bold]the\x1b[31m 漢\t"), (BYTES, "é[red]\x1b"), (WORDS, "the zebra :smile:")],
    ids=["char", "byte", "word"],
)
def test_the_table_colours_text_and_reads_no_markup(vocabulary: Vocabulary, text: str) -> None:
    def row(colour: bool) -> str:
        (scores,) = score_lines(toy_model(vocabulary), vocabulary, [[Line(text.encode())]], per_token=True)
        record = Record(Line(text.encode()), scores[0])
        return score_output.Table(vocabulary, 1.0, colour=colour).row(record).decode()

    plain, coloured = row(False), row(True)
    assert plain.endswith("  " + visible(text) + "\n")
    assert "\x1b" not in plain
    pieces = coloured.split("\x1b[")
    assert pieces[0] + "".join(piece.split("m", 1)[1] for piece in pieces[1:]) == plain
    assert len({piece.split("m", 1)[0] for piece in pieces[1:]}) > 2


def test_colours_have_a_legend() -> None:
    plain, coloured = (score_output.Table(CHARS, 1.0, colour=colour).header().decode() for colour in (False, True))
    assert "\x1b" not in plain
    legend = coloured.split("text", 1)[1]
    assert coloured.count("\n") == 1
    entries = re.findall(r"\x1b\[[\d;]*38;5;(\d+)m ([\d.]+|more)", legend)
    assert [limit for _, limit in entries] == ["0.5", "1", "2", "3", "4", "6", "9", "more"]
    assert len({colour for colour, _ in entries}) == 8
    units = Units(lambda: tuple("abcde"), tuple(-b * math.log(2) for b in (0.4, 1.5, 5, 8, 30)), (False,) * 5)
    score = Score(b"abcde", 5, 0, 5, 5, -1.0, -1.0, -1.0, (units,))
    row = score_output.Table(CHARS, 1.0, colour=True).row(Record(Line(score.data), score)).decode()
    named = {limit: colour for colour, limit in entries}
    assert re.findall(r"38;5;(\d+)m", row) == [named[limit] for limit in ("0.5", "2", "6", "9", "more")]


def test_a_long_row_is_not_wrapped() -> None:
    units = Units(lambda: ("x" * 900, "\n"), (-0.5, -0.5), (False, False))
    score = Score(b"x" * 900, 2, 0, 2, 2, -1.0, -1.0, -1.0, (units,))
    assert score_output.Table(CHARS, 1.0, colour=True).row(Record(Line(score.data), score)).count(b"\n") == 1


def test_the_table_is_what_a_terminal_gets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run("--format", "table", "the")[1].decode()
    assert out.split("\n")[0].split() == ["logprob", "tokens", "oov", "bits/byte", "text"]
    assert out.split("\n")[1].split()[1:3] + out.split()[-1:] == ["4", "0", "the"]
    monkeypatch.setattr(streams, "_is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("the")[1].decode() == out
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert run("the")[1].decode() == out
    monkeypatch.setenv("TERM", "xterm")
    assert b"\x1b[" in run("the")[1]
    raw = run("--format", "tsv", "the\x1b[31m")[1]
    assert raw.endswith(b"\tthe\\x1b[31m\n")


def test_visible() -> None:
    assert visible("naïve 漢 \x1b[1m\x9b\x7f\n", keep="\n") == "naïve 漢 \\x1b[1m\\x9b\\x7f\n"
    pieces = TerminalFilter()
    assert pieces.feed(b"\xe6\xbc") + pieces.feed(b"\xa2\t\x00") == "漢\t\\x00"
    assert TerminalFilter().feed(b"\xe6\xbc", last=True) == "\ufffd"

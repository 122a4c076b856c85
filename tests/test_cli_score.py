"""`charrnn score`: one record a line, whatever the bytes."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charrnn.cli import lines as line_reader
from charrnn.cli import score as command
from charrnn.cli import streams
from charrnn.cli.main import main
from charrnn.tasks.line_scoring import score_lines
from charrnn.tasks.score_records import Line
from charrnn.text.vocabulary import Vocabulary
from tests.toy_model import learn, toy_model, toy_trained

CHARS = learn("the quick brown fox\njumps over the lazy dog, naïve café\n")
WORDS = learn("the cat sat on the mat\nthe dog ran <unk>\n", "word", pretokenized=True)
BYTES = learn("", "byte")

Run = Callable[..., tuple[int, bytes, str]]
opened: list[tuple[str | None, int | None, str]] = []  # with which options the models of the last run were opened


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Run:
    """Run `charrnn score` on a toy model: status, standard output, standard error."""

    def call(
        *args: str, stdin: bytes | None = None, vocabulary: Vocabulary = CHARS, lines: bool = False
    ) -> tuple[int, bytes, str]:
        def open_model(
            checkpoint: str | None, threads: int | None, precision: str, *, verb: str, called: str = ""
        ) -> Any:
            opened.append((checkpoint, threads, precision))
            # The model to compare with knows other words and has other weights.
            known, seed = (WORDS, 1) if called == "against" else (vocabulary, 0)
            return toy_trained(known, lines=lines, seed=seed)

        opened.clear()
        file = tmp_path / "stdin"
        file.write_bytes(stdin or b"")
        with monkeypatch.context() as patch, file.open("rb") as standard_input:
            patch.setattr(command, "open_model", open_model)
            patch.setattr(sys, "stdin", standard_input)
            status = main(["score", *args])
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return call


def fields(out: bytes) -> list[list[bytes]]:
    return [line.split(b"\t", 4) for line in out.removesuffix(b"\n").split(b"\n")]


def test_every_line_gets_one_record_in_order(run: Run) -> None:
    status, out, err = run(stdin=b"a\n\nb")
    assert (status, err) == (0, "")
    assert [(tokens, text) for _, tokens, _, _, text in fields(out)] == [(b"2", b"a"), (b"1", b""), (b"2", b"b")]
    logprob, _, oov, bits, _ = fields(out)[0]
    assert float(bits) == pytest.approx(-float(logprob) / 2 / math.log(2), abs=1e-6)
    assert oov == b"0"


def test_an_unterminated_last_line_is_a_sentence_like_any_other(run: Run) -> None:
    assert run(stdin=b"the\nfox")[1] == run(stdin=b"the\nfox\n")[1]
    assert run(stdin=b"") == (0, b"", "")
    assert run(stdin=b"\n")[1].count(b"\n") == 1


def test_bytes_that_are_not_utf8_are_said_with_their_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9\n")
    hint = "; --encoding names another encoding"
    for args, name, end in (
        (("-i", str(path)), str(path), hint),
        ((), "standard input", hint),
        (("caf\udce9",), "the text", ""),
    ):
        status, _, err = run(*args, stdin=b"caf\xe9\n")
        said = f"{name} has bytes that are not UTF-8, scored as unknown characters (U+FFFD){end}"
        assert (status, err) == (0, f"charrnn: warning: {said}\n")


def test_a_final_carriage_return_is_not_scored(run: Run) -> None:
    assert run(stdin=b"the\r\nfox\r\n")[1] == run(stdin=b"the\nfox\n")[1]
    assert fields(run(stdin=b"a\rb\r\r\n")[1])[0][1] == b"5"


def test_invalid_bytes_and_tabs_pass_through_with_one_warning(run: Run) -> None:
    text = b"a\tb\xff\n\xfe\tthe\nok"
    status, out, err = run(stdin=text)
    assert status == 0
    assert b"\n".join(record[4] for record in fields(out)) == text
    assert fields(out)[0][2] == b"2"
    assert err.count("charrnn: warning: ") == err.count("\n") == 1
    assert run(stdin=text, vocabulary=BYTES)[2] == ""


def test_a_byte_order_mark_is_left_out_and_said(run: Run) -> None:
    _, out, err = run(stdin=b"\xef\xbb\xbfthe\nfox\n")
    assert out == run(stdin=b"the\nfox\n")[1]
    assert "byte order mark" in err


def test_arguments_are_scored(run: Run, tmp_path: Path) -> None:
    _, out, err = run("the", "fox\nquick", "")
    assert err == ""
    assert out == run(stdin=b"the\nfox\nquick\n\n")[1]
    file = tmp_path / "the.txt"
    file.write_text("x")
    status, out, err = run(str(file))
    assert (status, fields(out)[0][4]) == (0, str(file).encode())
    assert f"charrnn score -i {file}" in err
    status, out, err = run("-")
    assert (status, fields(out)[0][4]) == (0, b"-")
    assert "charrnn score -i -" in err


def test_a_file_and_stdin_give_the_same(run: Run, tmp_path: Path) -> None:
    text = b"the quick\n\nbrown fox"
    (tmp_path / "text").write_bytes(text)
    assert run("-i", str(tmp_path / "text"))[1] == run(stdin=text)[1] == run("-i", "-", stdin=text)[1]


def test_header_and_log_base(run: Run) -> None:
    out = run("--header", "the")[1]
    assert out.startswith(b"logprob\ttokens\toov\tbits_per_byte\ttext\n")
    natural, binary, decimal = (float(run("--log-base", base, "the")[1].split(b"\t")[0]) for base in ("e", "2", "10"))
    assert natural == pytest.approx(binary * math.log(2), abs=1e-5)
    assert natural == pytest.approx(decimal * math.log(10), abs=1e-5)


def test_what_the_model_is_opened_with(run: Run) -> None:
    run("the")
    assert opened == [(None, None, "float32")]
    run("-c", "a", "--vs", "b", "--threads", "3", "--precision", "bfloat16", "the")
    assert opened == [("a", 3, "bfloat16"), ("b", 3, "bfloat16")]


def test_quiet_says_nothing_of_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "the"
    file.touch()
    assert run(str(file))[2] != ""
    assert run("-q", str(file))[2] == ""


def test_log_odds_are_the_difference_between_two_models(run: Run) -> None:
    text = b"the cat\n\nzebra <unk>"
    these = [json.loads(line)["logprob"] for line in run("--format", "jsonl", stdin=text)[1].splitlines()]
    (scores,) = score_lines(toy_model(WORDS, seed=1), WORDS, [[Line(line) for line in text.split(b"\n")]])
    odds = [this - score.logprob for this, score in zip(these, scores, strict=True)]
    assert all(abs(value) > 0.1 for value in odds)

    assert [
        json.loads(line)["log_odds"] for line in run("--vs", "b", "--format", "jsonl", stdin=text)[1].splitlines()
    ] == odds
    rows = [line.split(b"\t") for line in run("--vs", "b", "--header", stdin=text)[1].splitlines()]
    assert rows[0] == [b"logprob", b"tokens", b"oov", b"bits_per_byte", b"log_odds", b"text"]
    assert [row[5] for row in rows[1:]] == text.split(b"\n")
    assert [float(row[4]) for row in rows[1:]] == pytest.approx(odds, abs=1e-6)
    binary = run("--vs", "b", "--log-base", "2", stdin=text)[1].splitlines()
    assert [float(row.split(b"\t")[4]) for row in binary] == pytest.approx([o / math.log(2) for o in odds], abs=1e-6)
    table = run("--vs", "b", "--format", "table", stdin=text)[1].decode().splitlines()
    assert table[0].split()[3:6] == ["bits/byte", "log", "odds"]
    assert [float(row.split()[4]) for row in table[1:]] == pytest.approx(odds, abs=1e-3)
    assert json.loads(run("--vs", "b", "--summary", stdin=text)[1])["log_odds"] == pytest.approx(sum(odds))
    assert json.loads(run("--vs", "b", "--summary", stdin=b"")[1])["log_odds"] == 0
    assert "log_odds" not in json.loads(run("--summary", stdin=text)[1])


def test_log_odds_of_a_stream_carry_both_states(run: Run) -> None:
    text = b"the cat\nthe cat\n"
    records = run("--vs", "b", "--stream", "--format", "jsonl", stdin=text)[1].splitlines()
    model = toy_model(WORDS, seed=1)
    ((one, two),) = score_lines(model, WORDS, [[Line(b"the cat")] * 2], stream=True)
    these = [json.loads(line)["logprob"] for line in run("--stream", "--format", "jsonl", stdin=text)[1].splitlines()]
    assert [json.loads(record)["log_odds"] for record in records] == [these[0] - one.logprob, these[1] - two.logprob]


def test_a_field_of_each_line_is_scored(run: Run) -> None:
    text = b"\xef\xbb\xbf1\tthe fox\tx\xff\r\n2\tquick\n3\t\t\t\n"
    alone = fields(run(stdin=b"the fox\nquick\n\n")[1])
    status, out, err = run("--text-field", "2", stdin=text)
    assert status == 0
    assert "warning" not in err  # what is not scored may be anything
    found = fields(out)
    assert [record[:4] for record in found] == [record[:4] for record in alone]
    assert [record[4] for record in found] == [b"1\tthe fox\tx\xff", b"2\tquick", b"3\t\t\t"]
    records = [json.loads(line) for line in run("--text-field", "2", "--format", "jsonl", stdin=text)[1].splitlines()]
    assert [(record["text"], record["line"]) for record in records] == [
        ("the fox", "1\tthe fox\tx\ufffd"), ("quick", "2\tquick"), ("", "3\t\t\t")
    ]  # fmt: skip
    table = run("--text-field", "2", "--format", "table", stdin=text)[1].decode().splitlines()
    assert [row.split()[4:] for row in table[1:]] == [["1", "the", "fox", "x\ufffd"], ["2", "quick"], ["3"]]
    total = json.loads(run("--text-field", "2", "--summary", "--stream", stdin=text)[1])
    assert total == json.loads(run("--summary", "--stream", stdin=b"the fox\nquick\n\n")[1])
    assert fields(run("--text-field", "1", "the\tfox")[1])[0][1:] == [b"4", b"0", alone[0][3], b"the\tfox"][
        :0
    ] + fields(run("the")[1])[0][1:4] + [b"the\tfox"]


def test_a_line_without_the_field_is_named_when_those_before_it_are_answered(run: Run) -> None:
    status, out, err = run("--text-field", "2", stdin=b"1\tthe\n2\tfox\nquick\n4\tthe\n")
    assert status == 1
    assert [record[4] for record in fields(out)] == [b"1\tthe", b"2\tfox"]
    assert err.count("\n") == 1
    assert "line 3 has 1 field" in err
    assert run("--text-field", "1", stdin=b"\n")[0] == 0


def test_jsonl(run: Run) -> None:
    record = json.loads(run("--format", "jsonl", "the 漢")[1])
    assert list(record)[:4] == ["text", "logprob", "tokens", "oov"]
    assert list(record)[4:] == ["bytes", "characters", "bits_per_byte", "bits_per_character", "perplexity"]
    assert (record["tokens"], record["oov"], record["bytes"], record["characters"]) == (6, 1, 8, 6)
    detailed = json.loads(run("--per-token", "the 漢")[1])
    tokens = detailed.pop("per_token")
    assert detailed == record
    assert [token["token"] for token in tokens] == ["t", "h", "e", " ", "漢", "\n"]
    assert [token["oov"] for token in tokens] == [False] * 4 + [True, False]
    assert math.fsum(token["logprob"] for token in tokens) == pytest.approx(record["logprob"])
    assert json.loads(run("--format", "jsonl", stdin=b"a\xff")[1])["text"] == "a\ufffd"


def test_summary(run: Run) -> None:
    text = b"the cat zebra\n\nthe <unk> ran\n"
    status, out, _ = run("--summary", stdin=text, vocabulary=WORDS)
    total = json.loads(out)
    records = [json.loads(line) for line in run("--format", "jsonl", stdin=text, vocabulary=WORDS)[1].splitlines()]
    assert (status, out.count(b"\n")) == (0, 1)
    assert (total["lines"], total["tokens"], total["oov"]) == (3, 9, 1)
    for name in ("tokens", "oov", "bytes", "characters", "logprob"):
        assert total[name] == pytest.approx(sum(record[name] for record in records))
    assert total["bytes"] == len(text)
    assert total["perplexity"] > total["perplexity_unk"]
    _, out, err = run("--summary", stdin=b"")
    assert json.loads(out)["lines"] == 0
    assert "nothing was scored" in err


def test_a_stream_adds_nothing_at_its_end(run: Run) -> None:
    text = b"the quick\nbrown fox"
    total = json.loads(run("--stream", "--summary", stdin=text)[1])
    assert (total["lines"], total["tokens"], total["bytes"]) == (2, len(text), len(text))
    lines = fields(run("--stream", stdin=text)[1])
    apart = fields(run(stdin=text)[1])
    assert lines[0] == apart[0]
    assert lines[1][0] != apart[1][0]
    assert fields(run("--stream", stdin=text + b"\n", lines=True)[1]) == fields(run(stdin=text, lines=True)[1])


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("the", "-i", "file"), "--input"),
        (("--format", "xml", "the"), "--format"),
        (("--log-base", "3", "the"), "--log-base"),
        (("--per-token", "--format", "tsv", "the"), "--per-token"),
        (("--header", "--format", "jsonl", "the"), "--header"),
        (("--header", "--format", "table", "the"), "--header"),
        (("--summary", "--header", "the"), "--header"),
        (("--summary", "--per-token", "the"), "--per-token"),
        (("--summary", "--format", "tsv", "the"), "--format"),
        (("--text-field", "0", "the"), "--text-field"),
        (("--vs", "", "the"), "--vs"),
        (("--precision", "float16", "the"), "--precision"),
    ],
)
def test_usage_errors_are_one_line(args: tuple[str, ...], word: str, run: Run) -> None:
    status, out, err = run(*args)
    assert (status, out, err.count("\n")) == (2, b"", 1)
    assert word in err


def test_no_input_on_a_terminal_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "stdin_is_terminal", lambda: True)
    status, out, err = run()
    assert (status, out, err.count("\n")) == (2, b"", 1)
    assert run("the")[0] == 0


def test_bad_files_have_status_1(run: Run, tmp_path: Path) -> None:
    for path in ("missing.txt", str(tmp_path)):
        status, out, err = run("-i", path)
        assert (status, out, err.count("\n")) == (1, b"", 1)
        assert path in err


@pytest.mark.slow
@pytest.mark.parametrize("args", [(), ("--vs", "b"), ("--summary",), ("--text-field", "1")], ids=str)
def test_what_was_answered_is_forgotten(run: Run, args: tuple[str, ...]) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            assert run(*args, stdin=b"the lazy dog is not in here\n" * count)[0] == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_reader, "_LARGEST_CHUNK", 10_000)
        patch.setattr(line_reader, "_READ", 10_000)
        patch.setattr(streams.Output, "write", lambda self, data: None)
        peak(10)
        small, large = peak(1_000), peak(10_000)
    assert large - small < 700_000  # the text itself is a quarter of a megabyte, its lines as objects more than one

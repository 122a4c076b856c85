"""How `charrnn score` reads and answers: pipes, chunks, long lines, endless input, real models."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.cli import lines as line_reader
from charrnn.cli import score_output
from charrnn.cli.lines import read_chunks
from charrnn.cli.score_output import Record
from charrnn.tasks.line_scoring import score_lines
from charrnn.tasks.score_records import Line, Score
from charrnn.text.vocabulary import Vocabulary
from tests.test_cli_score import BYTES, CHARS, WORDS
from tests.toy_model import toy_checkpoint, toy_model

POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


@POSIX
def test_what_a_pipe_holds_is_handed_on_before_waiting_for_more(pipe: tuple[int, int]) -> None:
    read, write = pipe
    chunks = read_chunks(read, "pipe")
    os.write(write, b"a\nb\nhal")
    assert next(chunks) == [Line(b"a"), Line(b"b")]
    os.write(write, b"f\nc\n")
    assert next(chunks) == [Line(b"half"), Line(b"c")]
    os.write(write, b"rest")
    os.close(write)
    assert list(chunks) == [[Line(b"rest", ended=False)]]


@POSIX
@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from([b"", b"x", b"\r", b"abc\xff", b"y" * 50]), max_size=60),
    st.booleans(),
    st.integers(1, 64),
    st.integers(1, 20),
)
def test_lines_survive_however_they_are_read(pieces: list[bytes], ended: bool, limit: int, size: int) -> None:
    text = b"\n".join(pieces) + b"\n" * ended
    read, write = os.pipe()

    def feed() -> None:
        with os.fdopen(write, "wb", buffering=0) as file:
            for start in range(0, len(text), size):
                file.write(text[start : start + size])

    writer = threading.Thread(target=feed)
    writer.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(line_reader, "_FIRST_CHUNK", limit)
            patch.setattr(line_reader, "_LARGEST_CHUNK", limit)
            result = [line for chunk in read_chunks(read, "pipe") for line in chunk]
    finally:
        writer.join()
        os.close(read)
    expected = [Line(line.removesuffix(b"\r")) for line in text.split(b"\n")]
    last = expected.pop()
    if not text.endswith(b"\n") and text:
        expected.append(Line(last.data, ended=False))
    assert result == expected


@POSIX
def test_chunks_are_bounded_and_those_of_a_pipe_begin_small(tmp_path: Path) -> None:
    file = tmp_path / "many"
    file.write_bytes(b"yes\n" * 300_000)

    def sizes(descriptor: int) -> list[int]:
        return [4 * len(chunk) for chunk in read_chunks(descriptor, "many")]

    with file.open("rb") as opened:
        from_file = sizes(opened.fileno())
    with subprocess.Popen(["cat", str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        from_pipe = sizes(process.stdout.fileno())
    assert sum(from_file) == sum(from_pipe) == 1_200_000
    assert max(from_file + from_pipe) <= line_reader._LARGEST_CHUNK + line_reader._READ
    assert from_pipe[0] <= line_reader._FIRST_CHUNK < from_file[0]


def test_a_long_text_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_output, "_BYTES_AT_ONCE", 5)
    for data in (b"", b"12345", b'\t"naive\\"', "naïve 漢字 😀".encode() * 3, b"\xe6\xbc|\xff\xe6\xbc|abc\xe6\xbc"):
        for text in (data, b"1" + data, b"12" + data):
            line = Line(text, whole=b"0\t" + text, start=2)
            score = Score(text, 2, 0, 2, 2, -1.0, -1.0, -1.0)
            pieces = list(score_output.json_line(Record(line, score, 0.5), 1.0, per_token=False))
            assert (len(pieces) > 1) == (len(text) > 3)
            record = json.loads(b"".join(pieces))
            assert [record["text"], record["line"]] == [b.decode("utf-8", "replace") for b in (text, line.whole or b"")]
            assert list(record)[:3] + list(record)[-3:] == [
                *("text", "logprob", "tokens", "perplexity", "log_odds", "line")
            ]
            assert b"".join(pieces) == (json.dumps(record, ensure_ascii=False) + "\n").encode()


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", [CHARS, WORDS, BYTES], ids=["char", "word", "byte"])
def test_a_long_line_with_its_units_takes_few_bytes_a_unit(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is looked at or written at once is small, so that lines of many pieces are short: tracing is slow.
    monkeypatch.setattr("charrnn.tasks.line_scoring._PIECE", 2_000)
    monkeypatch.setattr("charrnn.text.reader.LONGEST_CARRY", 200)
    monkeypatch.setattr(score_output, "_UNITS_AT_ONCE", 400)
    monkeypatch.setattr(score_output, "_BYTES_AT_ONCE", 6_400)
    model = toy_model(vocabulary)
    monkeypatch.setattr(model, "log_probs", lambda ids, targets, state: np.full(targets.shape, -1.0))
    units = 0

    def peak(size: int) -> int:
        nonlocal units
        line = Line(b"the zebra's fox " * (size // 16))
        tracemalloc.start()
        try:
            ((score,),) = score_lines(model, vocabulary, [[line]], per_token=True)
            units = score.tokens
            for _ in score_output.json_line(Record(line, score), 1.0, per_token=True):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(16_000)  # what is made once
    small, before = peak(16_000), units
    large = peak(80_000)
    # A logarithm and a flag take 9 bytes; the line is there as text in pieces, besides.
    assert large - small < 10 * (units - before) + 2 * 64_000


def charrnn(path: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "charrnn", "score", "-q", "-c", str(path), *args]


@POSIX
def test_the_command_answers_a_conversation(tmp_path: Path) -> None:
    path = toy_checkpoint(tmp_path / "m.safetensors", CHARS)
    with subprocess.Popen(charrnn(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in (b"the fox", b"", b"quick"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 60)[0]
            assert process.stdout.readline().endswith(b"\t" + text + b"\n")
        process.stdin.close()
        assert process.wait(60) == 0


@POSIX
def test_head_ends_an_endless_pipe(tmp_path: Path) -> None:
    path = toy_checkpoint(tmp_path / "m.safetensors", CHARS)
    endless = [sys.executable, "-c", "import os\nwhile True: os.write(1, b'y\\n' * 999)"]
    with (
        subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source,
        subprocess.Popen(charrnn(path), stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        assert source.stdout is not None
        assert process.stdout is not None
        assert process.stderr is not None
        source.stdout.close()
        assert process.stdout.readline().endswith(b"\ty\n")
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""
        source.wait(60)


@pytest.mark.slow
def test_a_real_model_scores_the_same_alone_in_company_and_on_any_threads(tmp_path: Path) -> None:
    path = toy_checkpoint(tmp_path / "m.safetensors", CHARS)
    text = b"".join(b"the quick brown fox"[: n % 20] * (1 + n % 3) + b"\n" for n in range(200)) + b"lazy " * 300
    file = tmp_path / "text"
    file.write_bytes(text)

    def run(*args: str) -> bytes:
        return subprocess.run(charrnn(path, *args), capture_output=True, check=True).stdout

    whole = run("-i", str(file), "--format", "jsonl", "--threads", "1")
    assert run("-i", str(file), "--format", "jsonl", "--threads", "2") == whole
    records = whole.splitlines()
    for number in (0, 7, 58, 200):
        assert run("--format", "jsonl", text.split(b"\n")[number].decode()).splitlines() == [records[number]]


@POSIX
def test_a_closed_standard_input_is_one_line(tmp_path: Path) -> None:
    path = toy_checkpoint(tmp_path / "m.safetensors", CHARS)
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *charrnn(path)]
    result = subprocess.run(shell, capture_output=True, check=False)
    assert (result.returncode, result.stderr.count(b"\n")) == (1, 1)

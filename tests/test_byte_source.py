"""Compressed and differently encoded input, in one piece or as it trickles through a pipe."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.cli.byte_source import ByteSource
from charrnn.cli.lines import read_chunks
from charrnn.errors import CharrnnError
from tests.conftest import Command

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress,
}  # fmt: skip
TEXT = "the cat sits.\nour señor eats\n\na dog".encode()


def through_a_pipe(pieces: list[bytes], encoding: str | None = None) -> bytes:
    """What comes out of the other end when the pieces are written one by one."""
    theirs, ours = os.pipe()
    found: list[bytes] = []
    try:
        source = ByteSource(theirs, "pipe", encoding)
        for piece in pieces:
            os.write(ours, piece)
            while source.ready():
                found.append(source.read(7) or b"")
        os.close(ours)
        while (rest := source.read(7)) is not None:
            found.append(rest)
    finally:
        os.close(theirs)
    return b"".join(found)


@given(st.sampled_from(list(COMPRESSORS)), st.binary(max_size=300), st.binary(max_size=30), st.integers(1, 40))
def test_it_comes_out_as_it_went_in(kind: str, first: bytes, second: bytes, size: int) -> None:
    compress = COMPRESSORS[kind]
    data = compress(first) + compress(second)
    if kind == "plain" and data.startswith((b"\x1f\x8b\x08", b"\xfd7zXZ\0")):
        return
    assert through_a_pipe([data[at : at + size] for at in range(0, len(data), size)]) == first + second


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_block_filled_up_with_zeros(kind: str) -> None:
    assert through_a_pipe([COMPRESSORS[kind](TEXT) + bytes(64), bytes(16)]) == TEXT


@pytest.mark.parametrize("text", [b"", b"B", b"BZh9", b"\x1f", b"BZh9\n", b"\xfd7zXZ"])
def test_a_text_that_begins_like_compressed_data(text: bytes) -> None:
    assert through_a_pipe([bytes([byte]) for byte in text]) == text


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_damaged_data_are_refused_after_the_lines_before(kind: str, tmp_path: Path) -> None:
    whole = COMPRESSORS[kind](b"one\ntwo\n") + COMPRESSORS[kind](b"three\n")
    for number, data in enumerate((whole[:-5], whole + b"rubbish", whole[:12] + b"\xff" * 9 + whole[21:])):
        path = tmp_path / str(number)
        path.write_bytes(data)
        found: list[bytes] = []

        def read(path: Path = path, found: list[bytes] = found) -> None:
            with path.open("rb") as file:
                for chunk in read_chunks(file.fileno(), "the file"):
                    found += [line.data for line in chunk]

        with pytest.raises(CharrnnError, match=rf"the file: damaged {kind} data after \d+ bytes of text \(.+\); make"):
            read()
        assert found[:2] == ([b"one", b"two"] if number < 2 else [])


def test_a_small_file_that_holds_much_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(lzma.compress(bytes(50_000_000)))
    assert path.stat().st_size < 10_000
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = ByteSource(descriptor, "bomb")
        sizes = []
        while (piece := source.read(1 << 16)) is not None:
            sizes.append(len(piece))
    finally:
        os.close(descriptor)
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 1 << 16


def test_each_line_is_answered_as_soon_as_it_can_be_decompressed() -> None:
    theirs, ours = os.pipe()
    chunks = read_chunks(theirs, "pipe")
    try:
        for line in (b"one", b"two", b"three"):
            os.write(ours, gzip.compress(line + b"\n"))  # the pipe stays open, and so may the line's chunk
            timer = threading.Timer(20, os.close, [ours])
            timer.start()
            assert [found.data for found in next(chunks)] == [line]
            timer.cancel()
        os.close(ours)
        assert list(chunks) == []
    finally:
        os.close(theirs)


@given(st.sampled_from(["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "shift_jis"]), st.integers(1, 9))
def test_an_encoding_comes_out_as_utf_8(encoding: str, size: int) -> None:
    text = "ソa\nb\n" if encoding == "shift_jis" else "señor\nb\n"
    data = text.encode(encoding)
    assert through_a_pipe([data[at : at + size] for at in range(0, len(data), size)], encoding).decode() == text


def test_invalid_bytes_of_an_encoding_are_read_as_replacements(capsys: pytest.CaptureFixture[str]) -> None:
    found = through_a_pipe([b"a\x83", b"\xff\xffb\n\xff", b"\xff"], "shift_jis").decode()
    assert found.startswith("a\ufffd")
    assert "b\n" in found
    assert found.endswith("\ufffd")
    err = capsys.readouterr().err
    assert err.count("charrnn: warning: pipe has bytes that are not valid shift_jis; they are read as U+FFFD\n") == 1
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", list(COMPRESSORS))
def test_score_reads_compressed_files_and_pipes(
    models: dict[str, Path], charrnn: Command, tmp_path: Path, kind: str
) -> None:
    plain = charrnn("score", "-q", "-c", models["char"], stdin=TEXT)
    assert plain.out.count(b"\n") == 4
    data = COMPRESSORS[kind](TEXT)
    assert charrnn("score", "-q", "-c", models["char"], stdin=data) == plain
    (tmp_path / "file").write_bytes(data)
    assert charrnn("score", "-q", "-c", models["char"], "-i", tmp_path / "file") == plain
    (tmp_path / "latin").write_bytes(COMPRESSORS[kind](TEXT.decode().encode("latin-1")))
    assert charrnn("score", "-q", "-c", models["char"], "--encoding", "latin-1", "-i", tmp_path / "latin") == plain
    assert charrnn("score", "-q", "-c", models["char"], "--encoding", "UTF8", stdin=data) == plain


def test_an_encoding_that_cannot_be(models: dict[str, Path], charrnn: Command) -> None:
    for args, message in (
        (("-c", models["char"], "--encoding", "klingon"), "--encoding is 'klingon', which Python does not know"),
        (("-c", models["char"], "--encoding", "latin-1", "a"), "--encoding is for lines that are read, and a TEXT is"),
        (("-c", models["byte"], "--encoding", "latin-1"), "--encoding is for text read as characters"),
    ):
        result = charrnn("score", "-q", *args, stdin=b"a\n")
        assert (result.status, result.out) == (2, b"")
        assert result.err.startswith(f"charrnn: error: {message}")

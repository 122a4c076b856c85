"""Reading: compression, encodings, line ends, pipes, and one clear line for everything that can be wrong."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CharrnnError
from charrnn.text import reader
from charrnn.text.reader import Findings, Source, read_ahead, read_text, whole_lines

COMPRESSORS = [gzip.compress, bz2.compress, lzma.compress]


class Stdin(io.TextIOWrapper):
    """Stands in for `sys.stdin`."""

    def __init__(self, data: bytes, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def read_source(path: str, folder: Path) -> bytes:
    source = Source(path, folder)
    try:
        data = b"".join(source.blocks())
        assert b"".join(source.blocks()) == data, "the second reading differs"
        assert source.digest() == (len(data), hashlib.sha256(data).hexdigest())
        assert source.size() in (len(data), None)
    finally:
        source.close()
    return data


def decoded(data: bytes, encoding: str = "utf-8", errors: str = "strict", block: int = 3) -> tuple[str, Findings]:
    findings = Findings()
    blocks = (data[i : i + block] for i in range(0, len(data), block))
    pieces = list(read_text(blocks, "f.txt", encoding, errors, findings))
    assert all(pieces)
    return "".join(pieces), findings


def failure(path: str, folder: Path) -> str:
    with pytest.raises(CharrnnError) as raised:
        read_source(path, folder)
    assert raised.value.exit_status == 1
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("compress", [bytes, *COMPRESSORS])
@pytest.mark.parametrize("data", [b"", b"BZh9 is how this text starts", b"ab\xff\n" * 700_000])
def test_compression_is_recognised_by_the_first_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes], data: bytes
) -> None:
    path = tmp_path / "no-ending"
    path.write_bytes(compress(data))
    assert read_source(str(path), tmp_path) == data
    monkeypatch.setattr(sys, "stdin", Stdin(compress(data)))
    assert read_source("-", tmp_path) == data
    assert [entry.name for entry in tmp_path.iterdir()] == ["no-ending"]


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_several_compressed_members_are_one_text(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "f").write_bytes(compress(b"one ") + compress(b"two"))
    assert read_source(str(tmp_path / "f"), tmp_path) == b"one two"


@pytest.mark.parametrize(("compress", "kind"), [*zip(COMPRESSORS, ["gzip", "bzip2", "xz"], strict=True)])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_compressed_files(tmp_path: Path, compress: Callable[[bytes], bytes], kind: str, damage: str) -> None:
    data = bytearray(compress(os.urandom(2000)))
    if damage == "cut":
        del data[-100:]
    else:
        data[500:600] = bytes(100)
    path = tmp_path / "corpus"
    path.write_bytes(data)
    message = failure(str(path), tmp_path)
    assert message.startswith(f"{path}: damaged {kind} data after ")
    assert "make or fetch the file again" in message
    if damage == "cut":  # in the decompressor's words
        assert "(Compressed file ended before the end-of-stream marker was reached)" in message


def test_damage_without_words_has_the_name_of_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise EOFError

    (tmp_path / "corpus").write_bytes(gzip.compress(b"text"))
    monkeypatch.setattr(gzip.GzipFile, "read", fail)
    assert "damaged gzip data after 0 bytes of text (EOFError)" in failure(str(tmp_path / "corpus"), tmp_path)


def test_missing_files_directories_and_unreadable_files(tmp_path: Path) -> None:
    assert "no such file" in failure(str(tmp_path / "none.txt"), tmp_path)
    assert "is a directory" in failure(str(tmp_path), tmp_path)
    assert "cannot read" in failure("a\0b", tmp_path)
    locked = tmp_path / "locked"
    locked.touch()
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # root may read everything
        assert "Permission denied" in failure(str(locked), tmp_path)


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(gzip.compress(b"through a pipe"),))
    writer.start()
    assert read_source(str(path), tmp_path) == b"through a pipe"
    writer.join()


def test_stdin_closed_or_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "stdin is closed" in failure("-", tmp_path)
    closed = Stdin(b"")
    closed.close()
    monkeypatch.setattr(sys, "stdin", closed)
    assert "stdin is closed" in failure("-", tmp_path)
    monkeypatch.setattr(sys, "stdin", Stdin(b"", terminal=True))
    assert "stdin is a terminal" in failure("-", tmp_path)
    detached = Stdin(b"")
    detached.detach()
    monkeypatch.setattr(sys, "stdin", detached)
    assert "cannot read stdin" in failure("-", tmp_path)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_pipe_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(source: object, target: io.BufferedRandom, size: int) -> None:
        copies.append(target)
        raise error

    copies: list[io.BufferedRandom] = []
    monkeypatch.setattr(sys, "stdin", Stdin(b"text"))
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises((CharrnnError, KeyboardInterrupt)) as raised:
        Source("-", tmp_path)
    if isinstance(error, OSError):
        assert str(raised.value) == f"cannot read stdin into {tmp_path}: Input/output error"
    assert [copy.closed for copy in copies] == [True]


@given(st.text(st.sampled_from("a\u00e9😀\ufeff\0\r\n")), st.integers(1, 4))
def test_decoding_does_not_depend_on_the_blocks(text: str, block: int) -> None:
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if expected and not expected.endswith("\n"):
        expected += "\n"
    for encoding in ("utf-8", "utf-16-le"):
        result, findings = decoded(text.encode(encoding), encoding, block=block)
        assert result == expected
        assert findings.byte_order_mark == text.startswith("\ufeff")
        assert findings.crlf == text.removeprefix("\ufeff").count("\r\n")


def test_bytes_lose_their_byte_order_mark_and_crlf_too() -> None:
    result, findings = decoded(b"\xef\xbb\xbfa\xff\r\n\r\x00\n", reader.BYTES_AS_TEXT, block=4)
    assert result.encode("latin-1") == b"a\xff\n\r\x00\n"
    assert findings == Findings(byte_order_mark=True, crlf=1)


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize(
    ("data", "offset", "byte"),
    [
        (b"abc\xffdef", 3, "0xff"),
        ("é😀".encode() + b"\xe2\x82x", 6, "0xe2"),
        (b"abc\xf0\x9f\x98", 3, "0xf0"),
        (b"\xed\xa0\x80", 0, "0xed"),
    ],
)
def test_invalid_utf8_names_file_offset_and_ways_out(data: bytes, offset: int, byte: str, block: int) -> None:
    with pytest.raises(CharrnnError) as raised:
        decoded(data, block=block)
    message = str(raised.value)
    assert message.startswith(f"f.txt: byte {byte} at offset {offset} is not valid UTF-8; ")
    assert "`unit` byte" in message
    assert "`errors` replace" in message
    assert "\ufffd" in decoded(data, errors="replace", block=block)[0]


def test_text_that_looks_like_utf16_gets_a_hint() -> None:
    with pytest.raises(CharrnnError, match="`encoding` utf-16"):
        decoded("abc".encode("utf-16"))
    assert decoded("abc".encode("utf-16"), "utf-16")[0] == "abc\n"
    with pytest.raises(CharrnnError, match=r"f\.txt: .*UTF-16"):
        decoded(b"abcd", "utf-16")


def test_lone_surrogates_that_an_encoding_lets_through_are_replaced() -> None:
    assert decoded(b"+2AA-", "utf-7")[0] == "\ufffd\n"


@given(st.lists(st.text(st.sampled_from("a\n"), min_size=1)))
def test_lines_are_regrouped_whole(pieces: list[str]) -> None:
    regrouped = list(whole_lines(iter([*pieces, "\n"])))
    assert "".join(regrouped) == "".join([*pieces, "\n"])
    assert all(piece.endswith("\n") for piece in regrouped)


def test_reading_ahead_changes_nothing_but_the_thread() -> None:
    threads: set[int] = set()

    def items(fails: bool) -> Iterator[int]:
        for number in range(5):
            threads.add(threading.get_ident())
            yield number
        if fails:
            raise CharrnnError("the end")

    before = threading.active_count()
    assert list(read_ahead(items(fails=False))) == list(range(5))
    ahead = read_ahead(items(fails=True))
    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(CharrnnError, match="the end"):
        next(ahead)
    unfinished = read_ahead(items(fails=False))
    assert next(unfinished) == 0
    unfinished.close()
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.001)  # the threads end by themselves
    assert threading.active_count() == before
    assert threading.get_ident() not in threads


def test_an_abandoned_reader_is_not_waited_for() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        release.wait(20)
        yield 2

    ahead = read_ahead(items())
    assert next(ahead) == 1
    closing = threading.Thread(target=ahead.close)
    closing.start()
    closing.join(5)
    waited = closing.is_alive()
    release.set()
    assert not waited

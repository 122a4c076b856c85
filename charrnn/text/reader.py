"""Reading texts: files, pipes and stdin, compressed or not, decoded piece by piece in bounded memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar, cast

from charrnn.errors import CharrnnError
from charrnn.text.units import LINE_END, without_surrogates

Item = TypeVar("Item")

STDIN = "-"
BLOCK_BYTES = 1 << 18
LONGEST_CARRY = 4 << 20  # characters buffered, at most, to find the end of a word
# Compressed files by their first bytes. A text can begin with "BZh", but not with the block header after it.
COMPRESSED = ((b"\x1f\x8b\x08", "gzip"), (b"\xfd7zXZ\x00", "xz"))
BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# A codec that maps each byte to the code point of the same number, so that bytes are processed like text.
BYTES_AS_TEXT = "latin-1"


@dataclass
class Findings:
    """What was changed in a text that was read: a byte order mark removed, how many CR LF replaced."""

    byte_order_mark: bool = False
    crlf: int = 0

    def remarks(self) -> list[str]:
        """What was changed, in sentences for the user."""
        mark = ["the byte order mark at its start was left out"] * self.byte_order_mark
        return mark + [f"Windows line ends (CR LF) were read as plain newlines: {self.crlf:,}"] * bool(self.crlf)


class Source:
    """One input, which can be read more than once: a pipe is spooled to a temporary file first.

    `name` is its name in messages. Raises `CharrnnError` if the input is missing, unreadable or damaged.
    """

    def __init__(self, path: str, spool_folder: Path) -> None:
        self.name = "stdin" if path == STDIN else path
        self._file = _spool_stdin(spool_folder) if path == STDIN else _open_file(path, spool_folder)

    def close(self) -> None:
        """Close the file; a spooled copy is removed."""
        self._file.close()

    def blocks(self) -> Iterator[bytes]:
        """The decompressed bytes from the start, `BLOCK_BYTES` at a time. Raises `CharrnnError` for damaged data."""
        read, kind = 0, ""
        try:
            self._file.seek(0)
            head = self._file.read(16)
            self._file.seek(0)
            stream, kind = _decompressed(self._file, head)
            while block := stream.read(BLOCK_BYTES):
                read += len(block)
                yield block
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            # A failing disk sets errno; a decompressor that finds rubbish does not.
            if isinstance(error, OSError) and error.errno:
                raise CharrnnError(f"cannot read {self.name}: {error.strerror}") from error
            raise CharrnnError(
                f"{self.name}: damaged {kind} data after {read} bytes of text ({_reason(error)}); "
                f"make or fetch the file again"
            ) from error

    def size(self) -> int | None:
        """The number of bytes that `blocks` yields; None if compressed or unreadable."""
        try:
            self._file.seek(0)
            _, kind = _decompressed(self._file, self._file.read(16))
        except OSError:  # which `blocks` reports
            return None
        return None if kind else os.fstat(self._file.fileno()).st_size

    def digest(self) -> tuple[int, str]:
        """The number of bytes that `blocks` yields, and their SHA-256 in hexadecimal."""
        size, digest = 0, hashlib.sha256()
        for block in self.blocks():
            size += len(block)
            digest.update(block)
        return size, digest.hexdigest()


def read_text(
    blocks: Iterator[bytes], name: str, encoding: str, errors: str, findings: Findings, *, units: bool = True
) -> Iterator[str]:  # fmt: skip
    """Decode `blocks`: without a byte order mark, each line, also the last, with "\\n" at its end, otherwise unchanged.

    Yields pieces that are not empty and end anywhere. Updates `findings`. `units`: whether the reader can have bytes as
    its units instead, for an error to say so.

    Raises:
        CharrnnError: the bytes are not valid in `encoding`, and `errors` is "strict".
    """
    codec = codecs.lookup(encoding).name
    mark = b"\xef\xbb\xbf".decode(codec) if codec == "iso8859-1" else "\ufeff"
    first, last, held = True, "", ""
    for decoded in _decode(blocks, name, codec, errors, units):
        piece = held + decoded
        held = ""
        if first and piece.startswith(mark):
            findings.byte_order_mark = True
            piece = piece[len(mark) :]
        first = False
        if piece.endswith("\r"):  # perhaps the first half of a "\r\n"
            held, piece = "\r", piece[:-1]
        if "\r" in piece and "\r\n" in piece:  # the search for one character is faster
            findings.crlf += piece.count("\r\n")
            piece = piece.replace("\r\n", LINE_END)
        if piece:
            last = piece[-1]
            yield piece
    if held:
        last = held
        yield held
    if last and last != LINE_END:
        yield LINE_END


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items; a thread computes the next one while the caller uses the current one."""
    end = object()
    thread = ThreadPoolExecutor(1)
    try:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield cast(Item, item)
    finally:
        # Without waiting: the garbage collector closes an abandoned generator wherever it runs, be it within the start
        # of another thread, which holds a lock that the end of this one needs.
        thread.shutdown(wait=False)


def whole_lines(pieces: Iterator[str]) -> Iterator[str]:
    """Regroup a text that ends in a newline into pieces that end in one."""
    waiting: list[str] = []
    for piece in pieces:
        cut = piece.rfind(LINE_END) + 1
        if cut:
            yield "".join([*waiting, piece[:cut]])
            waiting = [piece[cut:]] if cut < len(piece) else []
        else:
            waiting.append(piece)


def whole_words(pieces: Iterator[str]) -> Iterator[str]:
    """Regroup a text into pieces that end between two words: after a newline, else before white space.

    After `LONGEST_CARRY` characters without a newline, a piece ends before the last white space, or else there.
    """
    waiting = ""
    for piece in pieces:
        waiting += piece
        cut = waiting.rfind(LINE_END) + 1
        if not cut and len(waiting) >= LONGEST_CARRY:
            cut = _before_last_space(waiting) or len(waiting)
        if cut:
            yield waiting[:cut]
            waiting = waiting[cut:]
    if waiting:
        yield waiting


def _before_last_space(text: str) -> int:
    """The start of the last run of white space that does not begin the text; 0 if there is none."""
    space = max(text.rfind(" "), text.rfind("\t"))
    return len(text[: space + 1].rstrip()) if space > 0 else 0


def _decode(blocks: Iterator[bytes], name: str, codec: str, errors: str, units: bool) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(codec)(errors)
    may_hold_surrogates = not codec.startswith(("utf-8", "iso8859", "cp", "ascii"))
    offset = 0
    head = b""
    for block, final in _mark_last(blocks):
        head = head or block[:2]
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError as error:
            position = offset - len(pending) + error.start
            found = f"byte 0x{error.object[error.start]:02x} at offset {position} is not valid {codec.upper()}"
            raise CharrnnError(f"{name}: {found}; {_ways_out(codec, head, units)}") from error
        except UnicodeError as error:
            raise CharrnnError(
                f"{name}: not valid {codec.upper()} ({error}); {_ways_out(codec, head, units)}"
            ) from error
        offset += len(block)
        if may_hold_surrogates:
            text = without_surrogates(text)
        if text:
            yield text


def _ways_out(codec: str, head: bytes, units: bool) -> str:
    byte = "`unit` byte or " * units
    if codec == "utf-8" and head in UTF16_MARKS:
        return f"it looks like UTF-16: add `encoding` utf-16 (or use {byte}`errors` replace)"
    return f"use {byte.replace(' or', ', or')}`errors` replace to read U+FFFD there (or name the text's `encoding`)"


def _mark_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block, and an empty one at the end that is marked as the last."""
    for block in blocks:
        yield block, False
    yield b"", True


def _decompressed(file: IO[bytes], head: bytes) -> tuple[IO[bytes], str]:
    """The stream to read from, and the name of its compression ("" for none)."""
    kind = next((kind for start, kind in COMPRESSED if head.startswith(start)), "")
    if kind == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file)), kind
    if kind == "xz":
        return cast(IO[bytes], lzma.LZMAFile(file)), kind
    if BZIP2.match(head):
        return cast(IO[bytes], bz2.BZ2File(file)), "bzip2"
    return file, ""


def _reason(error: Exception) -> str:
    """The message of the decompressor, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _open_file(path: str, spool_folder: Path) -> IO[bytes]:
    try:
        if Path(path).is_dir():
            raise CharrnnError(f"{path} is a directory; name the text files in it, one or more")
        file = Path(path).open("rb")  # noqa: SIM115 - the source closes it
    except FileNotFoundError as error:
        raise CharrnnError(f"{path}: no such file; check the name, or use - to read stdin") from error
    except (OSError, ValueError) as error:
        raise CharrnnError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    with file:  # a named pipe or <(command): it can be read once only
        return _spool(file, path, spool_folder)


def _spool_stdin(folder: Path) -> IO[bytes]:
    stdin = sys.stdin
    try:
        if stdin is None or stdin.closed:
            raise CharrnnError("stdin is closed; pipe the corpus in or name a file")
        if stdin.isatty():
            raise CharrnnError("stdin is a terminal, so no corpus comes from it; pipe one in or name a file")
        return _spool(stdin.buffer, "stdin", folder)
    except ValueError as error:
        raise CharrnnError(f"cannot read stdin: {error}; pipe the corpus in or name a file") from error


def _spool(stream: IO[bytes], name: str, folder: Path) -> IO[bytes]:
    """Copy a stream that can be read once to a nameless temporary file in `folder`."""
    copy = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    try:
        shutil.copyfileobj(stream, copy, BLOCK_BYTES)
    except OSError as error:
        copy.close()
        raise CharrnnError(f"cannot read {name} into {folder}: {error.strerror}") from error
    except BaseException:
        copy.close()
        raise
    return cast(IO[bytes], copy)

"""Bytes of a file or pipe as they come, decompressed (gzip, bzip2, xz) and converted to UTF-8."""

from __future__ import annotations

import bz2
import codecs
import lzma
import os
import select
import stat
import zlib
from collections.abc import Callable
from typing import Protocol

from charrnn.cli import streams
from charrnn.errors import CharrnnError

_PIECE = 1 << 16  # bytes that are decompressed at a time: a small file may hold very many
# The first bytes of compressed data; of bzip2 the fourth is a digit.
_MAGIC: dict[str, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b\x08",),
    "xz": (b"\xfd7zXZ\x00",),
    "bzip2": tuple(b"BZh%d%s" % (n, rest) for n in range(1, 10) for rest in (b"1AY&SY", b"\x17rE8P\x90")),
}


class _Decompressor(Protocol):
    """The common interface of the standard library's decompressors of bzip2 and xz."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether more compressed bytes are needed for more output."""

    @property
    def unused_data(self) -> bytes:
        """The bytes after the end of the compressed data."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most `max_length` bytes of output, from `data` after the input before. Raises an error of the format."""


class _GzipMember:
    """One member of a gzip file, with the interface of the other decompressors."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the end of the member was reached."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """The bytes after the end of the member."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most `max_length` bytes of output, from `data` after the input before. Raises zlib.error."""
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))
        self.needs_input = len(piece) < max_length
        return piece


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _GzipMember,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}


class ByteSource:
    """The bytes of the file or pipe `descriptor`, which messages call `name`.

    gzip, bzip2 and xz are recognised by their first bytes and decompressed. Text in `encoding` is converted to UTF-8,
    invalid bytes to U+FFFD with one warning; with None bytes are not converted.
    """

    def __init__(self, descriptor: int, name: str, encoding: str | None = None) -> None:
        self._descriptor, self._name = descriptor, name
        self._head: bytes | None = b""  # the first bytes, until it is known whether they begin compressed data
        self._kind = ""
        self._stream: _Decompressor | None = None
        self._waiting = b""  # compressed bytes that were read and not decompressed yet
        self._size = 0  # bytes after decompression
        self._ended = False
        self._decoder = None if encoding is None else codecs.getincrementaldecoder(encoding)("strict")
        self._encoding = encoding
        self._lenient = False

    def ready(self) -> bool:
        """Whether `read` returns without waiting. Where pipes cannot be polled (Windows), only a file is known to."""
        stream = self._stream
        if self._ended or self._waiting or (stream is not None and (stream.eof or not stream.needs_input)):
            return True
        if is_file(self._descriptor):
            return True
        try:
            return bool(select.select([self._descriptor], [], [], 0)[0])
        except (OSError, ValueError):
            return False

    def read(self, size: int) -> bytes | None:
        """The next bytes, from at most `size` that are read; may be empty before the end, None at the end.

        Raises `CharrnnError` when reading fails or compressed data are damaged.
        """
        if self._ended:
            return None
        piece = self._decompressed(size)
        if self._decoder is None:
            return piece
        return self._decoded(piece or b"", final=piece is None) or (None if piece is None else b"")

    def _raw(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            raise CharrnnError(f"cannot read {self._name}: {error.strerror or error}") from error

    def _decompressed(self, size: int) -> bytes | None:
        try:
            if self._stream is not None:
                return self._inflated(self._stream, size)
            data = self._raw(size)
            if self._head is not None:
                return self._begun(self._head + data, last=not data)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CharrnnError(
                f"{self._name}: damaged {self._kind} data after {self._size} bytes of text ({reason}); "
                "make or fetch the file again"
            ) from error
        self._ended = not data
        return data or None

    def _begun(self, head: bytes, *, last: bool) -> bytes | None:
        """The data for the first bytes of the input, or for those after the end of compressed data.

        Those may be padding with zeros. `last`: no more bytes follow.
        """
        after = bool(self._kind)
        head = head.lstrip(b"\x00") if after else head
        kinds = [self._kind] if after else list(_MAGIC)
        for kind in kinds:
            if head.startswith(_MAGIC[kind]):
                self._kind, self._waiting, self._head = kind, head, None
                self._stream = _DECOMPRESSORS[kind]()
                return b""
        if not last and any(start.startswith(head) for kind in kinds for start in _MAGIC[kind]):
            self._head = head
            return b""
        if after and head:
            raise EOFError(f"what follows it is no {self._kind} data")
        self._head = None
        self._ended = last and not head
        return head or None

    def _inflated(self, stream: _Decompressor, size: int) -> bytes | None:
        """The next piece of decompressed data."""
        if stream.eof:
            self._stream = None
            return self._begun(stream.unused_data, last=False)
        data, self._waiting = self._waiting, b""
        if stream.needs_input and not data and not (data := self._raw(size)):
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        piece = stream.decompress(data, _PIECE)
        self._size += len(piece)
        return piece

    def _decoded(self, data: bytes, *, final: bool) -> bytes:
        """The text of `data` as UTF-8."""
        assert self._decoder is not None
        state = self._decoder.getstate()
        try:
            return streams.encode(self._decoder.decode(data, final))
        except UnicodeError as error:
            if self._lenient or not isinstance(error, UnicodeDecodeError):
                raise CharrnnError(
                    f"{self._name} is not valid {self._encoding} ({error}); name its encoding with --encoding"
                ) from error
        streams.warn(f"{self._name} has bytes that are not valid {self._encoding}; they are read as U+FFFD")
        self._lenient = True
        self._decoder.errors = "replace"
        self._decoder.setstate(state)
        return self._decoded(data, final=final)


def is_file(descriptor: int) -> bool:
    """Whether the descriptor is a regular file, which can be read without waiting."""
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False

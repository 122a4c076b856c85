"""Reads lines from arguments, files and pipes, in chunks of what can be read without waiting."""

from __future__ import annotations

import codecs
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from charrnn.cli import streams
from charrnn.cli.byte_source import ByteSource, is_file
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line

_FIRST_CHUNK = 4096  # bytes; small, so that the first results come at once
# The size from the start where nobody waits, from a file to a file or pipe: lines scored together share prefixes.
_LARGEST_CHUNK = 1 << 18
_READ = 1 << 16


def lines_of_arguments(texts: Sequence[str]) -> list[Line]:
    """The lines of all TEXT arguments, the last without an end-of-line."""
    lines = [_line(part) for text in texts for part in os.fsencode(text).removesuffix(b"\n").split(b"\n")]
    lines[-1] = Line(lines[-1].data, ended=False)
    return lines


@contextmanager
def open_lines(path: str, encoding: str | None = None) -> Iterator[Iterator[list[Line]]]:
    """The lines of a file, or of stdin for "-", in chunks, see `read_chunks`. For `encoding` see `ByteSource`.

    `CharrnnError` when it cannot be opened.
    """
    if path == "-":
        if sys.stdin is None:
            raise CharrnnError("standard input is closed, and the text is read from it; open it or name a file")
        yield read_chunks(sys.stdin.fileno(), "standard input", encoding)
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise CharrnnError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # known before a model is loaded for it
            raise CharrnnError(f"cannot read {path}: Is a directory")
        yield read_chunks(descriptor, path, encoding)
    finally:
        os.close(descriptor)


def read_chunks(descriptor: int, name: str, encoding: str | None = None) -> Iterator[list[Line]]:
    """Chunks of lines: as many as can be read without waiting, within a limit of bytes.

    A line longer than the limit is not cut. Raises `CharrnnError` when reading fails or the data are damaged, after the
    lines before that have been yielded.
    """
    source = ByteSource(descriptor, name, encoding)
    lines: list[Line] = []
    partial: list[bytes] = []
    at_once = is_file(descriptor) and not os.isatty(1)
    size, limit = 0, _LARGEST_CHUNK if at_once else _FIRST_CHUNK
    while True:
        if lines and (size >= limit or not source.ready()):
            yield lines
            lines, size, limit = [], 0, min(2 * limit, _LARGEST_CHUNK)
        try:
            data = source.read(min(limit, _READ))
        except CharrnnError:
            if lines:
                yield lines
            raise
        if data is None:
            break
        size += len(data)
        *ended, rest = data.split(b"\n")
        if ended:
            ended[0] = b"".join([*partial, ended[0]])
            lines += map(_line if partial or b"\r" in data else Line, ended)
            partial = []
        if rest:
            partial.append(rest)
    if partial:
        lines.append(Line(_line(b"".join(partial)).data, ended=False))
        partial.clear()
    if lines:
        yield lines


@contextmanager
def open_input(
    texts: Sequence[str] | None, path: str | None, encoding: str | None, text_field: int | None
) -> Iterator[Iterator[list[Line]]]:
    """The lines of the TEXT arguments, or else of a file or pipe, in chunks, without a byte order mark at the start.

    With `text_field`, that field of each. Raises as `open_lines` and `text_fields` do.
    """
    source = nullcontext(iter([lines_of_arguments(texts)])) if texts else open_lines(path or "-", transcoded(encoding))
    with source as read:
        chunks = without_byte_order_mark(read)
        yield chunks if text_field is None else text_fields(chunks, text_field, described(texts, path, hint=False)[0])


def transcoded(encoding: str | None) -> str | None:
    """The encoding to convert from, None for UTF-8, which is not converted: invalid bytes pass through."""
    return None if encoding is None or codecs.lookup(encoding).name == "utf-8" else encoding


def without_byte_order_mark(chunks: Iterable[list[Line]]) -> Iterator[list[Line]]:
    """The chunks without the byte order mark at the start, which is reported."""
    first = True
    for chunk in chunks:
        if first and chunk[0].data.startswith(codecs.BOM_UTF8):
            streams.note("the byte order mark at the start of the text is left out")
            chunk[0] = chunk[0]._replace(data=chunk[0].data.removeprefix(codecs.BOM_UTF8))
        first = False
        yield chunk


def text_fields(chunks: Iterable[list[Line]], number: int, name: str) -> Iterator[list[Line]]:
    """The field with this number, counted from 1, of each line of tab-separated fields of the input `name`.

    Raises `CharrnnError` at a line with fewer fields, after the lines before it have been yielded.
    """
    count = 0
    for chunk in chunks:
        found: list[Line] = []
        for line in chunk:
            count += 1
            fields = line.data.split(b"\t", min(number, sys.maxsize))
            if len(fields) < number:
                if found:
                    yield found
                have = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
                raise CharrnnError(
                    f"{name}, line {count} has {have} separated by tabs, and --text-field is {number}; mend the "
                    "line or leave it out"
                )
            start = sum(map(len, fields[: number - 1])) + number - 1
            found.append(Line(fields[number - 1], line.ended, line.data, start))
        yield found


def described(texts: Sequence[str] | None, input: str | None, *, hint: bool) -> tuple[str, str]:
    """The name of what is read, and with `hint`, where an encoding can be given for it, the option for that."""
    name = "the text" if texts else "standard input" if input in (None, "-") else str(input)
    return name, "; --encoding names another encoding" if hint and not texts else ""


def warned(chunks: Iterable[list[Line]], name: str, hint: str) -> Iterator[list[Line]]:
    """The chunks of `name`, with one warning, which ends with `hint`, where they have bytes that are not UTF-8."""
    seen = False
    for chunk in chunks:
        if not seen:
            try:
                b"\n".join(line.data for line in chunk).decode()
            except UnicodeDecodeError:
                seen = True
                streams.warn(f"{name} has bytes that are not UTF-8, scored as unknown characters (U+FFFD){hint}")
        yield chunk


def _line(data: bytes) -> Line:
    return Line(data.removesuffix(b"\r"))

"""Standard output for results, standard error for everything else.

Results are bytes: UTF-8 with "\\n" line ends whatever the locale or system. A reader that went away (`| head`) ends a
command quietly; a standard error that went away is ignored, so that it never stops training.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

# Output to a pipe is buffered up to this many bytes or seconds.
PIECE_BYTES = 8192
PIECE_SECONDS = 0.1
LONGEST_MESSAGE = 2000  # characters: a hostile file may make a message quote it

_quiet = False
_silent = False


class StdoutClosed(Exception):  # noqa: N818 - the normal end of `charrnn sample -n inf | head`, not an error
    """The reader of standard output went away: the command ends with status 0."""


def set_quiet(quiet: bool) -> None:
    """With `quiet`, `note` says nothing; warnings and errors are still shown."""
    global _quiet
    _quiet = quiet


def set_silent(silent: bool) -> None:
    """With `silent`, nothing is written to standard error: another process speaks for this one."""
    global _silent
    _silent = silent


def is_quiet() -> bool:
    """Whether notes and live displays are switched off."""
    return _quiet


def printable(text: str) -> str:
    """`text` with control characters (line ends and terminal escapes too) and lone surrogates written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def encode(text: str) -> bytes:
    """The text as UTF-8; surrogate escapes, as in a file name that is not UTF-8, become the original bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _is_terminal(stream: IO[Any] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def stdin_is_terminal() -> bool:
    """Whether standard input is a terminal."""
    return _is_terminal(sys.stdin)


def stdout_is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return _is_terminal(sys.stdout)


def stderr_is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return _is_terminal(sys.stderr)


def wants_colour(stream: IO[Any] | None) -> bool:
    """Whether `stream` is a terminal that may get colours: neither NO_COLOR nor TERM=dumb is set."""
    return _is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def wants_live_display() -> bool:
    """Whether standard error may get a display that redraws itself."""
    return not _quiet and stderr_is_terminal() and os.environ.get("TERM") != "dumb"


def stderr_console() -> Console:
    """A rich console on standard error, without markup, emoji and highlighting."""
    from rich.console import Console

    return Console(file=sys.stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _to_stderr(line: str) -> None:
    stream = sys.stderr
    if stream is None or _silent:
        return
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        discard(stream)


def with_option_names(message: str) -> str:
    """The message with options in place of the fields that the library names in backticks."""
    if "`" not in message:
        return message

    from charrnn.cli.commands import option_names  # loads the commands

    return re.sub(r"`([a-z_]+)`", lambda found: option_names().get(found[1], found[0]), message)


def _line(message: str) -> str:
    message = with_option_names(message)
    return printable(message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]}…")


def note(message: str) -> None:
    """One line for the user on standard error, unless `--quiet`."""
    if not _quiet:
        _to_stderr(_line(message))


def say(message: str) -> None:
    """One line on standard error that was asked for."""
    _to_stderr(_line(message))


def say_lines(text: str) -> None:
    """Several lines on standard error, such as a command's help, and an empty one."""
    for line in (*text.splitlines(), ""):
        _to_stderr(printable(line))


def warn(message: str) -> None:
    """One line `charrnn: warning: …` on standard error."""
    _to_stderr(f"charrnn: warning: {_line(message)}")


def complain(message: str) -> None:
    """One line `charrnn: error: …` on standard error. `main` calls this; commands raise."""
    _to_stderr(f"charrnn: error: {_line(message)}")


def discard(stream: IO[Any] | None) -> None:
    """Redirect a broken `stream` to the null device, so that flushing its buffer at exit does not fail."""
    try:
        descriptor = None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return
    if descriptor is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)


def flush_stdout() -> None:
    """Flush what help or shell completion wrote; a closed pipe is ignored. Raises `CharrnnError` when writing fails."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except ValueError:  # closed
        pass
    except OSError as error:
        discard(sys.stdout)
        raise CharrnnError(f"cannot write to standard output: {error.strerror or error}") from error


class Output:
    """Standard output as bytes, to be used in a `with` block.

    On a terminal each write is shown at once; to a pipe or file writes are buffered, and flushed whole. Raises
    `StdoutClosed` when the reader went away (`main` ends with status 0) and `CharrnnError` when writing fails.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise CharrnnError("standard output is closed, and results are written to it; open it or send it to a file")
        self.terminal = stdout_is_terminal()
        self._stream = sys.stdout.buffer
        self._pieces: list[bytes] = []
        self._size = 0
        self._flushed = time.monotonic()

    def write(self, data: bytes | str) -> None:
        """Add `data`, text as UTF-8. Raises as `flush` does."""
        piece = encode(data) if isinstance(data, str) else data
        self._pieces.append(piece)
        self._size += len(piece)
        if self.terminal or self._size >= PIECE_BYTES or time.monotonic() - self._flushed >= PIECE_SECONDS:
            self.flush()

    def show(self, data: bytes | str) -> None:
        """Add `data`; on a terminal, control characters other than TAB and line end are written as escapes."""
        if self.terminal:
            data = visible(data.decode("utf-8", "replace") if isinstance(data, bytes) else data, keep="\t\n")
        self.write(data)

    def show_json(self, values: dict[str, Any]) -> None:
        """Add a JSON object on a line."""
        self.show(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")

    def flush(self) -> None:
        """Write what is buffered, for example before waiting for more input.

        Raises `StdoutClosed` when the reader went away, `CharrnnError` when writing fails.
        """
        pending = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        try:
            self._stream.write(pending)
            self._stream.flush()
        except BrokenPipeError:
            discard(sys.stdout)
            raise StdoutClosed from None
        except OSError as error:
            discard(sys.stdout)
            raise CharrnnError(f"cannot write to standard output: {error.strerror or error}") from error
        self._flushed = time.monotonic()

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Results that were complete before a failure or an interruption are written.
        if self._pieces and not isinstance(error, StdoutClosed):
            try:
                self.flush()
            except (StdoutClosed, CharrnnError):
                if error is None:
                    raise

"""How samples of a language model are written: as they grow, or a JSON object each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charrnn.cli import streams
from charrnn.cli.visible import TerminalFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from charrnn.tasks.sampling import Piece


def write_text(out: streams.Output, pieces: Iterable[Piece], echoed: Sequence[bytes], delimiter: bytes) -> None:
    """Write each sample as it grows, and the delimiter after it."""
    fresh, tail, terminal = True, b"", TerminalFilter()
    for piece in pieces:
        data = echoed[piece.prompt] + piece.data if fresh else piece.data
        fresh = piece.stopped_by is not None
        tail = (tail + data)[-max(1, len(delimiter)) :]
        if fresh:
            data += b"" if tail.endswith(delimiter) else delimiter
            tail = b""
        if out.terminal:
            out.write(terminal.feed(data, last=fresh))
        else:
            out.write(data)


def write_json(
    out: streams.Output, pieces: Iterable[Piece], prompts: Sequence[bytes], echoed: Sequence[bytes], seed: int
) -> None:
    """Write a JSON object a sample; bytes that are not UTF-8 become U+FFFD."""
    parts: list[bytes] = []
    for piece in pieces:
        parts.append(piece.data)
        if piece.stopped_by is None:
            continue
        record = {
            "prompt": prompts[piece.prompt].decode("utf-8", "replace"),
            "text": (echoed[piece.prompt] + b"".join(parts)).decode("utf-8", "replace"),
            "index": piece.index,
            "seed": seed,
            "tokens": piece.tokens,
            "stopped_by": piece.stopped_by,
        }
        parts = []
        out.show_json(record)

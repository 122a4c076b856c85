"""How samples of a language model are written: as they grow, or a JSON object each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charrnn.cli import streams
from charrnn.cli.visible import TerminalFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from charrnn.tasks.sampling import Piece
    from charrnn.tasks.trained_language import TrainedLanguageModel


class CopyCount:
    """Counts the units of samples that lie in copies of more than `longest` units of the model's corpus."""

    def __init__(self, model: TrainedLanguageModel, longest: int) -> None:
        self.model, self.longest = model, longest
        self.copied = self.units = 0

    def counted(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces of samples, each of which is counted when it ends."""
        text = bytearray()
        for piece in pieces:
            text += piece.data
            if piece.stopped_by is not None:
                copied, units = self.model.copied(bytes(text), self.longest)
                self.copied, self.units = self.copied + copied, self.units + units
                text.clear()
            yield piece

    def summary(self) -> str:
        """The share of all that was counted."""
        share = 100 * self.copied / max(self.units, 1)
        return (
            f"novelty: {share:.1f} % of {self.units:,} units lie in copies of more than {self.longest} units of the "
            "corpus"
        )


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

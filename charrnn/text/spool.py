"""A spool: the codes of a text on disk, from when it is read until its vocabulary is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from charrnn.text.coding import Codes, WordCoder

SEGMENT_BYTES = 64 << 20


@dataclass
class _Segment:
    """A file: the position of its first code in the spool; type, length and bytes between units of each block."""

    path: Path
    start: int
    blocks: list[tuple[DTypeLike, int, int]] = field(default_factory=list)


class Spool:
    """A long sequence of codes in temporary files, each block in the smallest type that holds it.

    There are several files so that each can be removed once it is read: the ids of a large text are then written into
    the space that its codes free, and some of the codes never reach the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._segments: list[_Segment] = []
        self.length = 0
        self._file = self._begin_segment()

    def append(self, codes: Codes, spaces: int) -> None:
        """Append a block of codes (N); `spaces`: the bytes of white space between its units."""
        if len(codes):
            if self._file.tell() >= SEGMENT_BYTES:
                self._file.close()
                self._file = self._begin_segment()
            self._file.write(np.ascontiguousarray(codes).data)
            self._segments[-1].blocks.append((codes.dtype, len(codes), spaces))
            self.length += len(codes)

    def read(self, start: int, stop: int, *, remove: bool = False) -> Iterator[tuple[Codes, int]]:
        """The blocks of the codes [start, stop), the first and last cut to size, each with its bytes between units.

        `remove`: delete each file that ends in this range after it was read, including its codes before `start`.
        """
        self._file.flush()
        for segment in [*self._segments]:
            position = segment.start
            end = position + sum(count for _, count, _ in segment.blocks)
            if end <= start or position >= stop:
                continue
            with segment.path.open("rb") as file:
                for dtype, count, spaces in segment.blocks:
                    low, high = max(start - position, 0), min(stop - position, count)
                    size = np.dtype(dtype).itemsize
                    if low < high:
                        codes = np.frombuffer(file.read(count * size), dtype)
                        yield codes[low:high], spaces_before(codes, spaces, high) - spaces_before(codes, spaces, low)
                    else:
                        file.seek(count * size, 1)
                    position += count
            if remove and end <= stop and segment is not self._segments[-1]:
                segment.path.unlink()
                self._segments.remove(segment)

    def clear(self) -> None:
        """Remove all codes; more can be appended."""
        self.close()
        self.length = 0
        self._file = self._begin_segment()

    def close(self) -> None:
        """Remove the files."""
        self._file.close()
        for segment in self._segments:
            segment.path.unlink(missing_ok=True)
        self._segments.clear()

    def _begin_segment(self) -> IO[bytes]:
        path = self._path.with_name(f"{self._path.name}.{self.length}")
        self._segments.append(_Segment(path, self.length))
        return path.open("wb")


def spaces_before(codes: Codes, spaces: int, position: int) -> int:
    """How many of the `spaces` bytes between the words of a block, codes (N), precede the unit at `position`.

    An estimate: one byte between two words of a line, the rest (mostly at the ends of lines) in equal parts per line.
    """
    if spaces == 0 or position in (0, len(codes)):
        return spaces if position else 0
    words = codes != WordCoder.LINE_END_CODE
    joints = words[1:] & words[:-1]
    lines, lines_before = len(words) - int(words.sum()), position - int(words[:position].sum())
    surplus = max(0, spaces - int(joints.sum()))
    return int(joints[: position - 1].sum()) + surplus * lines_before // max(lines, 1)

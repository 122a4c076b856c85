"""Stop strings: finding where a sample ends, while it is written."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes bytes on up to the first complete stop string, and buffers what may be the beginning of one."""

    def __init__(self, stops: Sequence[bytes]) -> None:
        self._stops = stops
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes before any stop string, complete or begun, and whether a complete one was found after them."""
        if not self._stops:
            return data, False
        text = self._held + data
        found = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self._held = b""
            return text[: min(found)[1]], True
        hold = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold], False

    def rest(self) -> bytes:
        """The buffered bytes, after the last call of `feed`."""
        held, self._held = self._held, b""
        return held


def _overlap(text: bytes, stop: bytes) -> int:
    """The length of the longest suffix of `text` that is a proper prefix of `stop`."""
    return next(n for n in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:n]))

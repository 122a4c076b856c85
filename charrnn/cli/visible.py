"""Text without control characters, safe to print on a terminal."""

from __future__ import annotations

import codecs


def visible(text: str, keep: str = "") -> str:
    """The text with control characters as escapes, except those in `keep`; surrogate escapes become U+FFFD."""
    if text.isprintable():
        return text
    return "".join(character if character in keep else _visible(character) for character in text)


def _visible(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    if character < " " or "\x7f" <= character <= "\x9f":
        return repr(character)[1:-1]
    return character


class TerminalFilter:
    """Turns pieces of UTF-8 into visible text; a character may be cut between two pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """The text of the next piece, line ends and tabs as they are."""
        return visible(self._decoder.decode(data, last), keep="\n\t")

"""Text from outside as it is shown on the page: bounded, and without characters that change how others are shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

ELLIPSIS = " …"
LONGEST = 300  # characters of one text, if nothing else is said
_PICTURES = 0x2400  # U+2400 SYMBOL FOR NULL, and so on
_DELETE, _DELETE_PICTURE = 0x7F, "\u2421"
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # controls, formats, surrogates, private, unassigned, separators
_JOINERS = "\u200c\u200d"  # which some scripts need


def visible(text: str, limit: int = LONGEST, keep: str = "") -> str:
    """The first `limit` characters of a text; controls, and marks of direction, as characters that can be seen.

    Characters of `keep` are left as they are.
    """
    start = text[:limit]
    if not start.isascii() or not start.isprintable():
        start = "".join(one if one in keep else _visible(one) for one in start)
    return start + ELLIPSIS if len(text) > limit else start


def _visible(character: str) -> str:
    number = ord(character)
    if number < 0x20:
        return chr(_PICTURES + number)
    if number == _DELETE:
        return _DELETE_PICTURE
    kind = unicodedata.category(character)
    if kind in ("Cs", "Co", "Cn") or (kind == "Cc" and number >= 0x80):
        return "\ufffd"
    if kind in _HIDDEN and character not in _JOINERS:
        return f"[U+{number:04X}]"
    return character


def unit_text(unit: str) -> str:
    """A unit of text by itself: white space as signs for it."""
    return visible(unit.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣"), 40)


def percent(share: float) -> str:
    """A share as text, in percent with two significant digits."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def number(value: float) -> str:
    """A number for people, with four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def by_support(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of a table: names, precision, recall and F1 in percent, and support, of which the largest come first."""
    return [
        (
            visible(name, 40),
            *(f"{100 * values[key]:.1f}" for key in ("precision", "recall", "f1")),
            f"{values['support']:,}",
        )
        for name, values in sorted(found.items(), key=lambda one: -one[1]["support"])[:100]
    ]

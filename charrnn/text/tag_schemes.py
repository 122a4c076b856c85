"""Schemes by which tags mark spans of tokens, such as names: IOB1, IOB2 and IOBES.

A tag is `O`, outside of all spans, or a letter, `-` and the type of the span: `B` begins one, `I` is inside; in IOBES
`E` is the end, and `S` a span of one token. In IOB2 every span begins with `B`, in IOB1 only one that follows another
of its type. Ramshaw and Marcus 1995, "Text chunking using transformation-based learning"; Tjong Kim Sang and Veenstra
1999, "Representing text chunks".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

OUTSIDE = "O"
NONE, IOB1, IOB2, IOBES = "", "iob1", "iob2", "iobes"
SCHEMES = (NONE, IOB1, IOB2, IOBES)
LETTERS = "OBIES"  # by number


def split_tag(tag: str) -> tuple[str, str]:
    """The letter of a tag and the type of its span; of a tag that marks no span `O` and an empty type."""
    letter, dash, kind = tag.partition("-")
    return (letter, kind) if dash and letter in ("B", "I", "E", "S") and kind else (OUTSIDE, "")


def scheme_of(tags: Iterable[str], begun_inside: bool) -> str:
    """The scheme of a set of tags. `begun_inside`: a span begins with `I`, and none with a `B` that IOB1 has not."""
    letters = {split_tag(tag)[0] for tag in tags if tag != OUTSIDE}
    if not letters or OUTSIDE in letters:
        return NONE
    if letters & {"E", "S"}:
        return IOBES
    return IOB1 if begun_inside else IOB2


def looks_like_iob1(sentences: Iterable[Sequence[str]]) -> bool:
    """Whether spans begin with `I`, and `B` stands only between two spans of one type."""
    found = False
    for tags in sentences:
        before = OUTSIDE, ""
        for tag in tags:
            letter, kind = split_tag(tag)
            if letter == "B" and before[1] != kind:
                return False
            found = found or (letter == "I" and before[1] != kind)
            before = letter, kind
    return found


def as_iob2(tags: Sequence[str]) -> list[str]:
    """The tags of a sentence in IOB1, or IOB2, as IOB2: a span begins with `B`."""
    found: list[str] = []
    before = ""
    for tag in tags:
        letter, kind = split_tag(tag)
        found.append(f"B-{kind}" if letter == "I" and kind != before else tag)
        before = kind
    return found


def ill_formed(labels: Sequence[str], scheme: str) -> NDArray[np.bool_]:
    """Which tags cannot follow which (L + 1, L + 1): [i, j] is from tag i to j; the last row is the begin of a
    sentence, the last column its end."""
    count = len(labels)
    wrong = np.zeros((count + 1, count + 1), np.bool_)
    if scheme == NONE:
        return wrong
    tags = [*map(split_tag, labels), (OUTSIDE, "")]
    for i, (letter, kind) in enumerate(tags):
        opened = letter in ("B", "I")  # a span that may go on
        for j, (next_letter, next_kind) in enumerate(tags):
            goes_on = next_letter in ("I", "E")
            if goes_on:
                wrong[i, j] = not opened or kind != next_kind
            elif scheme == IOBES:
                wrong[i, j] = opened
    return wrong

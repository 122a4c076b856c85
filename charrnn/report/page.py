"""The page: sections of items, written as one file of HTML that needs nothing else.

Text is escaped by jinja2. A policy in the page (Content-Security-Policy) allows its one script and style, and no other
script, image, font or connection: what stands in a corpus or a checkpoint is shown, never obeyed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

HEATS = 8  # steps of the scale of colours
SHORT, SOME = 24, 8  # characters of a line, and lines of a text, that print side by side in columns


@dataclass(frozen=True)
class Item:
    """A figure, table or text with a title and two sentences on how to read it.

    `kind` is that of the macro in the template which shows `data`; the functions below make items.
    """

    kind: str
    title: str
    explanation: str
    data: Any


@dataclass(frozen=True)
class Section:
    """A part of the page; `introduction` may be empty."""

    title: str
    introduction: str
    items: list[Item] = field(default_factory=list)


def facts(title: str, explanation: str, pairs: Iterable[tuple[str, str]]) -> Item:
    """Names and what is said of them."""
    return Item("facts", title, explanation, list(pairs))


def figure(title: str, explanation: str, svg: str) -> Item:
    """A drawing of `draw.py`."""
    return Item("figure", title, explanation, svg)


def table(title: str, explanation: str, header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> Item:
    """Rows of fields under a header; the first `texts` columns are text, the others numbers."""
    return Item("table", title, explanation, {"header": header, "rows": list(rows), "texts": texts})


def matrix(
    title: str, explanation: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[str]],
    heats: Sequence[Sequence[int]], corner: str = "",
) -> Item:  # fmt: skip
    """A table of cells coloured by their heat, from 0 to HEATS, with names of rows and columns."""
    lines = [
        (name, list(zip(some, of, strict=True)))
        for name, some, of in zip(rows, values, heats, strict=True)
    ]  # fmt: skip
    return Item("matrix", title, explanation, {"columns": columns, "lines": lines, "corner": corner})


def painted(title: str, explanation: str, texts: Iterable[tuple[str, Sequence[tuple[str, int]]]]) -> Item:
    """Texts, each with a caption, in runs of one heat each: from -HEATS to HEATS."""
    return Item("painted", title, explanation, [(caption, list(runs)) for caption, runs in texts])


def units(title: str, explanation: str, found: Iterable[tuple[str, int, str]]) -> Item:
    """A text in units: what is shown, its heat, and what is said of it when it is pointed at."""
    return Item("units", title, explanation, list(found))


def texts(title: str, explanation: str, pairs: Iterable[tuple[str, str]]) -> Item:
    """Texts with a caption each."""
    return Item("texts", title, explanation, list(pairs))


def heat(value: float) -> int:
    """A number from -1 to 1 as a heat; others are cut."""
    return round(HEATS * max(-1.0, min(1.0, value)))


def runs(characters: Sequence[str], values: Sequence[float]) -> list[tuple[str, int]]:
    """Texts of neighbours with the same heat, see `heat`."""
    found: list[tuple[str, int]] = []
    for character, value in zip(characters, values, strict=True):
        of = heat(value)
        if found and found[-1][1] == of:
            found[-1] = found[-1][0] + character, of
        else:
            found.append((character, of))
    return found


def short(pieces: Iterable[Sequence[Any]]) -> bool:
    """Whether a text, whose pieces come first in each of `pieces`, has many lines, none of them long."""
    lines = "".join(piece[0] for piece in pieces).splitlines()
    return len(lines) >= SOME and max(map(len, lines)) <= SHORT


def render(title: str, subtitle: str, sections: Iterable[Section]) -> str:
    """The page. Raises ModuleNotFoundError without jinja2."""
    import jinja2
    from markupsafe import Markup

    files = {name: resources.files("charrnn.report").joinpath("page", name).read_text("utf-8")
             for name in ("page.html", "style.css", "script.js")}  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(files["script.js"].encode()).digest()).decode()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(drawing=Markup, short=short)
    text: str = environment.from_string(files["page.html"]).render(
        title=title, subtitle=subtitle, sections=list(sections), digest=digest, heats=HEATS,
        style=Markup(files["style.css"]), script=Markup(files["script.js"]),
    )  # fmt: skip
    return text

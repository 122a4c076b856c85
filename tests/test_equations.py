"""docs/equations.md quotes the code: a block under the name of a file is lines of that file, one after another."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
DOCSTRING = "its docstring"
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)\n```$", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(
    r"^\[(?P<file>charrnn/[\w/]+\.py)\]\(\.\./(?P=file)\), "
    rf"(?:`(?P<function>\w+)`|{DOCSTRING}):\n\n{BLOCK.pattern[1:]}",
    re.MULTILINE | re.DOTALL,
)

Read = Callable[[str], str]  # a file's text by its path in the project


@dataclass(frozen=True)
class Quote:
    """A block of the page and where its lines are to be: in a function of a file, or in the file's docstring."""

    file: str
    function: str
    text: str


def quotes(page: str) -> list[Quote]:
    """The blocks of a page with the name of a file above them."""
    return [Quote(found["file"], found["function"] or DOCSTRING, found["text"]) for found in QUOTE.finditer(page)]


def spans(quote: Quote, source: str) -> list[tuple[int, int]]:
    """The lines, counted from 0, of the functions of that name in a file, or of the file's docstring."""
    body = ast.parse(source).body
    nodes: list[ast.stmt] = body[:1]
    if quote.function != DOCSTRING:
        found = (node for part in body for node in ast.walk(part))
        nodes = [node for node in found if isinstance(node, ast.FunctionDef) and node.name == quote.function]
    return [(node.lineno - 1, node.end_lineno or 0) for node in nodes]


def places(quote: Quote, lines: list[str], spans: list[tuple[int, int]]) -> list[int]:
    """The lines at which the quoted ones stand within the spans; their common indentation may be another."""
    count = len(quote.text.splitlines())
    starts = [start for first, last in spans for start in range(first, last - count + 1)]
    return [start for start in starts if textwrap.dedent("\n".join(lines[start : start + count])) == quote.text]


def stale(page: str, read: Read) -> list[str]:
    """What is wrong with a page: quotes that do not stand where they should, or in more than one place."""
    wrong = []
    for quote in quotes(page):
        source = read(quote.file)
        count = len(places(quote, source.splitlines(), spans(quote, source)))
        wrong += [f"{quote.file}, {quote.function}: {count} times\n{quote.text}"] if count != 1 else []
    return wrong


def read(file: str) -> str:
    """A file of the project."""
    return (ROOT / file).read_text(encoding="utf-8")


def test_the_page_quotes_the_code() -> None:
    assert stale(PAGE, read) == []


def test_all_code_of_the_page_is_a_quote() -> None:
    quoted = {quote.text for quote in quotes(PAGE)}
    blocks = [(block["language"], block["text"]) for block in BLOCK.finditer(PAGE)]
    assert [text for language, text in blocks if language != "text" and text not in quoted] == []
    assert len(quotes(PAGE)) == len(re.findall(r"^\[charrnn/", PAGE, re.MULTILINE))
    assert len(quoted) > 40


@pytest.mark.parametrize("file", sorted({quote.file for quote in quotes(PAGE)}))
def test_any_change_of_a_quoted_line_is_noticed(file: str) -> None:
    """In copies of the file, in which one quoted line has another character, or a line stands between two of them."""
    source = read(file)
    lines = source.splitlines()
    for quote in (quote for quote in quotes(PAGE) if quote.file == file):
        parts = spans(quote, source)
        (start,) = places(quote, lines, parts)
        count = len(quote.text.splitlines())
        for place in range(start, start + count):
            assert places(quote, [*lines[:place], f"{lines[place]} #", *lines[place + 1 :]], parts) == []
            if place > start:
                assert places(quote, [*lines[:place], "", *lines[place:]], parts) == []


def test_a_changed_file_is_noticed() -> None:
    """The whole check, of a file that was changed."""
    line = "dc_row[j] = dc_j * f_j * mask"

    def changed(file: str) -> str:
        return read(file).replace(line, line.replace("f_j", "i_j"))

    (found,) = stale(PAGE, changed)
    assert found.startswith("charrnn/kernels/lstm.py, lstm_backward: 0 times")


def test_a_changed_page_is_noticed() -> None:
    quote = next(quote for quote in quotes(PAGE) if quote.function == "lstm_backward")
    line = quote.text.splitlines()[0]
    for changed in (line + " ", line.replace("j", "k") + "#", line.upper()):
        assert len(stale(PAGE.replace(quote.text, quote.text.replace(line, changed)), read)) == 1
    (other,) = stale(PAGE.replace("`lstm_backward`:", "`lstm_forward`:", 1), read)
    assert "lstm_forward: 0 times" in other


def test_contents_and_links() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.M)
    }
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert {link[1:] for link in links if link.startswith("#")} == headings
    assert [link for link in links if link[0] != "#" and not (ROOT / "docs" / link).is_file()] == []

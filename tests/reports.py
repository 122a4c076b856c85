"""Small models of each task and pages on them, learned from text that attacks the page it is shown on."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from tests.conftest import run_command

ATTACKS = (
    "<script>window.hacked=1</script>", '"><img src=x onerror=window.hacked=1>', "<!--", "]]></svg>", "</pre></style>",
    "{{7*7}}{%raw%}", "$\\frac{$_^", "'onmouseover='hacked=1", "&lt;b&gt;&#0;", "שלום", "مرحبا", "\u202egpj.exe\u2066",
    "e\u0301\u0327\u0300", "日本語", "\x07\x1b[31m\x7f\x85", "😀\u200d👩", "x" * 90,
)  # fmt: skip
SMALL = ("--hidden-size", "8", "--steps", "3", "--batch-size", "4", "--seed", "1", "--threads", "1", "-q")
NAME = "<script>hacked=1;a&b'{{x}}\u202e"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TAGS = frozenset((
    *("html", "head", "meta", "title", "link", "style", "body", "header", "h1", "h2", "h3", "bdi", "p", "main"),
    *("section", "div", "figure", "figcaption", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td"),
    *("pre", "span", "output", "footer", "script"),
    *("svg", "g", "defs", "path", "use", "text", "clippath", "rect", "tspan"),
))  # fmt: skip
VOID = frozenset(("meta", "link"))


def corpora(folder: Path) -> dict[str, Path]:
    """A corpus for each task; the words, labels, tags, columns and names of files are attacks."""
    words = [attack.replace(" ", "_") for attack in ATTACKS]
    rows = [
        f"2001-{1 + n // 28:02d}-{1 + n % 28:02d},{(n * 7) % 11}.5,{n % 5}" for n in range(90)
    ]  # fmt: skip
    header = ",".join('"' + name.replace('"', '""') + '"' for name in ("date", ATTACKS[0], ATTACKS[1] + "$x$"))
    texts = {
        "language": "".join(f"{a} says {b}.\n" for a in ATTACKS for b in ATTACKS[:6]),
        "classify": "".join(f"{label}\t{a} and {b}\n" for label, a in zip(ATTACKS[:4] * 5, ATTACKS, strict=False)
                            for b in ATTACKS[:4]) + "".join(f"{label}\tthe same\n" for label in ATTACKS[:4] * 2),
        "tag": "".join(f"{word} B-{words[n % 3]}\nin O\n{words[-1]} I-{words[n % 3]}\n\n"
                       for n, word in enumerate(words * 2)),
        "forecast": "\n".join([header, *rows]) + "\n",
        "translate": "".join(f"{a} {n}\t{n} {b}\n" for n, (a, b) in enumerate(zip(ATTACKS, ATTACKS[::-1], strict=True)))
        * 2,
    }  # fmt: skip
    found = {}
    for task, text in texts.items():
        path = folder / f"{task}{NAME}.{'csv' if task == 'forecast' else 'txt'}"
        path.write_text(text, "utf-8")
        found[task] = path
    return found


def train(task: str, corpus: Path, output: Path, *options: str) -> Path:
    """A small model of a task."""
    result = run_command("train", corpus, "--task", task, *SMALL, "-o", output, *options)
    assert result.status == 0, result.err
    return output


def report(model: Path, page: Path, *options: str | Path) -> Path:
    """The page on a model."""
    result = run_command("report", model, "-o", page, "--threads", "1", "-q", *options)
    assert (result.status, result.out) == (0, b""), result.err
    return page


class Page(HTMLParser):
    """The elements of a page, which must be nested as they should, and what could act."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.acting: list[str] = []
        self.text: list[str] = []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what acts or loads."""
        self.tags.add(tag)
        for name, value in attributes:
            local = name in ("href", "xlink:href") and (value or "").startswith(("#", "data:,"))
            loads = name in ("src", "href", "xlink:href", "srcdoc", "action", "formaction", "background", "poster")
            if name.startswith("on") or (loads and not local) or "javascript:" in (value or "").lower():
                self.acting.append(f"{tag} {name}={value}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An element that is closed at once."""
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """It must be that of the innermost element."""
        assert self.open[-1:] == [tag], f"</{tag}> closes another element"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        """Text that is shown."""
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def shown(self) -> str:
        """All text of the page."""
        return "".join(self.text)


def assert_harmless(path: Path) -> Page:
    """The page has its own script and nothing else that acts; every element is closed; no control is in it."""
    page = Page(path)
    assert page.open == []
    assert page.acting == []
    assert page.tags <= TAGS
    assert page.source.count("<script") == 1
    assert not CONTROL.search(page.source)
    assert page.source.startswith("<!doctype html>")
    assert "default-src 'none'" in page.source
    assert len(page.source.encode()) < 3_000_000
    return page

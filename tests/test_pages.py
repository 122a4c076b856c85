"""What the pages name in passing is there: links lead somewhere, files and options exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from charrnn.cli import commands as program
from charrnn.cli.main import build_app
from tests.test_readme import CODE_BLOCK, PAGES, ROOT, TASK_PAGES


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end with."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")))
    assert links or page.parent.name == "docs"
    for link in links:
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("page", TASK_PAGES[1:], ids=lambda page: page.name)
def test_files_of_a_task_exist(page: Path) -> None:
    files = re.findall(r"`(charrnn/[\w/.]+)`", page.read_text(encoding="utf-8"))
    assert len(files) > 3
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_options_and_variables_exist() -> None:
    """What is named in passing is in the program as well."""
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "charrnn").rglob("*.py"))
    assert [name for name in sorted(set(re.findall(r"CHARRNN_\w+", PAGES))) if name not in source] == []
    parsers = [build_app(), *map(program.load_command, program.COMMANDS)]
    options = {
        name for parser in parsers for parameter in parser.params for name in parameter.opts + parameter.secondary_opts
    }
    named = set(re.findall(r"`(--[a-z-]+)", PAGES))
    assert len(named) > 10
    assert named <= options
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(--?[a-z-]+)", tour)) <= options | {"--help"}

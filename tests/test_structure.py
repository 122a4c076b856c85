"""How the code is to be read: what is public says what it does, files are short, a step takes a short way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.trace import changes, files, training_step, upward

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "charrnn").rglob("*.py"))
LONGEST = 320


def public_functions(tree: ast.AST) -> list[ast.FunctionDef]:
    """The public functions of a module, and the public methods of its public classes."""
    owners = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name[0] != "_")]
    children = [child for owner in owners for child in ast.iter_child_nodes(owner)]
    return [child for child in children if isinstance(child, ast.FunctionDef) and child.name[0] != "_"]


def test_every_public_function_has_a_docstring() -> None:
    functions = [(path, found) for path in SOURCES for found in public_functions(ast.parse(path.read_bytes()))]
    assert len(functions) > 500
    assert [f"{path.name}: {found.name}" for path, found in functions if not ast.get_docstring(found)] == []


@pytest.mark.parametrize("folder", ["charrnn", "tests", "benchmarks", "corpora"])
def test_no_file_is_long(folder: str) -> None:
    lengths = {path.name: len(path.read_bytes().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_a_step_crosses_few_files_and_never_goes_up(tmp_path: Path) -> None:
    for optimizer in ("adamw", "muon"):
        step, whole = training_step(tmp_path, optimizer=optimizer)
        assert len(step) > 50
        assert len(files(step)) <= 14
        assert changes(step) <= 60
        assert upward(whole) == []

"""How many small mistakes the tests notice: `python -m tests.mutants --count 20 --seed 0`.

Changes one operator, comparison or constant of the package at a time, in a copy of it, and runs the tests of that file
with `-x` and a time limit. A mutant is killed when they fail or take too long; the survivors are printed, to be looked
at: some change nothing that could be seen. Which ones are tried depends on the seed alone.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# In these files a mutant has all kernels compiled anew, so that every other mutant costs a minute: asked for by name.
SLOW = ("kernels", "runtime")
BY_COMMANDS = ("test_readme.py", "test_tour.py", "test_fuzz.py")  # minutes long, and they notice crashes only
SECONDS = 300
BASELINE_SECONDS = 1200  # as things are, when everything may have to be compiled first
# Compiled code is kept by the place and the time of its source: always the same place, so that it is compiled once.
FOLDER = Path(tempfile.gettempdir(), f"charrnn-mutants-{os.getuid() if hasattr(os, 'getuid') else ''}")
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def changes(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each expression of a module that can be changed, and what it becomes. Annotations and docstrings are let be."""
    skipped = {id(node) for parent in ast.walk(tree) for node in _not_run(parent)}
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if id(node) in skipped:
            continue
        todo.extend(reversed(list(ast.iter_child_nodes(node))))
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPS and not _is_text(node):
            yield node, ast.BinOp(node.left, SWAPS[type(node.op)](), node.right)
        elif isinstance(node, ast.BoolOp):
            yield node, ast.BoolOp(SWAPS[type(node.op)](), node.values)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield node, ast.Compare(node.left, [SWAPS[type(node.ops[0])]()], node.comparators)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, node.operand
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield node, ast.Constant(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield node, ast.Constant(node.value + 1)


def _not_run(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node whose value nothing depends on."""
    for name in ("annotation", "returns"):
        if (part := getattr(node, name, None)) is not None:
            yield part
    if isinstance(node, ast.JoinedStr):  # mostly messages; before Python 3.12 nobody knows where its parts stand
        yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        yield node


def _is_text(node: ast.BinOp) -> bool:
    """Whether a text or a list is put together: with another operator that is an error, which teaches nothing."""
    sides = (node.left, node.right)
    return any(isinstance(s, ast.JoinedStr | ast.List | ast.Tuple) for s in sides) or any(
        isinstance(s, ast.Constant) and isinstance(s.value, str | bytes) for s in sides
    )


def mutated(source: str, old: ast.expr, new: ast.expr) -> str:
    """`source` with one expression in place of another."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]  # columns are bytes
    assert old.end_lineno is not None
    before = b"".join(lines[: old.lineno - 1]) + lines[old.lineno - 1][: old.col_offset]
    after = lines[old.end_lineno - 1][old.end_col_offset :] + b"".join(lines[old.end_lineno :])
    return (before + b"(" + ast.unparse(new).encode() + b")" + after).decode()


def tests_of(module: Path) -> list[str]:
    """The test files that speak of a module or of what it defines, those that do so most often first."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)} | {module.stem}
    names = {name for name in names if not name.startswith("_")}
    counts: Counter[str] = Counter()
    for file in sorted({*(ROOT / "tests").glob("test_*.py")} - {ROOT / "tests" / name for name in BY_COMMANDS}):
        text = file.read_text(encoding="utf-8")
        counts[file.name] = sum(text.count(name) for name in names) + 5 * text.count(f".{module.stem} import")
    return [f"tests/{name}" for name, count in counts.most_common(4) if count]


def passes(tests: list[str], seconds: float = SECONDS) -> bool:
    """Whether the tests pass, in time, for the package in `FOLDER`."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not peers", *tests]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _sound(test: str, known: dict[str, bool]) -> bool:
    if test not in known:
        known[test] = passes([test], BASELINE_SECONDS)
        print(f"{test} {'passes' if known[test] else 'FAILS'} as things are", flush=True)
    return known[test]


def main() -> int:
    """Print each mutant, and how many were killed."""
    parser = argparse.ArgumentParser(description="Change the package here and there; do the tests notice?")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the path of the files to change, such as text/ or kernels/")
    options = parser.parse_args()
    choose = random.Random(options.seed)
    found: Counter[str] = Counter()
    sound: dict[str, bool] = {}  # whether test files pass as things are: else no mutant is killed by them
    shutil.rmtree(FOLDER, ignore_errors=True)
    shutil.copytree(ROOT, FOLDER, ignore=shutil.ignore_patterns(".git", ".venv", ".*cache", ".hypothesis", "build"))
    files = [path.relative_to(ROOT) for path in sorted((ROOT / "charrnn").rglob("*.py"))]
    files = [f for f in files if (options.only or f.parts[1] not in SLOW) and options.only in f.as_posix()]
    candidates = [
        (file, place) for file in files for place, _ in enumerate(changes(ast.parse((ROOT / file).read_bytes())))
    ]
    for file, place in choose.sample(candidates, min(options.count, len(candidates))):
        source = (ROOT / file).read_text(encoding="utf-8")
        old, new = list(changes(ast.parse(source)))[place]
        tests = [test for test in tests_of(ROOT / file) if _sound(test, sound)]
        (FOLDER / file).write_text(mutated(source, old, new), encoding="utf-8")
        result = "untested" if not tests else "survived" if passes(tests) else "killed"
        found[result] += 1
        print(f"{result:8}  {file}:{old.lineno}: {ast.unparse(old)}  ->  {ast.unparse(new)}", flush=True)
        shutil.copy2(ROOT / file, FOLDER / file)
    shutil.rmtree(FOLDER)
    print(f"{sum(found.values())} mutants: {', '.join(f'{count} {what}' for what, count in found.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

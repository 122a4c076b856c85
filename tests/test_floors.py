"""Imports go down the floors of the architecture only, and nothing but the command line talks to the user."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "charrnn"

# From the top down. What stands on one floor does not import each other; a folder may import within itself.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"report"},
    {"tasks"},
    {"training"},
    {"checkpoint"},
    {"formats"},
    {"models"},
    {"nn"},
    {"text"},
    {"kernels"},
    {"runtime"},
    {"task_config", "sampling_config"},
    {"config"},
    {"settings"},
    {"errors"},
    {""},  # charrnn/__init__.py: the version; it hands on `load`, from the floor of tasks, when it is asked for
)
HEIGHT = {name: len(FLOORS) - place for place, names in enumerate(FLOORS) for name in names}
COMMAND_LINE = {"__main__", "cli"}
KERNEL_LIBRARIES = {"numba", "llvmlite", "numpy"}
DRAWING_LIBRARIES = {"typer", "rich", "click"}


def sources() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert found
    return found


def module_name(path: Path) -> str:
    """charrnn/text/reader.py -> charrnn.text.reader; charrnn/text/__init__.py -> charrnn.text."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part of the package a module belongs to: charrnn.text.reader -> text; "" for the package itself."""
    return [*module.split("."), ""][1]


def imports(tree: ast.AST, module: str, *, is_package: bool = False) -> Iterator[tuple[str, int]]:
    """The modules that a module imports, anywhere in it, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = len(parents) - node.level + is_package
                base = ".".join([*parents[:kept], *([base] if base else [])])
            if base == "charrnn":  # `from charrnn import checkpoint` imports charrnn.checkpoint
                for alias in node.names:
                    yield (f"charrnn.{alias.name}" if alias.name in HEIGHT else base), node.lineno
            else:
                yield base, node.lineno


def wrong_imports(tree: ast.AST, module: str, *, is_package: bool = False) -> list[str]:
    """What a module imports and must not, one line each."""
    part = part_of(module)
    found = []
    for target, line in imports(tree, module, is_package=is_package):
        top = target.split(".")[0]
        if top == "charrnn":
            other = part_of(target)
            if (module, other) == ("charrnn", "tasks"):
                continue
            if other != part and (other not in HEIGHT or HEIGHT[other] >= HEIGHT[part]):
                found.append(f"{module}:{line} imports {target}: not a lower floor")
            elif part == "kernels" and other not in ("kernels", "runtime", ""):
                found.append(f"{module}:{line} imports {target}: a kernel knows arrays only")
        elif part == "kernels" and top not in KERNEL_LIBRARIES | sys.stdlib_module_names:
            found.append(f"{module}:{line} imports {target}: a kernel needs {', '.join(sorted(KERNEL_LIBRARIES))} only")
        elif part not in COMMAND_LINE and top in DRAWING_LIBRARIES:
            found.append(f"{module}:{line} imports {target}: only the command line draws")
    return found


def talking(tree: ast.AST) -> list[int]:
    """The lines on which a module prints, opens a standard stream or exits."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("print", "input", "exit", "quit"):
                lines.append(node.lineno)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            # sys.stdin is read by charrnn/text when a corpus is piped in
            if node.attr in ("stdout", "stderr", "exit", "__stdout__", "__stderr__"):
                lines.append(node.lineno)
        elif isinstance(node, ast.Raise) and "SystemExit" in ast.dump(node):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("charrnn.text.reader", "from charrnn.models import LanguageModel"),
        ("charrnn.text.reader", "def late():\n    import charrnn.nn.stack"),
        ("charrnn.text.reader", "from ..models import stack"),
        ("charrnn.checkpoint", "from charrnn.tasks import sampling"),
        ("charrnn.checkpoint", "from .tasks import line_scoring"),
        ("charrnn.training.run", "from charrnn.tasks import sampling"),
        ("charrnn.formats", "from charrnn.checkpoint import load"),
        ("charrnn.text.reader", "import charrnn.tasks"),
        ("charrnn.errors", "from charrnn.config import UNITS"),
        ("charrnn.training.loop", "from charrnn.cli.progress import draw"),
        ("charrnn.kernels.lstm", "from charrnn.errors import CharrnnError"),
        ("charrnn.kernels.lstm", "import scipy.linalg"),
        ("charrnn.training.loop", "from rich.progress import Progress"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str) -> None:
    assert len(wrong_imports(ast.parse(source), module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "charrnn.cli.train",
            "import typer\nfrom charrnn.training.loop import train\nfrom charrnn.config import UNITS",
        ),
        ("charrnn.text.corpus", "from charrnn.text.reader import read\nfrom . import vocabulary\nimport numpy as np"),
        ("charrnn.kernels.lstm", "import math\nfrom llvmlite import ir\nfrom charrnn.runtime.compile import kernel"),
        ("charrnn.runtime.compile", "from charrnn import __version__"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert wrong_imports(ast.parse(source), module) == []


@pytest.mark.parametrize(
    "source", ["print(1)", "import sys\nsys.stderr.write('x')", "import sys\nsys.exit(1)", "raise SystemExit(2)"]
)
def test_talking_is_found(source: str) -> None:
    assert talking(ast.parse(source)) != []


def option_names(source: bytes) -> list[str]:
    """The strings and comments of a module that have an option of the command line in them."""
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    return [token.string for token in tokens if token.type in kinds and "--" in token.string]


@pytest.mark.parametrize(
    "source", ["'lower --steps'", "f'{1} --steps'", "# of --steps", '"""See --steps."""', "'-' '--'"]
)
def test_an_option_in_the_library_is_found(source: str) -> None:
    assert len(option_names(source.encode())) == 1
    assert option_names(b"x = 3 - -2  # `steps` - 1") == []


COMMANDS = ("charrnn train", "charrnn score", "charrnn sample")


def commands(tree: ast.AST) -> list[str]:
    """The strings of a module, docstrings apart, that have a command to type in them."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [
        str(node.value)
        for node in strings
        if id(node) not in docstrings and any(command in str(node.value) for command in COMMANDS)
    ]


@pytest.mark.parametrize("source", ["x = 'see charrnn train'", "x = f'{1}; charrnn score'", "f('charrnn ' 'sample')"])
def test_a_command_in_the_library_is_found(source: str) -> None:
    assert len(commands(ast.parse(source))) == 1
    assert commands(ast.parse('"""See charrnn train."""\ndef f():\n    """For charrnn score."""')) == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_keeps_to_its_floor(path: Path) -> None:
    """Below the command line nothing prints, and a message names a field in backticks, which `with_option_names` turns
    into the option."""
    module, source = module_name(path), path.read_bytes()
    tree = ast.parse(source, filename=str(path))
    assert part_of(module) in HEIGHT, f"{path} is on no floor: add it to the table"
    assert wrong_imports(tree, module, is_package=path.name == "__init__.py") == []
    if part_of(module) not in COMMAND_LINE:
        assert talking(tree) == []
        assert option_names(source) == []
        assert commands(tree) == []


def test_reading_text_and_checkpoints_does_not_import_numba() -> None:
    """`info`, `--help` and usage errors go through these modules and must start at once."""
    light = [
        module_name(path)
        for path in sources()
        if part_of(module_name(path))
        in {
            "",
            "cli",
            "checkpoint",
            "formats",
            "text",
            "task_config",
            "sampling_config",
            "config",
            "settings",
            "errors",
        }
    ] + ["charrnn.tasks", "charrnn.tasks.language", "charrnn.training.task"]
    code = (
        f"import importlib, sys\nfor name in {light!r}: importlib.import_module(name)\n"
        "sys.exit('numba' in sys.modules or 'llvmlite' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr or f"numba was imported by one of {', '.join(light)}"

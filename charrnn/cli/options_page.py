"""Writes docs/options.md, the reference of all options: `python -m charrnn.cli.options_page docs/options.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from charrnn.cli.commands import COMMANDS, load_function

_HEAD = """\
# Options

<!-- Written by `make options-page` from the options themselves: change those, not this page. -->

The options of each command. A value follows its option as `--name VALUE` or `--name=VALUE`. Where an option is
repeated, the last value counts, unless the option says otherwise. `charrnn COMMAND --help` prints a shorter version.
"""
_CONFIG = """\
`--config FILE.toml` reads settings from a file. The keys are the long names below without the leading dashes:
`hidden-size = 256`, `lines = true`, `max-time = "10m"`. Options on the command line have precedence over the file.
"""


def options_page(commands: Mapping[str, Callable[..., Any]]) -> str:
    """The page for the functions behind the `commands`, as Markdown."""
    return "\n".join((_HEAD, *(line for name, function in commands.items() for line in _section(name, function))))


def parts(function: Callable[..., Any]) -> tuple[list[tuple[str, Any]], dict[str, list[tuple[Any, Any]]]]:
    """The arguments of a command, each with its usage, and by the heading of their group its options with defaults."""
    arguments: list[tuple[str, Any]] = []
    groups: dict[str, list[tuple[Any, Any]]] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        for info in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(info, ArgumentInfo):
                arguments.append((f"[{info.metavar}]{'...' if 'list' in str(parameter.annotation) else ''}", info))
            elif isinstance(info, OptionInfo):
                groups.setdefault(info.rich_help_panel or "Other", []).append((info, parameter.default))
    return arguments, groups


def _section(name: str, function: Callable[..., Any]) -> Iterator[str]:
    arguments, groups = parts(function)
    yield f"## charrnn {name}\n"
    yield f"`{' '.join(['charrnn', name, '[OPTIONS]', *(usage for usage, _ in arguments)])}`\n"
    yield f"{inspect.getdoc(function)}\n"
    for _, info in arguments:
        yield f"- `{info.metavar}`: {_cell(info.help)}\n"
    if "config" in inspect.signature(function).parameters:
        yield _CONFIG
    for group, options in groups.items():
        yield f"### {group}\n"
        yield "| option | meaning | value | default |\n|---|---|---|---|"
        for info, default in options:
            yield f"| {' | '.join(_row(info, default))} |"
        yield ""


def _row(info: Any, default: Any) -> Iterator[str]:
    """The cells of one option: its names, its meaning, its values and its default."""
    text, _, shown = str(info.help).partition("  [default: ")
    names = ", ".join(info.param_decls)
    flag = isinstance(default, bool) or not info.metavar
    yield _cell(f"`{names}`" if flag else f"`{names} {info.metavar}`")
    yield _cell(text)
    yield _cell(inspect.getdoc(info.parser) if info.parser else "")
    yield _cell(shown.removesuffix("]") if shown else "" if flag or default is None else str(default))


def _cell(text: str | None) -> str:
    """A text within a table."""
    return " ".join(str(text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write the page to the file named on the command line."""
    page = options_page({name: load_function(name) for name in COMMANDS})
    Path(sys.argv[1]).write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""The commands by name, loaded on demand."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any

import typer
import typer.core
import typer.main

from charrnn.errors import CharrnnError

# Each command is the function of this name in the module charrnn.cli.<name>.
COMMANDS = {
    "train": "Learn from text, labels, tags, numbers or pairs of texts.",
    "sample": "Write text like the text a checkpoint was trained on.",
    "score": "Say how probable each line of a text is.",
    "predict": "Write the best output: labels, tags, next rows, translations.",
    "report": "Draw what a model learned, as a page to open in a browser.",
    "info": "Describe a checkpoint.",
}


class Command(typer.core.TyperCommand):
    """A command whose help lists its options under the headings of their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options in order of appearance."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if parameter.param_type_name == "argument":
                text = str(getattr(parameter, "help", None) or "")
                sections.setdefault("Arguments", []).append((parameter.metavar or str(parameter.name).upper(), text))
            elif record is not None:
                title = getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] [CORPUS]...`, the same with every version of typer."""
        pieces = [str(self.options_metavar)]
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                name = parameter.metavar or str(parameter.name).upper()
                pieces.append((name if parameter.required else f"[{name}]") + ("..." if parameter.nargs != 1 else ""))
        return pieces

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A closed pipe other than standard output is a failure (typer would leave without a word)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise CharrnnError(f"{error.filename or 'a pipe'}: nobody reads it any more") from error


def load_function(name: str) -> Callable[..., None]:
    """The function `name` of charrnn.cli.`name`, which runs the command."""
    function: Callable[..., None] = getattr(importlib.import_module(f"charrnn.cli.{name}"), name)
    return function


def load_command(name: str) -> Any:
    """The function `name` of charrnn.cli.`name` as a command."""
    return make_command(name, load_function(name))


def make_command(name: str, function: Callable[..., None]) -> Any:
    """A function with typer's parameters as a command."""
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=Command, help=function.__doc__)(function)
    return typer.main.get_command(single)


def names_of_options(commands: Iterable[Any]) -> dict[str, str]:
    """The option that sets each parameter of the `commands`: `hidden_size` is set by `--hidden-size`."""
    names: dict[str, str] = {}
    for command in commands:
        for parameter in command.params:
            if parameter.param_type_name == "option":
                own = f"--{parameter.name.replace('_', '-')}"
                names[parameter.name] = own if own in parameter.opts else long_name(parameter)
    return names


@functools.cache
def option_names() -> dict[str, str]:
    """The options of all commands by the names of their parameters."""
    return names_of_options(map(load_command, COMMANDS))


def long_name(parameter: Any) -> str:
    """The first name of an option that is more than a letter."""
    return str(next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0]))

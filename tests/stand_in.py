"""A command that stands in for every command of the program: it hands its arguments to the test."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import pytest
import typer

from charrnn.cli import main as cli
from charrnn.cli import parsers
from charrnn.cli.commands import Command
from charrnn.cli.main import main
from charrnn.cli.options import ConfigOption, SeedOption, option


def train(
    corpus: Annotated[list[str] | None, typer.Argument(metavar="CORPUS", help="Text files.")] = None,
    steps: Annotated[
        int | None,
        option("--steps", parser=parsers.whole_number(1), metavar="N", help="S", group="Budget", default="planned"),
    ] = None,
    max_time: Annotated[
        float | None, option("--max-time", metavar="TIME", parser=parsers.duration, help="Time.", group="Budget")
    ] = None,
    dropout: Annotated[
        float, option("--dropout", metavar="P", parser=parsers.number(0, 0.99), help="Share dropped.", group="Model")
    ] = 0.25,
    layers: Annotated[
        int | None, option("--layers", "--num-layers", metavar="N", parser=parsers.whole_number(1), help="Layers.")
    ] = None,
    cell: Annotated[
        str | None,
        option("--cell", metavar="lstm|gru", parser=parsers.list_of(("lstm", "gru")), help="Cells.", group="Model"),
    ] = None,
    unit: Annotated[str | None, option("--unit", choices=("char", "word"), help="Units.", group="Text")] = None,
    lines: Annotated[bool | None, option("--lines", help="By line.", group="Text")] = None,
    stop: Annotated[
        list[str] | None, option("--stop", metavar="TEXT", parser=parsers.unescape, help="Stop.", group="Text")
    ] = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
) -> None:
    """Stand in for a command in these tests.

    Its arguments go to `behave`.
    """
    behave(dict(locals()))


def behave(arguments: dict[str, Any]) -> None:
    """What the stand-in does; tests replace it."""


class Run:
    """What a command line came to."""

    def __init__(self, status: int, out: str, err: str, arguments: dict[str, Any] | None) -> None:
        self.status, self.out, self.err, self.arguments = status, out, err, arguments


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Runs `charrnn …` in this process with the stand-in as every command."""
    monkeypatch.setattr(cli, "load_command", load_stand_in)
    monkeypatch.delenv("CHARRNN_DEBUG", raising=False)

    def call(*args: str, does: Any = None) -> Run:
        received: list[dict[str, Any]] = []

        def act(arguments: dict[str, Any]) -> None:
            received.append(arguments)
            if does is not None:
                does()

        monkeypatch.setattr(sys.modules[__name__], "behave", act)
        status = main(list(args))
        captured = capsysbinary.readouterr()
        return Run(status, captured.out.decode(), captured.err.decode(), received[0] if received else None)

    return call


def load_stand_in(name: str) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=Command)(train)
    return typer.main.get_command(single)


def one_line_error(result: Run, status: int) -> str:
    assert result.status == status
    assert result.out == ""
    assert result.err.startswith("charrnn: error: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    return result.err.removeprefix("charrnn: error: ").rstrip("\n")

"""An option is written down once: parser, check, help, key of a file, page and names in messages follow from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from charrnn.cli import commands
from charrnn.cli.commands import COMMANDS, make_command, names_of_options, option_names
from charrnn.cli.options import ConfigOption
from charrnn.cli.options_page import options_page
from charrnn.cli.streams import with_option_names
from charrnn.cli.table import with_settings
from charrnn.config import MOST_UNITS, ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.formats import record_from_json
from charrnn.sampling_config import SamplingConfig
from charrnn.settings import check_settings, setting, settings_of
from charrnn.task_config import PairsConfig, RecordsConfig

PAGE = Path(__file__).parent.parent / "docs" / "options.md"
CONFIGS: dict[type[Any], dict[str, Any]] = {
    ModelConfig: {"vocabulary_size": 9, "cells": ("lstm", "gru", "rnn"), "hidden_size": 8},
    TextConfig: {},
    TrainingConfig: {"batch_size": 1, "seq_length": 1, "learning_rate": 1.0},
    SamplingConfig: {},
}


@dataclass(frozen=True)
class Toy:
    """One field of each type, none of which any command has."""

    tape_width: int = setting(3, help="Width of the tape.", group="Tape", low=1, high=9, names=("w", "tape_width"))
    tape_slack: float = setting(0.5, help="Of the tape, as in `tape_width`.", group="Tape", low=0, high=1, above=True)
    tape_wait: float | None = setting(None, help="Before the tape.", group="Tape", low=0, above=True, seconds=True)
    tape_kind: str = setting("red", help="Which tape.", group="Tape", choices=("red", "blue"), shown="by mood")
    tape_name: str = setting("", help="Of the tape.", group="Tape")
    tape_kinds: tuple[str, ...] = setting(("red",), help="All tapes.", group="Tape", choices=("red", "blue"))
    tape_cuts: tuple[int, ...] = setting((), help="Where it is cut.", group="Tape", keywords=("auto",))
    sticky: bool = setting(False, help="It sticks.", group="Tape")

    def __post_init__(self) -> None:
        check_settings(self)


def toy_command() -> tuple[Callable[..., None], list[dict[str, Any]]]:
    """A command with the options of `Toy` and --config, and the arguments it was called with."""
    received: list[dict[str, Any]] = []

    @with_settings(Toy, groups=("Run",))
    def toy(context: typer.Context, *, config: ConfigOption = None, **settings: Any) -> None:
        """Stick."""
        received.append(settings)

    return toy, received


def call(*args: str) -> dict[str, Any]:
    """What the toy command gets from `args`."""
    toy, received = toy_command()
    make_command("toy", toy).main(args=list(args), prog_name="toy", standalone_mode=False)
    return {name: value for name, value in received[0].items() if value not in (None, False)}


def test_a_field_is_an_option() -> None:
    assert call() == {}
    assert call("-w", "4") == call("--tape-width=4") == {"tape_width": 4}
    assert call("--tape-slack", "1", "--tape-wait", "2m") == {"tape_slack": 1.0, "tape_wait": 120.0}
    assert call("--tape-kind", "blue", "--tape-name", "x", "--sticky") == {
        "tape_kind": "blue", "tape_name": "x", "sticky": True,
    }  # fmt: skip
    assert call("--tape-kinds", "red,blue", "--tape-cuts", "2,4") == {
        "tape_kinds": ("red", "blue"), "tape_cuts": (2, 4),
    }  # fmt: skip
    assert call("--tape-cuts", "auto") == {"tape_cuts": "auto"}


@pytest.mark.parametrize(
    ("args", "field", "value", "need"),
    [
        (("--tape-width", "0"), "tape_width", 0, "at least 1 and at most 9"),
        (("--tape-width", "10"), "tape_width", 10, "at least 1 and at most 9"),
        (("--tape-slack", "0"), "tape_slack", 0.0, "more than 0 and at most 1"),
        (("--tape-kind", "green"), "tape_kind", "green", "one of red, blue"),
        (("--tape-kinds", "red,green"), "tape_kinds", ("red", "green"), "one of red, blue"),
    ],
)
def test_the_option_and_the_dataclass_have_the_same_check(
    args: tuple[str, ...], field: str, value: Any, need: str
) -> None:
    with pytest.raises(typer.BadParameter, match=f"it must be {need}"):
        call(*args)
    with pytest.raises(UsageError, match=f"^`{field}` is .*; it must be {need}$"):
        Toy(**{field: value})


def test_a_field_is_in_help_file_page_and_messages(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    toy, _ = toy_command()
    command = make_command("toy", toy)
    command.main(args=["--help"], prog_name="toy", standalone_mode=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "Tape: -w, --tape-width N Width of the tape. [default: 3] --tape-slack X" in shown
    assert "as in --tape-width. [default: 0.5] --tape-wait TIME Before the tape. --tape-kind red|blue" in shown
    assert "Which tape. [default: by mood]" in shown

    path = tmp_path / "toy.toml"
    path.write_text("tape-width = 7\nsticky = true\n")
    assert call("--config", str(path)) == {"tape_width": 7, "sticky": True}
    path.write_text("tape-widht = 7\n")
    with pytest.raises(UsageError, match="no such option tape-widht; did you mean tape-width"):
        call("--config", str(path))

    page = options_page({"toy": toy})
    assert "| `-w, --tape-width N` | Width of the tape. | A whole number, at least 1 and at most 9. | 3 |\n" in page
    assert "| `--sticky` | It sticks. |  |  |\n" in page
    assert names_of_options([command])["tape_width"] == "--tape-width"


def test_a_toy_field_is_named_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "`tape_width` is 0 and `hidden_size` 3; `nothing` else"
    assert with_option_names(message) == "`tape_width` is 0 and --hidden-size 3; `nothing` else"
    toy, _ = toy_command()
    load = commands.load_function
    monkeypatch.setattr(commands, "load_function", lambda name: toy if name == "info" else load(name))
    option_names.cache_clear()
    assert with_option_names(message) == "--tape-width is 0 and --hidden-size 3; `nothing` else"
    monkeypatch.undo()
    option_names.cache_clear()


NUMBERS = [(kind, entry) for kind in CONFIGS for entry, _ in settings_of(kind) if str(entry.type)[:3] in ("int", "flo")]


@pytest.mark.parametrize(("kind", "entry"), NUMBERS, ids=lambda value: getattr(value, "name", ""))
def test_an_option_accepts_what_its_record_accepts(kind: type[Any], entry: dataclasses.Field[Any]) -> None:
    command = commands.load_command("sample" if kind is SamplingConfig else "train")
    option = names_of_options([command])[entry.name]
    whole = (-1, 0, 1, 2, 999, 10**6, 2**63 - 1, 2**63)
    outcomes = set()
    for value in whole if str(entry.type).startswith("int") else (*whole[:3], 0.5, 0.95, 1.5, math.nan, math.inf):
        try:
            command.make_context("x", [option, str(value)])
            accepted = True
        except typer.BadParameter:
            accepted = False
        if accepted or value == entry.default:
            kind(**(CONFIGS[kind] | {entry.name: value}))
        else:
            with pytest.raises(UsageError, match=f"^`{entry.name}` is "):
                kind(**(CONFIGS[kind] | {entry.name: value}))
        outcomes.add(accepted)
    assert outcomes == {True, False}


def test_the_page_is_up_to_date() -> None:
    wanted = options_page({name: commands.load_function(name) for name in COMMANDS})
    assert PAGE.read_text(encoding="utf-8") == wanted, "make options-page writes it again"


def test_every_option_of_every_command_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in COMMANDS:
        for parameter in commands.load_command(name).params:
            for written in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"{written}" in page


@pytest.mark.parametrize("kind", [TextConfig, RecordsConfig, PairsConfig])
def test_what_no_checkpoint_can_have_is_no_option(kind: type[Any]) -> None:
    name = "max_length" if kind is RecordsConfig else "max_vocab"
    assert record_from_json(kind, {name: MOST_UNITS}, "text") == kind(**{name: MOST_UNITS})
    with pytest.raises(UsageError, match=f"`{name}` is .*; it must be at least 0 and at most"):
        kind(**{name: MOST_UNITS + 1})

"""`train --config FILE.toml`: settings by the long names of options; flags have precedence."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

import typer

from charrnn.cli.parsers import nearest
from charrnn.errors import CharrnnError, UsageError


def load_toml_options(path: str, allowed: Iterable[str]) -> dict[str, Any]:
    """The settings in a TOML file: long option names without the dashes, all of them in `allowed`.

    Raises `CharrnnError` when the file cannot be read, `UsageError` when it is not TOML or names an unknown option.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path is shown as it was typed
            settings = tomllib.load(file)
    except OSError as error:
        raise CharrnnError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error
    known = sorted(allowed)
    for name in settings:
        if name not in known:
            raise UsageError(f"{path}: no such option {name}{nearest(name, known)}")
    return settings


def _config_value(path: str, name: str, value: Any, flag: bool) -> Any:
    if flag != isinstance(value, bool):
        raise UsageError(f"{path}: {name} is {value!r}; it must be {'true or false' if flag else 'a value'}")
    if isinstance(value, list) and all(isinstance(item, str) or type(item) is int for item in value):
        return ",".join(map(str, value))
    if not isinstance(value, bool | str | int | float):
        raise UsageError(f"{path}: {name} is {value!r}; it must be a text or a number")
    return value


def read_config(context: typer.Context, path: str | None) -> str | None:
    """Make the settings in the file the defaults of the command's options, so that flags have precedence.

    Raises `UsageError` for an unknown name, one given twice, or a value of the wrong kind.
    """
    if path is None or context.resilient_parsing:
        return path
    parameters = {
        name.removeprefix("--"): parameter
        for parameter in context.command.params
        if parameter.param_type_name == "option" and parameter.name != "config"
        for name in parameter.opts
        if name.startswith("--")
    }
    defaults: dict[str, Any] = {}
    for name, value in load_toml_options(path, parameters).items():
        parameter = parameters[name]
        if parameter.name in defaults:
            raise UsageError(f"{path}: {name} is given twice, under two names; leave one out")
        defaults[str(parameter.name)] = _config_value(path, name, value, bool(getattr(parameter, "is_flag", False)))
    context.default_map = {**(context.default_map or {}), **defaults}
    return path

"""Options of a command generated from the settings of dataclasses (`charrnn/settings.py`).

A command takes them as `**settings`: the decorator `with_settings` puts an option for each field in that place. The
option's parser accepts what the dataclass accepts, and help, keys of `--config`, `docs/options.md` and the names in
messages come from the option. So a new field of a dataclass is a new option, without another change.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from charrnn.cli.options import option
from charrnn.cli.parsers import (
    duration,
    list_of,
    number,
    numbers_or,
    one_of,
    one_or_two_of,
    size_between,
    whole_number,
    words,
)
from charrnn.settings import Setting, settings_of

Function = TypeVar("Function", bound=Callable[..., Any])
Parser = Callable[[Any], Any]


def with_settings(*kinds: type[Any], groups: tuple[str, ...]) -> Callable[[Function], Function]:
    """Replace the parameter `**settings` of a command by an option for each setting of the dataclasses `kinds`.

    The options are ordered by `groups`, the headings of the help, those of other groups last. Within a group come first
    the command's own positional parameters, then the settings, then its keyword-only parameters. A setting of several
    dataclasses is one option. An option that is not given is None.
    """

    def decorate(function: Function) -> Function:
        own = list(inspect.signature(function, eval_str=True).parameters.values())
        first = [parameter for parameter in own if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        last = [parameter for parameter in own if parameter.kind is parameter.KEYWORD_ONLY]
        settings = {entry.name: (entry, found) for kind in reversed(kinds) for entry, found in settings_of(kind)}
        order = dict.fromkeys(entry.name for kind in kinds for entry, _ in settings_of(kind))
        made = [_parameter(*settings[name]) for name in order]
        places = {name: place for place, name in enumerate(("", *groups))}
        together = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in (*first, *made, *last)]
        together.sort(key=lambda parameter: places.get(_group(parameter), len(places)))
        function.__signature__ = inspect.Signature(together)  # type: ignore[attr-defined]
        return function

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _group(parameter: inspect.Parameter) -> str:
    """The heading of an option; empty for other parameters, which come first."""
    infos = [info for info in getattr(parameter.annotation, "__metadata__", ()) if hasattr(info, "rich_help_panel")]
    return infos[0].rich_help_panel or "" if infos else ""


def _parameter(entry: dataclasses.Field[Any], found: Setting) -> inspect.Parameter:
    """The typer option for a field."""
    names = [flag(name) for name in found.names or (entry.name,)]
    help = re.sub(r"`([a-z_]+)`", lambda match: flag(match[1]), found.help)
    kind: Any
    if _type_name(entry) == "bool":
        if on := entry.default is True:
            names = [f"{name}/--no-{name.removeprefix('--')}" for name in names]
        made, kind = option(*names, help=help, group=found.group, default="on" if on else None), bool | None
    else:
        kind, parser, placeholder = _value(_type_name(entry), found)
        made = option(
            *names,
            help=help,
            group=found.group,
            default=found.default or None,
            parser=parser,
            metavar=found.placeholder or placeholder,
            choices=found.choices if kind is str and not found.keywords else (),
        )
        kind = kind | None
    return inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, made])


def flag(name: str) -> str:
    """`hidden_size` as `--hidden-size`, `o` as `-o`."""
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def _type_name(entry: dataclasses.Field[Any]) -> str:
    """`int` for a field of type `int` or `int | None`."""
    return (entry.type if isinstance(entry.type, str) else entry.type.__name__).removesuffix(" | None")


def _value(type_name: str, found: Setting) -> tuple[Any, Parser | None, str]:
    """The type for typer, the parser, and the placeholder of the value in the help."""
    low, high = found.low, found.high
    match type_name:
        case "int" if found.size:
            return int, size_between(int(low or 0), int(high or 0)), "SIZE"
        case "int":
            return int, whole_number(*(None if end is None else int(end) for end in (low, high))), "N"
        case "float" if found.seconds:
            return float, duration, "TIME"
        case "float":
            return float, number(low, high, above=found.above), "X"
        case "str" if found.sides:
            return str, one_or_two_of(found.choices), "|".join(found.choices)
        case "str" if found.choices:
            return str, one_of(found.choices), "|".join(found.choices)
        case "str":
            return str, None, "TEXT"
        case "tuple[str, ...]" if found.choices:
            return str, list_of(found.choices), "|".join(found.choices)
        case "tuple[str, ...]":
            return str, words, "A,B"
        case "tuple[int, ...]":
            return str, numbers_or(*found.keywords), "|".join((*found.keywords, "N,..."))
    raise TypeError(f"no option can be made of a setting of type {type_name}")

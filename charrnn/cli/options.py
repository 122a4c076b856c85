"""What the commands share on the command line: option types and the parsers behind them.

A parser takes what was typed (or read from a configuration file, or the default) and raises `typer.BadParameter`, to
which `main` adds the option's name. `None` as a default means that the value is resolved later.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeAlias

import typer

from charrnn.config import PRECISIONS
from charrnn.errors import CharrnnError, UsageError

MAX_SEED = 2**63 - 1
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([smh]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the entry of `known` most like `word`, or nothing when none is."""
    candidates = list(known)
    matches = difflib.get_close_matches(word, candidates, n=1) or [k for k in candidates if word and k.startswith(word)]
    return f"; did you mean {matches[0]}?" if matches else ""


def _range_text(low: float | None, high: float | None, above: bool) -> str:
    parts = []
    if low is not None:
        parts.append(f"more than {low:g}" if above else f"at least {low:g}")
    if high is not None:
        parts.append(f"at most {high:g}")
    return " and ".join(parts)


def whole_number(low: int | None = None, high: int | None = None) -> Callable[[Any], int]:
    """A parser of whole numbers from `low` to `high`."""

    def parse(value: Any) -> int:
        need = _range_text(low, high, above=False)
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,30}", str(value).strip()):
            raise typer.BadParameter(f"{value!s:.40} is not a whole number" + (f"; it must be {need}" if need else ""))
        number = int(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise typer.BadParameter(f"{number} is out of range; it must be {need}")
        return number

    return parse


def number(low: float | None = None, high: float | None = None, *, above: bool = False) -> Callable[[Any], float]:
    """A parser of finite numbers from `low` to `high`; with `above`, `low` itself is refused."""

    def parse(value: Any) -> float:
        need = _range_text(low, high, above)
        try:
            result = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            result = math.nan
        if not math.isfinite(result):
            raise typer.BadParameter(f"{value!s:.40} is not a finite number" + (f"; it must be {need}" if need else ""))
        if (low is not None and (result < low or (above and result == low))) or (high is not None and result > high):
            raise typer.BadParameter(f"{value} is out of range; it must be {need}")
        return result

    return parse


def duration(value: Any) -> float:
    """Seconds from `90`, `90s`, `10m`, `1.5h`: more than zero."""
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(f"{value!s:.40} is not a time; write 90s, 10m or 2h, or a number of seconds above 0")
    return seconds


def length(value: Any) -> float:
    """A whole number from 1, or `inf` (math.inf)."""
    if str(value).strip().lower() == "inf":
        return math.inf
    try:
        return whole_number(1)(value)
    except typer.BadParameter:
        raise typer.BadParameter(f"{value!s:.40} is not a length; it must be a whole number from 1, or inf") from None


def one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    """A parser of one word of `choices`."""

    def parse(value: Any) -> str:
        if value not in choices:
            raise typer.BadParameter(
                f"{value!s:.40} is unknown; it must be one of {', '.join(choices)}{nearest(str(value), choices)}"
            )
        return str(value)

    return parse


def list_of(choices: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    """A parser of words of `choices` with commas between them: `lstm`, `gru,lstm`."""
    parse_one = one_of(choices)

    def parse(value: Any) -> tuple[str, ...]:
        words = value if isinstance(value, list | tuple) else str(value).split(",")
        return tuple(parse_one(str(word).strip()) for word in words)

    return parse


def numbers_or(*words: str) -> Callable[[Any], str | tuple[int, ...]]:
    """A parser of one of `words`, or of whole numbers from 1 with commas between them: `2000,10000`."""

    def parse(value: Any) -> str | tuple[int, ...]:
        if value in words:
            return str(value)
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        try:
            return tuple(map(whole_number(1), items))
        except typer.BadParameter:
            raise typer.BadParameter(
                f"{value!s:.40} is neither {' nor '.join(words)} nor whole numbers from 1 with commas between them"
            ) from None

    return parse


def unescape(value: Any) -> str:
    r"""`value` with `\n`, `\t`, `\0` and `\\` understood; any other backslash stays as it is."""
    return re.sub(r"\\([nt0\\])", lambda match: _ESCAPES[match[1]], str(value))


def option(
    *names: str,
    help: str,
    group: str | None = None,
    parser: Callable[[Any], Any] | None = None,
    metavar: str | None = None,
    default: str | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A `typer.Option` for `Annotated[...]`, listed under the heading `group` of the command's help.

    `default` says in words what is taken when the Python default is None; any other Python default is shown as it is.
    `choices` sets parser, metavar and shell completion for one word out of several. A value option without a parser is
    text. Flags (annotated bool) are named without a `--no-` form.
    """
    if choices:
        parser = parser or one_of(choices)
        metavar = metavar or "|".join(choices)
    return typer.Option(
        *names,
        help=f"{help}  [default: {default}]" if default else help,
        show_default=default is None,
        rich_help_panel=group,
        parser=parser,
        metavar=metavar,
        autocompletion=(lambda: list(choices)) if choices else None,
    )


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


def _read_config(context: typer.Context, path: str | None) -> str | None:
    """Make the settings in the file the defaults of the command's other options, so that flags still win."""
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


def resolve_threads(threads: int | None, environment: Mapping[str, str] = os.environ) -> int:
    """`--threads`, else `$CHARRNN_THREADS`, else the number of processors this process may use."""
    if threads is not None:
        return threads
    if given := environment.get("CHARRNN_THREADS"):
        try:
            return whole_number(1, 1024)(given)
        except typer.BadParameter as error:
            raise UsageError(f"CHARRNN_THREADS: {error.message}") from None
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def resolve_seed(seed: int | None) -> int:
    """`--seed`, else a random one, short enough to be typed again."""
    return secrets.randbelow(2**31) if seed is None else seed


CheckpointOption: TypeAlias = Annotated[
    str | None,
    option(
        "-c",
        "--checkpoint",
        metavar="FILE",
        group="Model",
        help="The model.",
        default="$CHARRNN_CHECKPOINT, else the newest in checkpoints/",
    ),
]
SeedOption: TypeAlias = Annotated[
    int | None,
    option(
        "--seed",
        metavar="N",
        parser=whole_number(0, MAX_SEED),
        group="Run",
        help="Same seed, same bytes.",
        default="random",
    ),
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    option(
        "--threads",
        metavar="N",
        parser=whole_number(1, 1024),
        group="Run",
        help="Threads to compute with; the result does not depend on it.",
        default="$CHARRNN_THREADS, else all processors",
    ),
]
PrecisionOption: TypeAlias = Annotated[
    str, option("--precision", choices=PRECISIONS, group="Run", help="Precision of the products.")
]
QuietOption: TypeAlias = Annotated[bool, option("-q", "--quiet", group="Run", help="Warnings and errors only.")]
ConfigOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        rich_help_panel="Run",
        is_eager=True,
        callback=_read_config,
        help="Settings: the long option names as keys. Flags win over them.",
        show_default=False,
    ),
]

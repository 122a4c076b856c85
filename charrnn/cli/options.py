"""The options that several commands share, and the function that makes an option.

The default `None` means that the value is resolved later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import typer

from charrnn.cli.config_file import read_config
from charrnn.cli.parsers import one_of, whole_number
from charrnn.config import MAX_SEED, MAX_THREADS, PRECISIONS
from charrnn.errors import UsageError
from charrnn.runtime.processes import ALONE, Processes
from charrnn.runtime.processors import processors
from charrnn.runtime.seeds import random_seed


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
        ...,  # the default, which is that of the annotated parameter
        *names,
        help=f"{help}  [default: {default}]" if default else help,
        show_default=default is None,
        rich_help_panel=group,
        parser=parser,
        metavar=metavar,
        autocompletion=(lambda: list(choices)) if choices else None,
    )


def resolve_threads(
    threads: int | None, processes: Processes = ALONE, environment: Mapping[str, str] = os.environ
) -> int:  # fmt: skip
    """`--threads`, else `$CHARRNN_THREADS`, else the number of processors that this process may use, of those that
    several `processes` may use its share.

    Raises `UsageError` where the variable is not a number from 1 to `MAX_THREADS`.
    """
    share = processes.threads(processors())  # all processes meet for it, whatever each is given
    if threads is not None:
        return threads
    if given := environment.get("CHARRNN_THREADS"):
        try:
            return whole_number(1, MAX_THREADS)(given)
        except typer.BadParameter as error:
            raise UsageError(f"CHARRNN_THREADS: {error.message}") from None
    return share


def resolve_seed(seed: int | None) -> int:
    """`--seed`, else a random one."""
    return random_seed() if seed is None else seed


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
        parser=whole_number(1, MAX_THREADS),
        group="Run",
        help="Threads to compute with; the result does not depend on it.",
        default="$CHARRNN_THREADS, else all processors",
    ),
]
PrecisionOption: TypeAlias = Annotated[
    str, option("--precision", choices=PRECISIONS, group="Run", help="Precision of matrix products.")
]
NoMemoryOption: TypeAlias = Annotated[
    bool, option("--no-memory", group="Model", help="The network alone, of a model with a memory of its corpus.")
]
QuietOption: TypeAlias = Annotated[bool, option("-q", "--quiet", group="Run", help="Warnings and errors only.")]
ConfigOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        ...,
        "--config",
        metavar="FILE.toml",
        rich_help_panel="Run",
        is_eager=True,
        callback=read_config,
        help="Settings: the long option names as keys. Flags win over them.",
        show_default=False,
    ),
]

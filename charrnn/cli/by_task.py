"""What `charrnn predict` and `charrnn score` do for each task: the file that writes the result, and its options."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.tasks.score_records import Line


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of a command; those that were not given are None or False.

    `name` is what messages call the input, the file if there is one; `from_text`: TEXT arguments are read.
    """

    format: str | None = None
    header: bool = False
    text_field: int | None = None
    best: int | None = None
    columns: str | None = None
    stream: bool = False
    vs: str | None = None
    per_token: bool = False
    summary: bool = False
    log_unit: float = 1.0
    from_text: bool = False
    name: str = "the input"
    horizon: int | None = None
    interval: float | None = None
    rolling: bool = False
    last: int | None = None
    seed: int | None = None
    beam: int | None = None
    nbest: int | None = None
    copy_unknown: bool = False
    alignment: bool = False


@dataclass(frozen=True)
class Writer:
    """The module that has `write(model, chunks, asked)`, the formats, the default first, and the options it can have.

    `formats` are those of a task; `options` names fields of `Asked` that are not for every task.
    """

    module: str
    formats: tuple[str, ...]
    options: tuple[str, ...] = ()

    def write(self, model: Any, chunks: Iterable[list[Line]], asked: Asked) -> None:
        """Read the lines and write the result as soon as there is one."""
        importlib.import_module(self.module).write(model, chunks, asked)


PREDICT = {
    "classify": Writer("charrnn.cli.predict_labels", ("tsv", "jsonl"), ("text_field", "best")),
    "tag": Writer("charrnn.cli.predict_tags", ("conll", "tsv", "jsonl"), ("columns",)),
    "forecast": Writer(
        "charrnn.cli.predict_numbers", ("csv", "tsv", "jsonl"), ("horizon", "interval", "rolling", "seed")
    ),
    "translate": Writer(
        "charrnn.cli.predict_texts", ("tsv", "jsonl"), ("text_field", "beam", "nbest", "copy_unknown", "alignment")
    ),
}
SCORE = {
    "classify": Writer("charrnn.cli.score_labels", ("tsv", "jsonl"), ("text_field", "columns")),
    "tag": Writer("charrnn.cli.score_tags", ("tsv", "jsonl"), ("columns",)),
    "forecast": Writer("charrnn.cli.score_numbers", ("tsv", "jsonl"), ("horizon", "last", "seed")),
    "translate": Writer("charrnn.cli.score_pairs", ("tsv", "jsonl"), ("columns",)),
}

OF_LANGUAGE = ("stream", "vs", "per_token")
# Options that a task must name to have them.
OF_TASKS = {*OF_LANGUAGE, *(name for writers in (PREDICT, SCORE) for one in writers.values() for name in one.options)}


def formats(writers: dict[str, Writer]) -> tuple[str, ...]:
    """All formats of a command."""
    return tuple(dict.fromkeys(format for writer in writers.values() for format in writer.formats))


def refuse(task: str, option: str) -> NoReturn:
    """Raise UsageError for an option that means nothing for a model of the task."""
    raise UsageError(f"{option} is not for models of the task {task}, and the checkpoint is one; leave it out")


def refuse_given(task: str, options: dict[str, bool]) -> None:
    """Raise UsageError for the first of the options that was given, none of which means something for the task."""
    for name, is_given in options.items():
        if is_given:
            refuse(task, name)


def writer_for(writers: dict[str, Writer], task: str, asked: Asked) -> Writer:
    """The writer of a task. Raises UsageError for an option that means nothing for the task, or beside another."""
    writer = writers[task]
    for field in fields(asked):
        name, value = field.name, getattr(asked, field.name)
        if name in OF_TASKS and name not in writer.options and value not in (None, False):
            refuse(task, f"--{name.replace('_', '-')}")
    if asked.format not in (None, *writer.formats):
        raise UsageError(
            f"--format {asked.format} is not for models of the task {task}, and the checkpoint is one; it must be "
            f"{' or '.join(writer.formats)}"
        )
    if asked.header and (asked.format or writer.formats[0]) != "tsv":
        raise UsageError(
            f"--header is for --format tsv, and --format is {asked.format or writer.formats[0]}; leave it out"
        )
    return writer

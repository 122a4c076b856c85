"""`charrnn score`: say how probable each line of a text is."""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli import streams
from charrnn.cli.by_task import SCORE, Asked, refuse_given, writer_for
from charrnn.cli.line_options import (
    ColumnsOption,
    EncodingOption,
    HeaderOption,
    HorizonOption,
    InputOption,
    PathSeedOption,
    TextFieldOption,
    require_input,
)
from charrnn.cli.model import open_model, with_memory
from charrnn.cli.options import (
    CheckpointOption,
    NoMemoryOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    option,
)
from charrnn.cli.parsers import whole_number
from charrnn.cli.visible import visible
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from charrnn.cli.score_output import Record
    from charrnn.tasks.score_records import Line, Score
    from charrnn.text.vocabulary import Vocabulary

    Scorer = Callable[[Iterable[list[Line]]], Iterator[list[Score]]]

FORMATS = ("table", "tsv", "jsonl")
LOG_UNITS = {"e": 1.0, "2": math.log(2), "10": math.log(10)}


def score(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Text to score, instead of lines of a file or pipe.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    input: InputOption = None,
    encoding: EncodingOption = None,
    stream: Annotated[
        bool,
        option(
            "--stream",
            group="Input",
            help="Lines are parts of one text: the state carries over, unless the model was trained with --lines.",
        ),
    ] = False,
    text_field: TextFieldOption = None,
    columns: ColumnsOption = None,
    vs: Annotated[
        str | None,
        option(
            "--vs",
            metavar="FILE",
            group="Model",
            help="Compare with this one: log_odds is the logprob minus its logprob.",
            default="none",
        ),
    ] = None,
    format: Annotated[
        str | None,
        option(
            "--format", choices=FORMATS, group="Output", help="How to write.", default="table on a terminal, else tsv"
        ),
    ] = None,
    header: HeaderOption = False,
    log_base: Annotated[
        str, option("--log-base", choices=tuple(LOG_UNITS), group="Output", help="Base of the logarithms.")
    ] = "e",
    per_token: Annotated[
        bool, option("--per-token", group="Output", help="List every unit with its logprob (jsonl).")
    ] = False,
    summary: Annotated[
        bool, option("--summary", group="Output", help="One JSON object over all input instead.")
    ] = False,
    horizon: HorizonOption = None,
    last: Annotated[
        int | None,
        option(
            "--last",
            metavar="N",
            parser=whole_number(1),
            group="Forecasts",
            help="Score the last N rows of each sequence; those before are history only.",
            default="all rows",
        ),
    ] = None,
    seed: PathSeedOption = None,
    adapt: Annotated[
        bool,
        option("--adapt", group="Model", help="Learn from what was scored, in the order of the input."),
    ] = False,
    no_memory: NoMemoryOption = False,
    threads: ThreadsOption = None,
    precision: PrecisionOption = "float32",
    quiet: QuietOption = False,
) -> None:
    """Say how probable each line of a text is."""
    streams.set_quiet(quiet)
    require_input(texts, input, encoding, "score")
    if vs == "":
        raise UsageError("--vs is empty; it must name a checkpoint")
    _check_output(format, header, per_token, summary)

    from charrnn.cli.lines import described, open_input, warned

    with open_input(texts, input, encoding, text_field) as chunks:
        model = open_model(checkpoint, threads, precision, verb="score")
        log_unit = LOG_UNITS[log_base]
        writer = None
        if model.task in SCORE:
            asked = Asked(
                format=format, header=header, text_field=text_field, stream=stream, vs=vs, per_token=per_token,
                columns=columns, summary=summary, log_unit=log_unit, from_text=bool(texts), horizon=horizon, last=last,
                seed=seed, name=described(texts, input, hint=False)[0],
            )  # fmt: skip
            writer = writer_for(SCORE, model.task, asked)
            refuse_given(model.task, {"--adapt": adapt, "--no-memory": no_memory})
        else:
            _refuse_of_tasks(columns=columns, horizon=horizon, last=last, seed=seed)
            model = with_memory(model, no_memory=no_memory)
        other = open_model(vs, threads, precision, verb="score", called="against") if vs is not None else None
        units = {_unit(one) for one in (model, other) if one is not None}
        if encoding is not None and "byte" in units:
            raise UsageError("--encoding is for text read as characters, and a model reads bytes; leave it out")
        if units != {"byte"}:
            chunks = warned(chunks, *described(texts, input, hint="byte" not in units))
        if writer is not None:
            writer.write(model, chunks, asked)
            return
        if other is not None and other.task != model.task:
            raise UsageError(
                f"--vs {vs} is of the task {other.task}, and the checkpoint is a language model; leave it out"
            )

        if format is None:
            format = "jsonl" if per_token else "table" if streams.stdout_is_terminal() else "tsv"
        details = not summary and (per_token or format == "table")
        scorer: Scorer = partial(model.score_chunks, stream=stream, per_token=details, adapt=adapt)
        comparer: Scorer | None = None if other is None else partial(other.score_chunks, stream=stream)
        records = _records(chunks, scorer, comparer)
        with streams.Output() as out:
            if summary:
                total = _total(records, log_unit, other is not None) | ({"adapted": True} if adapt else {})
                out.write(json.dumps(total, allow_nan=False) + "\n")
            else:
                _write(out, records, model.vocabulary, format, log_unit, header, per_token, other is not None, adapt)


def _unit(model: Any) -> str:
    """What a model cuts text into; of one that reads numbers, nothing that text can be."""
    return str(model.vocabulary.unit if model.task == "language" else model.unit)


def _check_output(format: str | None, header: bool, per_token: bool, summary: bool) -> None:
    """Raise `UsageError` for an option that would do nothing beside another."""
    if summary:
        for name, given in (("--format", format), ("--header", header), ("--per-token", per_token)):
            if given:
                raise UsageError(
                    f"{name} is for one record a line, and --summary is one for all; leave one of them out"
                )
    if per_token and format not in (None, "jsonl"):
        raise UsageError(f"--per-token is for --format jsonl, and --format is {format}; leave one of them out")
    if header and (per_token or format not in (None, "tsv")):
        raise UsageError(f"--header is for --format tsv, and --format is {format or 'jsonl'}; leave it out")


def _refuse_of_tasks(**options: Any) -> None:
    """Raise `UsageError` for an option that is for models of other tasks."""
    for name, value in options.items():
        if value is not None:
            what = "records" if name == "columns" else "models of the task forecast"
            raise UsageError(f"--{name} is for {what}, and the checkpoint is a language model; leave it out")


def _records(chunks: Iterable[list[Line]], scorer: Scorer, comparer: Scorer | None) -> Iterator[Iterable[Record]]:
    """The records of each chunk of lines in turn; only one chunk is in memory at a time."""
    from charrnn.cli.score_output import Record

    lines: list[Line] = []

    def read() -> Iterator[list[Line]]:
        nonlocal lines
        for lines in chunks:  # noqa: UP028 - `lines` is what was read last
            yield lines

    others = comparer(iter(lambda: lines, None)) if comparer is not None else None
    for scores in scorer(read()):
        if others is None:
            yield map(Record, lines, scores)
        else:
            odds = (score.logprob - other.logprob for score, other in zip(scores, next(others), strict=True))
            yield map(Record, lines, scores, odds)


def _total(records: Iterable[Iterable[Record]], log_unit: float, compared: bool) -> dict[str, Any]:
    """The object of --summary."""
    from charrnn.tasks.score_records import Summary

    total, log_odds = Summary(), 0.0
    for record in chain.from_iterable(records):
        total.add(record.score)
        log_odds += record.log_odds or 0.0
    if not total.tokens:
        streams.note("the input is empty: nothing was scored, and the zeros say nothing")
    result = total.as_dict(log_unit)
    return {**result, "log_odds": log_odds / log_unit + 0.0} if compared else result


def _write(
    out: streams.Output,
    records: Iterable[Iterable[Record]],
    vocabulary: Vocabulary,
    format: str,
    log_unit: float,
    header: bool,
    per_token: bool,
    compared: bool,
    adapted: bool,
) -> None:
    """Write each record as soon as there is one."""
    from charrnn.cli import score_output as formats

    draw: Callable[[Record], Iterable[bytes]]
    if format == "table":
        table = formats.Table(vocabulary, log_unit, colour=streams.wants_colour(sys.stdout), compared=compared)
        first = table.header()

        def draw(record: Record) -> Iterable[bytes]:
            return (table.row(record),)

    elif format == "tsv":
        first = formats.tsv_header(compared) if header else b""

        def draw(record: Record) -> Iterable[bytes]:
            return (formats.tsv(record, log_unit),)

    else:
        first = b""

        def draw(record: Record) -> Iterable[bytes]:
            return formats.json_line(record, log_unit, per_token, adapted)

    # A table has colours, and no other control characters.
    safe = not out.terminal or format == "table"
    if first:
        out.write(first)
    for chunk in records:
        for piece in chain.from_iterable(map(draw, chunk)):
            out.write(piece if safe else visible(piece.decode("utf-8", "replace"), keep="\t\n"))
        out.flush()

"""`charrnn score`: say how probable each line of a text is."""

from __future__ import annotations

import codecs
import json
import math
import os
import sys
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli import streams
from charrnn.cli.model import open_model
from charrnn.cli.options import (
    CheckpointOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    option,
)
from charrnn.cli.visible import visible
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from charrnn.scoring import Line, Score
    from charrnn.text.vocabulary import Vocabulary

FORMATS = ("table", "tsv", "jsonl")
LOG_UNITS = {"e": 1.0, "2": math.log(2), "10": math.log(10)}


def score(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Text to score, instead of lines of a file or pipe.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    input: Annotated[
        str | None,
        option(
            "-i", "--input", metavar="FILE|-", group="Input", help="Score each line of this.", default="standard input"
        ),
    ] = None,
    stream: Annotated[
        bool,
        option(
            "--stream", group="Input", help="Lines are parts of one text: the state carries over from line to line."
        ),
    ] = False,
    format: Annotated[
        str | None,
        option(
            "--format", choices=FORMATS, group="Output", help="How to write.", default="table on a terminal, else tsv"
        ),
    ] = None,
    header: Annotated[
        bool, option("--header", group="Output", help="Name the columns in a first line of tsv.")
    ] = False,
    log_base: Annotated[
        str, option("--log-base", choices=tuple(LOG_UNITS), group="Output", help="Base of the logarithms.")
    ] = "e",
    per_token: Annotated[
        bool, option("--per-token", group="Output", help="List every unit with its logprob (jsonl).")
    ] = False,
    summary: Annotated[
        bool, option("--summary", group="Output", help="One JSON object over all input instead.")
    ] = False,
    threads: ThreadsOption = None,
    precision: PrecisionOption = "float32",
    quiet: QuietOption = False,
) -> None:
    """Say how probable each line of a text is."""
    streams.set_quiet(quiet)
    if texts and input is not None:
        raise UsageError("a TEXT and --input are both given; leave one of them out")
    if not texts and input is None and streams.stdin_is_terminal():
        raise UsageError("nothing to score; give a TEXT, -i FILE, or pipe lines in (charrnn score --help)")
    if per_token and format not in (None, "jsonl"):
        raise UsageError(f"--per-token is for --format jsonl, and --format is {format}; leave one of them out")
    if header and (per_token or format == "jsonl"):
        raise UsageError("--header is for --format tsv, and --format is jsonl; leave it out")
    for text in texts or ():
        if os.path.isfile(text):  # noqa: PTH113 - unlike Path.is_file, no failure where the text is too long for a path
            streams.note(f"{text} is scored as text; to score the lines of that file: charrnn score -i {text}")

    if format is None:
        format = "jsonl" if per_token else "table" if streams.stdout_is_terminal() else "tsv"

    from charrnn.cli.lines import lines_of_arguments, open_lines

    source = nullcontext(iter([lines_of_arguments(texts)])) if texts else open_lines(input or "-")
    with source as chunks:
        model, loaded = open_model(checkpoint, threads, precision)

        from charrnn import scoring

        details = not summary and (per_token or format == "table")
        scores = scoring.score_lines(
            model, loaded.vocabulary, _checked(chunks, loaded.vocabulary), stream=stream, per_token=details
        )
        log_unit = LOG_UNITS[log_base]
        with streams.Output() as out:
            if summary:
                total = scoring.Summary()
                for line in chain.from_iterable(scores):
                    total.add(line)
                out.write(json.dumps(total.as_dict(log_unit), allow_nan=False) + "\n")
            else:
                _write(out, scores, loaded.vocabulary, format, log_unit, header, per_token)


def _write(
    out: streams.Output,
    scores: Iterable[Sequence[Score]],
    vocabulary: Vocabulary,
    format: str,
    log_unit: float,
    header: bool,
    per_token: bool,
) -> None:
    """Write each score as soon as there is one."""
    from charrnn.cli import score_formats as formats

    draw: Callable[[Score], Iterable[bytes]]
    if format == "table":
        table = formats.Table(vocabulary, log_unit, colour=streams.wants_colour(sys.stdout))
        first = table.header()

        def draw(score: Score) -> Iterable[bytes]:
            return (table.row(score),)

    elif format == "tsv":
        first = formats.TSV_HEADER if header else b""

        def draw(score: Score) -> Iterable[bytes]:
            return (formats.tsv(score, log_unit),)

    else:
        first = b""

        def draw(score: Score) -> Iterable[bytes]:
            return formats.json_line(score, log_unit, per_token)

    # A table holds colours, and no other control characters.
    harmless = not out.terminal or format == "table"
    if first:
        out.write(first)
    for chunk in scores:
        for piece in chain.from_iterable(map(draw, chunk)):
            out.write(piece if harmless else visible(piece.decode("utf-8", "replace"), keep="\t\n"))
        out.flush()


def _checked(chunks: Iterable[list[Line]], vocabulary: Vocabulary) -> Iterator[list[Line]]:
    """The chunks without a byte order mark at their start, after saying once what is odd about the bytes."""
    first, warned = True, vocabulary.unit == "byte"
    for chunk in chunks:
        if first and chunk[0].data.startswith(codecs.BOM_UTF8):
            streams.note("the byte order mark at the start of the text is left out")
            chunk[0] = chunk[0]._replace(data=chunk[0].data.removeprefix(codecs.BOM_UTF8))
        first = False
        if not warned:
            try:
                b"\n".join(line.data for line in chunk).decode()
            except UnicodeDecodeError:
                warned = True
                streams.warn("the text has bytes that are not UTF-8; they are scored as unknown characters (U+FFFD)")
        yield chunk

"""`charrnn predict`: the most probable output of each line."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli import streams
from charrnn.cli.model import open_model
from charrnn.cli.options import CheckpointOption, PrecisionOption, QuietOption, ThreadsOption, option
from charrnn.cli.parsers import whole_number
from charrnn.cli.visible import visible
from charrnn.config import require_encoding
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charrnn.tasks.score_records import Line
    from charrnn.tasks.trained_classifier import Prediction

FORMATS = ("tsv", "jsonl")


def predict(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Input, instead of lines of a file or pipe.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    input: Annotated[
        str | None,
        option(
            "-i", "--input", metavar="FILE|-", group="Input", help="Each line of this, plain or compressed.",
            default="standard input",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        option("--encoding", metavar="NAME", group="Input", help="Encoding of what is read.", default="utf-8"),
    ] = None,
    text_field: Annotated[
        int | None,
        option(
            "--text-field", metavar="N", parser=whole_number(1), group="Input", default="the whole line",
            help="The N-th field of each line, as tabs separate them.",
        ),
    ] = None,
    best: Annotated[
        int | None,
        option("-k", "--best", metavar="N", parser=whole_number(1), group="Output", help="The N most probable labels.",
               default="1"),
    ] = None,
    format: Annotated[str, option("--format", choices=FORMATS, group="Output", help="How to write.")] = "tsv",
    header: Annotated[
        bool, option("--header", group="Output", help="Name the columns in a first line of tsv.")
    ] = False,
    threads: ThreadsOption = None,
    precision: PrecisionOption = "float32",
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Write the most probable label of each line, its probability, and the line."""
    streams.set_quiet(quiet)
    if texts and input is not None:
        raise UsageError("a TEXT and --input are both given; leave one of them out")
    if not texts and input is None and streams.stdin_is_terminal():
        raise UsageError("nothing to predict from; give a TEXT, -i FILE, or pipe lines in (charrnn predict --help)")
    if header and format != "tsv":
        raise UsageError(f"--header is for --format tsv, and --format is {format}; leave it out")
    if encoding is not None:
        if texts:
            raise UsageError("--encoding is for lines that are read, and a TEXT is given; leave it out")
        require_encoding(encoding)

    from charrnn.cli.lines import (
        lines_of_arguments,
        open_lines,
        text_fields,
        transcoded,
        warned,
        without_byte_order_mark,
    )

    source = nullcontext(iter([lines_of_arguments(texts)])) if texts else open_lines(input or "-", transcoded(encoding))
    with source as read:
        model = open_model(checkpoint, threads, precision, verb="predict")
        chunks = without_byte_order_mark(read)
        if text_field is not None:
            chunks = text_fields(chunks, text_field)
        if model.unit != "byte":
            name = "the text" if texts else "standard input" if input in (None, "-") else str(input)
            chunks = warned(chunks, name, "" if texts else "; --encoding names another encoding")
        draw = _json if format == "jsonl" else _tsv
        with streams.Output() as out:
            if header:
                out.write("labels\ttext\n" if best else "label\tprobability\ttext\n")
            for chunk in chunks:
                predictions = model.predict([line.data for line in chunk], count=best or 1)
                _write(out, chunk, predictions, draw, best is not None)
                out.flush()


def _write(
    out: streams.Output, chunk: list[Line], predictions: list[Prediction],
    draw: Callable[[Line, Prediction, bool], bytes], several: bool,
) -> None:  # fmt: skip
    """Write a record for each line."""
    for line, prediction in zip(chunk, predictions, strict=True):
        piece = draw(line, prediction, several)
        out.write(visible(piece.decode("utf-8", "replace"), keep="\t\n") if out.terminal else piece)


def _tsv(line: Line, prediction: Prediction, several: bool) -> bytes:
    """`label TAB probability TAB text`, or with `several` labels `label:probability …  TAB text`."""
    text = line.data if line.whole is None else line.whole
    if several:
        pairs = zip(prediction.labels, prediction.probabilities, strict=True)
        fields = " ".join(f"{label}:{probability:.6f}" for label, probability in pairs)
    else:
        fields = f"{prediction.label}\t{prediction.probability:.6f}"
    return fields.encode() + b"\t" + text + b"\n"


def _json(line: Line, prediction: Prediction, several: bool) -> bytes:
    """An object with text, label and probability; with `several` also the list `labels`."""
    found: dict[str, Any] = {
        "text": line.data.decode("utf-8", "replace"), "label": prediction.label, "probability": prediction.probability
    }  # fmt: skip
    if several:
        pairs = zip(prediction.labels, prediction.probabilities, strict=True)
        found["labels"] = [{"label": label, "probability": probability} for label, probability in pairs]
    if line.whole is not None:
        found["line"] = line.whole.decode("utf-8", "replace")
    return json.dumps(found, ensure_ascii=False, allow_nan=False).encode() + b"\n"

"""`charrnn predict`: say which label each line of a text most probably has."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli import streams
from charrnn.cli.line_options import EncodingOption, HeaderOption, InputOption, TextFieldOption, require_input
from charrnn.cli.model import open_model
from charrnn.cli.options import CheckpointOption, PrecisionOption, QuietOption, ThreadsOption, option
from charrnn.cli.parsers import whole_number
from charrnn.cli.visible import visible
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from charrnn.tasks.score_records import Line
    from charrnn.tasks.trained_classifier import Prediction, TrainedClassifier

FORMATS = ("tsv", "jsonl")
HEADER, HEADER_OF_SEVERAL = b"label\tprobability\ttext\n", b"labels\ttext\n"
# In a field of tsv; a label from a table may have them.
_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


def predict(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Text to label, instead of lines of a file or pipe.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    input: InputOption = None,
    encoding: EncodingOption = None,
    text_field: TextFieldOption = None,
    best: Annotated[
        int | None,
        option(
            "-k",
            "--best",
            metavar="N",
            parser=whole_number(1),
            group="Output",
            help="List the N most probable labels, as label:probability in the first column of tsv.",
            default="the best one",
        ),
    ] = None,
    format: Annotated[str, option("--format", choices=FORMATS, group="Output", help="How to write.")] = "tsv",
    header: HeaderOption = False,
    threads: ThreadsOption = None,
    precision: PrecisionOption = "float32",
    quiet: QuietOption = False,
) -> None:
    """Say which label each line of a text most probably has."""
    streams.set_quiet(quiet)
    require_input(texts, input, encoding, "predict")
    if header and format != "tsv":
        raise UsageError(f"--header is for --format tsv, and --format is {format}; leave it out")

    from charrnn.cli.lines import described, open_input, warned

    with open_input(texts, input, encoding, text_field) as chunks:
        model: TrainedClassifier = open_model(checkpoint, threads, precision, verb="predict")
        if model.unit != "byte":
            chunks = warned(chunks, *described(texts, input, hint=True))
        elif encoding is not None:
            raise UsageError("--encoding is for text read as characters, and the model reads bytes; leave it out")
        draw = _tsv if format == "tsv" else _json_line
        with streams.Output() as out:
            if header:
                out.write(HEADER if best is None else HEADER_OF_SEVERAL)
            for records in _records(model, chunks, best or 1):
                for line, found in records:
                    pieces = draw(line, found, best is not None)
                    for piece in pieces:
                        out.write(visible(piece.decode("utf-8", "replace"), keep="\t\n") if out.terminal else piece)
                out.flush()


def warn_of_long(model: TrainedClassifier, texts: Iterable[bytes]) -> bool:
    """Whether one of the texts is longer than the model reads, of which there is a warning."""
    long = not all(map(model.reads_whole, texts))
    if long:
        streams.warn(f"of a text the first {model.longest:,} units are read, and there is a longer one")
    return long


def _records(
    model: TrainedClassifier, chunks: Iterable[list[Line]], count: int
) -> Iterator[Iterable[tuple[Line, Prediction]]]:
    """The lines of each chunk with their predictions; only one chunk is in memory at a time."""
    warned = False
    for chunk in chunks:
        texts = [line.data for line in chunk]
        warned = warned or warn_of_long(model, texts)
        yield zip(chunk, model.predict(texts, count=count), strict=True)


def _tsv(line: Line, found: Prediction, several: bool) -> Iterable[bytes]:
    """`label TAB probability TAB text`, or with `several` labels `label:probability … TAB text`.

    The text is the bytes that were read, with their tabs.
    """
    from charrnn.cli.score_output import number

    pairs = zip((label.translate(_ESCAPES) for label in found.labels), map(number, found.probabilities), strict=True)
    fields = " ".join(map(":".join, pairs)) if several else "\t".join(next(pairs))
    return (streams.encode(f"{fields}\t") + (line.data if line.whole is None else line.whole) + b"\n",)


def _json_line(line: Line, found: Prediction, several: bool) -> Iterable[bytes]:
    """One JSON object on a line, in pieces. Where a field was labelled, `line` is the whole line."""
    from charrnn.cli.score_output import json_text

    values: dict[str, Any] = {"label": found.label, "probability": found.probability}
    if several:
        pairs = zip(found.labels, found.probabilities, strict=True)
        values["labels"] = [{"label": label, "probability": probability} for label, probability in pairs]
    members = json.dumps(values, ensure_ascii=False, allow_nan=False)[1:-1]
    whole = () if line.whole is None else chain((b', "line": ',), json_text(line.whole))
    return chain((b'{"text": ',), json_text(line.data), (streams.encode(f", {members}"),), whole, (b"}\n",))

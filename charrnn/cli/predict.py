"""`charrnn predict`: the label or the translation of each line, the tag of each token, or the rows after a history."""

from __future__ import annotations

from typing import Annotated

import typer

from charrnn.cli import streams
from charrnn.cli.by_task import PREDICT, Asked, formats, writer_for
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
from charrnn.cli.model import open_model
from charrnn.cli.options import CheckpointOption, PrecisionOption, QuietOption, ThreadsOption, option
from charrnn.cli.parsers import number, whole_number
from charrnn.errors import UsageError
from charrnn.task_config import MOST_BEAM


def predict(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Input, instead of lines of a file or pipe.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    input: InputOption = None,
    encoding: EncodingOption = None,
    text_field: TextFieldOption = None,
    columns: ColumnsOption = None,
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
    beam: Annotated[
        int | None,
        option(
            "--beam",
            metavar="N",
            parser=whole_number(1, MOST_BEAM),
            group="Translations",
            help="Outputs that the search keeps, --nbest at least; 1 is greedy.",
            default="5, or --nbest if that is more",
        ),
    ] = None,
    nbest: Annotated[
        int | None,
        option(
            "--nbest",
            metavar="N",
            parser=whole_number(1, MOST_BEAM),
            group="Translations",
            help="Write the N best outputs of each line, with rank and logprob.",
            default="the best one alone",
        ),
    ] = None,
    copy_unknown: Annotated[
        bool,
        option(
            "--copy-unknown",
            group="Translations",
            help="For an unknown word write the word of the input that it attends to most; logprob is that of <unk>.",
        ),
    ] = False,
    alignment: Annotated[
        bool,
        option(
            "--alignment",
            group="Translations",
            help="Show the attention: a table after each output, in jsonl a matrix.",
        ),
    ] = False,
    horizon: HorizonOption = None,
    interval: Annotated[
        float | None,
        option(
            "--interval",
            metavar="P",
            parser=number(0, 0.9999, above=True),
            group="Forecasts",
            help="Probability of the central interval from NAME.low to NAME.high.",
            default="0.8",
        ),
    ] = None,
    rolling: Annotated[
        bool, option("--rolling", group="Forecasts", help="Forecast every row from those before it.")
    ] = False,
    seed: PathSeedOption = None,
    format: Annotated[
        str | None,
        option(
            "--format",
            choices=formats(PREDICT),
            group="Output",
            help="How to write; of tags also how to read: conll is a token a line, tsv a sentence a line.",
            default="tsv; tags of lines conll; numbers csv",
        ),
    ] = None,
    header: HeaderOption = False,
    threads: ThreadsOption = None,
    precision: PrecisionOption = "float32",
    quiet: QuietOption = False,
) -> None:
    """Say what the output most probably is: label, tags or translation of a line, or the rows after a table."""
    streams.set_quiet(quiet)
    require_input(texts, input, encoding, "predict")

    from charrnn.cli.lines import described, open_input, warned

    with open_input(texts, input, encoding, text_field) as chunks:
        model = open_model(checkpoint, threads, precision, verb="predict")
        asked = Asked(
            format=format, header=header, text_field=text_field, best=best, columns=columns, from_text=bool(texts),
            horizon=horizon, interval=interval, rolling=rolling, seed=seed,
            beam=beam, nbest=nbest, copy_unknown=copy_unknown, alignment=alignment,
            name=described(texts, input, hint=False)[0],
        )  # fmt: skip
        writer = writer_for(PREDICT, model.task, asked)
        if model.unit != "byte":
            chunks = warned(chunks, *described(texts, input, hint=True))
        elif encoding is not None:
            raise UsageError("--encoding is for text read as characters, and the model reads bytes; leave it out")
        writer.write(model, chunks, asked)

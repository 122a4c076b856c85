"""The options of commands that read lines: where from, in which encoding, and which field of them."""

from __future__ import annotations

import os
from typing import Annotated, TypeAlias

from charrnn.cli import streams
from charrnn.cli.options import option
from charrnn.cli.parsers import whole_number
from charrnn.config import MAX_SEED, require_encoding
from charrnn.errors import UsageError
from charrnn.task_config import MAX_HORIZON

InputOption: TypeAlias = Annotated[
    str | None,
    option(
        "-i",
        "--input",
        metavar="FILE|-",
        group="Input",
        help="Read the lines of this, plain or compressed.",
        default="standard input",
    ),
]
EncodingOption: TypeAlias = Annotated[
    str | None,
    option("--encoding", metavar="NAME", group="Input", help="Encoding of what is read.", default="utf-8"),
]
TextFieldOption: TypeAlias = Annotated[
    int | None,
    option(
        "--text-field",
        metavar="N",
        parser=whole_number(1),
        group="Input",
        help="The text is the N-th field of each line, as tabs separate them.",
        default="the whole line",
    ),
]
ColumnsOption: TypeAlias = Annotated[
    str | None,
    option(
        "--columns",
        metavar="A,B",
        group="Input",
        help="Columns of token and tag; for score also of text and label, or input and output. Numbers or names.",
        default="those of training",
    ),
]
HorizonOption: TypeAlias = Annotated[
    int | None,
    option(
        "--horizon",
        metavar="N",
        parser=whole_number(1, MAX_HORIZON),
        group="Forecasts",
        help="Rows to forecast, one after the other.",
        default="as in training",
    ),
]
PathSeedOption: TypeAlias = Annotated[
    int | None,
    option(
        "--seed",
        metavar="N",
        parser=whole_number(0, MAX_SEED),
        group="Forecasts",
        help="Of the sample paths of several rows.",
        default="0",
    ),
]
HeaderOption: TypeAlias = Annotated[
    bool, option("--header", group="Output", help="Name the columns in a first line of tsv.")
]


def require_input(texts: list[str] | None, input: str | None, encoding: str | None, verb: str) -> None:
    """Raise `UsageError` unless the command `verb` has one input; say what a TEXT like the name of a file is taken for.

    `encoding` is checked as well.
    """
    if texts and input is not None:
        raise UsageError("a TEXT and --input are both given; leave one of them out")
    if not texts and input is None and streams.stdin_is_terminal():
        raise UsageError(f"nothing to {verb}; give a TEXT, -i FILE, or pipe lines in (charrnn {verb} --help)")
    if encoding is not None:
        if texts:
            raise UsageError("--encoding is for lines that are read, and a TEXT is given; leave it out")
        require_encoding(encoding)
    for text in texts or ():
        if text == "-":
            streams.note(f"- is taken as text; to {verb} the lines of standard input: charrnn {verb} -i -")
        if os.path.isfile(text):  # noqa: PTH113 - unlike Path.is_file, no failure where the text is too long for a path
            streams.note(f"{text} is taken as text; to {verb} the lines of that file: charrnn {verb} -i {text}")

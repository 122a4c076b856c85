"""The options of `charrnn train` that are not settings of text, network or training (see `charrnn/config.py`).

One type each. None and False mean that an option was not given.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from charrnn.cli.options import option
from charrnn.cli.parsers import list_of, whole_number
from charrnn.config import (
    BUDGET,
    BY_CORPUS,
    CELLS,
    MAX_LAYERS,
    MODEL,
    OPTIMISATION,
    REGULARISATION,
    RUN,
    TASK,
    TEXT,
    VALIDATION,
)
from charrnn.tasks import TASKS

OUTPUT = "Output"
GROUPS = (OUTPUT, TASK, TEXT, MODEL, REGULARISATION, OPTIMISATION, BUDGET, VALIDATION, RUN)

Corpora: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="CORPUS", help="Text files, plain or compressed; - is stdin.", show_default=False),
]
Output: TypeAlias = Annotated[
    str | None,
    option(
        "-o",
        "--output",
        metavar="FILE",
        group=OUTPUT,
        help="The checkpoint to write.",
        default="checkpoints/<first corpus>.safetensors",
    ),
]
Resume: TypeAlias = Annotated[bool, option("--resume", group=OUTPUT, help="Go on with an interrupted run.")]
Force: TypeAlias = Annotated[bool, option("--force", group=OUTPUT, help="Replace an existing checkpoint.")]
InitFrom: TypeAlias = Annotated[
    str | None,
    option("--init-from", metavar="FILE", group=OUTPUT, help="Start with the weights and units of this checkpoint."),
]
TaskName: TypeAlias = Annotated[
    str | None,
    option(
        "--task",
        choices=tuple(TASKS),
        group=TASK,
        help="language: text goes on; classify: a text has a label; tag: each token has one; forecast: numbers go on; "
        "translate: a text, or a label, has another text.",
        default="language",
    ),
]
Cell: TypeAlias = Annotated[
    str | None,
    option(
        "--cell",
        metavar="|".join(CELLS),
        parser=list_of(CELLS),
        group=MODEL,
        help="Kind of recurrent layer; a comma list names each layer's.",
        default="lstm",
    ),
]
Layers: TypeAlias = Annotated[
    int | None,
    option(
        "--layers",
        "--num-layers",
        metavar="N",
        parser=whole_number(1, MAX_LAYERS),
        group=MODEL,
        help="Recurrent layers.",
        default=BY_CORPUS,
    ),
]
Val: TypeAlias = Annotated[
    str | None,
    option(
        "--val", metavar="FILE", group=VALIDATION, help="Held-out text to validate on, instead of a part of the corpus."
    ),
]
DryRun: TypeAlias = Annotated[
    bool, option("--dry-run", group=RUN, help="Say what would be trained, and how long it takes; write nothing.")
]
Log: TypeAlias = Annotated[
    str | None, option("--log", metavar="FILE", group=RUN, help="Write every event there as a line of JSON.")
]
Json: TypeAlias = Annotated[bool, option("--json", group=RUN, help="Print the result as JSON.")]

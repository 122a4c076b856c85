"""The options of `charrnn train`, one type each; None and False mean that an option was not given.

Those of text and network are in `model_options.py`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from charrnn.cli.options import MAX_SEED, duration, number, option, whole_number
from charrnn.config import OPTIMIZERS, PRECISIONS, SCHEDULES

BY_CORPUS = "by corpus"

Corpora: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="CORPUS", help="Text files, plain or compressed; - is stdin.", show_default=False),
]

# Output
Output: TypeAlias = Annotated[
    str | None,
    option(
        "-o",
        "--output",
        metavar="FILE",
        group="Output",
        help="The checkpoint to write.",
        default="checkpoints/<first corpus>.safetensors",
    ),
]
Resume: TypeAlias = Annotated[bool, option("--resume", group="Output", help="Go on with an interrupted run.")]
Force: TypeAlias = Annotated[bool, option("--force", group="Output", help="Replace an existing checkpoint.")]
InitFrom: TypeAlias = Annotated[
    str | None,
    option("--init-from", metavar="FILE", group="Output", help="Start with the weights and units of this checkpoint."),
]

# Regularisation
REGULARISATION = "Regularisation"
Dropout: TypeAlias = Annotated[
    float | None,
    option(
        "--dropout",
        metavar="P",
        parser=number(0, 0.99),
        group=REGULARISATION,
        help="Share of activations dropped.",
        default=BY_CORPUS,
    ),
]
WeightDecay: TypeAlias = Annotated[
    float | None,
    option(
        "--weight-decay",
        metavar="X",
        parser=number(0),
        group=REGULARISATION,
        help="On matrices; decoupled with adamw, else an L2 penalty.",
        default="0.1 with adamw, else 0",
    ),
]
ClipNorm: TypeAlias = Annotated[
    float | None,
    option(
        "--clip-norm",
        metavar="X",
        parser=number(0),
        group=REGULARISATION,
        help="Longest gradient; 0 is no limit.",
        default="1",
    ),
]
ClipValue: TypeAlias = Annotated[
    float | None,
    option(
        "--clip-value",
        metavar="X",
        parser=number(0),
        group=REGULARISATION,
        help="Largest element of the gradient; 0 is no limit.",
        default="0",
    ),
]

# Optimisation
OPTIMISATION = "Optimisation"
OptimizerName: TypeAlias = Annotated[
    str | None, option("--optimizer", choices=OPTIMIZERS, group=OPTIMISATION, help="Update rule.", default="adamw")
]
Momentum: TypeAlias = Annotated[
    float | None,
    option("--momentum", metavar="X", parser=number(0, 0.999999), group=OPTIMISATION, help="Of sgd.", default="0.9"),
]
LearningRate: TypeAlias = Annotated[
    float | None,
    option(
        "--lr",
        "--learning-rate",
        metavar="X",
        parser=number(0, above=True),
        group=OPTIMISATION,
        help="Its highest value.",
        default="by optimizer",
    ),
]
Schedule: TypeAlias = Annotated[
    str | None,
    option(
        "--schedule",
        choices=SCHEDULES,
        group=OPTIMISATION,
        help="How the learning rate falls; plateau halves it when validation does not improve.",
        default="cosine",
    ),
]
Warmup: TypeAlias = Annotated[
    int | None,
    option(
        "--warmup",
        metavar="N",
        parser=whole_number(0),
        group=OPTIMISATION,
        help="Steps until the learning rate is reached, at most a quarter of all.",
        default="100",
    ),
]
BatchSize: TypeAlias = Annotated[
    int | None,
    option(
        "--batch-size",
        metavar="N",
        parser=whole_number(1),
        group=OPTIMISATION,
        help="Parallel streams of text.",
        default=BY_CORPUS,
    ),
]
SeqLength: TypeAlias = Annotated[
    int | None,
    option(
        "--seq-length",
        metavar="N",
        parser=whole_number(1),
        group=OPTIMISATION,
        help="Steps of truncated backpropagation through time.",
        default=BY_CORPUS,
    ),
]

# Budget
Epochs: TypeAlias = Annotated[
    float | None,
    option(
        "--epochs",
        metavar="X",
        parser=number(0, above=True),
        group="Budget",
        help="Passes over the corpus. The first budget reached ends training.",
        default="by corpus, if no budget is given or the corpus is small",
    ),
]
Steps: TypeAlias = Annotated[
    int | None, option("--steps", metavar="N", parser=whole_number(1), group="Budget", help="Updates of the weights.")
]
MaxTime: TypeAlias = Annotated[
    float | None,
    option("--max-time", metavar="TIME", parser=duration, group="Budget", help="Of the whole command: 90s, 10m, 2h."),
]
Patience: TypeAlias = Annotated[
    int | None,
    option(
        "--patience",
        metavar="N",
        parser=whole_number(0),
        group="Budget",
        help="Validations without improvement that end training; 0 is no end.",
        default="6 if no budget is given, else 0",
    ),
]

# Validation
VALIDATION = "Validation"
Val: TypeAlias = Annotated[
    str | None, option("--val", metavar="FILE", group=VALIDATION, help="Text to validate on, instead of a part.")
]
ValFraction: TypeAlias = Annotated[
    float | None,
    option(
        "--val-fraction",
        metavar="X",
        parser=number(0, 0.9),
        group=VALIDATION,
        help="Share held out, the end of each file or, with --lines, lines all over; 0 is no validation.",
        default="0.1",
    ),
]
EvalEvery: TypeAlias = Annotated[
    int | None,
    option(
        "--eval-every",
        metavar="N",
        parser=whole_number(1),
        group=VALIDATION,
        help="Steps between validations.",
        default="about 20 in a run, fewer in a short one",
    ),
]

# Run
Seed: TypeAlias = Annotated[
    int | None,
    option(
        "--seed", metavar="N", parser=whole_number(0, MAX_SEED), group="Run", help="Same seed, same bits.", default="0"
    ),
]
Precision: TypeAlias = Annotated[
    str | None,
    option("--precision", choices=PRECISIONS, group="Run", help="Precision of the products.", default="auto"),
]
DryRun: TypeAlias = Annotated[
    bool, option("--dry-run", group="Run", help="Say what would be trained, and how long it takes; write nothing.")
]
Log: TypeAlias = Annotated[
    str | None, option("--log", metavar="FILE", group="Run", help="Write every event there as a line of JSON.")
]
Json: TypeAlias = Annotated[bool, option("--json", group="Run", help="Print the result as JSON.")]
SampleEvery: TypeAlias = Annotated[
    int | None,
    option(
        "--sample-every",
        metavar="N",
        parser=whole_number(0),
        group="Run",
        help="Steps between samples of text.",
        default="on a terminal, at validations",
    ),
]

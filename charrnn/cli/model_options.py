"""The options of `charrnn train` that say how text is cut into units and what the network is.

One type each, as in `train_options.py`, which has the others; None and False mean that an option was not given.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from charrnn.cli.options import list_of, numbers_or, option, whole_number
from charrnn.config import ACTIVATIONS, CELLS, MAX_LAYERS, RESET_GATES, UNITS

# Text
Unit: TypeAlias = Annotated[
    str | None, option("--unit", choices=UNITS, group="Text", help="What text is cut into.", default="char")
]
Pretokenized: TypeAlias = Annotated[
    bool, option("--pretokenized", group="Text", help="Words are exactly what whitespace separates.")
]
Lines: TypeAlias = Annotated[bool, option("--lines", group="Text", help="Each line is a text of its own.")]
MinCount: TypeAlias = Annotated[
    int | None,
    option(
        "--min-count",
        metavar="N",
        parser=whole_number(1),
        group="Text",
        help="Units seen fewer times become <unk>.",
        default="1; words 2",
    ),
]
MaxVocab: TypeAlias = Annotated[
    int | None,
    option(
        "--max-vocab",
        metavar="N",
        parser=whole_number(0),
        group="Text",
        help="The most units to tell apart; 0 is no limit.",
        default="0; words 100000",
    ),
]
Encoding: TypeAlias = Annotated[
    str | None, option("--encoding", metavar="NAME", group="Text", help="Encoding of the corpus.", default="utf-8")
]
Errors: TypeAlias = Annotated[
    str | None,
    option(
        "--errors", choices=("strict", "replace"), group="Text", help="What to do with invalid bytes.", default="strict"
    ),
]

# Model
Cell: TypeAlias = Annotated[
    str | None,
    option(
        "--cell",
        metavar="|".join(CELLS),
        parser=list_of(tuple(CELLS)),
        group="Model",
        help="Kind of recurrent layer; a comma list names each layer's.",
        default="lstm",
    ),
]
HiddenSize: TypeAlias = Annotated[
    int | None,
    option(
        "--hidden-size",
        metavar="N",
        parser=whole_number(1),
        group="Model",
        help="Width of the layers.",
        default="by corpus",
    ),
]
Layers: TypeAlias = Annotated[
    int | None,
    option(
        "--layers",
        "--num-layers",
        metavar="N",
        parser=whole_number(1, MAX_LAYERS),
        group="Model",
        help="Recurrent layers.",
        default="by corpus",
    ),
]
EmbeddingSize: TypeAlias = Annotated[
    int | None,
    option(
        "--embedding-size",
        metavar="N",
        parser=whole_number(0),
        group="Model",
        help="Width of the embedding; 0 is one-hot input.",
        default="64; words: the hidden size",
    ),
]
Peepholes: TypeAlias = Annotated[bool, option("--peepholes", group="Model", help="LSTM gates see the cell.")]
RmsNorm: TypeAlias = Annotated[
    bool, option("--rms-norm", group="Model", help="Normalise the hidden state of LSTM layers: learns faster.")
]
ResetGate: TypeAlias = Annotated[
    str | None, option("--reset-gate", choices=RESET_GATES, group="Model", help="Where a GRU resets.", default="after")
]
Activation: TypeAlias = Annotated[
    str | None, option("--activation", choices=ACTIVATIONS, group="Model", help="Of the plain RNN.", default="tanh")
]
TieWeights: TypeAlias = Annotated[
    bool, option("--tie-weights", group="Model", help="The output layer uses the embedding.")
]
Cutoffs: TypeAlias = Annotated[
    str | None,
    option(
        "--cutoffs",
        metavar="auto|none|N,...",
        parser=numbers_or("auto", "none"),
        group="Model",
        help="Ids at which the clusters of an adaptive softmax begin; none is a full softmax.",
        default="auto: for large vocabularies",
    ),
]

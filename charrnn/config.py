"""The options of models, text, training and sampling: frozen dataclasses, validated when they are created.

Each field that a user may set is a `setting`, which is all that defines the option: meaning, range and default (see
`charrnn/settings.py`). An invalid value raises `UsageError`, with one line that says what was found and what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from charrnn.errors import UsageError
from charrnn.settings import check_settings, require_choice, require_equal, require_range, setting

# The module of each recurrent cell, with its class `Layer`.
CELLS = {"lstm": "charrnn.nn.lstm", "gru": "charrnn.nn.gru", "rnn": "charrnn.nn.rnn"}
RESET_GATES = ("after", "before", "none")
ACTIVATIONS = ("tanh", "relu")
UNITS = ("char", "word", "byte")
OPTIMIZERS = ("muon", "adamw", "adam", "rmsprop", "adagrad", "sgd")
DECOUPLED = ("muon", "adamw")  # whose weight decay does not act through the gradient
SCHEDULES = ("cosine", "linear", "constant", "plateau")
MAX_LAYERS = 1000
MAX_SEED = 2**63 - 1
MOST_UNITS = 10**15  # that a limit may name: a checkpoint has no integer beyond 2**53
MAX_THREADS = 1024
MAX_SHARDS = 1024
DEFAULT_LENGTH = 500  # units of a sample
TAIL_DIVISOR = 4  # from one cluster of an adaptive softmax to the next, its projection is this many times narrower
PRECISIONS = ("auto", "float32", "bfloat16")

TASK, TEXT, MODEL, REGULARISATION, OPTIMISATION = "Task", "Text", "Model", "Regularisation", "Optimisation"
BUDGET, VALIDATION, RUN, DISTRIBUTION = "Budget", "Validation", "Run", "Distribution"
BY_CORPUS = "by corpus"


@dataclass(frozen=True, slots=True)
class RecurrentConfig:
    """What all networks have: input (one-hot or an embedding) and a stack of recurrent layers.

    `cells` has one entry per layer; `embedding_size` 0 is one-hot input.

    Raises:
        UsageError: a value is out of range, or an option is for another cell.
    """

    vocabulary_size: int
    cells: tuple[str, ...]
    hidden_size: int = setting(help="Width of the layers.", group=MODEL, low=1, shown=BY_CORPUS)
    embedding_size: int = setting(
        0,
        help="Width of the embedding; 0 is one-hot input.",
        group=MODEL,
        low=0,
        shown="64; words: the hidden size",
    )
    peepholes: bool = setting(False, help="Peephole connections: LSTM gates see the cell state.", group=MODEL)
    rms_norm: bool = setting(
        False, help="RMS normalisation of the hidden state of LSTM layers: learns faster.", group=MODEL
    )
    reset_gate: str = setting(
        "after",
        help="Reset gate of GRU layers: after or before the recurrent product, or none.",
        group=MODEL,
        choices=RESET_GATES,
    )
    activation: str = setting("tanh", help="Activation of the plain RNN.", group=MODEL, choices=ACTIVATIONS)

    def __post_init__(self) -> None:
        require_range("vocabulary size", self.vocabulary_size, 2)
        require_range("`layers`", len(self.cells), 1, MAX_LAYERS)
        for cell in self.cells:
            require_choice("`cell`", cell, CELLS)
        check_settings(self)
        for option, given in (("`peepholes`", self.peepholes), ("`rms_norm`", self.rms_norm)):
            if given and "lstm" not in self.cells:
                raise UsageError(f"{option} is for LSTM layers, and `cell` is {','.join(self.cells)}; leave it out")
        if self.reset_gate != "after" and "gru" not in self.cells:
            raise UsageError(
                f"`reset_gate` {self.reset_gate} is for GRU layers, and `cell` is {','.join(self.cells)}; leave it out"
            )
        if self.activation != "tanh" and "rnn" not in self.cells:
            raise UsageError(
                f"`activation` {self.activation} is for RNN layers, and `cell` is {','.join(self.cells)}; leave it out"
            )

    @property
    def num_layers(self) -> int:
        """The number of recurrent layers."""
        return len(self.cells)


@dataclass(frozen=True, slots=True)
class ModelConfig(RecurrentConfig):
    """A language model: the recurrent layers, then a softmax over the vocabulary.

    `cutoffs` are the ids at which the clusters of an adaptive softmax begin (see `nn/adaptive_softmax.py`); without
    any, the softmax is full.

    Raises:
        UsageError: a value is out of range, or two options exclude each other.
    """

    tie_weights: bool = setting(False, help="Tied weights: the output layer uses the embedding matrix.", group=MODEL)
    cutoffs: tuple[int, ...] = setting(
        (),
        help="Ids at which the clusters of an adaptive softmax begin; none is a full softmax.",
        group=MODEL,
        keywords=("auto", "none"),
        shown="auto: for large vocabularies",
    )

    memory: bool = setting(
        False, help="A memory of the corpus: counts of what followed each context, beside the network.", group=MODEL
    )
    memory_size: int = setting(
        100_000_000, help="Most bytes of its tables, such as 100MB.", group=MODEL, low=100_000, high=10**11, size=True,
        shown="100MB",
    )  # fmt: skip

    def __post_init__(self) -> None:
        RecurrentConfig.__post_init__(self)
        if self.tie_weights:
            require_equal("`tie_weights`", "`embedding_size`", self.embedding_size, "`hidden_size`", self.hidden_size)
        if self.cutoffs:
            self._check_cutoffs()

    def _check_cutoffs(self) -> None:
        given = ",".join(map(str, self.cutoffs))
        if self.tie_weights:
            raise UsageError(
                f"`cutoffs` {given} and `tie_weights` exclude each other: the output layer of an adaptive softmax has "
                "not the shape of the embedding; leave one out"
            )
        bounds = (0, *self.cutoffs, self.vocabulary_size)
        if any(low >= high for low, high in pairwise(bounds)):
            raise UsageError(
                f"`cutoffs` is {given}; it must be numbers that rise, from 1 to less than the {self.vocabulary_size} "
                "units of the vocabulary"
            )
        if self.hidden_size < TAIL_DIVISOR ** len(self.cutoffs):
            raise UsageError(
                f"`cutoffs` names {len(self.cutoffs)} clusters, each {TAIL_DIVISOR} times as narrow as the one before, "
                f"and nothing is left of `hidden_size` {self.hidden_size} for the last; leave some out"
            )


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How text is cut into units, and which of them the vocabulary has; `max_vocab` 0 is no limit.

    Raises:
        UsageError: a value is not allowed, or an option is for another unit.
    """

    unit: str = setting(
        "char", help="What text is cut into; input and output may differ: A,B (translate).", group=TEXT, choices=UNITS,
        sides=True,
    )  # fmt: skip
    pretokenized: bool = setting(False, help="Words are exactly what whitespace separates.", group=TEXT)
    lines: bool = setting(False, help="Each line is a text of its own.", group=TEXT)
    min_count: int = setting(
        1, help="Units seen fewer times are out of vocabulary, <unk>.", group=TEXT, low=1, high=MOST_UNITS,
        shown="1; words 2",
    )  # fmt: skip
    max_vocab: int = setting(
        0, help="The most units to tell apart; 0 is no limit.", group=TEXT, low=0, high=MOST_UNITS,
        shown="0; words 100000",
    )  # fmt: skip
    encoding: str = setting("utf-8", help="Encoding of the corpus.", group=TEXT, placeholder="NAME")
    errors: str = setting("strict", help="What to do with invalid bytes.", group=TEXT, choices=("strict", "replace"))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.pretokenized and self.unit != "word":
            raise UsageError(f"`pretokenized` is for `unit` word, and `unit` is {self.unit}; leave it out")
        require_encoding(self.encoding)


def require_encoding(name: str) -> None:
    """Raise `UsageError` unless Python has a text encoding of this name."""
    try:
        "".encode(name)
    except LookupError:
        raise UsageError(f"`encoding` is {name!r}, which Python does not know; try utf-8") from None


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How the weights are learned. `max_time` is in seconds, `seq_length` in steps of time; 0 or None is no limit.

    `epochs`, `steps` and `max_time` are budgets: the first one reached ends training. `patience` is early stopping.

    Raises:
        UsageError: a value is out of range.
    """

    batch_size: int = setting(help="Parallel streams of text.", group=OPTIMISATION, low=1, shown=BY_CORPUS)
    seq_length: int = setting(
        help="Steps of truncated backpropagation through time.", group=OPTIMISATION, low=1, shown=BY_CORPUS
    )
    learning_rate: float = setting(
        help="Peak of the learning rate.",
        group=OPTIMISATION,
        low=0,
        above=True,
        shown="by optimizer",
        names=("lr", "learning_rate"),
    )
    optimizer: str = setting(
        "adamw",
        help="Optimiser.",
        group=OPTIMISATION,
        choices=OPTIMIZERS,
        shown="muon for language models, adamw for other tasks and small corpora",
    )
    momentum: float = setting(0.9, help="Momentum of sgd.", group=OPTIMISATION, low=0, high=0.999999)
    schedule: str = setting(
        "cosine",
        help="Learning-rate schedule; plateau halves the rate when validation does not improve.",
        group=OPTIMISATION,
        choices=SCHEDULES,
    )
    warmup: int = setting(
        0,
        help="Steps of linear warm-up of the learning rate, at most a quarter of all.",
        group=OPTIMISATION,
        low=0,
        shown="100",
    )
    dropout: float = setting(
        0.0,
        help="Share of activations dropped.",
        group=REGULARISATION,
        low=0,
        high=0.99,
        shown=BY_CORPUS,
        placeholder="P",
    )
    weight_decay: float = setting(
        0.0,
        help="Weight decay of matrices; decoupled with muon and adamw, else an L2 penalty.",
        group=REGULARISATION,
        low=0,
        shown="0.1 with muon and adamw, else 0",
    )
    clip_norm: float = setting(
        0.0, help="Gradient clipping by norm; 0 is no limit.", group=REGULARISATION, low=0, shown="1"
    )
    clip_value: float = setting(0.0, help="Gradient clipping by element; 0 is no limit.", group=REGULARISATION, low=0)
    epochs: float | None = setting(
        None,
        help="Passes over the corpus. The first budget reached ends training.",
        group=BUDGET,
        low=0,
        above=True,
        shown="by corpus, if no budget is given or the corpus is small",
    )
    steps: int | None = setting(None, help="Updates of the weights.", group=BUDGET, low=1)
    max_time: float | None = setting(
        None, help="Time limit of the whole command: 90s, 10m, 2h.", group=BUDGET, low=0, above=True, seconds=True
    )
    patience: int = setting(
        0,
        help="Early stopping after so many validations without improvement; 0 is never.",
        group=BUDGET,
        low=0,
        shown="6 (8 for forecast) if no budget is given, or a time only and the corpus is small or no language, else 0",
    )
    val_fraction: float = setting(
        0.1,
        help="Share held out, the end of each file or, with `lines`, lines all over; 0 is no validation.",
        group=VALIDATION,
        low=0,
        high=0.9,
    )
    eval_every: int = setting(
        0,  # chosen when the number of steps is known
        help="Steps between validations.",
        group=VALIDATION,
        low=1,
        shown="about 20 in a run, fewer in a short one",
    )
    seed: int = setting(0, help="Same seed, same bits.", group=RUN, low=0, high=MAX_SEED)
    shards: int = setting(
        1,
        help="Parts of a batch whose gradients are added up; as many processes of MPI at most.",
        group=RUN,
        low=1,
        high=MAX_SHARDS,
        shown="the number of processes",
    )
    sample_every: int = setting(
        0, help="Steps between samples of text.", group=RUN, low=0, shown="on a terminal, at validations"
    )
    precision: str = setting(
        "float32", help="Precision of matrix products.", group=RUN, choices=PRECISIONS, shown="auto"
    )

    def __post_init__(self) -> None:
        check_settings(self)

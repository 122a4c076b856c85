"""Default options of a language model, chosen by the corpus and the budget; and how much memory a run needs.

| training tokens       | optimiser | hidden | streams x steps | epochs               |
|:                     :|:         :|:      :|:               :|:                    :|
| fewer than 100,000    | AdamW     | 128    | 16 x 32         | 40                   |
| fewer than 500,000    | Muon      | 256    | 32 x 64         | 14, without a budget |
| fewer than 3 million  | Muon      | 512    | 32 x 64         | 10, without a budget |
| more                  | Muon      | 512    | 64 x 64         | 3, without a budget  |

A time limit sets the hidden size for corpora from 250,000 tokens on, see `affordable_hidden_size`, and such a run has
about MOST_PASSES epochs at most. Dropout follows the number of epochs that the budget allows, see `DROPOUT`. One layer
for characters and bytes, two for words.

Always: LSTM layers, a learning rate of 0.018 with Muon and 0.006 with AdamW, a weight decay of 0.1, warm-up and cosine
schedule of the learning rate, gradient clipping to norm 1. Words: windows of 35 steps, an embedding as wide as the
hidden state, more dropout. The number of epochs for the smallest corpora holds under a time limit as well: more of them
only overfit. Where the epochs are chosen here, there is early stopping too. `docs/training.md` has the experiments.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from charrnn.config import DECOUPLED, TAIL_DIVISOR, ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.models.language import gate_columns, parameter_layout
from charrnn.models.network import rows_per_group
from charrnn.runtime.memory import available_memory, readable, require_memory
from charrnn.runtime.precision import resolve_precision
from charrnn.text.batches import window_shape
from charrnn.training.options import BUDGETS, Options, given_fields, limited_by_time

SEED = 0
VAL_FRACTION = 0.1
MAX_WORDS = 100_000
EMBEDDING = 64  # for characters and bytes
FULL_SOFTMAX = 8000  # the largest vocabulary with a full softmax
CUTOFFS = (2000, 10_000, 40_000)
NARROWEST_TAIL = 4  # the least width of a cluster of the adaptive softmax
LEARNING_RATES = {"rmsprop": 2e-3, "adagrad": 0.03, "sgd": 0.3}
MUON_RATE, ADAM_RATE = 0.018, 6e-3
PATIENCE = 6
WEIGHT_DECAY = 0.1  # of Muon and AdamW
WORD_LAYERS = 2
WORD_DROPOUT = 0.2  # more than for characters
# More epochs need more dropout: a number of epochs, and the dropout of runs with fewer.
DROPOUT = ((2, 0.0), (4, 0.05), (6, 0.1), (10, 0.2), (14, 0.3), (20, 0.4), (math.inf, 0.5))
TOKENS_PER_WEIGHT = 12  # that a run under a time limit should read for each recurrent weight
# Even where there is time for more: a network with more recurrent weights for each token of the corpus, or trained for
# more epochs, memorises the corpus.
WEIGHTS_PER_TOKEN, WEIGHTS_PER_WORD = 1.0, 4.0
MOST_PASSES = 10
TRAINING_COST = 6  # operations for each weight and token: a multiplication and an addition forward, twice that back
NARROWEST, WIDEST, SIZE_STEP = 128, 1024, 64  # hidden sizes that a time limit leads to


@dataclass(frozen=True)
class Scale:
    """Defaults for corpora of fewer than `below` tokens."""

    below: float
    optimizer: str
    hidden_size: int
    batch_size: int
    seq_length: int
    epochs: float


SCALES = (
    Scale(100_000, "adamw", 128, 16, 32, 40),
    Scale(500_000, "muon", 256, 32, 64, 14),
    Scale(3_000_000, "muon", 512, 32, 64, 10),
    Scale(math.inf, "muon", 512, 64, 64, 3),
)
SMALL = 250_000  # tokens; the network of a smaller corpus does not grow with a time limit
MEMORY_SHARE = 0.8  # of the free memory that default sizes may take


def resolve_text(given: Options) -> TextConfig:
    """The options of the text: how it is cut into units. Raises UsageError for given options that are not valid."""
    words = given.get("unit") == "word"
    chosen = {"min_count": 2 if words else 1, "max_vocab": MAX_WORDS if words else 0}
    return TextConfig(**(chosen | given_fields(TextConfig, given)))


def scale_of(tokens: int) -> Scale:
    """The defaults for a corpus with that many `tokens` in its training part."""
    return next(scale for scale in SCALES if tokens < scale.below)


def resolve_cells(given: Options, *, words: bool) -> tuple[str, ...]:
    """The cell of each layer, from `cell` and `layers`. Raises UsageError when they contradict each other."""
    cells: tuple[str, ...] = given.get("cell", ("lstm",))
    layers = given.get("layers", len(cells) if len(cells) > 1 else WORD_LAYERS if words else 1)
    if len(cells) == 1:
        return cells * int(layers)
    if len(cells) != layers:
        raise UsageError(f"`cell` names {len(cells)} layers and `layers` is {layers}; make them agree or leave one out")
    return cells


def affordable_hidden_size(seconds: float, arithmetic_speed: float, layers: int, most_weights: float) -> int:
    """The hidden size with which a run of `seconds` reads TOKENS_PER_WEIGHT tokens for each recurrent weight, or that
    of `most_weights` where that is smaller.

    A wider network learns more from each token but reads fewer of them in the same time. Weights are counted as in LSTM
    layers, 4 H² recurrent ones and as many for the input of each layer above the first; `arithmetic_speed` is in
    floating-point operations a second:

        seconds * speed = TRAINING_COST * weights * tokens        tokens = TOKENS_PER_WEIGHT * weights
    """
    weights = min(most_weights, math.sqrt(seconds * arithmetic_speed / (TRAINING_COST * TOKENS_PER_WEIGHT)))
    size = math.sqrt(weights / (4 * (2 * layers - 1)))
    return min(WIDEST, max(NARROWEST, round(size / SIZE_STEP) * SIZE_STEP))


def resolve_model(
    given: Options, text: TextConfig, vocabulary_size: int, tokens: int, arithmetic_speed: Callable[[], float]
) -> ModelConfig:  # fmt: skip
    """The network for a training part of `tokens`; `arithmetic_speed` measures the machine, in operations a second.

    Raises UsageError for given options that are not valid together.
    """
    scale = scale_of(tokens)
    words = text.unit == "word" or given.get("tie_weights", False)
    cells = resolve_cells(given, words=text.unit == "word")
    hidden = given.get("hidden_size")
    if hidden is None:
        hidden = scale.hidden_size
        if limited_by_time(given) and tokens >= SMALL:
            most_weights = tokens * (WEIGHTS_PER_WORD if text.unit == "word" else WEIGHTS_PER_TOKEN)
            hidden = affordable_hidden_size(given["max_time"], arithmetic_speed(), len(cells), most_weights)
    chosen: dict[str, Any] = {"hidden_size": hidden, "embedding_size": hidden if words else EMBEDDING}
    fields = given_fields(ModelConfig, given)
    match fields.get("cutoffs", "auto"):
        case "auto":
            fields["cutoffs"] = () if given.get("tie_weights") else choose_cutoffs(vocabulary_size, hidden)
        case "none":
            fields["cutoffs"] = ()
    return ModelConfig(vocabulary_size=vocabulary_size, cells=cells, **(chosen | fields))


def choose_cutoffs(vocabulary_size: int, hidden_size: int) -> tuple[int, ...]:
    """The ids at which the clusters of an adaptive softmax begin (Grave et al. 2017, "Efficient softmax approximation
    for GPUs", arXiv:1609.04309); none for a full softmax.

    With 10,000 words a step with clusters takes less than half as long; after 1,000 steps the loss is 0.05 nats lower,
    after eight epochs on a small corpus 0.006 higher. With fewer words there is less to gain.
    """
    if vocabulary_size <= FULL_SOFTMAX:
        return ()
    return tuple(
        cut
        for cluster, cut in enumerate(CUTOFFS, 1)
        if cut <= vocabulary_size // 2 and hidden_size >= NARROWEST_TAIL * TAIL_DIVISOR**cluster
    )


def resolve_training(
    given: Options, text: TextConfig, model: ModelConfig, tokens: int, arithmetic_speed: Callable[[], float]
) -> TrainingConfig:  # fmt: skip
    """The training options of `model` on `tokens`; `arithmetic_speed` measures the machine, in operations a second.

    Raises UsageError for given options that are not valid.
    """
    scale, words = scale_of(tokens), text.unit == "word"
    optimizer = given.get("optimizer", scale.optimizer)
    unlimited = not any(given.get(budget) for budget in BUDGETS)
    chosen: dict[str, Any] = {
        "optimizer": optimizer,
        "batch_size": scale.batch_size,
        "seq_length": 35 if words else scale.seq_length,
        "learning_rate": LEARNING_RATES.get(optimizer, MUON_RATE if optimizer == "muon" else ADAM_RATE),
        "weight_decay": WEIGHT_DECAY if optimizer in DECOUPLED else 0.0,
        "clip_norm": 1.0,
        "warmup": 100,
        "seed": SEED,
        "val_fraction": VAL_FRACTION,
    }
    if unlimited or (scale is SCALES[0] and limited_by_time(given)):
        chosen |= {"epochs": scale.epochs, "patience": PATIENCE}
    elif limited_by_time(given):
        chosen |= {"epochs": max(scale.epochs, MOST_PASSES)}
    fields = given_fields(TrainingConfig, given)
    fields["precision"] = resolve_precision(fields.get("precision", "auto"))
    config = TrainingConfig(**(chosen | fields))
    if "dropout" not in given:
        dropout = choose_dropout(passes(config, model, tokens, arithmetic_speed))
        config = dataclasses.replace(config, dropout=min(0.5, dropout + (WORD_DROPOUT if words else 0)))
    return config if "batch_size" in given else fit_into_memory(model, config, tokens)


def passes(
    config: TrainingConfig, model: ModelConfig, tokens: int, arithmetic_speed: Callable[[], float]
) -> float:  # fmt: skip
    """About how many epochs, passes over its `tokens`, the budget allows a run."""
    allowed = []
    if config.epochs is not None:
        allowed.append(config.epochs)
    if config.steps is not None:
        allowed.append(config.steps * config.batch_size * config.seq_length / tokens)
    if config.max_time is not None:
        weights = (
            parameter_layout(model).size - model.vocabulary_size * model.embedding_size
        )  # an embedding is looked up
        allowed.append(config.max_time * arithmetic_speed() / (TRAINING_COST * weights) / tokens)
    return min(allowed)


def choose_dropout(passes: float) -> float:
    """The dropout of a run with that many epochs."""
    return next(dropout for below, dropout in DROPOUT if passes < below)


def fit_into_memory(model: ModelConfig, config: TrainingConfig, tokens: int) -> TrainingConfig:
    """`config`, with a smaller batch where the default one would take too much of the free memory."""
    free = available_memory()
    while free is not None and config.batch_size > 1 and memory_needed(model, config, tokens) > MEMORY_SHARE * free:
        config = dataclasses.replace(config, batch_size=config.batch_size // 2)
    return config


def require_memory_to_train(model: ModelConfig, config: TrainingConfig, tokens: int) -> None:
    """Raise CharrnnError when the machine cannot hold a run on that many `tokens`, before anything is allocated."""
    B, T = window_shape(tokens, config.batch_size, config.seq_length)
    require_memory(
        memory_needed(model, config, tokens),
        f"training {readable(parameter_layout(model).size)} parameters on {B:,} x {T:,} units at a time",
        "lower `hidden_size`, `embedding_size`, `layers`, `batch_size`, `seq_length` or `max_vocab`",
    )


def memory_needed(model: ModelConfig, config: TrainingConfig, tokens: int) -> int:
    """About how many bytes training on `tokens` takes: weights with all copies, activations, and Python itself."""
    H, V, L = model.hidden_size, model.vocabulary_size, model.num_layers
    B, T = window_shape(tokens, config.batch_size, config.seq_length)
    # For every layer the gates, h and c, the gradients of both, dropout, and the input gradient of the layer above.
    rows = min(B, rows_per_group(T, gate_columns(model)))
    activations = rows * T * (14 * H * L + model.embedding_size)
    activations += B * (10 * T + 8 * H * L)  # ids, positions and targets; h and c, carried and copied
    logits = 2 * min(rows * T * V, max(1 << 22, rows * V))
    return 4 * (parameter_layout(model).training_size + activations + logits) + 200_000_000

"""What was not asked for, chosen from the corpus; and how much memory a run needs.

| training tokens       | hidden | dropout | streams x steps | passes, without a budget |
|-----------------------|--------|---------|-----------------|--------------------------|
| fewer than 100,000    | 128    | 0.2     | 16 x 32         | 60                       |
| fewer than 3 million  | 256    | 0.1     | 32 x 64         | ten million tokens       |
| more                  | 256    | 0       | 64 x 64         | ten million tokens       |

Always: two LSTM layers, AdamW with a learning rate that warms up and falls to zero along a cosine, clipping by norm 1.
Words: windows of 35 steps, an embedding as wide as the hidden state, more dropout.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.models.layout import parameter_count, tensor_shapes

SEED = 0
VAL_FRACTION = 0.1
MAX_WORDS = 100_000
EMBEDDING = 64  # for characters and bytes
LEARNING_RATES = {"adamw": 3e-3, "adam": 3e-3, "rmsprop": 2e-3, "adagrad": 0.03, "sgd": 0.3}
PASSES_TOKENS = 10_000_000
PATIENCE = 6
MEMORY_SHARE = 0.8  # of what is free that defaults may fill
BUDGETS = ("epochs", "steps", "max_time")

Options = Mapping[str, Any]  # option names as Python names; only what was given


def given_fields(kind: type[TextConfig | ModelConfig | TrainingConfig], given: Options) -> dict[str, Any]:
    """The given options that are fields of a record."""
    return {f.name: given[f.name] for f in dataclasses.fields(kind) if f.name in given}


def resolve_text(given: Options) -> TextConfig:
    """How text is cut into units."""
    words = given.get("unit") == "word"
    chosen = {"min_count": 2 if words else 1, "max_vocab": MAX_WORDS if words else 0}
    return TextConfig(**(chosen | given_fields(TextConfig, given)))


def resolve_cells(given: Options) -> tuple[str, ...]:
    """The kind of each layer, from --cell and --layers."""
    cells: tuple[str, ...] = given.get("cell", ("lstm",))
    layers = given.get("layers", 2 if len(cells) == 1 else len(cells))
    if len(cells) == 1:
        return cells * int(layers)
    if len(cells) != layers:
        raise UsageError(f"--cell names {len(cells)} layers and --layers is {layers}; make them agree or leave one out")
    return cells


def resolve_model(given: Options, text: TextConfig, vocabulary_size: int, tokens: int) -> ModelConfig:
    """The network for a corpus with that many `tokens` to train on."""
    hidden = given.get("hidden_size", 128 if tokens < 100_000 else 256)
    words = text.unit == "word" or given.get("tie_weights", False)
    chosen = {"hidden_size": hidden, "embedding_size": hidden if words else EMBEDDING}
    return ModelConfig(
        vocabulary_size=vocabulary_size, cells=resolve_cells(given), **(chosen | given_fields(ModelConfig, given))
    )


def resolve_training(given: Options, text: TextConfig, model: ModelConfig, tokens: int) -> TrainingConfig:
    """How to train `model` on that many `tokens`. Raises CharrnnError when the machine cannot hold it."""
    small, large, words = tokens < 100_000, tokens >= 3_000_000, text.unit == "word"
    optimizer = given.get("optimizer", "adamw")
    chosen: dict[str, Any] = {
        "batch_size": 16 if small else 64 if large else 32,
        "seq_length": 35 if words else 32 if small else 64,
        "learning_rate": LEARNING_RATES.get(optimizer, 1e-3),
        "dropout": (0.2 if small else 0.0 if large else 0.1) + (0.2 if words else 0.0),
        "weight_decay": 0.01 if optimizer == "adamw" else 0.0,
        "clip_norm": 1.0,
        "warmup": 100,
        "seed": SEED,
        "val_fraction": VAL_FRACTION,
    }
    if not any(given.get(budget) for budget in BUDGETS):
        chosen["epochs"] = float(min(60, max(1, round(PASSES_TOKENS / max(1, tokens)))))
        chosen["patience"] = PATIENCE
    fields = given_fields(TrainingConfig, given)
    if fields.get("precision", "auto") == "auto":
        fields["precision"] = "float32"
    config = TrainingConfig(**(chosen | fields))
    return fit_into_memory(model, config, fixed="batch_size" in given)


def fit_into_memory(model: ModelConfig, config: TrainingConfig, *, fixed: bool) -> TrainingConfig:
    """`config`, with a smaller batch where the default one needs too much. Raises CharrnnError when nothing helps."""
    free = available_memory()
    if free is None:
        return config
    while not fixed and config.batch_size > 1 and memory_needed(model, config) > MEMORY_SHARE * free:
        config = dataclasses.replace(config, batch_size=config.batch_size // 2)
    if (needed := memory_needed(model, config)) > free:
        raise CharrnnError(
            f"training this model needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; lower "
            "--hidden-size, --batch-size, --seq-length or --max-vocab"
        )
    return config


def memory_needed(model: ModelConfig, config: TrainingConfig) -> int:
    """Bytes that training takes at most, about: weights with all their copies, activations, and Python itself."""
    H, V = model.hidden_size, model.vocabulary_size
    # Parameters, gradient, two moments; copies of parameters and moments to go back to; packed weights, both ways.
    weights = 9 * parameter_count(model)
    weights += 2 * sum(prod(shape) for shape in tensor_shapes(model).values())  # the best ones, and those being written
    positions = config.batch_size * config.seq_length
    # Of every layer the gates, their gradients, h and c, their gradients, dropout and what the layer above adds.
    activations = positions * (model.num_layers * 14 * H + model.embedding_size)
    logits = 2 * min(positions * V, max(1 << 22, V))
    return 4 * (weights + activations + logits) + 200_000_000


def available_memory() -> int | None:
    """Bytes that this process could still get; None where that cannot be told."""
    limits = []
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        if limit.isdigit():
            used = int(Path("/sys/fs/cgroup/memory.current").read_text("ascii"))
            limits.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    if limits:
        return min(limits)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None

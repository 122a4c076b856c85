"""Training options that the tasks of records have in common: those that read each record whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from charrnn.config import DECOUPLED, TrainingConfig
from charrnn.errors import UsageError
from charrnn.runtime.precision import resolve_precision
from charrnn.task_config import RecordsConfig
from charrnn.tasks.language_defaults import LEARNING_RATES, SEED, VAL_FRACTION, WEIGHT_DECAY, resolve_cells
from charrnn.training.options import BUDGETS, Options, given_fields, limited_by_time


def records(given: Options) -> RecordsConfig:
    """How records are read. Raises UsageError for options that are not valid."""
    return RecordsConfig(**given_fields(RecordsConfig, given))


def model_fields(kind: type[Any], given: Options) -> dict[str, Any]:
    """The given fields of a network's record `kind`, and its cells. Raises UsageError where they contradict."""
    fields = given_fields(kind, given)
    if fields.get("dense") == "none":
        fields["dense"] = ()
    return {"cells": resolve_cells(given, words=False)} | fields


def resolve_training(
    given: Options, *, learning_rate: float, budget: Mapping[str, Any], weight_decay: float = WEIGHT_DECAY,
    **chosen: Any,
) -> TrainingConfig:  # fmt: skip
    """Given options, else `chosen`, else what all these tasks have; `learning_rate` is that of Muon and Adam; `budget`
    counts where none or only a time is given.

    Raises:
        UsageError: an option is not valid, or is for texts that are cut into windows.
    """
    if "seq_length" in given:
        raise UsageError("`seq_length` is for language models: records are read whole; leave it out")
    optimizer = given.get("optimizer", "adamw")  # a step has too few records for Muon to pay
    common: dict[str, Any] = {
        "seq_length": 1,
        "learning_rate": LEARNING_RATES.get(optimizer, learning_rate),
        "weight_decay": weight_decay if optimizer in DECOUPLED else 0.0,
        "clip_norm": 1.0,
        "warmup": 100,
        "seed": SEED,
        "val_fraction": VAL_FRACTION,
    }
    if not any(given.get(name) for name in BUDGETS) or limited_by_time(given):
        common |= budget
    config = TrainingConfig(**(common | chosen | given_fields(TrainingConfig, given)))
    return dataclasses.replace(config, precision=resolve_precision(given.get("precision", "auto")))

"""Options by name, as they were given and as a checkpoint recorded them. Every task has these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from charrnn.errors import UsageError

BUDGETS = ("epochs", "steps", "max_time")
# What may differ when a run is resumed: how long it goes on and what is shown. All else would make it another run.
FREE_OPTIONS = (*BUDGETS, "patience", "sample_every")

Options = Mapping[str, Any]  # option names as Python names; only what was given


def given_fields(kind: type[Any], given: Options) -> dict[str, Any]:
    """The given options that are fields of a dataclass."""
    return {f.name: given[f.name] for f in dataclasses.fields(kind) if f.name in given}


def limited_by_time(given: Options) -> bool:
    """Whether `max_time` is what ends the run."""
    return bool(given.get("max_time")) and not (given.get("epochs") or given.get("steps"))


def require_effect(given: Options, recorded: Options, val: str | None) -> None:
    """Raise UsageError for an option that was given and changes nothing; `recorded` are those of a run to resume."""
    optimizer = recorded.get("optimizer", given.get("optimizer", "adamw"))
    if "momentum" in given and optimizer != "sgd":
        raise UsageError(f"`momentum` is for `optimizer` sgd, and `optimizer` is {optimizer}; leave it out")
    if "val_fraction" in given and val is not None:
        raise UsageError(f"`val_fraction` and `val` {val} exclude each other; leave one out")


def require_same(given: Options, recorded: Options, file: str, advice: str) -> None:
    """Raise UsageError when a given option is not what `recorded` has; options it does not have are not compared.

    `cell` and `layers` are compared with the recorded `cells`.
    """
    given = dict(given)
    if "cells" in recorded:
        cells = tuple(recorded["cells"])
        wanted = given.pop("cell", cells)
        layers = given.pop("layers", len(wanted) if len(wanted) > 1 else len(cells))
        if tuple(wanted * layers if len(wanted) == 1 else wanted) != cells or layers != len(cells):
            raise UsageError(
                f"`cell` {','.join(wanted)} and `layers` {layers} differ from {','.join(cells)} in {file}; {advice}"
            )
    for name in ("precision", "cutoffs"):
        if given.get(name) == "auto":
            del given[name]
    if given.get("cutoffs") == "none":
        given["cutoffs"] = ()
    for name, value in given.items():
        if name in recorded and value != recorded[name]:
            raise UsageError(f"`{name}` is {typed(value)} and {file} has {typed(recorded[name])}; {advice}")


def typed(value: Any) -> str:
    """The value of an option as it is typed."""
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)

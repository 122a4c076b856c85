"""Options by name: which of them may change when a run is resumed, and checks that all tasks share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from charrnn.errors import UsageError

BUDGETS = ("epochs", "steps", "max_time")
# Options that may differ when a run is resumed: its length and what is shown. Any other would make it another run.
FREE_OPTIONS = (*BUDGETS, "patience", "sample_every")

Options = Mapping[str, Any]  # option names as Python names; only what was given


def given_fields(kind: type[Any], given: Options) -> dict[str, Any]:
    """The given options that are fields of a dataclass."""
    return {f.name: given[f.name] for f in dataclasses.fields(kind) if f.name in given}


def limited_by_time(given: Options) -> bool:
    """Whether `max_time` is the only budget."""
    return bool(given.get("max_time")) and not (given.get("epochs") or given.get("steps"))


def require_known(given: Options, settings: Iterable[type[Any]], task: str) -> None:
    """Raise UsageError for a given option that is no setting of the `task`, whose options are those of `settings`."""
    known = {"cell", "layers"}.union(*({f.name for f in dataclasses.fields(kind)} for kind in settings))
    for name in given:
        if name not in known:
            raise UsageError(f"`{name}` is not for the task {task}; leave it out, or choose another `task`")


def require_effect(given: Options, recorded: Options, val: str | None) -> None:
    """Raise UsageError for a given option that has no effect; `recorded` are the options of a run to resume."""
    optimizer = recorded.get("optimizer", given.get("optimizer"))
    if "momentum" in given and optimizer != "sgd":
        found = f", and `optimizer` is {optimizer}" if optimizer else ""
        raise UsageError(f"`momentum` is for `optimizer` sgd{found}; leave it out")
    if "val_fraction" in given and val is not None:
        raise UsageError(f"`val_fraction` and `val` {val} exclude each other; leave one out")


def require_same(given: Options, recorded: Options, file: str, advice: str) -> None:
    """Raise UsageError when a given option differs from the one in `recorded`; options that are not there are skipped.

    `cell` and `layers` are compared with the recorded `cells`. The message names `file` and ends with `advice`.
    """
    given = dict(given)
    if "cells" in recorded:
        cells = tuple(recorded["cells"])
        cell = given.pop("cell", cells)
        layers = given.pop("layers", len(cell) if len(cell) > 1 else len(cells))
        if tuple(cell * layers if len(cell) == 1 else cell) != cells or layers != len(cells):
            raise UsageError(
                f"`cell` {','.join(cell)} and `layers` {layers} differ from {','.join(cells)} in {file}; {advice}"
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
    """The value of an option as text, a list with commas between its items."""
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)

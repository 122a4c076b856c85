"""How the training went, drawn from what the checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from charrnn.report import draw
from charrnn.report.page import Item, Section, facts, figure

LARGEST = 1e100  # value that is drawn


def overview(pairs: Sequence[tuple[str, str]], training: Mapping[str, Any]) -> Section:
    """What the model is, in `pairs` of a name and a text, and the curves of its training metadata.

    These are not trusted: rows that are no numbers are left out.
    """
    what = facts(
        "The model in short",
        "Network, sizes, corpus and results, as the checkpoint records them. A result counts only when it is better "
        "than that of the simple baseline beside it.",
        pairs,
    )  # fmt: skip
    progress = training.get("progress")
    curves = list(_curves(progress)) if isinstance(progress, dict) else []
    return Section("What it is", "", [what, *curves])


def _curves(progress: Mapping[str, Any]) -> Iterator[Item]:
    history, pace = _rows(progress.get("history")), _rows(progress.get("pace"))
    series = [
        (name, *found) for name, column in (("held-out", 2), ("training", 1)) if (found := _column(history, column))
    ]
    if series:
        yield figure(
            "Loss",
            "Each point is a validation: the mean surprise at the right answer, in nats, on text that was learned from "
            "and on text that was held out. When the held-out curve turns up while the other still falls, the network "
            "has begun to learn by heart.",
            draw.lines(series, "step", "loss", marks=len(history) < 40),
        )  # fmt: skip
    if rate := _column(pace, 1):
        yield figure(
            "Learning rate",
            "How large the steps of learning were at each validation. Small steps at the end let the weights settle.",
            draw.lines([("learning rate", *rate)], "step", "learning rate", marks=len(pace) < 40),
        )
    if norm := _column(pace, 2):
        yield figure(
            "Gradient norm",
            "The length of the gradient before clipping, averaged between validations: how strongly the data pull at "
            "the weights. Peaks are batches that surprised the network; a curve that grows without end is divergence.",
            draw.lines([("gradient norm", *norm)], "step", "gradient norm", marks=len(pace) < 40),
        )  # fmt: skip


def _rows(value: Any) -> list[list[Any]]:
    if not isinstance(value, list):
        return []
    return [row for row in value if isinstance(row, list) and len(row) == 3 and _good(row[0])]


def _column(rows: Sequence[Sequence[Any]], column: int) -> tuple[list[float], list[float]] | None:
    """The steps and the numbers of a column, if they make a curve."""
    found = [(row[0], row[column]) for row in rows if _good(row[column])]
    return ([x for x, _ in found], [y for _, y in found]) if len(found) > 1 else None


def _good(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST

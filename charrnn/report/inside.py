"""The section on the inside of a language model: cells, gates, and how far the gradient reaches back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.models.language import LanguageModel
from charrnn.report import draw, page
from charrnn.report.cells import THRESHOLD, Found, best_cells, learned
from charrnn.report.features import at_units
from charrnn.report.page import Item, Section
from charrnn.report.states import CLOSED, OPEN, Trace, reach, trace
from charrnn.report.text import visible
from charrnn.tasks.trained_language import TrainedLanguageModel

MOST_CELLS = 1 << 24  # values in memory: 64 MB
MOST_UNITS = 20_000
SHOWN, SHOWN_LINES = 600, 20  # units and lines over which a cell is painted
PAINTED = 6  # cells
BACK = 100  # steps
LEAST = 200  # units of a text that says something of cells

Ids = npt.NDArray[np.int32]


def inside(
    model: TrainedLanguageModel, units: Sequence[str], ids: Ids, inputs: Ids, resets: npt.NDArray[np.bool_]
) -> Iterator[Section]:  # fmt: skip
    """The section on N units, ids (N), the units read before them (N), and whether the state is reset before (N)."""
    config = model.network.config
    most = min(MOST_UNITS, MOST_CELLS // (config.hidden_size * config.num_layers))
    if len(ids) < LEAST:
        return
    # A cell is looked at after it has read a unit: what is read begins with an end of line, which is not shown.
    found = trace(model.network, inputs[: most + 1], resets[: most + 1])
    cells, seen = found.cells[:, 1:], list(units[: found.cells.shape[1] - 1])
    twin = LanguageModel(config)  # one that has learned nothing
    twin.initialise(0)
    idle = trace(twin, inputs[: most + 1], resets[: most + 1]).cells[:, 1:]
    items = [*_cells(cells, idle, seen), *_gates(found, config.cells), *_reach(model, ids)]
    yield Section("Inside the network", "", items)


def _cells(
    cells: npt.NDArray[np.float32], idle: npt.NDArray[np.float32], units: Sequence[str]
) -> Iterator[Item]:  # fmt: skip
    """The cells that follow a feature, painted over the text, and the table of the best of each; `idle` are those of a
    network with random weights."""
    known = at_units(units)
    every, random = best_cells(cells, known), {one.feature: one for one in best_cells(idle, known)}
    good = learned(every)[:PAINTED]
    if good:
        yield page.painted(
            "Cells that follow something",
            "Blue is a negative value of the cell, orange a positive one. These are correlations, found among all "
            "cells by search and confirmed on the other half of the text: the cell goes with the feature, which does "
            "not prove that the network uses it for that (after Karpathy, Johnson and Fei-Fei 2015).",
            [_painted(one, cells, units) for one in good],
        )  # fmt: skip
    rows = [
        (one.feature, f"layer {one.layer + 1}, cell {one.unit + 1}", f"{one.correlation:+.2f}",
         f"{random[one.feature].correlation:+.2f}")
        for one in every
    ]  # fmt: skip
    said = "are painted above" if good else "would be painted, and there is none: no cell alone follows these"
    yield page.table(
        "The best cell for each feature",
        "Correlation of a cell with what a reader could keep track of, from -1 to 1, beside that of the best cell of "
        f"the same network with random weights, which follows a little by itself. Those from {THRESHOLD:g} on {said}.",
        ("feature", "cell", "correlation", "random"), rows or [("the text has none of the features", "", "", "")],
        texts=2,
    )  # fmt: skip


def _painted(one: Found, cells: npt.NDArray[np.float32], units: Sequence[str]) -> tuple[str, list[tuple[str, int]]]:
    """The caption of a cell, and the text in its colours; from the second half, on which it was not chosen."""
    start = len(units) // 2
    while start < len(units) - SHOWN and units[start - 1] != "\n":
        start += 1
    ends = [n for n, unit in enumerate(units[start : start + SHOWN], start + 1) if unit == "\n"]
    part = slice(start, ends[SHOWN_LINES - 1] if len(ends) >= SHOWN_LINES else start + SHOWN)
    values = cells[one.layer, part, one.unit].astype(np.float64)
    values /= max(float(np.abs(cells[one.layer, :, one.unit]).max()), 1e-9)
    texts = [visible(unit.replace("\n", "⏎\n"), 80, keep="\n\t") for unit in units[part]]
    caption = f"{one.feature}: layer {one.layer + 1}, cell {one.unit + 1}, correlation {one.correlation:+.2f}"
    return caption, page.runs(texts, values.tolist())


def _gates(found: Trace, cells: Sequence[str]) -> Iterator[Item]:
    """How often each gate is shut and open."""
    for gate in dict.fromkeys(name for _, name, _, _ in found.gates):
        groups = [
            (f"layer {layer + 1}", shut, opened) for layer, name, shut, opened in found.gates if name == gate
        ]  # fmt: skip
        yield page.figure(
            f"The {gate} gate: how often shut, how often open",
            f"A point is a hidden unit: the share of the time its gate is shut (below {CLOSED:g}) and open (above "
            f"{OPEN:g}). {GATES.get(gate, '')}",
            draw.points(groups, "share of steps shut", "share of steps open", limits=(-0.03, 1.03)),
        )  # fmt: skip


GATES = {
    "forget": "Units at the upper left nearly never forget: they can carry something over long distances.",
    "input": "Units at the lower right write to their memory seldom.",
    "output": "Units at the lower right keep what they know to themselves most of the time.",
    "reset": "Units at the lower right ignore the past when they propose a new value.",
    "update": "Units at the upper left nearly never take a new value: they can carry something over long distances.",
}


def _reach(model: TrainedLanguageModel, ids: Ids) -> Iterator[Item]:
    """How far the gradient reaches back."""
    steps = min(BACK, len(ids) // 2)
    shares = reach(model.network, ids, steps)
    shown = np.maximum(shares, 1e-12)
    far = np.flatnonzero(shares >= 0.01)
    yield page.figure(
        "How far the gradient reaches back",
        "How much the loss at a place depends on what was read k steps before it, against the step just before (the "
        f"norm of the gradient). It falls to a hundredth after about {int(far[-1]) + 1 if len(far) else 1} steps: what "
        "lies further back can hardly be learned from.",
        draw.lines([("gradient", np.arange(steps), shown)], "steps back", "share of the gradient", logarithmic=True),
    )  # fmt: skip

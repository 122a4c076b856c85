"""Figures, drawn by matplotlib as SVG whose colours are those of the page (`page/style.css`), light or dark.

Text in figures stays text. What comes from outside is never read as mathematics or markup. Each function returns one
`<svg>` element and raises ModuleNotFoundError without matplotlib.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from charrnn.report.text import visible

SIZE = 4.9, 2.9  # inches
MOST_POINTS = 1500  # of a line
LARGEST = 1e100  # number that is drawn
_INK, _MUTED, _LINE, _CARD = "#010101", "#020202", "#030303", "#080808"
_COLOURS = "#040404", "#050505", "#060606", "#070707"
# The colours of a drawing are names: no drawing has others.
_NAMES = {_INK: "ink", _MUTED: "muted", _LINE: "line", _CARD: "card"} | {
    colour: f"c{n}" for n, colour in enumerate(_COLOURS, 1)
}
_VARIABLE = "-" * 2  # what the name of a variable of CSS begins with
_STYLES = "solid", "dashed", "dashdot", "dotted"  # beside colours, for those who do not see them
_SETTINGS = {
    "svg.fonttype": "none", "svg.hashsalt": "charrnn", "text.parse_math": False, "font.size": 10.5,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK, "xtick.color": _MUTED, "ytick.color": _MUTED, "text.color": _INK, "axes.grid": True,
    "grid.color": _LINE, "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "legend.facecolor": _CARD, "legend.edgecolor": "none",
    "axes.formatter.useoffset": False, "axes.unicode_minus": False,
    "path.simplify": True, "axes.formatter.use_mathtext": False,
}  # fmt: skip
_lock = threading.Lock()  # matplotlib's settings are those of the process

Line = tuple[str, ArrayLike, ArrayLike]


def lines(
    series: Sequence[Line], x: str, y: str, *, logarithmic: bool = False, diagonal: bool = False, marks: bool = False,
    band: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
) -> str:  # fmt: skip
    """Lines (name, x, y); a band (x, low, high), that of the last one, is filled; the diagonal is y = x from 0 to 1;
    `marks`: points too."""

    def paint(axes: Any) -> None:
        for n, (name, xs, ys) in enumerate(series):
            place, values = _thinned(xs, ys)
            axes.plot(place, values, color=_COLOURS[n % 4], linestyle=_STYLES[n % 4], label=visible(name, 40),
                      linewidth=1.5, marker="o" if marks or len(place) == 1 else None, markersize=3)  # fmt: skip
        if band is not None:
            (place, low), (_, high) = _thinned(band[0], band[1]), _thinned(band[0], band[2])
            axes.fill_between(place, low, high, color=_COLOURS[(len(series) - 1) % 4], alpha=0.2, linewidth=0)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_MUTED, linestyle="dotted", linewidth=1)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
        if len(series) > 1:
            axes.legend(loc="best", fontsize=9.5)

    return _svg(paint, x, y)


def bars(names: Sequence[str], values: ArrayLike, x: str, y: str, *, level: float | None = None) -> str:
    """A bar for each name, and a line across all at `level`."""

    def paint(axes: Any) -> None:
        places = np.arange(len(names))
        axes.bar(places, np.asarray(values, np.float64), color=_COLOURS[0], width=0.75)
        step = max(1, -(-len(names) // 16))
        shown = [visible(name, 16) for name in names]
        axes.set_xticks(places[::step], shown[::step])
        if sum(map(len, shown[::step])) > 46:
            axes.tick_params(axis="x", rotation=35)
        axes.set_xlim(-0.6, max(len(names), 4) - 0.4)
        if not np.any(values):
            axes.set_ylim(0, 1)  # not a scale around nothing
        axes.grid(axis="x", visible=False)
        if level is not None:
            axes.axhline(level, color=_COLOURS[1], linestyle="dashed", linewidth=1.2)

    return _svg(paint, x, y)


def histogram(values: ArrayLike, x: str, y: str) -> str:
    """How many of the values lie in each of some intervals of the same width."""

    def paint(axes: Any) -> None:
        axes.hist(np.asarray(values, np.float64), bins=24, color=_COLOURS[0], rwidth=0.9)

    return _svg(paint, x, y)


def points(groups: Sequence[Line], x: str, y: str, *, limits: tuple[float, float] | None = None) -> str:
    """Clouds of points (name, x, y)."""

    def paint(axes: Any) -> None:
        for n, (name, xs, ys) in enumerate(groups):
            axes.scatter(*_thinned(xs, ys), s=14, color=_COLOURS[n % 4], marker="os^D"[n % 4], alpha=0.7, linewidths=0,
                         label=visible(name, 40))  # fmt: skip
        if limits is not None:
            axes.set_xlim(*limits)
            axes.set_ylim(*limits)
        if len(groups) > 1:
            axes.legend(loc="best", fontsize=9.5)

    return _svg(paint, x, y)


def _thinned(xs: ArrayLike, ys: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST_POINTS of the points, evenly chosen, the last one among them; huge numbers are gaps."""
    x, y = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    y = np.where(np.abs(y) < LARGEST, y, np.nan)
    if len(x) > MOST_POINTS:
        chosen = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.int64))
        x, y = x[chosen], y[chosen]
    return x, y


def _svg(paint: Callable[[Any], None], x: str, y: str) -> str:
    """The element that `paint` draws on axes of these names."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with _lock, warnings.catch_warnings(), rc_context(_SETTINGS):
        warnings.simplefilter("ignore")  # of signs that the font has not: the browser's fonts may have them
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        paint(axes)
        axes.set_xlabel(visible(x, 60))
        axes.set_ylabel(visible(y, 60))
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        # Tight: the layout may have measured ticks that are not those drawn, and cut off the name of an axis.
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing, bbox_inches="tight")
    return _inline(buffer.getvalue(), f"{visible(y, 60)} by {visible(x, 60)}")


def _inline(drawing: str, label: str) -> str:
    """The drawing as a part of a page: ids of its own, colours of the page, no size of its own."""
    svg = drawing[drawing.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!-{2}.*?-{2}>", "", svg, flags=re.DOTALL)
    prefix = "f" + hashlib.sha256(svg.encode("utf-8", "replace")).hexdigest()[:8] + "-"
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}", svg)
    svg = re.sub("|".join(_NAMES), lambda match: f"var({_VARIABLE}{_NAMES[match[0]]})", svg)
    start, rest = svg.split(">", 1)
    start = re.sub(r' (width|height)="[^"]*"', "", start)
    return f'{start} role="img" aria-label="{html.escape(label)}">{rest}'

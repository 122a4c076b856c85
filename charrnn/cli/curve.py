"""A curve drawn with block characters, for a terminal or a plain file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

_EIGHTHS = " ▁▂▃▄▅▆▇█"
HEIGHT = 6  # lines
WIDEST = 100  # columns, the labels included
_WIDEST_BAR = 4  # columns for one point
_LARGEST = 1e100  # value that is drawn


class Series:
    """Points (x, y) as they come, fewer than `most`, an even number: beyond that means of two, then of four, and so on,
    each with the x of its last one. A mean of more than have come yet is not among the `points`."""

    def __init__(self, most: int) -> None:
        self.points: list[tuple[float, float]] = []
        self._most, self._each, self._values = most, 1, list[float]()

    def add(self, x: float, y: float) -> None:
        """One more point."""
        self._values.append(y)
        if len(self._values) < self._each:
            return
        self.points.append((x, math.fsum(self._values) / self._each))
        self._values.clear()
        if len(self.points) == self._most:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(later, (y + other) / 2) for (_, y), (later, other) in pairs]
            self._each *= 2


def curve(points: Sequence[tuple[float, float]], width: int, height: int = HEIGHT) -> Iterator[str]:
    """Lines that draw the values of `points` (x, y) as bars beside each other, at most `width` columns wide.

    `height` is the number of lines, at least 2, without that for the steps.
    The axis of y goes from the least value to the greatest, both written at its left; the first and the last x are
    written below. Where there are more points than columns, each bar is the mean of several. Nothing is drawn of fewer
    than two points, of points that are not finite numbers, or where there is no room for the labels.
    """
    points = [point for point in points if all(abs(value) < _LARGEST for value in point)]
    values = [y for _, y in points]
    if len(points) < 2:
        return
    low, high = min(values), max(values)
    labels = [f"{high:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels))
    first, last = (f"{x:,.10g}" for x in (points[0][0], points[-1][0]))
    columns = min(width, WIDEST) - margin - 2
    if columns <= len(first) + len(last):
        return
    bars = _means(values, columns) if len(values) > columns else values
    each = min(_WIDEST_BAR, columns // len(bars))
    span = high - low
    # The lowest bar has one eighth of a line, so that it can be seen.
    heights = [1 + round((8 * height - 1) * ((y - low) / span if span > 0 else 0)) for y in bars]
    for row in reversed(range(height)):
        label = labels[0] if row == height - 1 else labels[1] if row == 0 else ""
        cells = "".join(_EIGHTHS[min(8, max(0, height - 8 * row))] * each for height in heights)
        yield f"{label:>{margin}} │{cells}".rstrip()
    gap = max(1, each * len(bars) - len(first) - len(last))
    yield f"{'':{margin}}  {first}{' ' * gap}{last}"


def _means(values: Sequence[float], count: int) -> list[float]:
    """The means of `count` parts of the values, each of about the same length."""
    edges = [place * len(values) // count for place in range(count + 1)]
    return [math.fsum(values[start:stop]) / (stop - start) for start, stop in pairwise(edges)]

"""Copying lines of a text."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def take_lines(text: NDArray[Number], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[Number]:
    """The concatenation of text[starts[n] : stops[n]] over n, read-only; text (N), starts and stops (L)."""
    from charrnn.kernels.text import copy_lines

    size = text.itemsize
    lines = np.empty(int((stops - starts).sum()), text.dtype)
    source = text.view(np.uint8)
    source.flags.writeable = False  # compiled code has this flag in its types: one version of the kernel is enough
    copy_lines(source, size * starts, size * stops, lines.view(np.uint8))
    lines.flags.writeable = False
    return lines

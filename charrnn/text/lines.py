"""Choosing lines from a text."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def take_lines(text: NDArray[Number], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[Number]:
    """text[starts[n] : stops[n]] for each n, one after the other, not to be written to."""
    from charrnn.kernels.text import copy_lines

    size = text.itemsize
    lines = np.empty(int((stops - starts).sum()), text.dtype)
    source = text.view(np.uint8)
    source.flags.writeable = False  # to compiled code this is part of the type, and there should be one
    copy_lines(source, size * starts, size * stops, lines.view(np.uint8))
    lines.flags.writeable = False
    return lines

"""Telling text from what only was read as text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.text.coding import Coder
from charrnn.text.units import REPLACEMENT

# Share of the units. A text has next to none of either, a program or an image a tenth and more.
BINARY_SHARE = 0.01
# Control characters that do not occur in text: not the white space, bell, backspace and escape of what a terminal shows
# (the rule of the command `file`).
CONTROL = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")


def remark_on_binary(counts: NDArray[np.int64], coder: Coder, config: TextConfig) -> str | None:
    """What to say if the units of `coder`, by their counts, look like those of a file that is not text.

    A single character that could not be decoded, or one that a text has by mistake, is no reason. Bytes are as good as
    any others with the unit byte.
    """
    if config.unit == "byte":
        return None
    control = replaced = 0
    for code in np.flatnonzero(counts):
        unit = coder.unit(int(code))
        control += int(counts[code]) * bool(CONTROL.search(unit))
        replaced += int(counts[code]) * (REPLACEMENT in unit)
    total = int(counts.sum())
    if control > BINARY_SHARE * total:
        return (
            f"this looks like binary data, not text: {control / total:.0%} of its units are control characters; "
            "`unit` byte takes any bytes"
        )
    if replaced > BINARY_SHARE * total:
        return (
            f"{replaced / total:.0%} of the units have U+FFFD, which stands for what could not be decoded; `encoding` "
            "names the encoding of a text, `unit` byte reads anything as it is"
        )
    return None

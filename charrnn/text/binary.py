"""Recognising binary data that was read as text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.text.coding import Coder
from charrnn.text.units import REPLACEMENT

# Share of units that are control characters or U+FFFD. In text it is close to 0, in programs and images 0.1 or more.
BINARY_SHARE = 0.01
# Control characters that do not occur in text: not the white space, bell, backspace and escape of what a terminal shows
# (the rule of the command `file`).
CONTROL = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")


def remark_on_binary(counts: NDArray[np.int64], coder: Coder, config: TextConfig) -> str | None:
    """A remark for the user if the text looks like binary data; None if not, and always None for the unit byte.

    counts (coder.size): how often each code occurs. A few characters that are control characters or could not be
    decoded are not enough.
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

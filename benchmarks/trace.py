"""The way of one training step and of one scored line through the files of the package.

    python -m benchmarks.trace

Every call of a function of the package is followed, compiled kernels included. `files` are those that were entered, and
`changes` counts how often a call was in another file than the call before it. Indented are the calls that a call makes.
A step is what is computed: the batch, the loss with its gradient, the gradient's norm and the update of the weights. It
is shown once more with what the loop does around it: signals held back, learning rate, means for the display.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import charrnn

PACKAGE = Path(charrnn.__file__).parent
TEXT = "the cat sits here.\nA dog runs!\n" * 400
NETWORK: dict[str, Any] = {"hidden_size": 16, "layers": 2, "batch_size": 4, "seq_length": 8, "dropout": 0.2}


class Call(NamedTuple):
    """A call of a function, so many calls deep."""

    depth: int
    file: str
    name: str


def follow(function: Callable[[], object]) -> list[Call]:
    """The calls within the package while `function` runs."""
    calls: list[Call] = []
    depth = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal depth
        if event not in ("call", "return"):
            return
        ours = frame.f_code.co_filename.startswith(str(PACKAGE))
        if event == "call" and ours:
            calls.append(Call(depth, str(Path(frame.f_code.co_filename).relative_to(PACKAGE)), frame.f_code.co_name))
        depth += ours if event == "call" else -ours

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def files(calls: list[Call]) -> list[str]:
    """The files that were entered, in the order in which they were."""
    return list(dict.fromkeys(call.file for call in calls))


def changes(calls: list[Call]) -> int:
    """How often a call was in another file than the call before it."""
    return sum(before.file != after.file for before, after in pairwise(calls))


def upward(calls: list[Call], floors: dict[str, int]) -> list[str]:
    """Calls from a lower floor of the architecture to a higher one; `floors`: the height of each part."""
    found, stack = [], list[Call]()
    for call in calls:
        del stack[call.depth :]
        if stack and floors[part(call.file)] > floors[part(stack[-1].file)]:
            found.append(f"{stack[-1].file}: {stack[-1].name} -> {call.file}: {call.name}")
        stack.append(call)
    return found


def part(file: str) -> str:
    """The part of the package that a file belongs to: nn/lstm.py -> nn, checkpoint.py -> checkpoint."""
    return file.partition("/")[0].removesuffix(".py")

"""Kernels: arrays in, arrays out, compiled by Numba.

`from charrnn import kernels` imports nothing; `kernels.lstm` does, when it is first used, so that what only describes a
network starts without Numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from charrnn.kernels import (
        attention,
        bridge,
        contexts,
        crf,
        decode,
        dense,
        density,
        draw,
        dropout,
        functions,
        generate,
        gru,
        inputs,
        lstm,
        matmul,
        memory,
        ngrams,
        normalise,
        optimizers,
        packing,
        paths,
        pooling,
        rnn,
        rounding,
        softmax,
        state,
        text,
        tile,
        words,
    )

__all__ = [
    "attention", "bridge", "contexts", "crf", "decode", "dense", "density", "draw", "dropout", "functions", "generate",
    "gru", "inputs", "lstm", "matmul", "memory", "ngrams", "normalise", "optimizers", "packing", "paths", "pooling",
    "rnn", "rounding", "softmax", "state", "text", "tile", "words",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> ModuleType:
        """A module of kernels, imported when it is first asked for (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"{__name__}.{name}")

"""Shared by the benchmarks: interleaved timing of several sides, the same network in PyTorch, tables."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel

EMBEDDING = 64
Side = Callable[[], object]


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats: about a minute")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="on both sides")
    return parser


def in_turns(sides: dict[str, Side], rounds: int, least: float = 0.3) -> dict[str, list[float]]:
    """The seconds of a call of each side, one value a round, the sides alternating within each round.

    Each side runs once before, to warm up. In a round it runs for at least `least` seconds; the value is the median.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(rounds):
        for name, side in sides.items():
            calls: list[float] = []
            while sum(calls) < least or len(calls) < 3:
                start = time.perf_counter()
                side()
                calls.append(time.perf_counter() - start)
            times[name].append(float(np.median(calls)))
    return times


def summary(times: Sequence[float], scale: float = 1e3, digits: int = 1) -> str:
    """The median in ms (or by `scale`), ± half the range over the rounds."""
    return f"{np.median(times) * scale:.{digits}f} ±{(max(times) - min(times)) / 2 * scale:.{digits}f}"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """The speed-up: the median over the rounds of the ratio of theirs to ours within each."""
    return f"{np.median(np.array(theirs) / np.array(ours)):.2f} ×"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a title."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


def describe_machine() -> str:
    """Processor and versions in one line."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    import numba

    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, Numba {numba.__version__}"


def make_model(
    cell: str, hidden_size: int, layers: int, vocabulary: int, *, bfloat16: bool, threads: int
) -> LanguageModel:
    """The network of this project, with random weights."""
    config = ModelConfig(vocabulary, (cell,) * layers, hidden_size, EMBEDDING)
    model = LanguageModel(config, threads=threads, bfloat16=bfloat16)
    model.initialise(0)
    return model


def make_torch(cell: str, hidden_size: int, layers: int, vocabulary: int) -> Any:
    """The same network made of PyTorch modules."""
    import torch

    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    return torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(vocabulary, EMBEDDING),
            "rnn": kind(EMBEDDING, hidden_size, layers),
            "output": torch.nn.Linear(hidden_size, vocabulary),
        }
    )


def training_flops(cell: str, H: int, L: int, V: int, positions: int) -> float:
    """Floating-point operations of a training step on `positions` tokens; the first input product is a lookup."""
    share = {"lstm": 1.0, "gru": 0.75, "rnn": 0.25}[cell]
    return 6.0 * positions * (share * (4 * H * H + 8 * H * H * (L - 1)) + H * V)

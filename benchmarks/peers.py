"""Other programs beside this one: how they are asked, in the environment that `make peers` sets up."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals import Answer

PROJECT = Path(__file__).resolve().parent.parent
PEERS = PROJECT / ".venv-peers" / "bin" / "python"


@dataclass
class Side:
    """The runs of one program, one for each seed: the answers, their figures, and the seconds that each took."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        """Its name, the package, and the median of each figure, see `shown`."""
        return [
            self.name, self.answers[0].package,
            *(shown([found[what] for found in self.figures]) for what in self.figures[0]),
        ]  # fmt: skip


def compared(
    names: Sequence[str], seeds: int, ask: Callable[[str, int], Answer],
    figures: Callable[[list[Any]], dict[str, float]], *, once: Sequence[str] = (),
) -> Iterator[Side]:  # fmt: skip
    """Each program in turn: what it answers with each seed, and the figures of that, which standard error shows.

    once: the programs in which nothing depends on a seed.
    """
    for name in names:
        side = Side(name)
        for seed in range(1 if name in once else seeds):
            begun = time.perf_counter()
            answer = ask(name, seed)
            side.seconds.append(time.perf_counter() - begun)
            side.answers.append(answer)
            side.figures.append(figures(answer.outputs))
            brief = ", ".join(f"{what} {value:.2f}" for what, value in side.figures[-1].items())
            print(f"{name}, seed {seed}: {brief}, {side.seconds[-1]:.0f} s", file=sys.stderr, flush=True)
        yield side


def run(*arguments: str) -> bytes:
    """Standard output of a command of this project."""
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *arguments], check=True, stdout=subprocess.PIPE
    ).stdout  # fmt: skip


def rival(module: str, name: str, request: dict[str, Any], python: Path, folder: Path) -> Answer:
    """What the rival `name` of a module of this folder answers. Raises CalledProcessError where it fails."""
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_text(json.dumps(request), encoding="utf-8")
    command = [str(python), "-m", f"benchmarks.{module}", name, str(asked), str(answer)]
    subprocess.run(command, check=True, cwd=PROJECT)
    return Answer(**json.loads(answer.read_text(encoding="utf-8")))


def arguments(description: str, rivals: Sequence[str], max_time: str) -> argparse.ArgumentParser:
    """The options that all comparisons of what is learned have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--max-time", "--time", default=max_time, help="for a run of a program (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each program (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rivals", default=",".join(rivals), help="a list; '' is none (default: %(default)s)")
    parser.add_argument("--python", type=Path, default=PEERS, help="that of the rivals (default: %(default)s)")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, those of other programs checked; `rivals` is a list."""
    options = parser.parse_args()
    options.rivals = [name for name in options.rivals.split(",") if name]
    if options.rivals and not options.python.exists():
        parser.error(f"{options.python} is not there; `make peers` installs the other programs")
    return options


def shown(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the least and the greatest where they differ."""
    median, least, most = (f"{value:,.{digits}f}" for value in (np.median(values), min(values), max(values)))
    return median if least == most else f"{median} ({least} to {most})"

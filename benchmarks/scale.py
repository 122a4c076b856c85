"""Training by several processes of MPI: measured with two, and by a model of the cost for up to 1,024.

    python -m benchmarks.scale [--quick] [--hidden-size 512] [--batch-size 64] [--seq-length 64]

Needs `pip install .[mpi]` and the command `mpirun`. One process of one thread, one of two, and two of one thread each
take turns at the same step (one layer of LSTM: forward, backward, sum of the shards, clipping, AdamW). The model adds
up compute, which is measured for the rows of a process, the exchange, of which latency and bandwidth are measured here
and assumed for networks, and the update, which every process does. `stragglers`: the longest of P random step times.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments, describe_machine, make_model, print_table
from charrnn.config import TrainingConfig
from charrnn.runtime.processes import join
from charrnn.text.batch import Batch
from charrnn.training.state import Learner

VOCABULARY, LAYERS = 65, 1
# Of other networks, for the model: seconds for a message, bytes a second each way.
NETWORKS = {
    "Ethernet, 1 Gbit/s": (50e-6, 0.118e9),
    "Ethernet, 25 Gbit/s": (15e-6, 2.9e9),
    "InfiniBand, 100 Gbit/s": (2e-6, 12e9),
}
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MESSAGES = 6  # exchanges of a step: two records, losses, slices, sums, carried rows
JITTER = 0.05  # standard deviation of the logarithm of a step's time on one machine


@dataclass(frozen=True)
class Shape:
    """H, B and T of the step that is measured."""

    hidden_size: int
    batch_size: int
    seq_length: int

    @property
    def tokens(self) -> int:
        """The tokens of a step."""
        return self.batch_size * self.seq_length


def learner(shape: Shape, rows: int, threads: int, processes: Any) -> tuple[Learner, Batch]:
    """A network and its optimiser, and a batch of so many rows."""
    model = make_model("lstm", shape.hidden_size, LAYERS, VOCABULARY, bfloat16=False, threads=threads)
    config = TrainingConfig(rows, shape.seq_length, 1e-3, clip_norm=5.0, shards=processes.size)
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (shape.seq_length + 1, rows)).astype(np.int32)
    return Learner(model, config, rows, processes), Batch(ids[:-1], ids[1:])


def median_seconds(work: Callable[[], object], least: float) -> float:
    """The median of the calls of some seconds, at least five, after two to warm up."""
    times: list[float] = []
    for _ in range(2):
        work()
    while sum(times) < least or len(times) < 5:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measure(shape: Shape, rows: int, threads: int, steps: int) -> dict[str, float]:
    """Medians, in seconds, of a step of `rows` rows and its parts; `sent` bytes by each process."""
    processes = join()
    own, batch = learner(shape, rows, threads, processes)
    times: dict[str, list[float]] = {"step": [], "loss": [], "update": []}
    sent = 0.0
    for step in range(2 + steps):
        processes.agree()
        before = getattr(processes, "sent", 0)
        start = time.perf_counter()
        own.loss(batch, None)
        middle = time.perf_counter()
        own.optimizer.update(own.network.gradient, own.optimizer.gradient_norm(own.network.gradient), 1e-3)
        own.network.invalidate()
        end = time.perf_counter()
        sent = getattr(processes, "sent", 0) - before
        if step >= 2:
            for name, seconds in (("step", end - start), ("loss", middle - start), ("update", end - middle)):
                times[name].append(seconds)
    found = {name: float(np.median(values)) for name, values in times.items()}
    return found | {"sent": float(sent), "bytes": own.network.parameters.nbytes, "rank": processes.rank}


def exchange(sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds of an exchange of gradients of so many numbers, nothing computed between."""
    from charrnn.training.reduction import Reduction

    processes = join()
    own, _ = learner(Shape(16, 4, 4), 4, 1, processes)
    reduction = Reduction(own.network, processes.size, processes)
    found = []
    for size in sizes:
        sums, total = [np.ones(size, np.float32)], np.empty(size, np.float32)

        def once(sums: list[Any] = sums, total: Any = total) -> None:
            processes.sum_disjoint(np.zeros(processes.size))
            reduction.over_processes(sums, total)

        times = []
        for _ in range(20):
            processes.agree()
            start = time.perf_counter()
            once()
            times.append(time.perf_counter() - start)
        found.append(float(np.median(times)))
    return {"seconds": found, "rank": processes.rank}


def worker(options: argparse.Namespace) -> None:
    """What a process of MPI does: process 0 prints a JSON object."""
    shape = Shape(options.hidden_size, options.batch_size, options.seq_length)
    if options.worker == "exchange":
        found = exchange([1 << n for n in range(10, 23, 3)])
    else:
        found = measure(shape, options.rows or shape.batch_size, options.threads, options.steps)
    if found["rank"] == 0:
        print(json.dumps(found))


def run(processes: int, kind: str, options: argparse.Namespace, *, threads: int = 1, rows: int = 0) -> dict[str, Any]:
    """Start this file anew with so many processes, and read what process 0 prints."""
    launcher = [str(Path(sys.executable).with_name("mpirun")), "-n", str(processes)] if processes > 1 else []
    command = [sys.executable, "-m", "benchmarks.scale", "--worker", kind, "--threads", str(threads)]
    for name in ("hidden_size", "batch_size", "seq_length", "steps"):
        command += ["--" + name.replace("_", "-"), str(getattr(options, name))]
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    found = subprocess.run(
        [*launcher, *command, "--rows", str(rows)], env=environment, capture_output=True, text=True, check=True
    )  # fmt: skip
    result: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return result


@dataclass(frozen=True)
class Cost:
    """The model: seconds of a step. Compute is `fixed` + `row` times the rows of a process."""

    fixed: float
    row: float
    update: float
    size: int  # bytes of the parameters
    carried: int  # bytes of the hidden state of a row

    def step(self, processes: int, rows: int, latency: float, bandwidth: float) -> float:
        """A step of `rows` rows for each process."""
        compute = self.fixed + self.row * rows + self.update
        if processes == 1:
            return compute
        moved = 2 * self.size * (processes - 1) / processes + self.carried * rows
        return compute + MESSAGES * math.ceil(math.log2(processes)) * latency + moved / bandwidth


def stragglers(processes: int, draws: int = 2000) -> float:
    """How much longer than the median step of one machine the slowest of so many takes, in the mean."""
    numbers = np.random.default_rng(0)
    return float(np.mean([np.exp(JITTER * numbers.standard_normal(processes).max()) for _ in range(draws)]))


def main() -> None:
    """Measure, and print the tables."""
    parser = arguments(__doc__ or "")
    for name, default in (("hidden-size", 512), ("batch-size", 64), ("seq-length", 64), ("rows", 0), ("steps", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--worker", choices=("step", "exchange"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return
    describe_machine()
    rounds, B, H, T = 3 if options.quick else 7, options.batch_size, options.hidden_size, options.seq_length
    ways = {
        "1 process, 1 thread": (1, 1, B), "1 process, 2 threads": (1, 2, B), "2 processes, 1 thread": (2, 1, B),
        "half the rows": (1, 1, B // 2),
    }  # fmt: skip
    times: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    exchanges = []
    for _ in range(rounds):
        for name, (processes, threads, rows) in ways.items():
            times[name].append(run(processes, "step", options, threads=threads, rows=rows))
        exchanges.append(run(2, "exchange", options)["seconds"])

    def over_rounds(above: str, below: str) -> float:
        return float(np.median([a["step"] / b["step"] for a, b in zip(times[above], times[below], strict=True)]))

    both, size = "2 processes, 1 thread", int(times["half the rows"][0]["bytes"])
    rows = [
        [name, f"{np.median([t['step'] for t in times[name]]) * 1e3:.1f}", f"{over_rounds(name, both):.2f} ×",
         f"{np.median([t['sent'] for t in times[name]]) / size:.2f}"]
        for name in ways if name != "half the rows"
    ]  # fmt: skip
    print_table(
        f"A step, LSTM 1 x {H}, B {B}, T {T}: milliseconds; speed of two processes against it; "
        f"bytes sent by a process, of the {size / 1e6:.1f} MB of its parameters",
        ["", "ms", "2 processes", "sent"], rows,
    )  # fmt: skip

    def part(name: str, what: str) -> float:
        return float(np.median([found[what] for found in times[name]]))

    # Ratios within rounds, as the speed of the machine changes between them.
    whole = part("1 process, 1 thread", "loss")
    pairs = zip(times["half the rows"], times["1 process, 1 thread"], strict=True)
    half = whole * float(np.median([some["loss"] / all_rows["loss"] for some, all_rows in pairs]))
    row = min((whole - half) / (B - B // 2), whole / B)  # measured with noise: nothing takes less than no time
    seconds = np.median(exchanges, axis=0)
    sizes = np.array([4 << n for n in range(10, 23, 3)])
    slope, intercept = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    here = max(intercept, 1e-6) / MESSAGES, 1 / slope  # two processes send a gradient's size each
    cost = Cost(whole - row * B, row, part("1 process, 1 thread", "update"), size, 2 * 4 * H)
    predicted = cost.step(1, B, *here), cost.step(2, B // 2, *here)
    alone = part("1 process, 1 thread", "step")
    measured = alone, alone / over_rounds("1 process, 1 thread", both)
    print_table(
        f"The model on this machine: {here[0] * 1e6:.0f} µs a message, {here[1] / 1e9:.1f} GB/s",
        ["processes", "model, ms", "measured, ms", "error"],
        [
            [str(n), f"{p * 1e3:.1f}", f"{m * 1e3:.1f}", f"{100 * (p / m - 1):+.0f} %"]
            for n, p, m in zip((1, 2), predicted, measured, strict=True)
        ],
    )
    for name, network in NETWORKS.items():
        table = []
        for n in COUNTS:
            cells = [str(n)]
            for each in (B // n, B):
                if not each:
                    cells += ["", ""]
                    continue
                step = cost.step(n, each, *network) * stragglers(n)
                speed = n * each / step / (B / cost.step(1, B, *network))
                cells += [f"{speed:.1f} ×", f"{100 * speed / n:.0f} %"]
            table.append(cells)
        print_table(
            f"{name}: speed and share of the ideal; a batch of {B} rows shared out, and {B} for each process",
            ["processes", f"{B} in all", "", f"{B} each", ""], table,
        )  # fmt: skip


if __name__ == "__main__":
    main()

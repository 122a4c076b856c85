"""The path of one training step and of one scored line through the files of the package.

    python -m benchmarks.trace

Every call of a function of the package is traced, compiled kernels included. `files` are those that were entered, and
`changes` counts how often a call was in another file than the call before it. Indented are the calls that a call makes.
A step is what is computed: the batch, the loss with its gradient, the gradient's norm and the update of the weights. It
is shown once more with what the loop does around it: deferred signals, learning rate, means for the display. Of Muon it
is one of those between two renewals of its inverse root.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import charrnn
from charrnn.nn.dropout import DropoutKey
from charrnn.tasks import task_named
from charrnn.training.clock import stopwatch
from charrnn.training.run import Run
from charrnn.training.setup import prepare
from charrnn.training.task import Request

PACKAGE = Path(charrnn.__file__).parent
POOL = "runtime/threads.py"
# The parts of the package: each may call those after it.
ORDER = ("cli", "tasks", "training", "checkpoint", "models", "nn", "text", "kernels", "runtime", "config", "errors")
TEXT = "the cat sits here.\nA dog runs!\n" * 400
NETWORK: dict[str, Any] = {"hidden_size": 16, "layers": 2, "batch_size": 4, "seq_length": 8, "dropout": 0.0}


class Call(NamedTuple):
    """A call of a function, at a depth of the call stack."""

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


def upward(calls: list[Call]) -> list[str]:
    """Calls from a lower part of the architecture to a higher one.

    Work that is handed to the thread pool counts as called by whoever handed it over.
    """
    found, stack = [], list[Call]()
    for call in calls:
        del stack[call.depth :]
        callers = [caller for caller in stack if caller.file != POOL]
        if callers and call.file != POOL and ORDER.index(part(call.file)) < ORDER.index(part(callers[-1].file)):
            found.append(f"{callers[-1].file}: {callers[-1].name} -> {call.file}: {call.name}")
        stack.append(call)
    return found


def part(file: str) -> str:
    """The part of the package that a file belongs to: nn/lstm.py -> nn, checkpoint.py -> checkpoint."""
    return file.partition("/")[0].removesuffix(".py")


def training_step(folder: Path, **options: Any) -> tuple[list[Call], list[Call]]:
    """The calls of one step once training is under way: what is computed, and all of it."""
    corpus = folder / "corpus.txt"
    corpus.write_text(TEXT)
    request = Request([str(corpus)], folder / "model.safetensors", {**NETWORK, **options}, cache=folder)
    spec, network = prepare(task_named("language"), request, stopwatch())
    run = Run(spec, network)
    for _ in run.prepare():
        pass
    for _ in range(3):
        list(run.step())
    optimizer, carried = run.learner.optimizer, run.learner.carried

    def compute() -> None:
        batch = dataclasses.replace(run.batches.batch(4), state=carried)
        network.loss(batch, DropoutKey(NETWORK["dropout"], 0, 4) if NETWORK["dropout"] else None)
        norm = optimizer.gradient_norm(network.gradient, network.touched)
        optimizer.update(network.gradient, norm, 0.001, network.touched)
        network.invalidate()

    return follow(compute), follow(lambda: list(run.step()))


def scored_line() -> list[Call]:
    """The calls that score one line, after another one."""
    model = charrnn.load(PACKAGE.parent / "checkpoints" / "demo.safetensors", threads=1)
    model.score(["Velociraptor"])
    return follow(lambda: model.score(["Brachiosaurus"]))


def main() -> None:
    """Print the paths."""
    parser = argparse.ArgumentParser(description="The path of a training step and of a scored line through the files.")
    parser.add_argument("--calls", action="store_true", help="list every call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        step, whole = training_step(Path(folder), optimizer="muon")
        plain, _ = training_step(Path(folder), optimizer="adamw")
    traces = {
        "training step with AdamW": plain,
        "training step with Muon": step,
        "the same with the loop around it": whole,
        "scored line": scored_line(),
    }
    for title, calls in traces.items():
        print(
            f"{title}: {len(files(calls))} files, {changes(calls)} changes of file, {len(upward(calls))} calls upward"
        )
        for line in upward(calls):
            print(f"    upward: {line}")
        print(f"    {', '.join(files(calls))}")
        for call in calls if options.calls else ():
            print(f"    {'  ' * call.depth}{call.file}: {call.name}")


if __name__ == "__main__":
    main()

"""Training that is killed again and again, and resumed, ends with the same bits.

    python -m tests.kills [--task NAME] [--count 50]

Prints each kill, and at the end how many tensors differ from those of the run that nobody disturbed. SIGKILL and
all signals that are handled come at random moments: while Python starts, while the corpus is read, between and within
steps, validations and saves. The number of threads changes from one session to the next.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import load_file

from charrnn.runtime.signals import TERMINATION_SIGNALS
from tests import test_forecast, test_tag, test_translate
from tests.conftest import sentences
from tests.test_classify import records

# Checkpoints between validations come every few minutes, which is too rare for this.
PROGRAM = """
import sys
from charrnn.cli import main, train_run
start_or_resume = train_run.start_or_resume
def hurry(*args):
    from charrnn.training import keeper
    keeper.SAVE_SECONDS, keeper.SAVE_SHARE = 0.2, 1.0
    return start_or_resume(*args)
train_run.start_or_resume = hurry
sys.exit(main.main())
"""
SIGNALS = ("SIGKILL", "SIGKILL", *(number.name for number in TERMINATION_SIGNALS))
NETWORK = (
    *("--cell", "lstm,gru", "--hidden-size", "24", "--dropout", "0.1"),
    *("--schedule", "plateau", "--lr", "0.01", "--batch-size", "8"),
)


@dataclass(frozen=True)
class Training:
    """What is trained: a corpus, options beside those of `NETWORK`, and steps that are enough for 50 kills."""

    corpus: str
    options: tuple[str, ...]
    steps: int


TEXT = ("--embedding-size", "8")
TASKS = {
    "language": Training(sentences(400), (*TEXT, "--seq-length", "16", "--lines", "--unit", "word"), 20_000),
    "memory": Training(sentences(400), (*TEXT, "--seq-length", "16", "--memory", "--memory-size", "1MB"), 20_000),
    "classify": Training(
        records(400), (*TEXT, "--task", "classify", "--unit", "char", "--pool", "attention", "--dense", "12"), 4_000
    ),
    "tag": Training(test_tag.sentences(250), (*TEXT, "--task", "tag", "--head", "crf", "--dense", "12"), 8_000),
    "forecast": Training(
        "\n".join(test_forecast.monthly(400)) + "\n", ("--task", "forecast", "--horizon", "3", "--dense", "12"), 12_000
    ),
    "translate": Training(
        test_translate.pairs(400), (*TEXT, "--task", "translate", "--cell", "gru", "--layers", "2"), 5_000
    ),
}


class Killer:
    """Trains a small model in `folder` for so many `steps`, once undisturbed and once not."""

    def __init__(self, folder: Path, task: str, *, seed: int, steps: int, say: Callable[[str], None]) -> None:
        self.folder, self.steps, self.say = folder, steps, say
        self.options = (*NETWORK, *TASKS[task].options)
        self.random = random.Random(seed)
        self.whole, self.parts = folder / "whole.safetensors", folder / "parts.safetensors"
        self.corpus = folder / "corpus.txt"
        self.corpus.write_text(TASKS[task].corpus, encoding="utf-8")
        self.sent: Counter[str] = Counter()
        self._startup = 1.0

    def _start(self, output: Path, threads: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, "train", str(self.corpus), *self.options]
        command += ["--resume", "-o", str(output), "--steps", str(self.steps), "--threads", str(threads)]
        command += ["--eval-every", str(max(1, self.steps // 40))]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")

    def _finish(self, output: Path, threads: int) -> None:
        with self._start(output, threads) as process:
            _, said = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"training ended with {process.returncode}: {said[-2000:]}")

    def train_whole(self) -> None:
        """The run that nobody disturbs."""
        begun = time.perf_counter()
        with self._start(self.whole, 1) as process:
            while process.poll() is None and not self.whole.exists():
                time.sleep(0.01)
            self._startup = time.perf_counter() - begun
            process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"training ended with {process.returncode}")
        self.say(
            f"undisturbed: {time.perf_counter() - begun:.1f} s, {self._startup:.1f} s of them to the first checkpoint"
        )

    def kill_and_resume(self, count: int) -> None:
        """Start or resume, and kill, so many times (or until training is over), then let training end."""
        for number in range(1, count + 1):
            name, threads = self.random.choice(SIGNALS), self.random.choice((1, 2, 3))
            # A quarter of the kills come while the session starts, a quarter about when it has, the others after it has
            # saved for the first time.
            saved, low, high = self.random.choice(((0, 0.0, 1.0), (0, 1.0, 1.6), (1, 0.0, 0.3), (1, 0.0, 0.6)))
            delay = self._startup * self.random.uniform(low, high)
            begun, before = time.perf_counter(), self._saved()
            process = self._start(self.parts, threads)
            with process:
                while saved and process.poll() is None and self._saved() == before:
                    time.sleep(0.01)
                try:
                    process.wait(delay)
                except subprocess.TimeoutExpired:
                    process.send_signal(getattr(signal, name))
                _, said = process.communicate()
            if process.returncode == 0:
                self.say(f"training was over before kill {number}")
                break
            early = "KeyboardInterrupt" in said  # from Python itself, before the command line listens to signals
            if process.returncode != -getattr(signal, name) or ("Traceback" in said and not early):
                raise RuntimeError(f"ended with {process.returncode} after {name}: {said[-2000:]}")
            self.sent[name] += 1
            after = time.perf_counter() - begun
            self.say(f"{number:3}: {name} after {after:4.1f} s, {threads} threads, checkpoint {self._checkpoint()}")
        self._finish(self.parts, 2)

    def _saved(self) -> int:
        """When the file was written, in ns; 0 when there is none."""
        return self.parts.stat().st_mtime_ns if self.parts.exists() else 0

    def _checkpoint(self) -> str:
        """What the file says about how far it got; anything but a whole file is an error."""
        if not self.parts.exists():
            return "none yet"
        load_file(self.parts)
        training = metadata(self.parts)["training"]
        return (
            f"of step {training['progress']['step']}{'' if training['last_good'] is None else ', between validations'}"
        )

    def differences(self) -> list[str]:
        """The names of what differs between the two final files: tensors, model, vocabulary, labels, progress."""
        one, other = load_file(self.whole), load_file(self.parts)
        differing = [
            name
            for name in sorted(one.keys() | other.keys())
            if name not in one or name not in other or one[name].tobytes() != other[name].tobytes()
        ]
        left, right = metadata(self.whole), metadata(self.parts)
        described = (left.keys() | right.keys()) - {"training", "timings"}
        differing += [name for name in sorted(described) if left.get(name) != right.get(name)]
        for name in ("progress", "options", "result"):
            values = [{**found["training"][name], "checkpoint": ""} for found in (left, right)]
            if values[0] != values[1]:
                differing.append(name)
        return differing

    def litter(self) -> list[str]:
        """The files that should not be there at the end."""
        known = {self.corpus, self.whole, self.parts}
        return sorted(path.name for path in self.folder.iterdir() if path not in known)


def metadata(path: Path) -> dict[str, Any]:
    """The JSON in a checkpoint."""
    with safe_open(path, framework="numpy") as file:
        found: dict[str, Any] = json.loads(file.metadata()["charrnn"])
    return found


def kill(task: str, count: int, steps: int | None, seed: int) -> bool:
    """Kill the training of a task as often as asked; whether all was the same."""
    steps = steps or TASKS[task].steps
    print(f"{task}:")
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(Path(folder), task, seed=seed, steps=steps, say=lambda line: print(line, flush=True))
        killer.train_whole()
        killer.kill_and_resume(count)
        differing, litter = killer.differences(), killer.litter()
        tensors = len(load_file(killer.whole))
    sent = ", ".join(f"{times} {name}" for name, times in killer.sent.items())
    print(f"{sum(killer.sent.values())} kills ({sent}); {tensors} tensors compared bit by bit")
    print(f"different: {', '.join(differing) or 'none'}; files left behind: {', '.join(litter) or 'none'}")
    if (short := count - sum(killer.sent.values())) > 0:
        print(f"{short} kills too few: training was over before; give it more --steps")
    return not (differing or litter or short > 0)


def main() -> int:
    """Kill the training of each task; the status says whether all was the same."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--task", choices=TASKS, help="one of them (default: each in turn)")
    parser.add_argument("--count", type=int, default=50, help="kills of each")
    parser.add_argument("--steps", type=int, help="of training (default: enough for 50 kills)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals")
    options = parser.parse_args()
    # Where the shell starts this in the background, SIGINT is ignored, and would be by what is started from here; with
    # `nohup` SIGHUP is.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in TERMINATION_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    tasks = [options.task] if options.task else list(TASKS)
    same = [
        kill(task, count=options.count, steps=options.steps or TASKS[task].steps, seed=options.seed) for task in tasks
    ]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Trainings by processes of MPI, beside those of one: the same bits, also when processes are killed on the way.

    python -m tests.processes [--steps 200] [--kills 20] [--seed 0] [--kinds classify tag]

prints for each task and cell the SHA-256 of all tensors by 1 to 4 processes of 1 and 2 threads, and for each kill how
soon the job ended and what the resumed run ended with. Ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from charrnn import tasks
from tests.good_files import CORPORA

MPIRUN = Path(sys.executable).with_name("mpirun")
# Open MPI starts more processes than there are processors, and as root, where it is told that this is meant.
MEANT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
LAUNCH = (str(MPIRUN), "--oversubscribe", "--bind-to", "none", "-n")
KINDS = {
    "language lstm": "--embedding-size 4 --seq-length 8 --layers 2 --cell lstm,gru",
    "language gru": "--cell gru --seq-length 8 --lines",
    "language rnn": "--unit word --cell rnn --seq-length 8",
    "classify": "--task classify --unit char --ngrams 2",
    "tag": "--task tag --char-ngrams 2",
    "forecast": "--task forecast --horizon 2 --window 14 --val-fraction 0.2",
    "translate": "--task translate --embedding-size 4",
}
SIZES = ("--hidden-size", "16", "--batch-size", "10", "--dropout", "0.2", "--shards", "4")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
SECONDS = 10.0  # in which a job must end


def write_corpora(folder: Path) -> None:
    """A corpus of each task."""
    for task, text in CORPORA.items():
        (folder / f"{task}.txt").write_text(text * (1 if task == "forecast" else 3), encoding="utf-8")


def start(folder: Path, processes: int, *args: str) -> subprocess.Popen[str]:
    """`charrnn train` by so many processes; one runs without a launcher."""
    launcher = [*LAUNCH, str(processes)] if processes > 1 else []
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", "charrnn", "train", *args],
        cwd=folder, env=os.environ | MEANT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Its status and what it wrote."""
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ranks_below(launcher: int) -> list[int]:
    """The processes that a launcher started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == launcher:
                found.append(int(status.parent.name))
    return sorted(found)


def digest(path: Path) -> str:
    """SHA-256 of all tensors of a checkpoint, those of its training state included."""
    found = tasks.load_checkpoint(path, with_training=True)
    whole = hashlib.sha256()
    for name, tensor in sorted(
        {**found.weights, **{f"training.{k}": v for k, v in found.training_tensors.items()}}.items()
    ):
        whole.update(f"{name} {tensor.shape} ".encode() + tensor.tobytes())
    return whole.hexdigest()


def arguments(kind: str, output: str, steps: int, threads: int) -> list[str]:
    """What a run of a kind is given; it validates and saves ten times."""
    given = [f"{kind.split()[0]}.txt", *KINDS[kind].split(), *SIZES, "--threads", str(threads), "-o", output]
    return [*given, "--force", "--steps", str(steps), "--eval-every", str(max(1, steps // 10))]


def compare(folder: Path, kind: str, steps: int) -> bool:
    """Train by 1 to 4 processes of 1 and 2 threads; whether all tensors are the same."""
    found = {}
    for processes in (1, 2, 3, 4):
        for threads in (1, 2):
            output = f"{kind} {processes} {threads}"
            ended = finish(start(folder, processes, *arguments(kind, output, steps, threads)))
            if ended.returncode:
                print(f"{output}: status {ended.returncode}: {ended.stderr[-500:]}")
                return False
            found[processes, threads] = digest(folder / output)
    same = len(set(found.values())) == 1
    print(f"{kind:16} {'same' if same else found} {found[1, 1][:16]}", flush=True)
    return same


def kill(folder: Path, number: int, steps: int, whole: str, random_numbers: random.Random) -> bool:
    """Kill a random process of a run some time after its first checkpoint, resume on other numbers of processes."""
    output, processes = folder / f"killed {number}", random_numbers.choice((2, 3, 4))
    job = start(folder, processes, *arguments("language lstm", output.name, steps, 1))
    while not output.exists():
        time.sleep(0.02)
    time.sleep(random_numbers.uniform(0, 2))
    sent, ranks = random_numbers.choice(SIGNALS), ranks_below(job.pid)
    began = time.monotonic()
    if ranks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(random_numbers.choice(ranks), sent)
    ended = finish(job)
    seconds = time.monotonic() - began
    at = tasks.load_checkpoint(output, with_training=True).training["progress"]["step"]
    others = random_numbers.choice([n for n in (1, 2, 3, 4) if n != processes])
    resumed = finish(start(folder, others, "--resume", "-o", output.name, "--threads", "1"))
    right = resumed.returncode == 0 and digest(output) == whole and (seconds < SECONDS or not ended.returncode)
    print(
        f"{number:3}: {sent.name} to one of {processes}: status {ended.returncode} after {seconds:.1f} s, step {at}; "
        f"resumed by {others}: {'same' if right else 'DIFFERENT ' + resumed.stderr[-300:]}", flush=True,
    )  # fmt: skip
    return right


def main() -> int:
    """Compare, kill, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("steps", 200), ("kills", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="of runs to compare")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpora(folder)
        right = [compare(folder, kind, options.steps) for kind in options.kinds]
        finish(start(folder, 1, *arguments("language lstm", "whole", 5 * options.steps, 1)))
        whole, numbers = digest(folder / "whole"), random.Random(options.seed)
        right += [kill(folder, number, 5 * options.steps, whole, numbers) for number in range(options.kills)]
    print(f"{right.count(True)} of {len(right)} as they must be")
    return 0 if all(right) else 1


if __name__ == "__main__":
    raise SystemExit(main())

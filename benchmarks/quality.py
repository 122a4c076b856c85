"""How well a model learns within a budget: the loss on held-out text, through the command line as a user would.

    python -m benchmarks.quality CORPUS [--budget "--max-time 130s"]... [--seeds 3] [--options "--dropout 0.3"]

The first nine tenths of the corpus are trained on, with no option but the budget unless `--options` has more; the rest
is then scored with `charrnn score --stream --summary`. The budget "" lets training end by itself.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import describe_machine, print_table


def charrnn(*arguments: str) -> bytes:
    """Standard output of a command."""
    command = [sys.executable, "-m", "charrnn", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def run(train: Path, held_out: Path, options: list[str]) -> tuple[float, float, str]:
    """Held-out loss in nats a token, seconds of the whole training command, and the network it chose."""
    model = train.with_name("model.safetensors")
    start = time.perf_counter()
    charrnn("train", str(train), "--val", str(held_out), "-o", str(model), "--force", *options)
    seconds = time.perf_counter() - start
    found = json.loads(charrnn("score", "-c", str(model), "--stream", "--summary", "-i", str(held_out)))
    config = json.loads(charrnn("info", str(model), "--json"))["model"]
    network = f"{len(config['cells'])} x {config['hidden_size']}"
    return -found["logprob"] / found["tokens"], seconds, network


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Held-out losses within budgets.")
    parser.add_argument("corpus")
    parser.add_argument("--budget", action="append", help='for example "--max-time 130s"; may be repeated')
    parser.add_argument("--options", default="", help="more options for charrnn train")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    text = Path(options.corpus).read_bytes().decode()
    cut = len(text) * 9 // 10
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        train, held_out = Path(folder, "train.txt"), Path(folder, "held-out.txt")
        train.write_bytes(text[:cut].encode())
        held_out.write_bytes(text[cut:].encode())
        for budget in options.budget or ["--max-time 60s", "--max-time 130s", "--max-time 4m"]:
            results = []
            for seed in range(options.seeds):
                given = [*shlex.split(budget), *shlex.split(options.options), "--seed", str(seed)]
                results.append(run(train, held_out, given))
            losses = [loss for loss, _, _ in results]
            rows.append(
                (
                    budget or "none", results[0][2], " ".join(f"{loss:.4f}" for loss in losses),
                    f"{np.median(losses):.4f}", f"{max(losses) - min(losses):.4f}",
                    f"{np.median([seconds for _, seconds, _ in results]):.0f}",
                )
            )  # fmt: skip
    print(describe_machine())
    columns = ("budget", "layers x hidden", "losses", "median", "spread", "seconds")
    print_table(f"held-out loss, nats a token: {Path(options.corpus).name} {options.options}", columns, rows)


if __name__ == "__main__":
    main()

"""Whether bfloat16 products cost quality: validation losses of the same runs in both precisions.

    python -m benchmarks.precision CORPUS... [--steps 600] [--seeds 3]

A corpus whose name ends in `names.txt` or `dinosaurs.txt` is trained with --lines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import describe_machine, print_table


def validation_loss(corpus: str, precision: str, seed: int, steps: int, folder: str) -> float:
    """Train through the command line; the validation loss in nats per token."""
    command = [sys.executable, "-m", "charrnn", "train", str(Path(corpus).resolve()), "--json", "--force"]
    command += [
        "-o",
        f"{folder}/model.safetensors",
        "--precision",
        precision,
        "--seed",
        str(seed),
        "--steps",
        str(steps),
    ]
    if corpus.endswith(("names.txt", "dinosaurs.txt")):
        command.append("--lines")
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return float(json.loads(finished.stdout)["val_loss"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Whether bfloat16 products cost quality.")
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(describe_machine())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for corpus in options.corpora:
            losses = {
                precision: [
                    validation_loss(corpus, precision, seed, options.steps, folder) for seed in range(options.seeds)
                ]
                for precision in ("float32", "bfloat16")
            }
            medians = {precision: float(np.median(found)) for precision, found in losses.items()}
            shown = [" ".join(f"{loss:.4f}" for loss in found) for found in losses.values()]
            rows.append((Path(corpus).name, *shown, f"{medians['bfloat16'] - medians['float32']:+.4f}"))
    print_table(f"validation loss after {options.steps} steps", ("corpus", "float32", "bfloat16", "medians"), rows)


if __name__ == "__main__":
    main()

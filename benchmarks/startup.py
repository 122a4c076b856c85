"""Start-up time: seconds of wall-clock time of whole commands, median of several.

    python -m benchmarks.startup [--quick]

The first compilation runs with an empty cache folder; the others with the user's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import arguments, describe_machine, print_table

ROOT = Path(__file__).parent.parent
DEMO = str(ROOT / "checkpoints" / "demo.safetensors")
DINOSAURS = str(ROOT / "corpora" / "dinosaurs.txt")


def seconds(command: list[str], folder: str, cache: str | None = None) -> float:
    """Wall-clock time of `charrnn …`, run in `folder`."""
    environment = dict(os.environ) | ({"CHARRNN_CACHE_DIR": cache} if cache else {})
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "charrnn", *command], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    options = arguments("Start-up time of whole commands.").parse_args()
    print(describe_machine())
    sample = ["sample", "-c", DEMO, "-n", "1", "--seed", "1"]
    train = ["train", DINOSAURS, "--lines", "--steps", "1", "-o", "x.safetensors", "--force"]
    warm = {"--help": ["--help"], "info": ["info", DEMO], "sample -n 1": sample, "train --steps 1": train}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, command in warm.items():
            seconds(command, folder)
            times = [seconds(command, folder) for _ in range(3 if options.quick else 10)]
            rows.append((name, "warm", f"{np.median(times):.2f}", f"{min(times):.2f} to {max(times):.2f}"))
        for name, command in {"sample -n 1": sample, "train --steps 1": train}.items():
            times = []
            for _ in range(1 if options.quick else 3):
                with tempfile.TemporaryDirectory() as cache:
                    times.append(seconds(command, folder, cache))
            rows.append((name, "first", f"{np.median(times):.2f}", f"{min(times):.2f} to {max(times):.2f}"))
    print_table("start to end", ("command", "compiled code", "seconds", "range"), rows)


if __name__ == "__main__":
    main()

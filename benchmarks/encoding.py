"""How fast a text is encoded, and how much memory training on a large one takes.

    python -m benchmarks.encoding [--megabytes 500] [--lines] [--folder FOLDER]

A corpus is made in a temporary folder (room for some four times its size is needed) and removed at the end. For each
unit, `charrnn train` runs in a process of its own: once for one step on the new corpus, to the first step, and once
more on the encoded one, for as many steps as go through parts of all of it. Memory is the peak resident set size. With
`--lines` the corpus has lines of some 30 bytes, and each is a text of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import describe_machine, print_table

WORDS = 60_000
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
FOREIGN = ("é", "ö", "ñ", "ї", "漢字")
AFTER = (" ",) * 12 + (", ", ". ", ".\n", "? ", " — ", "’s ", "; ")
AFTER_IN_SHORT_LINES = (*AFTER[:12], *("\n",) * 4)
MODEL = ("--cell", "lstm", "--layers", "1", "--hidden-size", "128", "--embedding-size", "64", "--val-fraction", "0.001")
UNITS = {"char": (), "byte": ("--unit", "byte"), "word": ("--unit", "word", "--max-vocab", "5000")}

# Runs a command and prints, as the last line of standard error, its seconds and the peak of its memory.
MEASURED = """
import json, os, resource, sys, time
from charrnn.cli.main import main
start = time.time()
status = main(sys.argv[1:])
print(json.dumps([status, time.time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]), file=sys.stderr)
"""


def write_corpus(path: Path, size: int, after: tuple[str, ...]) -> None:
    """So many bytes of random words, the frequent ones far more often (Zipf 1935), some with letters beyond ASCII."""
    choose, numbers = random.Random(0), np.random.default_rng(0)
    weights = [1 / (2 + rank) for rank in range(len(LETTERS))]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        word = "".join(choose.choices(LETTERS, weights, k=max(1, round(choose.gauss(6, 2.5)))))
        words[word + choose.choice(FOREIGN) if len(words) % 40 == 0 else word] = None
    spelled = list(words)
    shares = 1 / np.arange(1, WORDS + 1)
    shares /= shares.sum()
    with path.open("wb") as file:
        while file.tell() < size:
            chosen = numbers.choice(WORDS, 200_000, p=shares).tolist()
            ends = numbers.integers(0, len(after), len(chosen)).tolist()
            file.write("".join([spelled[w] + after[a] for w, a in zip(chosen, ends, strict=True)]).encode())


def run(folder: Path, *args: str) -> tuple[dict[str, float], float, float, float]:
    """Train with `args`: the time of each event in the log, seconds, megabytes at the peak, seconds until the start."""
    log = folder / "log"
    result = subprocess.run(
        [sys.executable, "-c", MEASURED, "train", *args, "-q", "--force", "-o", "m.safetensors", "--log", str(log)],
        cwd=folder, env=os.environ | {"CHARRNN_CACHE_DIR": str(folder / "cache")}, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    status, seconds, memory = json.loads(result.stderr.splitlines()[-1])
    if status:
        raise SystemExit(result.stderr)
    events: dict[str, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        events.setdefault(event["event"], event["seconds"])
    return events, seconds, memory / (1024 if sys.platform != "darwin" else 1024**2), events["start"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Encoding and memory of large corpora.")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the corpus")
    parser.add_argument("--lines", action="store_true", help="short lines, each a text of its own")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--units", default=",".join(UNITS), help="which of char, byte and word")
    options = parser.parse_args()
    print(describe_machine())
    rows = []
    after, mode = (AFTER_IN_SHORT_LINES, ("--lines",)) if options.lines else (AFTER, ())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        small, corpus = folder / "small.txt", folder / "corpus.txt"
        write_corpus(small, 2_000_000, after)
        begun = time.perf_counter()
        write_corpus(corpus, options.megabytes * 1_000_000, after)
        size = corpus.stat().st_size / 1e6
        print(f"corpus of {size:,.0f} MB made in {time.perf_counter() - begun:.0f} s")
        for unit in options.units.split(","):
            common = (*UNITS[unit], *mode, *MODEL)
            run(folder, str(small), *common, "--steps", "1")  # compiles
            _, _, least, overhead = run(folder, str(small), *common, "--steps", "1")
            events, _, _, start = run(folder, str(corpus), *common, "--steps", "1")
            _, _, most, again = run(folder, str(corpus), *common, "--steps", "300")
            seconds = start - overhead  # what else takes its time is left out
            speed = f"{size / seconds:.0f}" if seconds > 0.5 else "too small"
            rows.append((unit, speed, f"{events['step']:.1f}", f"{again:.1f}", f"{least:.0f}", f"{most:.0f}"))
    print_table(
        f"{size:,.0f} MB of text{' in short lines' * options.lines}",
        ("unit", "encoding, MB/s", "first step, s", "start with the cache, s", "memory, 2 MB corpus", "memory, MB"),
        rows,
    )


if __name__ == "__main__":
    main()

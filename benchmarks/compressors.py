"""Bits a byte of the last tenth of a text, given the rest: this program with a memory beside compressors.

    python -m benchmarks.compressors FILE... [--max-time 2m] [--seeds 3] [--threads N]

`charrnn train FILE --memory` holds the last tenth out. It is then scored as one text: by the network alone, with the
memory, and with the memory that learns as it reads (`score --stream`). Of a compressor it is the size of the whole file
minus that of the rest: xz -9e, PPMd of the orders 6 to 24, the best of them (package pyppmd), zpaq -m5 (the program);
those that are not installed are left out. zpaq's tables change at powers of two of a mebibyte: where whole and rest are
on two sides of one, its figure says little, and is marked.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import describe_machine, print_table

HELD_OUT = 0.1
ORDERS = (6, 8, 12, 16, 24)
WAYS = {"network": ("--no-memory",), "with memory": (), "with memory, learning": ("--adapt",)}


def xz(data: bytes) -> int:
    """Bytes after `xz -9e`."""
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def ppmd(order: int) -> Callable[[bytes], int]:
    """Bytes after PPMd, variant H, of this order. Raises ImportError without the package pyppmd."""
    import pyppmd

    return lambda data: len(pyppmd.Ppmd7Encoder(order, 256 << 20).encode(data))


def zpaq(data: bytes) -> int:
    """Bytes after `zpaq -m5` in one thread. Raises FileNotFoundError without the program."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text").write_bytes(data)
        command = ["zpaq", "a", "text.zpaq", "text", "-m5", "-t1"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (Path(folder) / "text.zpaq").stat().st_size


def compressors(whole: bytes, rest: bytes) -> Iterator[list[str]]:
    """A row for each compressor that is there: name, bits a byte, seconds."""

    def bits(size: Callable[[bytes], int]) -> float:
        return 8 * (size(whole) - size(rest)) / (len(whole) - len(rest))

    start = time.perf_counter()
    yield ["xz -9e", f"{bits(xz):.3f}", f"{time.perf_counter() - start:.0f}"]
    try:
        start = time.perf_counter()
        best, order = min((bits(ppmd(order)), order) for order in ORDERS)
        yield [f"PPMd, order {order}", f"{best:.3f}", f"{time.perf_counter() - start:.0f}"]
    except ImportError:
        print("PPMd is left out: pip install pyppmd", file=sys.stderr)
    if shutil.which("zpaq"):
        start = time.perf_counter()
        mark = "" if len(whole).bit_length() == len(rest).bit_length() else " (other tables for the whole)"
        yield ["zpaq -m5" + mark, f"{bits(zpaq):.3f}", f"{time.perf_counter() - start:.0f}"]
    else:
        print("zpaq is left out: it is not installed", file=sys.stderr)


def ours(
    path: Path, held: Path, folder: Path, max_time: str, threads: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Bits a byte and seconds of each of `WAYS`; the seconds of training are under `train`."""
    run = [sys.executable, "-m", "charrnn"]
    model = str(folder / "model.safetensors")
    start = time.perf_counter()
    options = ["--max-time", max_time, "--threads", str(threads), "--seed", str(seed), "--force", "-q", "-o", model]
    subprocess.run([*run, "train", str(path), "--memory", *options], check=True)
    found = {"train": (0.0, time.perf_counter() - start)}
    for name, given in WAYS.items():
        start = time.perf_counter()
        command = [
            *run,
            "score",
            "-c",
            model,
            "-q",
            "--stream",
            "--summary",
            "-i",
            str(held),
            "--threads",
            str(threads),
        ]
        summary = json.loads(subprocess.run([*command, *given], check=True, stdout=subprocess.PIPE).stdout)
        found[name] = (summary["bits_per_byte"], time.perf_counter() - start)
    return found


def main() -> None:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(description="A model with a memory of its corpus, beside compressors.")
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument("--max-time", default="2m", help="of training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    print(describe_machine())
    for name in options.files:
        text = Path(name).read_bytes().decode("utf-8")
        cut = int(len(text) * (1 - HELD_OUT))
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            held = folder / "held.txt"
            held.write_bytes(text[cut:].encode())
            runs = [
                ours(Path(name), held, folder, options.max_time, options.threads, seed) for seed in range(options.seeds)
            ]
        rows = []
        for way in WAYS:
            bits, seconds = np.array([run[way] for run in runs]).T
            spread = f"{np.median(bits):.3f} ({bits.min():.3f} to {bits.max():.3f})"
            rows.append([way, spread, f"{np.median(seconds):.0f}"])
        rows += compressors(text.encode(), text[:cut].encode())
        trained = np.median([run["train"][1] for run in runs])
        title = f"{Path(name).name}: the last {len(text) - cut:,} of {len(text):,} characters; training {trained:.0f} s"
        print_table(title, ("", "bits a byte", "seconds"), rows)


if __name__ == "__main__":
    main()

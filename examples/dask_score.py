"""How probable each line of large files is, by Dask on the processors of one machine or of a cluster.

    python examples/dask_score.py MODEL.safetensors 'logs/*.txt' OUTPUT_FOLDER

Writes one file for each partition, in order: log-probability, TAB, line. A model is loaded once for each partition,
from a path that all machines have. Needs `pip install charrnn[dask]`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import dask.bag

import charrnn


def score(lines: Iterable[str], model_path: str) -> list[str]:
    """The lines of a partition, each after its log-probability in nats."""
    texts = [line.rstrip("\n") for line in lines]
    model = charrnn.load(model_path, threads=1)  # Dask has a process for each processor
    rows = [f"{score.logprob}\t{text}" for score, text in zip(model.score(texts), texts, strict=True)]
    return [*rows, ""]  # so that the file ends with a line end


def main(model_path: str, files: str, folder: str, block: str = "16MB") -> None:
    """Score all lines of `files`."""
    lines = dask.bag.read_text(files, blocksize=block)
    lines.map_partitions(score, model_path).to_textfiles(f"{folder}/*.tsv", scheduler="processes")


if __name__ == "__main__":
    main(*sys.argv[1:])

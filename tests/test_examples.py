"""The examples that need other programs: order is kept, one record for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import charrnn
from tests.conftest import run_command, sentences

pytestmark = pytest.mark.peers
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
COMMAND = Path(sys.executable).with_name("charrnn")


def test_gnu_parallel_predicts_in_order(tmp_path: Path) -> None:
    if not (shutil.which("parallel") and COMMAND.exists()):
        pytest.skip("GNU parallel or the command charrnn is not installed")
    lines = [f"{n} {word}" for n, word in enumerate(sentences(400).split())]
    (tmp_path / "lines.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (tmp_path / "labels.tsv").write_text("".join(f"{len(line) % 2}\t{line}\n" for line in lines), encoding="utf-8")
    model = tmp_path / "m.safetensors"
    options = ("--hidden-size", "8", "--steps", "2", "--task", "classify", "-o", model)
    assert run_command("train", tmp_path / "labels.tsv", *options).status == 0
    found = subprocess.run(
        [EXAMPLES / "parallel.sh", model, tmp_path / "lines.txt"], capture_output=True, text=True, check=False,
        env=os.environ | {"CHARRNN": str(COMMAND), "BLOCK": "4k"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    whole = run_command("predict", "-c", model, stdin="".join(f"{line}\n" for line in lines).encode())
    assert found.stdout == whole.out.decode()
    assert [line.split("\t")[-1] for line in found.stdout.splitlines()] == lines


def test_dask_scores_in_order(tmp_path: Path) -> None:
    pytest.importorskip("dask.bag", reason="Dask is not installed")
    text = sentences(300)
    (tmp_path / "corpus.txt").write_text(text, encoding="utf-8")
    model = tmp_path / "m.safetensors"
    assert run_command("train", tmp_path / "corpus.txt", "--hidden-size", "8", "--steps", "2", "-o", model).status == 0
    found = subprocess.run(
        [sys.executable, EXAMPLES / "dask_score.py", model, tmp_path / "corpus.txt", tmp_path / "out", "2kB"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    parts = sorted((tmp_path / "out").glob("*.tsv"))
    assert len(parts) > 1
    whole = "".join(part.read_text(encoding="utf-8") for part in parts)
    rows = [row.split("\t", 1) for row in whole.splitlines()]
    lines = text.splitlines()
    assert [row[1] for row in rows] == lines
    scores = charrnn.load(model).score(lines)
    assert [float(row[0]) for row in rows] == pytest.approx([score.logprob for score in scores])

"""Training by processes of MPI: the same bits however many there are, and one end for all of them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes
from tests.good_files import CORPORA

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
if not processes.MPIRUN.exists():
    pytest.skip("there is no mpirun beside Python", allow_module_level=True)
pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of each task."""
    path = tmp_path_factory.mktemp("mpi")
    processes.write_corpora(path)
    return path


def run(folder: Path, count: int, *args: str) -> subprocess.CompletedProcess[str]:
    return processes.finish(processes.start(folder, count, *args))


@pytest.mark.parametrize("kind", processes.KINDS)
def test_the_number_of_processes_changes_no_bit(kind: str, folder: Path) -> None:
    found = set()
    for count, threads in ((1, 1), (2, 2), (4, 1)) if kind == "language lstm" else ((1, 1), (3, 2)):
        output = f"{kind} {count}"
        ended = run(folder, count, *processes.arguments(kind, output, 12, threads), "--json")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("\n") == 1
        found.add(processes.digest(folder / output))
    assert len(found) == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_that_is_killed_goes_on_with_others(seed: int, folder: Path) -> None:
    assert run(folder, 1, *processes.arguments("language lstm", "whole", 300, 1)).returncode == 0
    assert processes.kill(folder, seed, 300, processes.digest(folder / "whole"), random.Random(seed))


def test_an_error_is_said_once_and_ends_all(folder: Path) -> None:
    for args, status, message in (
        (("missing.txt", "-o", "none"), 1, "missing.txt"),
        (("language.txt", "-o", "none", "--shards", "1"), 2, "there are 2 processes"),
        (("-", "-o", "none"), 1, "piped"),
    ):
        found = run(folder, 2, *args, "--steps", "2")
        assert found.returncode == status
        lines = [line for line in found.stderr.splitlines() if line.startswith("charrnn: error")]
        assert len(lines) == 1
        assert message in lines[0]


def test_other_data_on_another_machine_is_an_error(folder: Path) -> None:
    """Each process has a file of that name in its own folder."""
    for name in "01":
        (folder / name).mkdir()
        (folder / name / "a.txt").write_text(CORPORA["language"] + name, encoding="utf-8")
    script = f"cd $OMPI_COMM_WORLD_RANK; exec {sys.executable} -m charrnn train a.txt --steps 2 -o {folder / 'never'}"
    found = subprocess.run(
        [*processes.LAUNCH, "2", shutil.which("sh") or "sh", "-c", script],
        cwd=folder, env=os.environ | processes.MEANT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "the digest of the data of process 1" in found.stderr
    assert not (folder / "never").exists()

"""Training by processes of MPI: the same bits however many there are, and one end for all of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from charrnn import tasks
from tests.good_files import CORPORA
from tests.runs import assert_same_tensors

MPIRUN = Path(sys.executable).with_name("mpirun")
pytest.importorskip("mpi4py", reason="mpi4py is not installed")
if not MPIRUN.exists():
    pytest.skip("there is no mpirun beside Python", allow_module_level=True)
pytestmark = pytest.mark.peers

RUN = "--hidden-size 16 --batch-size 10 --steps 12 --eval-every 4 --dropout 0.2 --shards 4".split()  # noqa: SIM905
KINDS = {
    "language": "--embedding-size 4 --seq-length 8 --layers 2 --cell lstm,gru",
    "language by words": "--unit word --cell rnn --seq-length 8",
    "classify": "--task classify --unit char --ngrams 2",
    "tag": "--task tag --char-ngrams 2",
    "forecast": "--task forecast --horizon 2 --window 14 --val-fraction 0.2",
    "translate": "--task translate --embedding-size 4",
}
# Open MPI starts more processes than there are processors, and as root, where it is told that this is meant.
MEANT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
LAUNCH = (str(MPIRUN), "--oversubscribe", "--bind-to", "none", "-n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of each task."""
    path = tmp_path_factory.mktemp("mpi")
    for task, text in CORPORA.items():
        (path / f"{task}.txt").write_text(text * (1 if task == "forecast" else 3), encoding="utf-8")
    return path


def start(folder: Path, processes: int, *args: str) -> subprocess.Popen[str]:
    """`charrnn train` by so many processes; one runs without a launcher."""
    launcher = [*LAUNCH, str(processes)] if processes > 1 else []
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", "charrnn", "train", *args],
        cwd=folder, env=os.environ | MEANT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def run(folder: Path, processes: int, *args: str) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    process = start(folder, processes, *args)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ranks_below(launcher: int) -> list[int]:
    """The processes that a launcher started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == launcher:
                found.append(int(status.parent.name))
    return sorted(found)


def load(path: Path) -> Any:
    return tasks.load_checkpoint(path, with_training=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_processes_changes_no_bit(kind: str, folder: Path) -> None:
    task = kind.split()[0]
    for processes, threads in ((1, 1), (2, 2), (3, 1), (4, 1)):
        given = (*KINDS[kind].split(), *RUN, "--threads", str(threads))
        found = run(folder, processes, f"{task}.txt", *given, "-o", f"{kind} {processes}", "--json")
        assert found.returncode == 0, found.stderr
        assert found.stdout.count("\n") == 1
    whole = load(folder / f"{kind} 1")
    for processes in (2, 3, 4):
        assert_same_tensors(whole, load(folder / f"{kind} {processes}"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_goes_on_with_others(number: int, folder: Path) -> None:
    """One of three processes gets the signal; all end, and one, or two, go on to the same bits."""
    args = ("language.txt", *KINDS["language"].split(), *RUN, "--threads", "1", "--steps", "300")
    whole, killed = f"whole {number}", f"killed {number}"
    assert run(folder, 1, *args, "-o", whole).returncode == 0
    process = start(folder, 3, *args, "-o", killed)
    while not (folder / killed).exists():
        time.sleep(0.05)
        assert process.poll() is None
    began = time.monotonic()
    os.kill(ranks_below(process.pid)[-1], number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - began < 10
    assert run(folder, 2, "--resume", "-o", killed, "--threads", "1").returncode == 0
    assert_same_tensors(load(folder / whole), load(folder / killed))


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
        [*LAUNCH, "2", shutil.which("sh") or "sh", "-c", script],
        cwd=folder, env=os.environ | MEANT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 1
    assert "the digest of the data of process 1" in found.stderr
    assert not (folder / "never").exists()

"""What importing does and does not, and the cache of compiled code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

POSIX = pytest.mark.skipif(os.name == "nt", reason="owners and modes of POSIX")
COMPILE = """
import sys
from charrnn.runtime import compile
from charrnn.kernels import inputs
import numpy as np
inputs.add_to_rows(np.zeros((2, 3)), np.ones(3))
print(compile.kernel_cache())
"""
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a script with the cache folder tmp_path/cache; returns what it wrote."""
    monkeypatch.setenv("CHARRNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent.parent}{os.pathsep}{tmp_path}")

    def run(script: str, *arguments: str) -> str:
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    return run


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder after a kernel was compiled."""
    cache = tmp_path_factory.mktemp("compiled") / "cache"
    environment = os.environ | {"CHARRNN_CACHE_DIR": str(cache), "PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", COMPILE], env=environment, check=True, capture_output=True)
    return cache


@pytest.fixture
def compiled(tmp_path: Path, compiled_once: Path) -> Path:
    """The folder of compiled code in tmp_path/cache, a copy of it."""
    shutil.copytree(compiled_once, tmp_path / "cache")
    (folder,) = (tmp_path / "cache" / "kernels").iterdir()
    return folder


def test_importing_changes_no_setting_and_writes_nothing(tmp_path: Path, run: Run) -> None:
    script = """
import importlib, os, pkgutil
from numba import config
before = {name: getattr(config, name) for name in dir(config) if name.isupper()}
import charrnn
for module in pkgutil.walk_packages(charrnn.__path__, "charrnn."):
    if not module.name.endswith(("__main__", ".mpi")):  # the latter needs an extra, and sets up MPI
        importlib.import_module(module.name)
assert before == {name: getattr(config, name) for name in dir(config) if name.isupper()}
"""
    run(script)
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_functions_of_other_programs_are_cached_where_they_were(tmp_path: Path, run: Run) -> None:
    (tmp_path / "theirs.py").write_text("import numba\n@numba.njit(cache=True)\ndef f(x):\n    return x + 1\n")
    run(
        "import theirs\n"
        + COMPILE
        + "theirs.f(1)\nimport theirs\nassert theirs.f.stats.cache_path.endswith('__pycache__')"
    )
    assert list((tmp_path / "__pycache__").glob("theirs.f-*.nbc"))
    assert not list((tmp_path / "cache").rglob("theirs*"))
    assert list((tmp_path / "cache").rglob("inputs.add_to_rows-*.nbc"))


@pytest.mark.slow
def test_compiled_code_is_found_again(tmp_path: Path, run: Run) -> None:
    hits = (
        "print(sum(inputs.add_to_rows.stats.cache_hits.values()), sum(inputs.add_to_rows.stats.cache_misses.values()))"
    )
    assert run(COMPILE + hits).splitlines()[-1] == "0 1"
    assert run(COMPILE + hits).splitlines()[-1] == "1 0"


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"not what was compiled", b"\x80\x04."])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files_of_the_cache_are_replaced(tmp_path: Path, run: Run, suffix: str, damage: bytes) -> None:
    (damaged,) = Path(run(COMPILE)).rglob(f"inputs.add_to_rows-*.{suffix}")
    whole = damaged.read_bytes()
    # An index begins with the version of Numba, in a pickle of its own.
    damaged.write_bytes(damage if suffix == "nbc" or not damage else whole[: whole.index(b".\x80") + 1] + damage)
    hits = "print(sum(inputs.add_to_rows.stats.cache_hits.values()))"
    assert run(COMPILE + hits).splitlines()[-1] == "0"
    assert run(COMPILE + hits).splitlines()[-1] == "1"


@POSIX
@pytest.mark.slow
def test_the_cache_is_private(tmp_path: Path, run: Run) -> None:
    folder = Path(run("import os\nos.umask(0)\n" + COMPILE))
    assert folder.parent == tmp_path / "cache" / "kernels"
    for path in (folder.parent, folder, *(path for path in folder.iterdir() if path.is_dir())):
        assert path.stat().st_mode & 0o777 == 0o700, path


@POSIX
@pytest.mark.parametrize("place", ["kernels", "version"])
@pytest.mark.parametrize("mode", [0o770, pytest.param(0o707, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_cache_that_others_can_write_is_not_used(compiled: Path, run: Run, place: str, mode: int) -> None:
    code = sorted(compiled.rglob("*.nbc"))
    assert code
    for path in code:
        path.write_bytes(b"not what was compiled")  # loading it would fail
    (compiled.parent if place == "kernels" else compiled).chmod(mode)
    assert run(COMPILE) == "None"


@POSIX
@pytest.mark.slow
def test_a_cache_of_another_user_is_not_used(compiled: Path, run: Run) -> None:
    other = "import os\nme = os.geteuid()\nos.geteuid = lambda: me + 1\n"
    assert run(other + COMPILE) == "None"
    assert run(COMPILE) == str(compiled)


@POSIX
@pytest.mark.slow
def test_a_cache_in_a_folder_that_all_can_write_is_not_used(tmp_path: Path, compiled: Path, run: Run) -> None:
    (tmp_path / "cache").chmod(0o777)
    assert run(COMPILE) == "None"
    (tmp_path / "cache").chmod(0o1777)  # as /tmp: nobody can replace what is another user's
    assert run(COMPILE) != "None"


@POSIX
def test_entries_of_a_folder_of_another_user_are_replaceable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.runtime.compile import is_replaceable

    tmp_path.chmod(0o755)
    me = tmp_path.stat().st_uid
    assert not is_replaceable(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert is_replaceable(tmp_path) == (me != 0)
    assert not is_replaceable(Path("/"))


@pytest.mark.slow
def test_old_versions_are_pruned(tmp_path: Path, run: Run) -> None:
    versions = tmp_path / "cache" / "kernels"
    for age in range(1, 6):
        folder = versions / f"0.0.{age}-{age:016x}"
        folder.mkdir(parents=True, mode=0o700)
        (folder / "code.nbc").touch()
        os.utime(folder, (time.time() - 1000 * age,) * 2)
    versions.chmod(0o700)
    (versions / "mine").mkdir()
    current = Path(run(COMPILE))
    assert {path.name for path in versions.iterdir()} == {
        "mine", current.name, "0.0.1-0000000000000001", "0.0.2-0000000000000002"
    }  # fmt: skip


def test_modules_that_describe_networks_need_no_numba(run: Run) -> None:
    script = """
import sys
from charrnn import kernels
from charrnn.runtime import arrays, features, threads, workspace
assert not {"numba", "llvmlite"} & sys.modules.keys()
assert features.PANEL_BYTES == features.VECTOR_BYTES * features.TILE_VECTORS
assert "llvmlite" in sys.modules and "numba" not in sys.modules
assert kernels.lstm.lstm_forward is kernels.lstm.lstm_forward
assert "numba" in sys.modules
for module in kernels, features:
    try:
        module.nothing
    except AttributeError as error:
        print(error)
for name in kernels.__all__:
    assert getattr(kernels, name).__name__ == f"charrnn.kernels.{name}"
"""
    expected = [f"module 'charrnn.{name}' has no attribute 'nothing'" for name in ("kernels", "runtime.features")]
    assert run(script).splitlines() == expected
    from charrnn import kernels

    files = {path.stem for path in Path(kernels.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(kernels.__all__)

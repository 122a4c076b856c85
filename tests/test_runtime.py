"""What importing does and does not, the cache of compiled code, workspaces and threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.runtime.threads import Job, ThreadPool, in_sequence, single_threaded
from charrnn.runtime.workspace import Workspace

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
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert before == {name: getattr(config, name) for name in dir(config) if name.isupper()}
"""
    run(script)
    assert not (tmp_path / "cache").exists()


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


def test_compiled_code_is_found_again(tmp_path: Path, run: Run) -> None:
    hits = (
        "print(sum(inputs.add_to_rows.stats.cache_hits.values()), sum(inputs.add_to_rows.stats.cache_misses.values()))"
    )
    assert run(COMPILE + hits).splitlines()[-1] == "0 1"
    assert run(COMPILE + hits).splitlines()[-1] == "1 0"


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
def test_the_cache_is_private(tmp_path: Path, run: Run) -> None:
    folder = Path(run("import os\nos.umask(0)\n" + COMPILE))
    assert folder.parent == tmp_path / "cache" / "kernels"
    for path in (folder.parent, folder, *(path for path in folder.iterdir() if path.is_dir())):
        assert path.stat().st_mode & 0o777 == 0o700, path


@POSIX
@pytest.mark.parametrize("place", ["kernels", "version"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_cache_that_others_can_write_is_not_used(compiled: Path, run: Run, place: str, mode: int) -> None:
    code = sorted(compiled.rglob("*.nbc"))
    assert code
    for path in code:
        path.write_bytes(b"not what was compiled")  # loading it would fail
    (compiled.parent if place == "kernels" else compiled).chmod(mode)
    assert run(COMPILE) == "None"


@POSIX
def test_a_cache_of_another_user_is_not_used(compiled: Path, run: Run) -> None:
    other = "import os\nme = os.geteuid()\nos.geteuid = lambda: me + 1\n"
    assert run(other + COMPILE) == "None"
    assert run(COMPILE) == str(compiled)


@POSIX
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


def test_a_workspace_gives_the_type_that_is_asked_for() -> None:
    workspace = Workspace(np.float32, np.uint16)
    assert workspace.get("a", 4).dtype == np.float32
    assert workspace.get("a", 4, dtype=np.float64).dtype == np.float64
    assert workspace.ids("a", 3).dtype == np.int32
    again = workspace.get("a", 4)
    assert again.dtype == np.float32
    assert again.shape == (4,)
    again[:] = 3
    assert (workspace.get("a", 2) == 3).all()  # what it held


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_jobs_are_done_once_each(threads: int) -> None:
    done = [np.zeros(count, int) for count in (1, 7, 0, 30)]

    def job(counter: NDArray[np.int_], cost: int) -> Job:
        def work(first: int, last: int, thread: int) -> None:
            assert 0 <= thread < threads
            counter[first:last] += 1

        return Job(len(counter), cost, work)

    ThreadPool(threads).run([job(counter, cost) for counter, cost in zip(done, (5, 1, 9, 3), strict=True)])
    assert all((counter == 1).all() for counter in done)


def test_in_sequence() -> None:
    done: list[str] = []

    def part(name: str) -> Callable[[int, int, int], None]:
        return lambda first, last, thread: done.append(f"{name}{first}{last}")

    ThreadPool(1).run([Job(4, 1, in_sequence(part("a"), part("b")))])
    assert done == ["a04", "b04"]


def test_an_error_in_a_thread_is_raised() -> None:
    def work(first: int, last: int, thread: int) -> None:
        if thread == 1:
            raise ValueError("from the second thread")

    with pytest.raises(ValueError, match="second thread"):
        ThreadPool(2).run([Job(4, 1, work)])


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_when_no_thread_is_at_work_any_more(failing: int) -> None:
    """Else the others write into arrays that the caller already uses for something else."""
    done = [False] * 3

    def work(first: int, last: int, thread: int) -> None:
        if thread == failing:
            raise ValueError(f"from thread {thread}")
        time.sleep(0.2)
        done[thread] = True
        if thread == 2:
            raise KeyError("later")

    with pytest.raises(ValueError, match=f"from thread {failing}"):
        ThreadPool(3).run([Job(6, 1, work)])
    assert done == [thread != failing for thread in range(3)]


def test_an_interruption_waits_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while this thread waits for the others."""
    done: list[int] = []
    interrupted: list[int] = []

    def work(first: int, last: int, thread: int) -> None:
        if thread:
            time.sleep(0.2)
        done.append(thread)

    from concurrent.futures import Future

    wait = Future.exception

    def exception(self: Future[None], timeout: float | None = None) -> BaseException | None:
        if not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt
        return wait(self, timeout)

    monkeypatch.setattr(Future, "exception", exception)
    with pytest.raises(KeyboardInterrupt):
        ThreadPool(3).run([Job(6, 1, work)])
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("first", [True, False])
def test_an_interruption_while_threads_begin_leaves_none_at_work(monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """Ctrl-C just before or just after a thread was given its share."""
    begun: list[int] = []
    done: list[int] = []

    def work(first: int, last: int, thread: int) -> None:
        begun.append(thread)
        time.sleep(0.1)
        done.append(thread)

    from concurrent.futures import ThreadPoolExecutor

    submit = ThreadPoolExecutor.submit

    def interrupted(self: ThreadPoolExecutor, *arguments: Any) -> Any:
        if not first:
            submit(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ThreadPool(3).run([Job(6, 1, work)])
    assert begun == done
    time.sleep(0.2)
    assert begun == done
    assert len(begun) <= 1


def test_single_threaded_is_for_the_calling_thread_only() -> None:
    def threads_used() -> int:
        used: set[int] = set()

        def work(first: int, last: int, thread: int) -> None:
            used.add(thread)

        ThreadPool(3).run([Job(3, 1, work)])
        return len(used)

    seen: list[int] = []
    with single_threaded():
        with single_threaded():
            assert threads_used() == 1
        assert threads_used() == 1  # the outer one still holds
        other = threading.Thread(target=lambda: seen.append(threads_used()))
        other.start()
        other.join()
    assert seen == [3]
    assert threads_used() == 3

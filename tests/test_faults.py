"""Nothing is lost to failed writes, full disks and two trainings on one file; and nothing piles up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as package_save

from charrnn import checkpoint
from charrnn.errors import CharrnnError
from charrnn.runtime import safefile
from tests.test_checkpoint import assert_same as assert_same_checkpoint
from tests.test_checkpoint import make_checkpoint

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


# ---- writing a file


@given(
    shapes=st.dictionaries(
        st.text("abcé.\"\\\x01'<", min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=3), max_size=4
    ),
    metadata=st.text(max_size=20).filter(lambda text: text.isprintable() or "\n" in text),
)
@settings(deadline=None, max_examples=30)
def test_files_are_those_of_the_package(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], metadata: str
) -> None:
    tensors = {name: np.random.default_rng(0).random(shape, np.float32) for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp("file") / "a.safetensors"
    try:
        expected = package_save(tensors, {"charrnn": metadata})
    except UnicodeEncodeError:
        return
    safefile.write(path, tensors, {"charrnn": metadata})
    assert path.read_bytes() == expected


class Faults:
    """Lets the `failing`-th call that touches the disk during a save fail; `calls` has the names of those so far."""

    def __init__(self, failing: int, number: int) -> None:
        self.failing, self.number = failing, number
        self.calls: list[str] = []

    def call(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self.failing:
            raise OSError(self.number, os.strerror(self.number))

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in for what `safefile.write` calls."""
        for owner, name in ((os, "fsync"), (Path, "replace")):
            patch.setattr(owner, name, self.wrap(name, getattr(owner, name)))
        path_open = Path.open

        def opened(path: Path, mode: str = "r") -> IO[bytes]:
            self.call("open")
            return FaultyFile(self, path_open(path, mode))  # type: ignore[return-value]

        patch.setattr(Path, "open", opened)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which may fail before it does anything."""

        def wrapped(*args: Any) -> Any:
            self.call(name)
            return function(*args)

        return wrapped


class FaultyFile:
    """A file that is being written. A write that fails has written half of it, as on a disk that is full."""

    def __init__(self, faults: Faults, file: IO[Any]) -> None:
        self._faults, self._file = faults, file

    def write(self, data: Any) -> None:
        try:
            self._faults.call("write")
        except OSError:
            self._file.write(bytes(data)[: len(bytes(data)) // 2])
            raise
        self._file.write(data)

    def flush(self) -> None:
        self._faults.call("flush")
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if error[0] is None:
            self._faults.call("close")


def save_with_fault(path: Path, made: checkpoint.Checkpoint, failing: int, number: int = errno.ENOSPC) -> Faults:
    faults = Faults(failing, number)
    with pytest.MonkeyPatch.context() as patch:
        faults.install(patch)
        checkpoint.save(path, made)
    return faults


def test_a_fault_at_every_call_of_a_save_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    old, new = make_checkpoint(), make_checkpoint()
    new.training["step"] = 21
    new.weights["output.bias"] += 1
    calls = save_with_fault(path, new, failing=-1).calls
    assert calls.count("write") == 1 + len(new.weights) + len(new.training_tensors)
    assert [name for name in calls if name != "write"] == ["open", "flush", "fsync", "close", "replace", "fsync"]
    for number in (errno.ENOSPC, errno.EIO, errno.EROFS):
        for failing, name in enumerate(calls):
            checkpoint.save(path, old)
            with pytest.raises(CharrnnError) as caught:
                save_with_fault(path, new, failing, number)
            message = str(caught.value)
            assert str(path) in message
            assert os.strerror(number) in message
            assert "\n" not in message
            assert list(tmp_path.iterdir()) == [path], name
            replaced = failing == len(calls) - 1  # it is the folder that could not be written to disk
            assert ("is unchanged" in message) == (not replaced)
            assert_same_checkpoint(checkpoint.load(path, with_training=True), new if replaced else old)
    path.unlink()
    for failing in range(len(calls) - 1):
        with pytest.raises(CharrnnError, match=r"No space left on device$"):
            save_with_fault(path, new, failing)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_disk_that_fills_up_at_any_byte(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "a.safetensors"
    made = make_checkpoint()
    checkpoint.save(path, made)
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in [*range(0, size, 97), size - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with pytest.raises(CharrnnError, match="is unchanged"):
                checkpoint.save(path, made)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(tmp_path.iterdir()) == [path]
        assert_same_checkpoint(checkpoint.load(path, with_training=True), made)


def test_a_lost_rename_leaves_the_old_file_and_the_next_save_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    old, new = make_checkpoint(), make_checkpoint()
    new.weights["output.bias"] += 1
    checkpoint.save(path, old)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", lambda *args: None)
        checkpoint.save(path, new)
    assert_same_checkpoint(checkpoint.load(path, with_training=True), old)
    checkpoint.save(path, new)
    assert_same_checkpoint(checkpoint.load(path, with_training=True), new)
    assert list(tmp_path.iterdir()) == [path]


def test_file_systems_that_cannot_sync_a_folder(tmp_path: Path) -> None:
    last = len(save_with_fault(tmp_path / "a", make_checkpoint(), -1).calls) - 1
    save_with_fault(tmp_path / "a", make_checkpoint(), last, errno.EINVAL)


def test_what_a_killed_save_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.safetensors.tmp").write_bytes(b"half")
    checkpoint.check_writable(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_which_nothing_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(CharrnnError, match=r"cannot write .*a\.safetensors: Permission denied$"):
        checkpoint.check_writable(tmp_path / "a.safetensors")

"""Which checkpoint a command takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charrnn.cli.model import DEMOS, find_checkpoint
from charrnn.errors import CharrnnError


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_CHECKPOINT", raising=False)
    with pytest.raises(CharrnnError, match=r"there is no checkpoint in checkpoints.*charrnn train corpus\.txt"):
        find_checkpoint(None)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "folder.safetensors").mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "nothing.safetensors").symlink_to("gone")
    with pytest.raises(CharrnnError, match="there is no checkpoint"):
        find_checkpoint(None)
    for time, name in enumerate(("old.safetensors", "new.safetensors", *DEMOS)):
        (folder / name).write_text("")
        os.utime(folder / name, (time, time))
    assert find_checkpoint(None) == Path("checkpoints/new.safetensors")
    os.utime(folder / "old.safetensors", (5, 5))
    assert find_checkpoint(None) == Path("checkpoints/old.safetensors")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "elsewhere")
    assert find_checkpoint(None) == Path("elsewhere")
    assert find_checkpoint("this one") == Path("this one")
    with pytest.raises(CharrnnError, match="is empty; give one"):
        find_checkpoint("")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "")
    (folder / "old.safetensors").unlink()
    (folder / "new.safetensors").unlink()
    assert find_checkpoint(None) == Path("checkpoints/demo.safetensors")


def test_the_demos_are_those_of_the_project() -> None:
    folder = Path(__file__).resolve().parent.parent / "checkpoints"
    assert {path.name for path in folder.glob("demo*.safetensors")} == set(DEMOS)
    makefile = (folder.parent / "Makefile").read_text()
    assert all(f"$(call demo-model,{name.removesuffix('.safetensors')}," in makefile for name in DEMOS)

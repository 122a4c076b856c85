"""Two trainings on one output, logs that cannot be written, corpora that pile up."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from charrnn import checkpoint
from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.runtime import lock
from charrnn.runtime.lock import only_writer, try_lock
from charrnn.text import corpus as corpora
from charrnn.text.corpus import load_corpus
from charrnn.training import events
from tests.conftest import TINY, run_command, sentences
from tests.runs import assert_same

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


# ---- two trainings on one output


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.safetensors"
    with only_writer(path):
        with pytest.raises(CharrnnError, match=r"another training .* `output`"), only_writer(path):
            pass
        with only_writer(path.with_name("b.safetensors")):
            pass
        assert [file.name for file in path.parent.iterdir()] == [".a.safetensors.lock"]
    assert list(tmp_path.iterdir()) == []
    with only_writer(path):
        path.write_text("x")
    assert list(path.parent.iterdir()) == [path]
    with only_writer(path):
        pass
    with pytest.raises(CharrnnError, match="cannot write"), only_writer(path / "below a file"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_lock_that_its_holder_has_just_removed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, beside = tmp_path / "a.safetensors", tmp_path / ".a.safetensors.lock"
    tries: list[int] = []

    def late(descriptor: int) -> bool:
        tries.append(descriptor)
        if len(tries) == 1:
            beside.unlink()
        return try_lock(descriptor)

    monkeypatch.setattr(lock, "try_lock", late)
    with only_writer(path):
        assert len(tries) == 2
        assert beside.exists()
        with pytest.raises(CharrnnError, match="another training"), only_writer(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_has_the_lock_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with only_writer(tmp_path / "real"), pytest.raises(CharrnnError), only_writer(tmp_path / "link"):
        pass


@POSIX
def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    script = (
        "import sys, time; from pathlib import Path; from charrnn.runtime.lock import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(CharrnnError, match="another training"), only_writer(path):
            pass
        process.kill()
    with only_writer(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_writer(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_training_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text(sentences(50), encoding="utf-8")
    output = Path("model.safetensors")
    with only_writer(output):
        for how in ([], ["--resume"], ["--force"]):
            refused = run_command("train", "corpus.txt", *TINY, "--steps", "2", "-o", output, *how)
            assert refused.status == 1
            (line,) = refused.err.splitlines()[-1:]
            assert line.startswith("charrnn: error: another training is writing model.safetensors")
    assert run_command("train", "corpus.txt", *TINY, "--steps", "2", "-o", output, "-q").status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.txt", "model.safetensors"}


# ---- the log


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_log_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text(sentences(50), encoding="utf-8")
    result = run_command("train", "corpus.txt", *TINY, "--steps", "30", "-o", "x", "--log", "/dev/full")
    assert result.status == 1
    assert result.err.splitlines()[-1] == (
        "charrnn: error: cannot write the log /dev/full: No space left on device; give another --log FILE"
    )


def test_a_log_that_fails_later_loses_no_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text(sentences(50), encoding="utf-8")
    args = ["corpus.txt", *TINY, "--steps", "100", "--eval-every", "100", "-o"]
    assert run_command("train", *args, "whole", "-q").status == 0

    def full(event: Any) -> dict[str, Any]:
        if event.step >= 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return {"event": event.name}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events.Step, "to_json", full)
        result = run_command("train", *args, "x", "--log", "log.jsonl")
    assert result.status == 1
    assert "cannot write the log log.jsonl" in result.err.splitlines()[-1]
    assert "to go on: charrnn train --resume -o x" in result.err.splitlines()[-2]
    assert checkpoint.load("x").training["progress"]["step"] >= 20
    assert run_command("train", "--resume", "-o", "x", "-q", "--threads", "1").status == 0
    assert_same(Path("whole"), Path("x"))


# ---- what piles up in the cache


def encode(folder: Path, text: str) -> Any:
    path = folder / "corpus.txt"
    path.write_text(text)
    return load_corpus([str(path)], TextConfig(), val_path=None, val_fraction=0.1, seed=0, cache_dir=folder / "cache")


def test_encoded_corpora_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / "corpora"

    def entries() -> set[Path]:
        return set(folder.iterdir())

    in_use = encode(tmp_path, "abc " * 100)
    (first,) = entries()
    encode(tmp_path, "abd " * 100)
    second = (entries() - {first}).pop()
    for days, entry in ((50, first), (40, second)):
        then = time.time() - days * 24 * 3600
        os.utime(entry / "corpus.json", (then, then))
    encode(tmp_path, "abe " * 100)
    assert first in entries()  # old, but in use
    assert second not in entries()
    assert len(entries()) == 2
    third = (entries() - {first}).pop()
    del in_use
    encode(tmp_path, "abf " * 100)
    assert first not in entries()
    assert third in entries()

    fourth = (entries() - {third}).pop()
    size = sum(file.stat().st_size for file in fourth.iterdir())
    monkeypatch.setattr(corpora, "KEPT_BYTES", 2.5 * size)
    os.utime(fourth / "corpus.json", (time.time() - 100,) * 2)
    encode(tmp_path, "abe " * 100)  # used again: the third is now the latest
    encode(tmp_path, "abg " * 100)
    assert fourth not in entries()
    assert third in entries()
    assert len(entries()) == 2


def test_the_log_of_a_refused_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text(sentences(50), encoding="utf-8")
    args = ["train", "corpus.txt", *TINY, "--steps", "5", "-o", "x", "--log", "log.jsonl", "-q"]
    assert run_command(*args).status == 0
    before = [json.loads(line)["event"] for line in Path("log.jsonl").read_text().splitlines()]
    assert run_command(*args).status == 2
    with only_writer(Path("x")):
        assert run_command(*args, "--force").status == 1
    assert [json.loads(line)["event"] for line in Path("log.jsonl").read_text().splitlines()] == before

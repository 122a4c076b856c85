"""`charrnn train` and its files: what is named after what, what may be overwritten, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charrnn import checkpoint
from charrnn.cli.main import main
from charrnn.cli.train_files import default_output
from tests.test_cli_train import POSIX, SMALL, TEXT, Result
from tests.test_cli_train import charrnn_train as charrnn_train
from tests.test_cli_train import folder as folder


def test_a_piped_corpus(charrnn_train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe(text: str, *args: str) -> Result:
        Path("piped").write_text(text)
        with Path("piped").open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            result: Result = charrnn_train(*args)
            return result

    assert pipe(TEXT, "-", "--steps", "5").status == 0
    assert Path("checkpoints/stdin.safetensors").exists()
    again = charrnn_train("--resume", "--steps", "8")
    assert again.status == 2
    assert "pipe it again" in again.last
    assert pipe(TEXT + "x", "-", "--resume", "--steps", "8").status == 1
    assert pipe(TEXT, "-", "--resume", "--steps", "8").status == 0


@pytest.mark.parametrize(
    ("corpus", "name"),
    [("text.txt", "text"), ("a/emma.txt.gz", "emma"), ("-", "stdin"), ("x.y.z", "x.y"), ("plain", "plain")],
)
def test_default_output(corpus: str, name: str) -> None:
    assert default_output(corpus) == Path("checkpoints") / f"{name}.safetensors"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-o", "text.txt"], "--output is text.txt, which is the corpus too"),
        (["--log", "./text.txt"], "--log is ./text.txt, which is the corpus too"),
        (["--val", "val.txt", "--log", "val.txt"], "--log is val.txt, which is --val too"),
        (["--config", "c.toml", "--log", "c.toml"], "--log is c.toml, which is --config too"),
        (["--init-from", "old", "--log", "old"], "--log is old, which is --init-from too"),
        (["-o", "x.safetensors", "--log", "x.safetensors"], "--log is x.safetensors, which is --output too"),
        (["--log", "checkpoints/text.safetensors"], "--log is checkpoints/text.safetensors, which is --output too"),
        (["-o", "-"], "--output is '-'; it must name a file"),
        (["--log", ""], "--log is ''; it must name a file"),
    ],
)
def test_nothing_that_is_read_is_overwritten(charrnn_train: Any, folder: Path, options: list[str], told: str) -> None:
    for name in ("val.txt", "old"):
        (folder / name).write_text(TEXT)
    (folder / "c.toml").write_text("steps = 2\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    result = charrnn_train("text.txt", "--steps", "2", "--force", *options)
    assert result.status == 2
    assert told in result.last
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_nothing_that_a_resumed_run_reads_is_overwritten(charrnn_train: Any, folder: Path) -> None:
    for name in ("val.txt", "old.txt"):
        (folder / name).write_text(TEXT)
    assert charrnn_train("old.txt", "--steps", "2", "-o", "old.safetensors").status == 0
    first = ("text.txt", "--val", "val.txt", "--init-from", "old.safetensors", "--steps", "2", "-o", "x.safetensors")
    assert charrnn_train(*first, "--threads", "1", small=False).status == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for steps in ("2", "4"):  # a finished run, and one that goes on
        for name, what in (
            ("./text.txt", "the corpus"), ("val.txt", "--val"), ("old.safetensors", "--init-from"),
            ("x.safetensors", "--output"),
        ):  # fmt: skip
            args = ("--resume", "-o", "x.safetensors", "--steps", steps, "--log", name)
            result = charrnn_train(*args, small=False)
            assert (result.status, f"--log is {name}, which is {what} too" in result.last) == (2, True)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_one_epoch_is_not_epochs(charrnn_train: Any) -> None:
    result = charrnn_train("text.txt", "--epochs", "1")
    assert result.status == 0
    assert "(1 epoch)," in result.err
    assert ", 1 epoch," in result.err


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, *([] if os.name == "nt" else [signal.SIGHUP])])
@pytest.mark.slow
def test_killed_by_a_signal_it_saves_and_dies_of_it(
    folder: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHARRNN_CACHE_DIR")  # where compiled code is, too
    # Enough steps that it is still at it when the signal comes, and no validation before that.
    args = ["text.txt", "--steps", "200000", "--eval-every", "200000", "--sample-every", "5", "-o", "x.safetensors"]
    args += ["--log", "log.jsonl"]
    command = [sys.executable, "-m", "charrnn", "train", *args, *SMALL]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("  | "):  # a sample: it is training
                break
        process.send_signal(number)
        rest = process.stderr.read().splitlines()
    assert process.returncode == -number
    assert rest[-1].endswith("to go on: charrnn train --resume -o x.safetensors")
    log = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    progress = checkpoint.load("x.safetensors").training["progress"]
    sampled = [line["step"] for line in log if line["event"] == "sample"]
    assert sampled == [*range(5, sampled[-1] + 1, 5)]
    # The step that was under way is done, and nothing after it: the next sample would have come within five steps.
    assert sampled[-1] <= progress["step"] <= sampled[-1] + 5
    assert (log[-1]["event"], log[-1]["step"]) == ("checkpoint", progress["step"])
    assert progress["updates"] == progress["step"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_name_that_is_not_utf8_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", os.fsdecode(b"text-\xff.txt"), "--steps", "1"]) == 2
    assert "the corpus is text-\ufffd.txt, a name that is not UTF-8" in capfd.readouterr().err
    assert main(["train", "text.txt", "--steps", "1", "-o", os.fsdecode(b"\xff.safetensors")]) == 2
    assert "--output is \ufffd.safetensors" in capfd.readouterr().err

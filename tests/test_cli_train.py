"""`charrnn train` as a command: what it prints where, what it refuses, how it is interrupted and resumed."""

from __future__ import annotations

import json
import math
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn.runtime.compile
from charrnn import checkpoint
from charrnn.cli.main import main
from charrnn.training import advice
from charrnn.training.clock import stopwatch
from tests.conftest import sentences

# The tests move the cache of corpora; where compiled code is kept has been decided by then.
assert charrnn.runtime.compile.__name__


POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
TEXT = "".join(f"the {animal} {verb}s.\n" for animal in ("cat", "dog", "hen") for verb in ("sit", "run", "eat")) * 9
SMALL = [
    *("--hidden-size", "8", "--layers", "1", "--embedding-size", "4"),
    *("--batch-size", "2", "--seq-length", "8", "--threads", "1"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a corpus in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHARRNN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


class Result:
    """What a command left behind."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        self.last = err.splitlines()[-1] if err else ""


@pytest.fixture
def charrnn_train(capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    """A function that runs `charrnn train` with the small model and these arguments."""

    def call(*args: str, small: bool = True) -> Result:
        status = main(["train", *args, *(SMALL if small else [])])
        out, err = capfdbinary.readouterr()
        return Result(status, out.decode(), err.decode())

    return call


def test_trains_and_says_how_to_sample(charrnn_train: Any) -> None:
    result = charrnn_train("text.txt", "--steps", "30")
    assert (result.status, result.out) == (0, "")
    assert result.last == "charrnn sample -c checkpoints/text.safetensors"
    assert "seed 0" in result.err
    assert "30 steps" in result.err
    assert "very little to learn from" in result.err
    assert main([*shlex.split(result.last)[1:], "-n", "5", "--seed", "1"]) == 0


@pytest.mark.parametrize("unit", ["char", "word", "byte"])
@pytest.mark.parametrize("lines", [[], ["--lines"]], ids=["stream", "lines"])
@pytest.mark.parametrize("size", [10, pytest.param(200, marks=pytest.mark.slow), 2000])
def test_very_small_corpora(size: int, lines: list[str], unit: str) -> None:
    text = "a b\nc d\n" + "".join(f"name {number % 60} of many\n" for number in range(200))
    Path("text.txt").write_text(text[:size])
    all_units = [] if unit == "byte" else ["--min-count", "1"]
    args = ["text.txt", "--unit", unit, *all_units, *lines, "--log", "log.jsonl"]
    assert main(["train", *args, "--hidden-size", "4", "--threads", "1"]) == 0
    log = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    start, end = log[0] if log[0]["event"] == "start" else log[1], log[-1]
    training, held_out = (start["corpus"][part]["tokens"] for part in ("training", "validation"))
    assert 0 < held_out <= max(training, 0.2 * (training + held_out))
    assert start["training"]["patience"] > 0
    assert np.isfinite(end["val_loss"])
    assert next(line["topic"] for line in log if line["event"] == "advice") == "little text"


def test_json_is_one_object_on_stdout(charrnn_train: Any) -> None:
    result = charrnn_train("text.txt", "--steps", "30", "--json", "-q", "-o", "deep/er/model.safetensors")
    assert result.err == ""
    found = json.loads(result.out)
    assert list(found) == [
        *("checkpoint", "parameters", "vocabulary", "steps", "epochs", "seconds", "tokens_per_second"),
        *("train_loss", "val_loss", "val_bits_per_byte", "val_bits_per_character", "best_step", "stopped_by"),
    ]
    assert found["checkpoint"] == "deep/er/model.safetensors"
    assert (found["steps"], found["stopped_by"]) == (30, "steps")
    assert found["vocabulary"] == len(checkpoint.load("deep/er/model.safetensors").vocabulary)
    assert found["val_bits_per_byte"] == pytest.approx(found["val_loss"] / np.log(2))


def test_the_log_has_every_event(charrnn_train: Any) -> None:
    result = charrnn_train("text.txt", "--steps", "50", "--eval-every", "25", "--log", "log.jsonl", "--json")
    lines = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines if line["event"] != "step"] == [
        *("start", "advice", "validation", "checkpoint", "validation", "checkpoint", "end")
    ]
    start, end = lines[0], lines[-1]
    assert {"model", "text", "training", "versions", "threads", "precision", "corpus", "vocabulary"} <= start.keys()
    assert start["training"]["steps"] == 50
    steps = [line for line in lines if line["event"] == "step"]
    wanted = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens_per_second", "seconds")
    assert all(name in line for line in steps for name in wanted)
    assert [line["step"] for line in steps][-1] == 50
    validation = next(line for line in lines if line["event"] == "validation")
    assert {"step", "loss", "bits_per_byte", "perplexity", "best", "seconds"} <= validation.keys()
    del end["event"]
    assert end == json.loads(result.out)
    charrnn_train("text.txt", "--resume", "--steps", "60", "--log", "log.jsonl")
    assert len(Path("log.jsonl").read_text(encoding="utf-8").splitlines()) > len(lines)


def test_an_existing_output_is_kept(charrnn_train: Any) -> None:
    assert charrnn_train("text.txt", "--steps", "3").status == 0
    before = Path("checkpoints/text.safetensors").read_bytes()
    refused = charrnn_train("text.txt", "--steps", "3")
    assert refused.status == 2
    assert "--resume" in refused.last
    assert "--force" in refused.last
    assert Path("checkpoints/text.safetensors").read_bytes() == before
    assert charrnn_train("text.txt", "--steps", "4", "--force").status == 0


def test_resume_without_a_training_state(charrnn_train: Any) -> None:
    assert charrnn_train("text.txt", "--steps", "3").status == 0
    path = Path("checkpoints/text.safetensors")
    checkpoint.save(path, checkpoint.load(path))
    refused = charrnn_train("text.txt", "--steps", "6", "--resume")
    assert refused.status == 1
    assert "saved without its training state; --init-from" in refused.last
    assert "going on" not in refused.err


def test_resume(charrnn_train: Any) -> None:
    fresh = charrnn_train("text.txt", "--steps", "10", "--resume")
    assert fresh.status == 0
    assert "does not exist yet" in fresh.err
    finished = charrnn_train("--resume", "--json", small=False)
    assert finished.status == 0
    assert "is finished" in finished.err
    assert json.loads(finished.out)["steps"] == 10
    assert charrnn_train("text.txt", "--steps", "10", "--resume", "--json").out == finished.out
    longer = charrnn_train("--resume", "--steps", "20", "--json", small=False)
    assert json.loads(longer.out)["steps"] == 20
    assert "not the run" in longer.err
    changed = charrnn_train("--resume", "--lr", "0.5", small=False)
    assert changed.status == 2
    assert "--learning-rate is 0.5" in changed.last


def test_resume_with_nothing_to_resume(charrnn_train: Any) -> None:
    assert charrnn_train("--resume").status == 1  # what `find_checkpoint` says
    assert charrnn_train("--resume", "-o", "none.safetensors").status == 2


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        ([], 2, "no corpus"),
        (["none.txt"], 1, "none.txt"),
        (["."], 1, ""),
        (["text.txt", "--hidden-size", "0"], 2, "--hidden-size"),
        (["text.txt", "--max-time", "banana"], 2, "--max-time"),
        (["text.txt", "--lr", "nan"], 2, "--lr"),
        (["text.txt", "--optimizer", "adan"], 2, "did you mean adam"),
        (["text.txt", "--cell", "lstm,gru", "--layers", "3"], 2, "--cell names 2"),
        (["text.txt", "--peepholes", "--cell", "gru"], 2, "--peepholes"),
        (["text.txt", "--cutoffs", "few"], 2, "few is neither auto nor none"),
        (["text.txt", "--cutoffs", "9,4"], 2, "--cutoffs is 9,4"),
        (["text.txt", "--cutoffs", "4", "--tie-weights"], 2, "exclude each other"),
        (["text.txt", "--schedule", "plateau", "--val-fraction", "0"], 2, "plateau"),
        (["text.txt", "--precision", "float16"], 2, "float32"),
        (["text.txt", "--resume", "--force"], 2, "--force"),
        (["text.txt", "--resume", "--dry-run"], 2, "--dry-run"),
        (["text.txt", "--init-from", "none.safetensors"], 1, "none.safetensors"),
        (["text.txt", "--steps", "2", "--log", "no/such/folder/log"], 1, "--log"),
        (["text.txt", "--steps", "2", "-o", "text.txt/model.safetensors"], 1, "text.txt"),
        (["text.txt", "--steps", "9", "--lr", "1e38", "--optimizer", "sgd", "--val-fraction", "0"], 3, "diverged"),
    ],
)
def test_failures_are_one_line(charrnn_train: Any, args: list[str], status: int, says: str) -> None:
    result = charrnn_train(*args, small=False)
    assert result.status == status
    assert result.out == ""
    assert result.last.startswith("charrnn: error: ")
    assert says in result.last
    assert "Traceback" not in result.err


def test_dry_run_writes_nothing(charrnn_train: Any, folder: Path) -> None:
    result = charrnn_train("text.txt", "--dry-run", "--json")
    assert result.status == 0
    for word in ("units", "parameters", "memory", "tokens per second", "time"):
        assert word in result.err
    assert {"vocabulary", "parameters", "memory", "tokens_per_second", "steps", "seconds"} <= json.loads(
        result.out
    ).keys()
    assert sorted(path.name for path in folder.iterdir() if path.name != "cache") == ["text.txt"]


def test_settings_come_from_flags_then_file(charrnn_train: Any) -> None:
    Path("run.toml").write_text(
        'steps = 5\nlearning-rate = 0.01\ncell = ["gru", "lstm"]\nlines = true\nhidden-size = 16\ncutoffs = [3, 5]\n'
    )
    result = charrnn_train("text.txt", "--config", "run.toml", "--steps", "7", small=False)
    assert result.status == 0
    assert ", adaptive softmax: " in result.err
    saved = checkpoint.load("checkpoints/text.safetensors")
    assert saved.training["options"]["steps"] == 7
    assert saved.training["options"]["learning_rate"] == 0.01
    assert saved.model.cells == ("gru", "lstm")
    assert saved.model.cutoffs == (3, 5)
    assert saved.text.lines
    Path("run.toml").write_text("step = 5\n")
    refused = charrnn_train("text.txt", "--config", "run.toml")
    assert refused.status == 2
    assert "did you mean steps" in refused.last


def never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has all of its time from here on, and is not too late for its first step, however busy the machine is.

    A command counts the time that its process was busy before: of one that tests, minutes.
    """
    monkeypatch.setattr("charrnn.cli.train.stopwatch", lambda already: stopwatch())
    monkeypatch.setattr(advice, "LATE", math.inf)


@pytest.mark.slow
def test_a_limit_of_time_prints_the_command_that_repeats_it(
    charrnn_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_late(monkeypatch)
    Path("long.txt").write_text(sentences(5000), encoding="utf-8")  # not read often enough in the time
    result = charrnn_train("long.txt", "--max-time", "2", "--json", "--dropout", "0.1", "--cutoffs", "none")
    found = json.loads(result.out)
    assert found["stopped_by"] == "max-time"
    line = next(line for line in result.err.splitlines() if "--steps" in line)
    command = shlex.split(line[line.index("charrnn train") :])
    assert command[command.index("--steps") + 1] == str(found["steps"])
    assert command[command.index("--dropout") + 1] == "0.1"
    assert command[command.index("--cutoffs") + 1] == "none"
    assert "--max-time" not in command
    again = charrnn_train(*command[2:], "--json", small=False)
    assert json.loads(again.out)["steps"] == found["steps"]


@pytest.mark.slow
def test_a_limit_of_time_that_compiling_took_is_not_to_be_repeated(
    charrnn_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "LATE", 0)
    result = charrnn_train("text.txt", "--max-time", "1")
    assert result.status == 0
    assert "The same command with --force has more time to learn" in result.err
    assert "--steps" not in result.err


@pytest.mark.slow
def test_the_command_that_repeats_names_what_a_limit_of_time_chose(
    charrnn_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_late(monkeypatch)
    result = charrnn_train("text.txt", "--max-time", "2", small=False)
    line = next(line for line in result.err.splitlines() if "--steps" in line)
    command = shlex.split(line[line.index("charrnn train") :])
    saved = checkpoint.load(Path("checkpoints/text.safetensors"))
    assert command[command.index("--hidden-size") + 1] == str(saved.model.hidden_size)
    assert command[command.index("--dropout") + 1] == str(saved.training["options"]["dropout"])
    assert charrnn_train(*command[2:], small=False).status == 0
    again = checkpoint.load(Path("checkpoints/text.safetensors"))
    assert again.model == saved.model
    assert again.training["options"]["dropout"] == saved.training["options"]["dropout"]


@pytest.mark.slow
def test_a_run_that_early_stopping_ended_is_repeated_exactly(
    charrnn_train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_late(monkeypatch)
    options = ("--max-time", "60", "--patience", "1", "--lr", "0.5", "--hidden-size", "12", "--eval-every", "2")
    result = charrnn_train("text.txt", *options, "--json", small=False)
    assert json.loads(result.out)["stopped_by"] == "patience"
    line = next(line for line in result.err.splitlines() if "--steps" in line)
    assert line.startswith("the same again: ")
    saved = checkpoint.load(Path("checkpoints/text.safetensors"))
    again = charrnn_train(*shlex.split(line[line.index("charrnn train") :])[2:], "--json", small=False)
    assert json.loads(again.out)["steps"] == json.loads(result.out)["steps"]
    for name, tensor in checkpoint.load(Path("checkpoints/text.safetensors")).weights.items():
        np.testing.assert_array_equal(tensor, saved.weights[name])

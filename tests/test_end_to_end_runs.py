"""Whole commands: pipes, the same bits again, what a run says and leaves behind."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from charrnn import checkpoint
from tests.conftest import TINY, run_command
from tests.test_end_to_end import (
    assert_same_result,
    metadata,
    summary,
    train,
    tree,
)

pytestmark = pytest.mark.usefixtures("corpus")
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")
PROGRAM = (sys.executable, "-m", "charrnn")


# ---- pipes


@POSIX
def test_an_endless_sample_ends_with_its_reader(models: dict[str, Path]) -> None:
    head = shutil.which("head")
    assert head is not None
    some = run_command("sample", "-c", models["char"], "-n", "900", "--seed", "1")
    sample = [*PROGRAM, "sample", "-c", str(models["char"]), "-n", "inf", "--seed", "1"]
    with subprocess.Popen(sample, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        reader = subprocess.run([head, "-c", "1000"], stdin=writer.stdout, capture_output=True)
        writer.stdout.close()
        said = writer.stderr.read().decode()
        assert (reader.returncode, len(reader.stdout)) == (0, 1000)
        assert writer.wait() == 0
    assert said == f"checkpoint {models['char']}\n"
    assert reader.stdout[:900] == some.out[:900]  # at least a byte a unit


@POSIX
@pytest.mark.parametrize("delay", [0.3, 0.7, 1.5])
def test_a_command_with_nothing_to_save_dies_of_a_signal(models: dict[str, Path], delay: float) -> None:
    command = [sys.executable, "-m", "charrnn", "sample", "-n", "inf", "-c", str(models["char"])]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


def test_training_from_a_pipe_is_training_from_the_file(corpus: Path) -> None:
    options = ["--steps", "30", "--eval-every", "10"]
    found = train(corpus, "file.safetensors", *options)
    command = [*PROGRAM, "train", "-", *TINY, *options, "--json", "-q"]
    with subprocess.Popen(["cat", str(corpus)], stdout=subprocess.PIPE) as writer:
        piped = subprocess.run(command, stdin=writer.stdout, capture_output=True)
    assert (piped.returncode, piped.stderr) == (0, b"")
    result = json.loads(piped.stdout)
    assert result["checkpoint"] == str(Path("checkpoints", "stdin.safetensors"))
    assert result["val_loss"] == found["val_loss"]
    assert_same_result("file.safetensors", result["checkpoint"])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_corpus_is_the_text_in_it(corpus: Path, compress: Callable[[bytes], bytes]) -> None:
    Path("packed").write_bytes(compress(corpus.read_bytes()))
    train(corpus, "plain.safetensors", "--steps", "20")
    train("packed", "packed.safetensors", "--steps", "20")
    train("-", "piped.safetensors", "--steps", "20", stdin=Path("packed").read_bytes())
    assert_same_result("plain.safetensors", "packed.safetensors")
    assert_same_result("plain.safetensors", "piped.safetensors")


# ---- the same bits


@pytest.mark.parametrize("options", ["--cell lstm,gru --dropout 0.2", "--cell rnn --lines --unit word"])
def test_same_seed_same_tensors(corpus: Path, options: str) -> None:
    given = [*shlex.split(options), "--steps", "30", "--batch-size", "24", "--hidden-size", "20", "--eval-every", "7"]
    train(corpus, "one.safetensors", *given, "--seed", "1")
    train(corpus, "again.safetensors", *given, "--seed", "1")
    train(corpus, "threads.safetensors", *given, "--seed", "1", "--threads", "2")
    assert_same_result("one.safetensors", "again.safetensors")
    assert_same_result("one.safetensors", "threads.safetensors")
    differing = [name for name, value in metadata("one.safetensors").items()
                 if metadata("threads.safetensors")[name] != value]  # fmt: skip
    assert set(differing) <= {"timings", "training"}
    train(corpus, "other.safetensors", *given, "--seed", "2")
    one, other = load_file("one.safetensors"), load_file("other.safetensors")
    assert not np.array_equal(one["output.weight"], other["output.weight"])


@POSIX
@pytest.mark.slow
def test_interrupted_and_resumed_is_uninterrupted(corpus: Path) -> None:
    options = ["--steps", "1500", "--eval-every", "250", "--dropout", "0.1", "--seed", "3"]
    train(corpus, "whole.safetensors", *options)
    command = [*PROGRAM, "train", str(corpus), *TINY, *options, "--sample-every", "300", "-o", "parts.safetensors"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("  | "):  # a sample: training is under way
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().splitlines()
        assert process.stdout.read() == ""
    assert process.returncode == -signal.SIGINT
    assert 0 < metadata("parts.safetensors")["training"]["progress"]["step"] < 1500
    go_on = rest[-1].partition("to go on: ")[2]
    assert go_on == "charrnn train --resume -o parts.safetensors"
    resumed = run_command(*shlex.split(go_on)[1:], "--json")
    assert resumed.status == 0
    assert json.loads(resumed.out)["steps"] == 1500
    assert_same_result("whole.safetensors", "parts.safetensors")


# ---- what a run says and leaves behind


def test_a_dry_run_says_what_it_would_be_and_writes_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("CHARRNN_CACHE_DIR", str(cache))
    before = tree(tmp_path)
    result = run_command("train", corpus, *TINY, "--dry-run")
    assert (result.status, result.out) == (0, b"")
    assert tree(tmp_path) == before
    found = train(corpus, "real.safetensors", "--steps", "5")
    for fact in (f"{found['vocabulary']:,} units", f"{found['parameters']:,} parameters", "tokens per second"):
        assert fact in result.err
    facts = dict(line.split(maxsplit=1) for line in result.err.splitlines())
    assert facts["memory"].endswith(" GB")
    assert float(facts["memory"].removesuffix(" GB")) > 0
    assert facts["time"].endswith(" steps")
    assert tree(tmp_path) != before


RESULT = {
    *("checkpoint", "parameters", "vocabulary", "steps", "epochs", "seconds", "tokens_per_second", "train_loss"),
    *("val_loss", "val_bits_per_byte", "val_bits_per_character", "best_step", "stopped_by"),
}


def test_json_is_the_result_and_nothing_else(corpus: Path) -> None:
    found = train(corpus, "model.safetensors", "--steps", "60", "--eval-every", "20")
    assert found.keys() == RESULT
    assert (found["checkpoint"], found["steps"], found["stopped_by"]) == ("model.safetensors", 60, "steps")
    loaded = checkpoint.load("model.safetensors")
    assert found["vocabulary"] == len(loaded.vocabulary)
    text = corpus.read_text(encoding="utf-8")
    heldout = text[int(0.9 * len(text)) :]
    there = summary("model.safetensors", "--stream", stdin=heldout.encode())
    assert found["val_loss"] == pytest.approx(math.log(there["perplexity_unk"]), abs=1e-3)
    assert found["val_bits_per_byte"] == pytest.approx(there["bits_per_byte"], rel=1e-3)
    assert found["val_bits_per_character"] == pytest.approx(there["bits_per_character"], rel=1e-3)
    without = train(corpus, "without.safetensors", "--steps", "5", "--val-fraction", "0")
    assert without.keys() == RESULT
    assert [without[name] for name in sorted(RESULT) if name.startswith("val_")] == [None] * 3


def test_resuming_a_moved_file_and_with_too_small_a_budget(corpus: Path) -> None:
    train(corpus, "model.safetensors", "--steps", "20")
    Path("model.safetensors").rename("moved.safetensors")
    found = run_command("train", "--resume", "-o", "moved.safetensors")
    assert found.status == 0
    assert found.err.splitlines()[-1] == "charrnn sample -c moved.safetensors"
    refused = run_command("train", "--resume", "-o", "moved.safetensors", "--steps", "10")
    assert refused.status == 2
    assert "the run is at step 20 and the budget is 10 steps" in refused.err
    missing = run_command("train", "--resume", "-o", "missing.safetensors")
    assert (missing.status, "missing.safetensors" in missing.err) == (2, True)


@pytest.mark.parametrize("unit", ["char", "word"])
def test_bits_per_byte_count_the_spelling_of_unknown_units(corpus: Path, unit: str) -> None:
    heldout = corpus.with_name("heldout.txt")
    heldout.write_text("the quokka sat on the éléphant\na wombat ran\n", encoding="utf-8")
    found = train(corpus, "model.safetensors", "--unit", unit, "--val", str(heldout), "--steps", "20")
    there = summary("model.safetensors", "--stream", "-i", str(heldout))
    assert there["oov"] > 0
    assert there["perplexity"] > 1.5 * there["perplexity_unk"]
    assert found["val_bits_per_byte"] == pytest.approx(there["bits_per_byte"], rel=1e-3)
    assert found["val_bits_per_character"] == pytest.approx(there["bits_per_character"], rel=1e-3)


def test_the_log_tells_everything(corpus: Path) -> None:
    found = train(
        corpus, "model.safetensors", "--steps", "90", "--eval-every", "30", "--layers", "2", "--log", "log.jsonl"
    )
    lines = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    by_event = {name: [line for line in lines if line["event"] == name] for name in {line["event"] for line in lines}}
    assert by_event.keys() == {"start", "advice", "step", "validation", "checkpoint", "end"}
    assert by_event["advice"][0]["topic"] == "little text"
    assert (lines[0]["event"], lines[-1]["event"]) == ("start", "end")

    (start,) = by_event["start"]
    assert start["vocabulary"] == found["vocabulary"]
    assert start["threads"] == 1
    assert start["precision"] in {"float32", "bfloat16"}
    assert {"charrnn", "python", "numpy", "numba"} <= start["versions"].keys()
    assert (start["model"]["hidden_size"], start["model"]["cells"]) == (12, ["lstm"] * 2)
    assert (start["text"]["unit"], start["training"]["steps"], start["training"]["seed"]) == ("char", 90, 0)
    sizes = start["corpus"]
    assert sizes["training"]["tokens"] + sizes["validation"]["tokens"] == len(corpus.read_text(encoding="utf-8"))

    steps = by_event["step"]
    wanted = {"step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens_per_second", "seconds"}
    assert all(wanted <= line.keys() for line in steps)
    numbers = [0, *(line["step"] for line in steps)]
    assert all(0 < after - before <= 20 for before, after in itertools.pairwise(numbers))
    assert numbers[-1] == 90
    assert steps[0]["loss"] > steps[-1]["loss"]
    weighted = sum(line["loss"] * (line["step"] - before) for line, before in zip(steps, numbers, strict=False))
    assert min(line["loss"] for line in steps) < weighted / 90 < max(line["loss"] for line in steps)

    validations = by_event["validation"]
    assert [line["step"] for line in validations] == [30, 60, 90]
    for line in validations:
        assert {"step", "loss", "bits_per_byte", "perplexity", "best", "seconds"} <= line.keys()
        assert line["perplexity"] == pytest.approx(math.exp(line["loss"]))
    best = [line for line in validations if line["best"]][-1]
    assert (best["step"], best["loss"]) == (found["best_step"], min(line["loss"] for line in validations))

    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert {name: value for name, value in lines[-1].items() if name != "event"} == found

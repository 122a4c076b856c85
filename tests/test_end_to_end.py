"""Whole commands: what is trained is what is scored and sampled, exactly, from files and from pipes."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import math
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from charrnn import checkpoint
from charrnn.models import LanguageModel
from charrnn.text.vocabulary import EOS
from tests import reference
from tests.conftest import TINY, run_command, sentences

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")
PROGRAM = (sys.executable, "-m", "charrnn")


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus in a working folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "corpus.txt"
    path.write_text(sentences(150), encoding="utf-8")
    return path


def train(corpus: str | Path, output: str, *options: str, stdin: bytes | None = b"") -> dict[str, Any]:
    """Train a small model; what --json prints."""
    result = run_command("train", corpus, *TINY, *options, "-o", output, "--json", "-q", stdin=stdin)
    assert (result.status, result.err) == (0, "")
    found: dict[str, Any] = json.loads(result.out)
    return found


def score(checkpoint: str | Path, *options: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    """The records that `charrnn score` prints."""
    form = () if "--summary" in options else ("--format", "jsonl")
    result = run_command("score", "-c", checkpoint, "-q", *form, *options, stdin=stdin)
    assert (result.status, result.err) == (0, "")
    return [json.loads(line) for line in result.out.splitlines()]


def summary(checkpoint: str | Path, *options: str | Path, stdin: bytes = b"") -> dict[str, Any]:
    """What `charrnn score --summary` prints."""
    (found,) = score(checkpoint, "--summary", *options, stdin=stdin)
    return found


def open_model(path: str | Path) -> tuple[LanguageModel, checkpoint.Checkpoint]:
    """The network of a checkpoint."""
    loaded = checkpoint.load(path)
    model = LanguageModel(loaded.model, boundary=EOS if loaded.text.lines else -1)
    model.load(loaded.weights)
    return model, loaded


def assert_same_result(one: str | Path, other: str | Path) -> None:
    """Every tensor in the two files is the same bit for bit, and so is how they cut text into units."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    assert any(name.startswith("training.") for name in a)
    for name, tensor in a.items():
        assert tensor.tobytes() == b[name].tobytes(), name
    assert metadata(one)["text"] == metadata(other)["text"]


def metadata(path: str | Path) -> dict[str, Any]:
    """The JSON in a checkpoint."""
    with safe_open(path, framework="numpy") as file:
        found: dict[str, Any] = json.loads(file.metadata()["charrnn"])
    return found


def tree(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file and folder in `folder`, with size and time of the last change."""
    found = {path: path.stat() for path in [folder, *folder.rglob("*")]}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


# ---- scores against the equations

# Every cell and option by itself, then together; the last three PyTorch computes as well (test_peers_score.py).
NETWORKS = [
    "--cell lstm --peepholes --layers 1 --embedding-size 5",
    "--cell lstm --peepholes --layers 2 --embedding-size 0",
    "--cell lstm --rms-norm --layers 2 --embedding-size 5",
    "--cell gru --reset-gate before --layers 1 --embedding-size 5",
    "--cell gru --reset-gate before --layers 2 --embedding-size 0",
    "--cell gru --reset-gate none --layers 1 --embedding-size 5",
    "--cell gru --reset-gate none --layers 2 --embedding-size 0",
    "--cell lstm,gru,rnn --embedding-size 5",
    "--cell rnn,lstm,gru --peepholes --reset-gate before --activation relu --embedding-size 0",
    "--cell gru,lstm --reset-gate none --tie-weights --embedding-size 12 --lines",
    "--cell lstm --embedding-size 5 --unit byte",
    "--cell gru --embedding-size 0 --lines",
    "--cell rnn --tie-weights --embedding-size 12 --unit word",
    "--cell gru --hidden-size 16 --cutoffs 5,12 --unit word --lines",
]


@pytest.mark.parametrize("options", NETWORKS)
def test_score_agrees_with_the_equations(corpus: Path, options: str) -> None:
    train(corpus, "model.safetensors", *shlex.split(options), "--steps", "25", "--lr", "0.02")
    heldout = Path("heldout.txt")
    heldout.write_text(sentences(30, seed=1) + "and no end", encoding="utf-8")
    found = summary("model.safetensors", "--stream", "-i", heldout)

    loaded = checkpoint.load("model.safetensors")
    vocabulary = loaded.vocabulary
    text = heldout.read_text(encoding="utf-8")
    targets = vocabulary.encode(text)
    inputs = [EOS, *targets[:-1].tolist()]
    weights = reference.from_checkpoint(loaded.model, loaded.weights)
    rows = reference.log_probs(loaded.model, weights, inputs, boundary=EOS if loaded.text.lines else -1)
    expected = float(rows[np.arange(len(targets)), targets].sum())
    if vocabulary.unit != "byte":
        expected += float(vocabulary.spelling_log_probs(vocabulary.split(text)).sum())
    assert found["logprob"] == pytest.approx(expected, rel=1e-4)
    assert found["tokens"] == len(targets)
    assert expected / len(targets) > -0.97 * math.log(len(vocabulary))  # it has learned: chance would agree too easily


def test_a_stream_is_one_text_however_long(models: dict[str, Path]) -> None:
    text = sentences(100, seed=1) + sentences(900, seed=2).replace("\n", " ") + "\n" + sentences(600, seed=3)
    found = summary(models["char"], "--stream", stdin=text.encode())
    model, loaded = open_model(models["char"])
    targets = loaded.vocabulary.encode(text)
    inputs = np.concatenate([[EOS], targets[:-1]]).astype(np.int32)
    log_probs = model.log_probs(inputs[:, None], targets[:, None], model.zero_state(1))
    spelled = loaded.vocabulary.spelling_log_probs(loaded.vocabulary.split(text))
    assert found["tokens"] == len(targets) > 20_000
    assert found["logprob"] == pytest.approx(log_probs.sum() + spelled.sum(), rel=1e-9)


# ---- words that are cut already, as in the Penn Treebank


def test_penn_treebank_style(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(9_998)]
    rng = random.Random(0)
    rng.shuffle(words)

    def write(name: str, stream: list[str]) -> list[list[str]]:
        lines = [stream[start : start + 20] for start in range(0, len(stream), 20)]
        Path(name).write_text("".join(f" {' '.join(line)} \n" for line in lines), encoding="utf-8")
        return lines

    write("ptb.train.txt", [word for pair in zip(words, words, strict=True) for word in pair] + ["<unk>"] * 101)
    valid = write("ptb.valid.txt", [rng.choice(words) for _ in range(400)] + ["<unk>"] * 7)
    sizes = ("--embedding-size", "8", "--unit", "word", "--pretokenized", "--val", "ptb.valid.txt")
    found = train("ptb.train.txt", "ptb.safetensors", *sizes, "--steps", "20", "--lr", "0.02")
    assert found["vocabulary"] == 10_000  # with <unk> and <eos>, as everyone counts
    tokens = sum(len(line) + 1 for line in valid)

    stream = summary("ptb.safetensors", "--stream", "-i", "ptb.valid.txt")
    assert (stream["lines"], stream["tokens"], stream["oov"]) == (len(valid), tokens, 0)
    assert stream["perplexity"] == pytest.approx(math.exp(-stream["logprob"] / tokens))
    assert stream["perplexity_unk"] == pytest.approx(math.exp(found["val_loss"]), rel=1e-3)
    # A literal <unk> has most of that token's mass, not all: other words could have been meant.
    assert stream["perplexity_unk"] < stream["perplexity"] == stream["perplexity_without_oov"]
    assert 7 * math.log(102 / 101) / tokens == pytest.approx(
        math.log(stream["perplexity"] / stream["perplexity_unk"]), rel=1e-4
    )

    (known, literal, unknown) = score(
        "ptb.safetensors", "--per-token", stdin=b" w1 w2 w3 \nw1 <unk> w3\nw1 unheard-of w3"
    )
    assert [record["tokens"] for record in (known, literal, unknown)] == [4, 4, 4]
    assert [record["oov"] for record in (known, literal, unknown)] == [0, 0, 1]
    assert [unit["token"] for unit in known["per_token"]] == ["w1", "w2", "w3", "\n"]
    assert [unit["oov"] for unit in unknown["per_token"]] == [False, True, False, False]
    # Both are the unknown token to the model; a spelling that nobody has seen costs more.
    assert literal["per_token"][2] == unknown["per_token"][2]
    assert literal["logprob"] > unknown["logprob"]


# ---- any text has a probability


@pytest.mark.parametrize("unit", ["char", "byte", "word", "pretokenized", "lines"])
@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=40) | st.text("aeht .\n\r\t«ñ", max_size=40), stream=st.booleans())
@example(text="", stream=True)
@example(text="\n\n", stream=False)
@example(text="\ufeff\u0301\u200d\U0010ffff\x00<unk><eos>", stream=False)
def test_any_text_has_a_finite_score(models: dict[str, Path], unit: str, text: str, stream: bool) -> None:
    data = text.encode("utf-8", "replace")
    how = ("--stream",) if stream else ()
    records = score(models[unit], *how, stdin=data)
    assert len(records) == data.count(b"\n") + bool(data.rpartition(b"\n")[2])
    for record in records:
        numbers = [value for name, value in record.items() if name != "text"]
        assert all(math.isfinite(value) for value in numbers)
        assert record["logprob"] <= 0
        assert record["perplexity"] >= 1
        if not stream:
            assert record["logprob"] < 0
            assert record["bytes"] == len(record["text"].encode()) + 1
    total = summary(models[unit], *how, stdin=data)
    assert total["logprob"] == pytest.approx(sum(record["logprob"] for record in records))
    assert total["tokens"] == sum(record["tokens"] for record in records)


@pytest.mark.parametrize("unit", ["char", "byte", "word", "pretokenized", "lines"])
@settings(max_examples=20, deadline=None)
@given(text=st.text(max_size=20) | st.text("the catdogsuñ.\n", max_size=60))
def test_the_probabilities_of_all_next_units_sum_to_one(models: dict[str, Path], unit: str, text: str) -> None:
    model, loaded = open_model(models[unit])
    size = len(loaded.vocabulary)
    inputs = np.array([EOS, *loaded.vocabulary.encode(text)], np.int32)[:, None]
    hidden = model.forward(inputs, model.zero_state(1)).copy()
    steps = len(inputs)
    everything = np.tile(np.arange(size, dtype=np.int32), (steps, 1))
    log_probs = model.log_probs(np.repeat(inputs, size, axis=1), everything, model.zero_state(size))
    assert np.abs(np.exp(log_probs).sum(axis=1) - 1).max() < 1e-6
    # The same from the logits that sampling reads.
    logits = model.logits(hidden[:, 0])
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert softmax.dtype == np.float32
    assert np.abs(softmax.sum(axis=1, dtype=np.float64) - 1).max() < 1e-6
    assert np.abs(np.log(softmax) - log_probs).max() < 1e-4


def test_every_line_has_a_record(models: dict[str, Path]) -> None:
    result = run_command("score", "-c", models["char"], stdin=b"a\n\nb")
    assert result.status == 0
    records = [line.split("\t") for line in result.out.decode().split("\n")[:-1]]
    assert [(len(fields), fields[1], fields[4]) for fields in records] == [(5, "2", "a"), (5, "1", ""), (5, "2", "b")]


# ---- pipes


@POSIX
def test_an_endless_sample_ends_with_its_reader(models: dict[str, Path]) -> None:
    head = shutil.which("head")
    assert head is not None
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
    again = run_command("sample", "-c", models["char"], "-n", "900", "--seed", "1")
    assert reader.stdout[:900] == again.out[:900]  # at least a byte a unit


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

"""Whole commands: what is trained is what is scored and sampled, exactly, from files and from pipes."""

from __future__ import annotations

import json
import math
import random
import shlex
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

pytestmark = pytest.mark.usefixtures("corpus")


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
    model = LanguageModel(loaded.model)
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


# With peepholes or normalisation, the kernels of the LSTM are compiled once more.
VARIANTS = [option for option in NETWORKS if "--peepholes" in option or "--rms-norm" in option]


@pytest.mark.parametrize(
    "options", [pytest.param(one, marks=pytest.mark.slow) if one in VARIANTS else one for one in NETWORKS]
)
def test_score_agrees_with_the_equations(corpus: Path, options: str) -> None:
    train(corpus, "model.safetensors", *shlex.split(options), "--steps", "40", "--lr", "0.02")
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
@settings(max_examples=12, deadline=None)  # besides those below, of each kind of unit
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
@settings(max_examples=12, deadline=None)
@given(text=st.text(max_size=20) | st.text("the catdogsuñ.\n", max_size=60))
def test_the_probabilities_of_all_next_units_sum_to_one(models: dict[str, Path], unit: str, text: str) -> None:
    model, loaded = open_model(models[unit])
    size = len(loaded.vocabulary)
    inputs = np.array([EOS, *loaded.vocabulary.encode(text)], np.int32)[:, None]
    reset = inputs == EOS if loaded.text.lines else None
    hidden = model.forward(inputs, model.zero_state(1), reset).copy()
    steps = len(inputs)
    everything = np.tile(np.arange(size, dtype=np.int32), (steps, 1))
    repeated = np.repeat(inputs, size, axis=1)
    resets = None if reset is None else repeated == EOS
    log_probs = model.log_probs(repeated, everything, model.zero_state(size), resets)
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

"""`charrnn score` against PyTorch's own modules on the same file; and what is learned from larger texts."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from charrnn.text.vocabulary import Vocabulary
from tests.conftest import TINY, run_command, sentences

pytestmark = pytest.mark.peers

NETWORKS = [
    f"--cell {cell} --layers {layers} --embedding-size {embedding}"
    for cell in ("lstm", "gru --reset-gate after", "rnn --activation tanh", "rnn --activation relu")
    for layers in (1, 2)
    for embedding in (0, 6)
]


class Peer:
    """A checkpoint in PyTorch: weights by their names, shapes as they are, text cut by what the file says."""

    def __init__(self, path: Path) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        with safe_open(path, framework="pt") as file:
            described = json.loads(file.metadata()["charrnn"])
            weights = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("training.")}  # noqa: SIM118
        model, self.text = described["model"], described["text"]
        self.size = size = model["vocabulary_size"]
        (cell,) = set(model["cells"])
        kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
        options = {"nonlinearity": model["activation"]} if cell == "rnn" else {}
        width, hidden = model["embedding_size"] or size, model["hidden_size"]
        parts = {"rnn": kind(width, hidden, len(model["cells"]), **options), "output": torch.nn.Linear(hidden, size)}
        self.embeds = model["embedding_size"] > 0
        if self.embeds:
            parts["embedding"] = torch.nn.Embedding(size, width)
        self.modules = torch.nn.ModuleDict(parts)
        self.modules.load_state_dict(weights, strict=True)
        self.torch = torch
        self.numbers = {unit: number for number, unit in enumerate(self.text["vocabulary"])}

    def logprob(self, targets: list[int]) -> float:
        """log P of the units `targets` as one text: a zero state, and the end of a line before the first."""
        torch = self.torch
        with torch.no_grad():
            units = torch.tensor([1, *targets])
            read = self.modules["embedding"] if self.embeds else torch.eye(self.size).__getitem__
            logits = self.modules["output"](self.modules["rnn"](read(units[:-1]))[0])
            log_probs = torch.log_softmax(logits.double(), dim=1)
            return float(log_probs[range(len(targets)), units[1:]].sum())

    def read_characters(self, text: str) -> list[int]:
        """Ids of the characters of `text`."""
        return [1 if character == "\n" else self.numbers.get(character, 0) for character in text]

    def read_words(self, line: str) -> list[int]:
        """Ids of the words of one line, which white space separates, and of its end."""
        return [*(self.numbers.get(word, 0) for word in line.split()), 1]


def train(output: Path, *options: str) -> dict[str, Any]:
    """Train a small model on generated sentences; what --json prints."""
    corpus = output.parent / "corpus.txt"
    corpus.write_text(sentences(150), encoding="utf-8")
    return command("train", corpus, *TINY, *options, "-o", output, "--json")


def command(*args: str | Path) -> dict[str, Any]:
    """The JSON object that a command prints."""
    result = run_command(*args, "-q")
    assert (result.status, result.err) == (0, "")
    found: dict[str, Any] = json.loads(result.out)
    return found


def heldout(folder: Path, text: str) -> Path:
    path = folder / "heldout.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("options", NETWORKS)
def test_a_stream_scores_as_in_pytorch(tmp_path: Path, options: str) -> None:
    model = tmp_path / "model.safetensors"
    train(model, *shlex.split(options), "--steps", "40", "--lr", "0.01")
    text = sentences(60, seed=1)
    found = command("score", "-c", model, "--stream", "--summary", "-i", heldout(tmp_path, text))
    peer = Peer(model)
    targets = peer.read_characters(text)
    assert 0 not in targets  # what the spelling of unknown characters adds is tested without PyTorch
    expected = peer.logprob(targets)
    assert (found["tokens"], found["oov"]) == (len(text), 0)
    assert found["logprob"] == pytest.approx(expected, rel=1e-4)
    assert expected / len(text) > -0.9 * math.log(peer.size)  # it has learned something


def test_lines_score_as_in_pytorch(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    train(model, "--lines", "--steps", "60", "--lr", "0.01")
    text = sentences(40, seed=1) + "\n"
    path = heldout(tmp_path, text)
    result = run_command("score", "-c", model, "-q", "--format", "jsonl", "-i", path)
    records = [json.loads(line) for line in result.out.splitlines()]
    peer = Peer(model)
    expected = [peer.logprob(peer.read_characters(line + "\n")) for line in text.split("\n")[:-1]]
    assert [record["oov"] for record in records] == [0] * 41
    assert [record["logprob"] for record in records] == pytest.approx(expected, rel=1e-4)
    # A stream starts afresh at each line, as training did.
    stream = command("score", "-c", model, "--stream", "--summary", "-i", path)
    assert stream["logprob"] == pytest.approx(sum(expected), rel=1e-4)


def test_words_score_as_in_pytorch(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    train(model, "--unit", "word", "--pretokenized", "--cell", "gru", "--layers", "2", "--steps", "60", "--lr", "0.01")
    text = sentences(60, seed=1)
    found = command("score", "-c", model, "--stream", "--summary", "-i", heldout(tmp_path, text))
    peer = Peer(model)
    targets = [number for line in text.splitlines() for number in peer.read_words(line)]
    words = [word for line in text.splitlines() for word in line.split()]
    unknown = [word for word in words if word not in peer.numbers]
    assert unknown
    expected = peer.logprob(targets)
    assert (found["tokens"], found["oov"]) == (len(targets), len(unknown))
    assert math.log(found["perplexity_unk"]) * len(targets) == pytest.approx(-expected, rel=1e-4)
    spelled = float(Vocabulary.from_json(peer.text).spelling_log_probs(unknown).sum())
    assert found["logprob"] == pytest.approx(expected + spelled, rel=1e-4)


# ---- larger texts


def test_shakespeare_is_learned_and_scored_as_it_was_validated(larger_texts: Path, tmp_path: Path) -> None:
    corpus = larger_texts / "tinyshakespeare.txt"
    model = tmp_path / "model.safetensors"
    found = command("train", corpus, "--steps", "150", "--threads", "2", "-o", model, "--json")
    assert found["train_loss"] < 2.6
    assert found["val_loss"] < 2.6
    text = corpus.read_text(encoding="utf-8")
    path = heldout(tmp_path, text[int(0.9 * len(text)) :])
    scored = command("score", "-c", model, "--stream", "--summary", "-i", path)
    assert found["val_loss"] == pytest.approx(-scored["logprob"] / scored["tokens"], abs=1e-3)
    assert found["val_bits_per_byte"] == pytest.approx(scored["bits_per_byte"], abs=2e-3)


def test_names_are_learned_and_written(larger_texts: Path, tmp_path: Path) -> None:
    corpus = larger_texts / "names.txt"
    model = tmp_path / "model.safetensors"
    found = command("train", corpus, "--lines", "--steps", "150", "-o", model, "--json")
    assert found["val_loss"] < 2.6
    assert found["train_loss"] < 2.6
    first, second = (run_command("sample", "-c", model, "--count", "20", "--seed", "1", "-q") for _ in range(2))
    assert (first.status, first.err) == (0, "")
    assert first.out == second.out
    assert first.out.endswith(b"\n")
    names = first.out.decode().splitlines()
    assert len(names) == 20
    assert len(set(names)) >= 15
    assert sum(name.isalpha() for name in names) >= 19  # an empty line is possible, and rare
    assert b"<unk>" not in first.out
    assert "\ufffd" not in first.out.decode()

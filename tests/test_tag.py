"""The task tag: training, resuming and evaluating through the library and the command line, and the checkpoint."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint, tasks
from charrnn.errors import CharrnnError, UsageError
from charrnn.models.tagger import Tagger
from charrnn.tasks import trained_tagger
from charrnn.tasks.tag import TASK
from charrnn.tasks.trained_tagger import TrainedTagger
from charrnn.text.tagged_corpus import TaggedCorpus
from charrnn.training import events, setup
from charrnn.training.loop import train
from charrnn.training.task import Request
from tests.conftest import run_command
from tests.task_runs import (
    assert_interruption_changes_no_bit,
    assert_options_change_what_is_learned,
    assert_threads_change_no_bit,
)

SMALL = {"hidden_size": 8, "embedding_size": 6, "batch_size": 8, "steps": 60, "eval_every": 20, "dropout": 0.1}
OPTIONS = (
    *("--task", "tag", "--hidden-size", "8", "--embedding-size", "6", "--batch-size", "8", "--threads", "1"),
    *("--dropout", "0.1"),
)


def sentences(count: int, seed: int = 0) -> str:
    """Names of one or two words begin with a capital; after "in" they are places, else persons. IOB2."""
    choose = random.Random(seed)
    words = ["".join(choose.choices("aeioubdklmnrst", k=choose.randint(2, 6))) for _ in range(150)]
    lines = []
    for _ in range(count):
        for _ in range(choose.randint(1, 4)):
            lines += [f"{choose.choice(words)} O" for _ in range(choose.randint(1, 3))]
            place = choose.random() < 0.5
            lines += ["in O"] * place
            kind = "LOC" if place else "PER"
            name = [choose.choice(words).capitalize() for _ in range(choose.randint(1, 2))]
            lines += [f"{word} {'I' if n else 'B'}-{kind}" for n, word in enumerate(name)]
            lines.append(", O")
        lines.append("")
    return "\n".join(lines) + "\n"


def parts_of_speech(text: str) -> str:
    """The same sentences with tags that are no spans."""
    return text.replace(" O", " low").replace("B-", "").replace("I-", "")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tag") / "names.conll"
    path.write_text(sentences(250))
    return path


def request(data: Path, folder: Path, name: str, **given: object) -> Request:
    return Request([str(data)], folder / f"{name}.safetensors", SMALL | given)


def model_of(path: Path) -> TrainedTagger:
    return TASK.trained(checkpoint.load(path, TASK.format), threads=1, precision="float32")


def test_it_learns_and_its_figures_are_those_of_its_predictions(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path, "m", steps=300, eval_every=100, learning_rate=0.01)
    end = list(train(*setup.prepare(TASK, asked, lambda: 0.0)))[-1]
    assert isinstance(end, events.End)
    result = end.result()
    assert result["val_accuracy"] > 0.97 > 0.95 > result["val_baseline_accuracy"]
    assert result["val_f1"] > 0.9
    model = model_of(asked.output)
    texts = ["aba in Tamo Tali , dune", "Tamo", "", "ka " * 40]
    found = model.predict(texts)
    assert found[0].words == ("aba", "in", "Tamo", "Tali", ",", "dune")
    assert found[0].tags == ("O", "O", "B-LOC", "I-LOC", "O", "O")
    assert [len(one.tags) for one in found] == [6, 1, 0, 40]
    # The loss of the run is that of the scores of the held-out sentences.
    dataset = TASK.read(asked, None)
    assert dataset.validation is not None
    names, part = (
        list({word: None for line in data.read_text().splitlines() if (word := line.split(" ")[0])}),
        dataset.validation,
    )
    pieces = [slice(*pair) for pair in zip(part.offsets[:-1], part.offsets[1:], strict=True)]
    words = [[names[n] for n in part.ids[piece]] for piece in pieces]
    tags = [[model.labels[n] for n in part.tags[piece]] for piece in pieces]
    scores = model.analyse(words, tags)
    assert -sum(score.logprob or 0 for score in scores) / len(part) == pytest.approx(result["val_loss"], rel=1e-4)
    right = sum(int((score.best == part.tags[piece]).sum()) for score, piece in zip(scores, pieces, strict=True))
    assert right / len(part) == pytest.approx(result["val_accuracy"])


def test_predictions_do_not_depend_on_neighbours(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(data, tmp_path, "m", steps=10)
    list(train(*setup.prepare(TASK, asked, lambda: 0.0)))
    model = model_of(asked.output)
    lines = [block.split("\n") for block in data.read_text().strip().split("\n\n")[:40]]
    words = [[line.split(" ")[0] for line in block] for block in lines] + [["Aba", "unknownword"] * 300]
    tags = [[line.split(" ")[1] for line in block] for block in lines] + [["O"] * 600]
    together = model.analyse(words, tags)
    for sentence, own, found in zip(words[::7], tags[::7], together[::7], strict=True):
        alone = model.analyse([sentence], [own])[0]
        np.testing.assert_array_equal(alone.best, found.best)
        assert alone.logprob == found.logprob
    # A long sentence is read in pieces with context.
    monkeypatch.setattr(trained_tagger, "PIECE", 128)
    in_pieces = model.analyse(words[-1:], tags[-1:])[0]
    np.testing.assert_array_equal(in_pieces.best, together[-1].best)
    assert in_pieces.logprob == pytest.approx(together[-1].logprob, rel=1e-5)


@pytest.mark.parametrize(
    "given", [{}, {"head": "softmax", "cell": ("gru",), "layers": 2, "dense": (5,), "char_ngrams": 0}], ids=str
)
def test_interrupted_and_resumed_ends_with_the_same_bits(data: Path, tmp_path: Path, given: dict[str, object]) -> None:
    whole, parts = (request(data, tmp_path, name, **given) for name in ("whole", "parts"))
    assert_interruption_changes_no_bit(TASK, whole, parts, 7)


@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_threads_change_no_bit(data: Path, tmp_path: Path, head: str) -> None:
    assert_threads_change_no_bit(TASK, request(data, tmp_path, "m", steps=8, head=head))


def test_the_command(data: Path, tmp_path: Path) -> None:
    path, log = tmp_path / "m.safetensors", tmp_path / "log"
    config = tmp_path / "c.toml"
    config.write_text('task = "tag"\nhidden-size = 8\nchar-ngrams = 2\nhead = "softmax"\n')
    dry = run_command("train", data, "--config", config, "--dry-run", "-o", path)
    assert (dry.status, path.exists()) == (0, False), dry.err
    assert "spans (IOB2)" in dry.err
    result = run_command("train", data, "--config", config, "--steps", "20", "--json", "-o", path, "--log", log)
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert found["labels"] == 5
    assert 0 <= found["val_f1"] <= 1
    assert any(json.loads(line)["event"] == "validation" for line in log.read_text().splitlines())
    shown = run_command("info", path)
    lines = shown.out.decode().splitlines()
    assert (shown.status, lines[2]) == (0, "task        tag: one of 5 tags for each word")
    assert lines[3].endswith("; they are spans (IOB2)")
    assert lines[4].endswith(", and of their n-grams of up to 2 characters")
    assert lines[5] == "model       lstm, 1 layer of 8 in both directions, each tag for itself"
    assert tasks.load_checkpoint(path).data.tagset.scheme == "iob2"
    resumed = run_command("train", "--resume", "-o", path, "--steps", "25")
    assert resumed.status == 0, resumed.err
    assert resumed.err.splitlines()[-1] == f"charrnn predict -c {path}"
    started = run_command(
        "train", data, "--init-from", path, "--task", "tag", "--steps", "5", "-q", "-o", tmp_path / "other.safetensors"
    )
    assert started.status == 0, started.err
    with pytest.raises(CharrnnError, match="is a model of the task tag, and one of the task language"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "option",
    ["--no-bidirectional", "--head softmax", "--dense 5", "--char-ngrams 0", "--char-ngrams 2", "--cell gru"],
)
def test_it_changes_what_is_learned(data: Path, tmp_path: Path, option: str) -> None:
    small = (data, *OPTIONS, "--steps", "12")
    assert_options_change_what_is_learned(small, (*small, *option.split()), folder=tmp_path)


def test_the_head_follows_the_tags(data: Path, tmp_path: Path) -> None:
    plain = tmp_path / "pos.txt"
    plain.write_text(parts_of_speech(data.read_text()))
    for file, head in ((data, "crf"), (plain, "softmax")):
        asked = request(file, tmp_path, head, steps=2)
        spec, network = setup.prepare(TASK, asked, lambda: 0.0)
        assert network.config.head == head
        assert isinstance(network, Tagger)
        assert isinstance(spec.dataset, TaggedCorpus)
        assert spec.dataset.validation is not None
        metrics = TASK.evaluate(network, spec.dataset.validation)
        assert ("f1" in metrics.figures) == (head == "crf")
        assert metrics.error == 1 - metrics.figures.get("f1", metrics.figures["accuracy"])


@pytest.mark.parametrize(
    ("text", "options", "status", "says"),
    [
        ("a X\n\nb c Y\n", (), 1, "records.conll, line 3: 'b c Y' has 3 columns, and the first token has 2"),
        ("alone\n", (), 1, "line 1: 'alone' has no tag"),
        ("", (), 1, "is empty; give a file with a token and its tag a line"),
        ("a X\nb X\n", (), 1, "all tokens to train on have the tag 'X'"),
        ("a X\nb Y\n\n" * 9, ("--tie-weights",), 2, "--tie-weights is not for the task tag"),
        ("a X\nb Y\n\n" * 9, ("--lines",), 2, "--lines is for language models"),
        ("a X\nb Y\n\n" * 9, ("--unit", "char"), 2, "--unit is char, and tags are those of words"),
        ("a X\nb Y\n\n" * 9, ("--max-length", "9"), 2, "--max-length is not for sentences"),
        ("a X\nb Y\n\n" * 9, ("--columns", "WORD,TAG"), 2, "--columns is WORD,TAG, and 'WORD' is no column"),
        ("a X\nb Y\n\n" * 9, ("--embedding-size", "0"), 2, "--embedding-size is 0"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, text: str, options: tuple[str, ...], status: int, says: str) -> None:
    file = tmp_path / "records.conll"
    file.write_text(text)
    result = run_command("train", file, "--task", "tag", *options, "--steps", "2", "-o", tmp_path / "m.safetensors")
    assert (result.status, result.out) == (status, b"")
    assert says in result.err.splitlines()[-1], result.err
    assert not (tmp_path / "m.safetensors").exists()


def test_options_of_tags_are_refused_elsewhere(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`head` is not for the task language"):
        setup.prepare(tasks.task_named("language"), request(data, tmp_path, "m", head="crf"), lambda: 0.0)


def test_metadata_that_cannot_be(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path, "m", steps=1)
    spec, network = setup.prepare(TASK, asked, lambda: 0.0)
    assert isinstance(spec.dataset, TaggedCorpus)
    good: dict[str, Any] = json.loads(json.dumps(TASK.format.describe(network.config, TASK.record(spec.dataset))))
    assert TASK.format.parse(good) == (network.config, TASK.record(spec.dataset))
    for path, value, says in (
        (("input",), {"kind": "labels"}, "of a tagger it is"),
        (("output", "labels"), ["O", "O"], "not different texts"),
        (("output", "labels"), ["O", 1], "not different texts"),
        (("output", "labels"), ["O", "\ud800"], "a lone surrogate"),
        (("output", "labels"), ["O", "\n"], "has a line end"),
        (("output", "labels"), [*good["output"]["labels"], "Q"], "it has 6 labels"),
        (("output", "scheme"), "bilou", "the scheme of its labels"),
        (("output", "scheme"), ["x"], "the scheme of its labels"),
        (("usual_labels",), [0] * 3, "it has 3 usual labels"),
        (("usual_labels",), [99] * len(good["usual_labels"]), "not numbers of labels"),
        (("usual_labels",), None, "not numbers of labels"),
        (("model", "buckets"), 3, "power of two"),
        (("model", "buckets"), 1 << 40, "buckets"),
        (("model", "labels"), 10**6, "labels"),
        (("model", "head"), "tree", "head"),
        (("model", "vocabulary_size"), 7, "units"),
        (("text", "pretokenized"), False, "a tagger reads words as they stand"),
        (("records", "columns"), ["1"], "two columns"),
    ):
        bad = copy.deepcopy(good)
        entry = bad
        for name in path[:-1]:
            entry = entry[name]
        entry[path[-1]] = value
        with pytest.raises((ValueError, CharrnnError)) as caught:
            TASK.format.parse(bad)
        assert says in str(caught.value), (path, value)

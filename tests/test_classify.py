"""The task classify: training, resuming and evaluating through the command line, and the checkpoint."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

from charrnn import checkpoint, tasks
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks import label_figures
from charrnn.tasks.classify import TASK
from charrnn.tasks.trained_classifier import TrainedClassifier
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
OPTIONS = ("--task", "classify", "--hidden-size", "8", "--embedding-size", "6", "--batch-size", "8", "--threads", "1")


def records(count: int, seed: int = 0) -> str:
    """Words that have an a more often than a b, or the other way round: uneven classes of uneven lengths."""
    choose = random.Random(seed)
    lines = []
    for _ in range(count):
        text = "".join(
            choose.choices("abcd", (5, 1, 2, 2) if choose.random() < 0.7 else (1, 5, 2, 2), k=choose.randint(3, 30))
        )
        lines.append(f"{'more a' if text.count('a') >= text.count('b') else 'more b'}\t{text}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classify") / "records.tsv"
    path.write_text(records(600))
    return path


def request(data: Path, folder: Path, name: str, **given: object) -> Request:
    return Request([str(data)], folder / f"{name}.safetensors", SMALL | given)


def model_of(path: Path) -> TrainedClassifier:
    found = checkpoint.load(path, TASK.format)
    return TASK.trained(found, threads=1, precision="float32")


def test_it_learns_and_its_figures_are_those_of_its_predictions(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path, "m", steps=400, eval_every=100, learning_rate=0.01)
    end = list(train(*setup.prepare(TASK, asked, lambda: 0.0)))[-1]
    assert isinstance(end, events.End)
    result = end.result()
    assert result["val_accuracy"] > 0.9 > 0.85 > result["val_baseline_accuracy"]
    dataset = TASK.read(asked, None)
    assert dataset.validation is not None
    model = model_of(asked.output)
    lines = dict.fromkeys(line for line in data.read_text().splitlines())
    texts = [line.partition("\t")[2] for line in lines]
    assert model.predict([*texts[:3], ""])[3].label in model.labels
    values = model.log_probs(texts)
    np.testing.assert_allclose(np.exp(values).sum(axis=1), 1, rtol=1e-12)
    alone = np.concatenate([model.log_probs([text]) for text in texts[:20]])
    np.testing.assert_array_equal(alone, values[:20])
    best = model.predict(texts[:5], count=2)
    assert [one.probability for one in best] == pytest.approx([float(np.exp(max(row))) for row in values[:5]])
    assert all(len(one.labels) == 2 and one.label == one.labels[0] for one in best)


def test_unknown_labels_count_as_read(data: Path, tmp_path: Path) -> None:
    """The speed of a validation is that of all records, also where few labels are known."""
    asked = request(data, tmp_path, "m")
    dataset = TASK.read(asked, None)
    network = TASK.network(*TASK.configure(asked, dataset, None), dataset, 1)
    part = dataset.validation
    assert part is not None
    known = TASK.evaluate(network, part)
    labels = np.where(np.arange(len(part)) % 20 == 0, part.labels, -1).astype(np.int32)
    few = TASK.evaluate(network, dataclasses.replace(part, labels=labels))
    assert (known.tokens, few.tokens) == (len(part), len(part))
    none = TASK.evaluate(network, dataclasses.replace(part, labels=np.full_like(labels, -1)))
    assert [none.tokens, none.loss] == [len(part), pytest.approx(np.log(2))]


@pytest.mark.parametrize("given", [{}, {"unit": "word", "pool": "attention", "cell": ("gru",), "dense": (5,)}])
def test_interrupted_and_resumed_ends_with_the_same_bits(data: Path, tmp_path: Path, given: dict[str, object]) -> None:
    whole, parts = (request(data, tmp_path, name, **given) for name in ("whole", "parts"))
    assert_interruption_changes_no_bit(TASK, whole, parts, 7)


def test_threads_change_no_bit(data: Path, tmp_path: Path) -> None:
    assert_threads_change_no_bit(TASK, request(data, tmp_path, "m", steps=10))


def test_the_command(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    result = run_command("train", data, *OPTIONS, "--steps", "20", "--json", "-q", "-o", path)
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["labels"] == 2
    assert 0 <= found["val_macro_f1"] <= 1
    shown = run_command("info", path)
    assert shown.status == 0
    lines = shown.out.decode().splitlines()
    assert lines[2:7] == [
        "task        classify: one of 2 labels for a text",
        "labels      'more a', 'more b' (the most frequent first)",
        "text        char; 6 units",
        "model       lstm, 1 layer of 8 in both directions, embedding of 6, max pooling, beside n-grams of up to 4 "
        "units",
        f"parameters  {found['parameters']:,}",
    ]
    assert any(line.startswith("figures     accuracy ") for line in lines)
    assert checkpoint.task_of(path) == "classify"
    assert tasks.load_checkpoint(path).data.labels == ("more a", "more b")
    resumed = run_command("train", "--resume", "-o", path, "--steps", "25")
    assert resumed.status == 0
    assert resumed.err.splitlines()[-1] == f"charrnn predict -c {path}"
    with pytest.raises(CharrnnError, match="is a model of the task classify, and one of the task language"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "option",
    ["--no-bidirectional", "--pool last", "--pool mean", "--pool attention", "--dense 5,4", "--ngrams 0", "--ngrams 3"],
)
def test_it_changes_what_is_learned(data: Path, tmp_path: Path, option: str) -> None:
    small = (data, *OPTIONS, "--steps", "12")
    assert_options_change_what_is_learned(small, (*small, *option.split()), folder=tmp_path)


def test_a_table_and_a_longest_text(data: Path, tmp_path: Path) -> None:
    """The same records as columns of a table are the same run; cut to a length they are another."""
    table = tmp_path / "table.csv"
    lines = [line.partition("\t") for line in data.read_text().splitlines()]
    table.write_text("n,label,body\n" + "".join(f"{n},{label},{text}\n" for n, (label, _, text) in enumerate(lines)))
    losses: list[float] = []
    for options in ((data,), (table, "--columns", "body,label"), (table, "--columns", "body,2", "--max-length", "2")):
        path = tmp_path / f"{len(losses)}.safetensors"
        result = run_command("train", *options, *OPTIONS, "--steps", "12", "-q", "--json", "-o", path)
        assert result.status == 0, result.err
        losses.append(json.loads(result.out)["val_loss"])
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("text", "options", "status", "says"),
    [
        ("a\tb\nno tab here\n", (), 1, "line 2"),
        ("a\tb\na\tc\na\td\n", (), 1, "all records to train on have the label 'a'"),
        ("", (), 1, "is empty; give a file of records"),
        ("".join(f"{n}.5\tx{n}\n" for n in range(200)), (), 1, "did you mean the task forecast"),
        ("a\tx\nb\ty\n" * 9, ("--tie-weights",), 2, "--tie-weights is not for the task classify"),
        ("a\tx\nb\ty\n" * 9, ("--lines",), 2, "--lines is for language models"),
        ("a\tx\nb\ty\n" * 9, ("--columns", "1,2,3"), 2, "--columns is 1,2,3; it must be two columns"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, text: str, options: tuple[str, ...], status: int, says: str) -> None:
    file = tmp_path / "records.tsv"
    file.write_text(text)
    result = run_command("train", file, *OPTIONS, *options, "--steps", "2", "-o", tmp_path / "m.safetensors")
    assert (result.status, result.out) == (status, b"")
    assert says in result.err.splitlines()[-1], result.err
    assert not (tmp_path / "m.safetensors").exists()


def test_options_of_other_tasks_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`columns` is not for the task language"):
        setup.prepare(tasks.task_named("language"), request(data, tmp_path, "m", columns=("1", "2")), lambda: 0.0)


def test_figures_of_labels() -> None:
    true, predicted = np.array([0, 0, 0, 1, 2, -1], np.int32), np.array([0, 0, 1, 1, 0, 0], np.int32)
    found = label_figures.by_label(true, predicted, ["a", "b", "c"])
    assert found["a"] == {"precision": 0.5, "recall": 2 / 3, "f1": pytest.approx(4 / 7), "support": 3}
    assert found["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert found["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    figures = label_figures.figures(true, predicted, 3)
    assert figures["accuracy"] == pytest.approx(3 / 6)
    assert figures["macro_f1"] == pytest.approx((4 / 7 + 2 / 3) / 3)
    assert figures["baseline_accuracy"] == pytest.approx(3 / 6)

"""Every option of `charrnn train` has an effect: here, or in the test that is named here."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from charrnn import checkpoint
from charrnn.cli.train import train
from tests.conftest import TINY, run_command, sentences

TESTS = Path(__file__).parent

# Options with which the trained tensors are others: arguments for both runs, arguments for the second only. They are
# others than the defaults, so that the tensors would be the same if the option were ignored.
CHANGES_TENSORS: dict[str, list[tuple[str, str]]] = {
    "init_from": [("", "--init-from first.safetensors")],
    "unit": [("", "--unit word"), ("", "--unit byte")],
    "pretokenized": [("--unit word", "--pretokenized")],
    "lines": [("", "--lines")],
    "min_count": [("", "--min-count 40"), ("--unit word", "--min-count 1")],
    "max_vocab": [("", "--max-vocab 9"), ("--unit word", "--max-vocab 9")],
    "encoding": [("", "--encoding latin-1")],
    "cell": [("", "--cell gru"), ("--layers 2", "--cell lstm,rnn")],
    "hidden_size": [("", "--hidden-size 9")],
    "layers": [("", "--layers 2"), ("", "--num-layers 3")],
    "embedding_size": [("", "--embedding-size 5"), ("", "--embedding-size 0")],
    "peepholes": [("", "--peepholes")],
    "rms_norm": [("", "--rms-norm")],
    "reset_gate": [("--cell gru", "--reset-gate before"), ("--cell gru", "--reset-gate none")],
    "activation": [("--cell rnn", "--activation relu")],
    "tie_weights": [("--embedding-size 12", "--tie-weights")],
    "cutoffs": [("", "--cutoffs 9")],
    "dropout": [("--dropout 0", "--dropout 0.3")],
    "weight_decay": [("", "--weight-decay 0"), ("--optimizer adam", "--weight-decay 0.1")],
    "clip_norm": [("", "--clip-norm 0.01")],
    "clip_value": [("--optimizer sgd", "--clip-value 0.001")],
    "optimizer": [
        ("--lr 0.01 --weight-decay 0.1", f"--optimizer {name}") for name in ("adam", "rmsprop", "adagrad", "sgd")
    ],
    "momentum": [("--optimizer sgd", "--momentum 0.5")],
    "learning_rate": [("", "--lr 0.02"), ("", "--learning-rate 0.03")],
    "schedule": [("", "--schedule linear"), ("", "--schedule constant"), ("", "--schedule plateau")],
    "warmup": [("", "--warmup 0"), ("", "--warmup 1")],
    "batch_size": [("", "--batch-size 3")],
    "seq_length": [("", "--seq-length 9")],
    "steps": [("", "--steps 13")],
    "val": [("", "--val other.txt")],
    "val_fraction": [("", "--val-fraction 0.3"), ("", "--val-fraction 0")],
    "seed": [("", "--seed 1")],
    "shards": [("", "--shards 2")],
    "precision": [("--precision float32", "--precision bfloat16")],
}
COMPILES_MORE = ("precision", "peepholes", "rms_norm")
# The others, and where their effect is tested.
ELSEWHERE = {
    "corpus": "test_cli_train.py::test_failures_are_one_line",
    "task": "test_classify.py::test_the_command",
    "columns": "test_classify.py::test_a_table_and_a_longest_text",
    "max_length": "test_classify.py::test_a_table_and_a_longest_text",
    "bidirectional": "test_classify.py::test_it_changes_what_is_learned",
    "pool": "test_classify.py::test_it_changes_what_is_learned",
    "ngrams": "test_classify.py::test_it_changes_what_is_learned",
    "memory": "test_cli_memory.py::test_it_says_more_of_a_text_than_the_network",
    "memory_size": "test_memory_model.py::test_its_size_is_bounded",
    "char_ngrams": "test_tag.py::test_it_changes_what_is_learned",
    "head": "test_tag.py::test_it_changes_what_is_learned",
    "attention": "test_translate.py::test_options_change_what_is_learned",
    "normalize": "test_translate.py::test_options_change_what_is_learned",
    "group": "test_forecast.py::test_sequences_of_a_table",
    "season": "test_forecast.py::test_an_option_changes_what_is_learned",
    "window": "test_forecast.py::test_an_option_changes_what_is_learned",
    "horizon": "test_forecast.py::test_an_option_changes_what_is_learned",
    "distribution": "test_forecast.py::test_an_option_changes_what_is_learned",
    "dense": "test_classify.py::test_it_changes_what_is_learned",
    "output": "test_cli_train.py::test_json_is_one_object_on_stdout",
    "resume": "test_cli_train.py::test_resume",
    "force": "test_cli_train.py::test_an_existing_output_is_kept",
    "errors": "test_train_options.py::test_invalid_bytes_are_replaced_where_asked",
    "epochs": "test_train_options.py::test_epochs",
    "max_time": "test_cli_train.py::test_a_limit_of_time_prints_the_command_that_repeats_it",
    "patience": "test_train_options.py::test_patience",
    "eval_every": "test_end_to_end_runs.py::test_the_log_tells_everything",
    "threads": "test_train_options.py::test_threads_and_precision_are_logged",
    "dry_run": "test_cli_train.py::test_dry_run_writes_nothing",
    "log": "test_cli_train.py::test_the_log_has_every_event",
    "as_json": "test_end_to_end_runs.py::test_json_is_the_result_and_nothing_else",
    "sample_every": "test_train_options.py::test_samples_on_the_way",
    "config": "test_cli_train.py::test_settings_come_from_flags_then_file",
    "quiet": "test_cli_train.py::test_json_is_one_object_on_stdout",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with two corpora and a model."""
    path = tmp_path_factory.mktemp("options")
    (path / "corpus.txt").write_text(sentences(150), encoding="utf-8")
    (path / "other.txt").write_text(sentences(30, seed=1), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        result = run_command("train", "other.txt", *TINY, "--steps", "5", "-q", "-o", "first.safetensors")
        assert result.status == 0
        yield path


@dataclass(frozen=True)
class Trained:
    """What a run ends with: the best weights and the latest ones, and all options that the checkpoint records."""

    tensors: dict[str, np.ndarray]
    recorded: dict[str, Any]


trained: dict[tuple[str, ...], Trained] = {}


def train_with(*args: str) -> Trained:
    """A run with these arguments."""
    # The last of two equal options counts.
    given = ("--hidden-size 12 --batch-size 4 --seq-length 16 --steps 12 " + " ".join(args)).split()
    if "--init-from" in given:
        del given[:2]
    if tuple(given) not in trained:
        result = run_command("train", "corpus.txt", "--threads", "1", *given, "-q", "--force", "-o", "new.safetensors")
        assert (result.status, result.err) == (0, "")
        saved = checkpoint.load("new.safetensors")
        recorded = dataclasses.asdict(saved.model) | dataclasses.asdict(saved.text) | saved.training["options"]
        recorded |= {f"source {name}": value for name, value in saved.training["source"].items()}
        trained[tuple(given)] = Trained(load_file("new.safetensors"), recorded)
    return trained[tuple(given)]


# Where an option is recorded under another name, and what else follows from it, the size of the vocabulary aside.
RECORDED = {"cell": "cells", "layers": "cells", "init_from": "source init_from", "val": "source val"}
FOLLOWS = {
    "init_from": {"source own_vocabulary"},
    "unit": {"cells", "dropout", "embedding_size", "eval_every", "max_vocab", "min_count"},
    "pretokenized": {"eval_every"},
    "steps": {"eval_every"},
    "val_fraction": {"eval_every"},
}


@pytest.mark.parametrize(
    ("name", "both", "second"),
    [
        pytest.param(name, *case, marks=pytest.mark.slow if name in COMPILES_MORE else ())
        for name, cases in CHANGES_TENSORS.items()
        for case in cases
    ],
    ids=lambda words: words or "-",
)
def test_it_changes_what_is_learned(folder: Path, name: str, both: str, second: str) -> None:
    """The option and nothing else is recorded otherwise, and the weights after the last step are others."""
    without, given = train_with(both), train_with(both, second)
    changed = {key for key, value in without.recorded.items() if given.recorded[key] != value}
    own = RECORDED.get(name, name)
    assert own in changed
    assert changed <= {own, "vocabulary_size"} | FOLLOWS.get(name, set())
    before, after = (run.tensors["training.parameters"] for run in (without, given))
    assert before.shape != after.shape or not np.array_equal(before, after)


def test_the_same_options_give_the_same_weights(folder: Path) -> None:
    """So that what differs above comes of the option."""
    first = train_with("").tensors
    trained.clear()
    again = train_with("").tensors
    assert first.keys() == again.keys()
    for name, tensor in first.items():
        assert tensor.tobytes() == again[name].tobytes(), name


def test_every_option_is_tested() -> None:
    options = set(inspect.signature(train).parameters) - {"context"}
    assert CHANGES_TENSORS.keys() | ELSEWHERE.keys() == options
    assert not CHANGES_TENSORS.keys() & ELSEWHERE.keys()
    for where in ELSEWHERE.values():
        file, _, name = where.partition("::")
        assert re.search(rf"^def {name}\(", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE), where


def run(*args: str) -> Any:
    result = run_command("train", *TINY, *args, "--json", "--force", "-o", "new.safetensors", "--log", "log.jsonl")
    assert result.status == 0, result.err
    log = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    return json.loads(result.out), log, result.err


def test_invalid_bytes_are_replaced_where_asked(folder: Path) -> None:
    Path("bad.txt").write_bytes(sentences(50).encode() + b"\xff\n")
    args = ["train", "bad.txt", *TINY, "--steps", "2", "--force", "-o", "new.safetensors"]
    for strict in ([], ["--errors", "strict"]):
        refused = run_command(*args, *strict)
        assert refused.status == 1
        assert "--errors replace" in refused.err
    assert run_command(*args, "--errors", "replace", "--val-fraction", "0").status == 0
    assert "\N{REPLACEMENT CHARACTER}" in checkpoint.load("new.safetensors").vocabulary.units


def test_epochs(folder: Path) -> None:
    found, (start, *_), _ = run("corpus.txt", "--epochs", "0.5")
    assert (found["stopped_by"], found["steps"]) == ("epochs", -(-start["steps_per_epoch"] // 2))
    found, _, _ = run("corpus.txt", "--epochs", "9", "--steps", "4")
    assert (found["stopped_by"], found["steps"]) == ("steps", 4)


def test_patience(folder: Path) -> None:
    args = ["corpus.txt", "--steps", "40", "--eval-every", "2", "--optimizer", "sgd", "--lr", "20"]
    found, _, _ = run(*args, "--patience", "2")
    assert found["stopped_by"] == "patience"
    assert found["steps"] == found["best_step"] + 4
    found, _, _ = run(*args)
    assert (found["stopped_by"], found["steps"]) == ("steps", 40)


@pytest.mark.slow  # compiles for bfloat16
def test_threads_and_precision_are_logged(folder: Path) -> None:
    for threads, precision in (("1", "float32"), ("2", "bfloat16")):
        _, (start, *_), _ = run("corpus.txt", "--steps", "2", "--threads", threads, "--precision", precision)
        assert (start["threads"], start["precision"]) == (int(threads), precision)


def test_samples_on_the_way(folder: Path) -> None:
    _, log, said = run("corpus.txt", "--steps", "9", "--sample-every", "4")
    assert [line["step"] for line in log if line["event"] == "sample"] == [4, 8]
    assert "  | " in said
    _, log, said = run("corpus.txt", "--steps", "9")
    assert [line for line in log if line["event"] == "sample"] == []
    assert "  | " not in said


WITHOUT_EFFECT = [
    ("--momentum 0.5", "--momentum is for --optimizer sgd; leave it out"),
    ("--momentum 0.9 --optimizer rmsprop", "--momentum is for --optimizer sgd, and --optimizer is rmsprop"),
    ("--val other.txt --val-fraction 0.1", "--val-fraction and --val other.txt exclude each other"),
    ("--unit byte --encoding utf-8", "--encoding is for text read as characters, and --unit is byte"),
    ("--unit byte --errors strict", "--errors is for text read as characters, and --unit is byte"),
    ("--unit byte --min-count 1", "--min-count chooses among units, and --unit byte has all 256"),
    ("--unit byte --max-vocab 300", "--max-vocab chooses among units, and --unit byte has all 256"),
    ("--init-from first.safetensors --min-count 2", "--min-count chooses among units, and --init-from first.safe"),
    ("--init-from first.safetensors --max-vocab 0", "--max-vocab chooses among units, and --init-from first.safe"),
    ("--val-fraction 0 --patience 3", "--patience needs held-out text"),
    ("--peepholes --cell rnn", "--peepholes is for LSTM layers"),
    ("--reset-gate none", "--reset-gate none is for GRU layers"),
    ("--activation relu", "--activation relu is for RNN layers"),
    ("--pretokenized", "--pretokenized is for --unit word"),
]


@pytest.mark.parametrize("how", ["flags", "file"])
@pytest.mark.parametrize(("args", "says"), WITHOUT_EFFECT)
def test_options_without_effect_are_refused(folder: Path, how: str, args: str, says: str) -> None:
    given = args.split()
    if how == "file":
        settings = re.sub(r"--([a-z-]+)(?: ([^-\s]\S*))?\s*", _as_toml, args)
        Path("run.toml").write_text(settings, encoding="utf-8")
        given = ["--config", "run.toml"]
    result = run_command("train", "corpus.txt", *given, "--threads", "1", "--steps", "2", "-o", "none.safetensors")
    assert (result.status, result.out) == (2, b"")
    assert result.err.splitlines()[-1].startswith(f"charrnn: error: {says}")
    assert not Path("none.safetensors").exists()


def _as_toml(option: re.Match[str]) -> str:
    value = option[2]
    return f"{option[1]} = {'true' if value is None else value if value[0].isdigit() else json.dumps(value)}\n"


def test_they_are_refused_when_resuming_too(folder: Path) -> None:
    args = ["train", "--resume", "--threads", "1", "--steps", "9", "-o"]
    refused = run_command(*args, "first.safetensors", "--momentum", "0.9")
    assert (refused.status, "--momentum is for" in refused.err) == (2, True)
    options = ["--init-from", "first.safetensors", "-o", "second.safetensors", "--steps", "2", "--force", "-q"]
    assert run_command("train", "corpus.txt", *options).status == 0
    refused = run_command(*args, "second.safetensors", "--min-count", "1")
    assert (refused.status, "--min-count chooses among units" in refused.err) == (2, True)

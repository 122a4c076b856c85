"""What a checkpoint says about its run is not trusted: a wrong type, a number out of range, a missing entry is refused.

`tests/fuzz.py` tries many more at random.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.errors import CharrnnError
from charrnn.training.recorded import LARGEST_COUNT
from charrnn.training.state import Progress
from tests import fuzz, good_files


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run saved between two validations, and one that is over."""
    folder = tmp_path_factory.mktemp("runs")
    paths = {}
    for name, data in good_files.trained_files(folder).items():
        paths[name] = folder / f"{name}.safetensors"
        paths[name].write_bytes(data)
    return paths


@pytest.fixture(scope="module")
def progress(runs: dict[str, Path]) -> dict[str, Any]:
    """The numbers of a run after some validations."""
    found: dict[str, Any] = checkpoint.load(runs["training"]).training["progress"]
    return found


def change(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Put `value` in place of an entry, "a.b" being b in the table a."""

    def changed(training: dict[str, Any]) -> None:
        *tables, last = name.split(".")
        for table in tables:
            training = training[table]
        training[last] = value

    return changed


def remove(name: str) -> Callable[[dict[str, Any]], None]:
    def removed(training: dict[str, Any]) -> None:
        *tables, last = name.split(".")
        for table in tables:
            training = training[table]
        del training[last]

    return removed


DAMAGES = {
    "step is text": (change("progress.step", "13"), "progress.step is '13', which is not of the type int"),
    "step is a flag": (change("progress.step", True), "progress.step is 'True'"),
    "step is a fraction": (change("progress.step", 13.0), r"progress.step is '13\.0'"),
    "step below 0": (change("progress.step", -1), "progress.step is -1; it must be at least 0"),
    "step too large": (change("progress.step", LARGEST_COUNT * 10), "which is too large"),
    "step before validation": (change("progress.step", 9), "progress.validated is 10, and progress.step only 9"),
    "no step": (remove("progress.step"), "progress lacks the entry 'step'"),
    "updates ahead": (change("progress.updates", 14), "progress.updates is 14, and progress.step only 13"),
    "halvings below 0": (change("progress.halvings", -1), "progress.halvings is -1"),
    "divergences are text": (change("progress.divergences", "x"), "progress.divergences is 'x'"),
    "early stopping is none": (
        change("progress.validations_since_best", None),
        "progress.validations_since_best is 'None'",
    ),
    "loss sum is a list": (change("progress.loss_sum", [1.0]), "progress.loss_sum"),
    "train loss is text": (change("progress.train_loss", ""), "progress.train_loss"),
    "progress is a list": (change("progress", []), "progress is missing or is not a table"),
    "no progress": (remove("progress"), "progress is missing"),
    "good is text": (change("last_good", "yes"), "progress is missing or is not a table"),
    "good without a step": (remove("last_good.step"), "lacks the entry 'step'"),
    "plans is none": (change("progress.plans", None), "progress.plans is 'None', which is not a list"),
    "no plan": (change("progress.plans", []), "progress.plans is empty or not in order"),
    "a plan of three": (change("progress.plans", [[0, 20, 20]]), "progress.plans has the entry"),
    "a plan of text": (change("progress.plans", [[0, "20"]]), "progress.plans has the entry"),
    "a plan of fractions": (change("progress.plans", [[0, 20.5]]), "progress.plans has the entry"),
    "a plan of nothing": (change("progress.plans", [[0, 0]]), "progress.plans is empty or not in order"),
    "plans that fall": (change("progress.plans", [[5, 20], [4, 20]]), "progress.plans is empty or not in order"),
    "a plan before the start": (change("progress.plans", [[-5, 20]]), "progress.plans is empty or not in order"),
    "best is a list": (change("progress.best", [1.0]), "progress.best is missing or is not a table"),
    "best has no loss": (remove("progress.best.loss"), "progress.best lacks the entry 'loss'"),
    "a figure is text": (change("progress.best.x", "1"), "progress.best.x is '1', which is not a number"),
    "a figure is huge": (change("progress.best.x", 10**400), "progress.best.x is '1000.*, or too large"),
    "best is true": (change("progress.best.loss", True), "progress.best.loss is 'True', which is not a number"),
    "best of no tokens": (change("progress.best.tokens", 0), "over 0 tokens"),
    "best without a step": (change("progress.best_step", None), "progress.best_step is None"),
    "a step without best": (change("progress.best", None), "which does not go with progress.best"),
    "history is a table": (change("progress.history", {"0": 1}), "progress.history is .* not a list"),
    "history of pairs": (change("progress.history", [[10, 2.0]]), "progress.history has the entry"),
    "history of text": (change("progress.history", [[10, 2.0, "2.0"]]), "progress.history has the entry"),
    "history of nothing": (change("progress.history", [[10, 2.0, None]]), "progress.history has the entry"),
    "history without end": (change("progress.history", [[1, None, 2.0]] * 1001), "has 1001 entries; at most 1000"),
    "options is a list": (change("options", []), "training options cannot be read"),
    "steps is text": (change("options.steps", "20"), "options.steps is '20', which is not of the type int | None"),
    "learning rate is a flag": (change("options.learning_rate", True), "options.learning_rate is 'True'"),
    "learning rate is 0": (change("options.learning_rate", 0), "`learning_rate` is 0"),
    "patience is a fraction": (change("options.patience", 0.5), "options.patience"),
    "optimizer is unknown": (change("options.optimizer", "x"), "`optimizer` is 'x'"),
    "seed is huge": (change("options.seed", LARGEST_COUNT + 1), "options.seed is 1000.*, which is too large"),
    "no batch size": (remove("options.batch_size"), "options lacks the entry 'batch_size'"),
    "an option unknown": (change("options.depth", 3), "options has an unknown entry 'depth'"),
    "no corpora": (change("source.corpora", []), "does not say what it was trained on"),
    "corpora is text": (change("source.corpora", "a"), "does not say what it was trained on"),
    "val is 0": (change("source.val", 0), "does not say what it was trained on"),
    "init from is a flag": (change("source.init_from", False), "does not say what it was trained on"),
    "own vocabulary is text": (change("source.own_vocabulary", "no"), "does not say what it was trained on"),
    "corpus is a list": (change("corpus", []), "is not the text it was trained on"),
    "digest is a number": (change("corpus.digest", 5), "is not the text it was trained on"),
    "layout is a table": (change("layout", {}), "has no training state that this version"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_that_makes_no_sense_is_refused(runs: dict[str, Path], name: str) -> None:
    damage, message = DAMAGES[name]
    run = checkpoint.load(runs["training"], with_training=True)
    damage(run.training)
    with pytest.raises(CharrnnError, match=message) as caught:
        fuzz.resume(runs["training"], run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [("val_loss", "2.0"), ("steps", 1.5), ("stopped_by", None), ("parameters", [1]), ("best_step", "none")],
)
def test_a_result_that_makes_no_sense_is_refused(runs: dict[str, Path], name: str, value: Any) -> None:
    run = checkpoint.load(runs["finished"], with_training=True)
    run.training["result"][name] = value
    with pytest.raises(CharrnnError, match=f"result.{name} is "):
        fuzz.resume(runs["finished"], run)


@pytest.mark.parametrize("seconds", ["1", None, -1.0, True, [1.0]])
def test_a_time_that_makes_no_sense_is_refused(runs: dict[str, Path], seconds: Any) -> None:
    run = checkpoint.load(runs["training"], with_training=True)
    run.timings["seconds"] = seconds
    with pytest.raises(CharrnnError, match=r"timings.seconds is .* which is no time"):
        fuzz.resume(runs["training"], run)


@pytest.mark.parametrize("prefix", ["", "last_good."])
def test_weights_that_are_not_finite_are_no_state_to_go_on_from(runs: dict[str, Path], prefix: str) -> None:
    run = checkpoint.load(runs["training"], with_training=True)
    run.training_tensors[f"{prefix}parameters"][5] = np.nan
    with pytest.raises(CharrnnError, match="has weights that are not finite numbers"):
        fuzz.resume(runs["training"], run)


def test_what_was_saved_is_read_as_it_was(runs: dict[str, Path], progress: dict[str, Any]) -> None:
    assert progress["history"]
    assert progress["best"]
    assert Progress.from_json(copy.deepcopy(progress)).to_json() == progress
    for path in runs.values():
        fuzz.resume(path, checkpoint.load(path, with_training=True))

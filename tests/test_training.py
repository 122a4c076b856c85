"""The training loop: it learns, keeps and measures the best weights, with the same bits at any number of threads."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError
from charrnn.models import LanguageModel
from charrnn.tasks import language_evaluation as evaluation
from charrnn.tasks.language_evaluation import evaluate
from charrnn.text.batches import RESET_PROBABILITY, random_resets
from charrnn.text.corpus import Part
from charrnn.text.vocabulary import EOS
from charrnn.training import events, plan
from charrnn.training.loop import train
from charrnn.training.task import RunSpec
from tests.runs import (
    assert_same,
    corpus_of,
    interrupt,
    make_model,
    make_task,
    of,
    resumed,
    run,
    script_losses,
)


def test_a_run_from_start_to_end(text_file: Path) -> None:
    task = make_task(text_file, steps=120, eval_every=20)
    model = make_model(task)
    happened = run(task, model)
    start, end = happened[0], happened[-1]
    assert isinstance(start, events.Start)
    assert isinstance(end, events.End)
    assert start.total_steps == 120
    assert start.parameters == model.parameters.size == end.parameters
    assert start.corpus["training"]["tokens"] == len(corpus_of(task).train.ids)
    steps = of(events.Step, happened)
    assert steps[0].loss > 2 > 1 > steps[-1].loss
    assert all(late.step - early.step <= 20 for early, late in itertools.pairwise(steps))
    assert all(event.tokens_per_second > 0 and event.gradient_norm > 0 for event in steps)
    validations = of(events.Validation, happened)
    assert [event.step for event in validations] == [20, 40, 60, 80, 100, 120]
    best = min(validations, key=lambda event: event.loss)
    assert (end.val_loss, end.best_step) == (best.loss, best.step)
    assert end.val_loss is not None
    assert end.result()["val_bits_per_byte"] == pytest.approx(end.val_loss / math.log(2))  # ASCII characters
    assert end.stopped_by == "steps"
    assert end.epochs == pytest.approx(120 / start.steps_per_epoch)
    assert all(late.seconds >= early.seconds for early, late in itertools.pairwise(happened))
    for event in happened:
        line = json.loads(json.dumps(event.to_json(), allow_nan=False))
        assert line["event"] in {"start", "advice", "step", "validation", "checkpoint", "end"}
        assert line["seconds"] >= 0
    assert list(end.result()) == [
        *("checkpoint", "parameters", "vocabulary", "steps", "epochs", "seconds", "tokens_per_second"),
        *("train_loss", "val_loss", "val_bits_per_byte", "val_bits_per_character", "best_step", "stopped_by"),
    ]


def test_the_file_has_the_best_weights_and_the_latest_state(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_losses(monkeypatch, [3.0, 1.0, 2.0, 2.0])
    task = make_task(text_file)
    model = make_model(task)
    weights: dict[int, dict[str, np.ndarray]] = {}
    for event in train(task, model):
        if isinstance(event, events.Validation):
            weights[event.step] = model.tensors()
    saved = checkpoint.load(task.output, with_training=True)
    assert saved.training["progress"]["best_step"] == 20
    for name, tensor in saved.weights.items():
        assert np.array_equal(tensor, weights[20][name])
    assert np.array_equal(saved.training_tensors["parameters"], model.parameters)
    assert not np.array_equal(weights[20]["output.weight"], weights[40]["output.weight"])


def test_the_final_value_is_that_of_the_best_weights_on_all_held_out_text(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FEWEST_TOKENS", "MOST_TOKENS"):
        monkeypatch.setattr(plan, name, 30)
    task = make_task(text_file, learning_rate=0.05)
    happened = run(task)
    end = happened[-1]
    assert isinstance(end, events.End)
    validation = corpus_of(task).validation
    assert validation is not None
    assert len(validation.ids) > 30
    model = make_model(task)
    model.load(checkpoint.load(task.output).weights)
    assert end.val_loss == pytest.approx(evaluate(model, validation).loss, rel=1e-6)
    assert abs(end.val_loss - min(event.loss for event in of(events.Validation, happened))) > 1e-4


def test_patience_ends_a_run(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_losses(monkeypatch, [3.0, 2.0, 2.5, 2.2, 9.9])
    happened = run(make_task(text_file, steps=100, patience=2))
    end = happened[-1]
    assert isinstance(end, events.End)
    assert (end.steps, end.stopped_by, end.best_step, end.val_loss) == (40, "patience", 20, 2.0)


def test_a_larger_budget_goes_on_where_patience_had_ended_a_run(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_losses(monkeypatch, [3.0, 3.5, 3.6, 2.0, 2.1, 2.2, 2.3])
    task = make_task(text_file, steps=60, patience=2)
    assert run(task)[-1].to_json()["steps"] == 30
    longer = resumed(dataclasses.replace(task, config=dataclasses.replace(task.config, steps=70)))
    end = run(longer)[-1]
    assert isinstance(end, events.End)
    assert (end.steps, end.best_step, end.stopped_by) == (60, 40, "patience")


def test_plateau_halves_the_learning_rate(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_losses(monkeypatch, [3.0, 3.5, 2.0, 2.5])
    steps = of(events.Step, run(make_task(text_file, schedule="plateau")))
    assert [event.learning_rate for event in steps] == pytest.approx([0.02, 0.02, 0.01, 0.01])


def test_without_validation(text_file: Path) -> None:
    task = make_task(text_file, val_fraction=0.0, steps=15)
    model = make_model(task)
    happened = run(task, model)
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.val_loss is end.best_step is None
    assert dict(end.val_figures) == {"bits_per_byte": None, "bits_per_character": None}
    assert end.train_loss is not None
    assert not of(events.Validation, happened)
    saved = checkpoint.load(task.output)
    for name, tensor in model.tensors().items():
        assert np.array_equal(saved.weights[name], tensor)


@pytest.mark.parametrize("lines", [False, True])
def test_same_seed_same_bits_at_any_number_of_threads(text_file: Path, lines: bool) -> None:
    tasks = [make_task(text_file, output=f"{n}.safetensors", lines=lines, dropout=0.3, steps=25) for n in range(3)]
    for task, threads in zip(tasks, (1, 2, 3), strict=True):
        run(task, make_model(task, threads=threads))
    assert_same(tasks[0].output, tasks[1].output)
    assert_same(tasks[0].output, tasks[2].output)
    other = make_task(text_file, output="other.safetensors", lines=lines, dropout=0.3, steps=25, seed=1)
    run(other)
    a, b = (checkpoint.load(task.output).weights["output.bias"] for task in (tasks[0], other))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("embedding_size", [0, 6])
def test_large_vocabularies_have_the_same_bits_too(
    text_file: Path, embedding_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.models.language.BY_ROW_FROM", 2)
    options: dict[str, Any] = {"dropout": 0.2, "weight_decay": 0.1, "clip_norm": 0.5, "batch_size": 2, "seq_length": 5}

    def model_of(task: RunSpec, threads: int) -> LanguageModel:
        size = len(corpus_of(task).vocabulary)
        config = ModelConfig(size, ("lstm",), 16, embedding_size, cutoffs=(4, 9))
        model = LanguageModel(config, threads=threads)
        model.initialise(0)
        assert model.layout.row_table is not None
        return model

    tasks = [make_task(text_file, output=f"{n}.safetensors", **options) for n in range(3)]
    for task, threads in zip(tasks, (1, 2, 3), strict=True):
        happened = run(task, model_of(task, threads))
    losses = [event.loss for event in of(events.Step, happened)]
    assert losses[-1] < 0.9 * losses[0]
    assert_same(tasks[0].output, tasks[1].output)
    assert_same(tasks[0].output, tasks[2].output)
    parts = make_task(text_file, output="parts.safetensors", **options)
    for stop in (2, 3, 2):
        training = train(parts, model_of(parts, 2))
        for _ in range(stop):
            next(training)
        interrupt(training)
        if parts.output.exists():
            parts = resumed(parts)
    run(parts, model_of(parts, 1))
    assert_same(tasks[0].output, parts.output)


def test_a_sample_that_cannot_be_drawn_does_not_end_training(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Iterator[Any]:
        raise CharrnnError("no unit has a probability")
        yield

    monkeypatch.setattr("charrnn.tasks.language.sample", refuse)
    said = run(make_task(text_file, sample_every=4, steps=8))
    assert [event.message for event in said if isinstance(event, events.Note)].count(
        "no sample: no unit has a probability"
    ) == 2
    assert isinstance(said[-1], events.End)


def test_a_sample_is_shown_at_every_validation(text_file: Path) -> None:
    task = dataclasses.replace(make_task(text_file), samples=True)
    assert [event.step for event in of(events.Sampled, run(task))] == [10, 20, 30, 40]
    whole = make_task(text_file, output="whole.safetensors")
    run(whole)
    assert_same(task.output, whole.output)


def sequential_loss(model: LanguageModel, part: Part) -> float:
    """One pass from end to end."""
    state, total = model.zero_state(1), 0.0
    targets = part.ids.astype(np.int32)
    inputs = np.concatenate([[EOS], targets[:-1]]).astype(np.int32)
    for start in range(0, len(targets), 500):
        piece = slice(start, start + 500)
        total -= float(model.log_probs(inputs[piece, None], targets[piece, None], state).sum())
    return total / len(targets)


@pytest.mark.parametrize("lines", [False, True])
def test_evaluation_is_that_of_one_pass(text_file: Path, lines: bool) -> None:
    task = make_task(text_file, lines=lines, steps=60)
    model = make_model(task)
    run(task, model)
    random = np.random.default_rng(0)
    for repeat in (1, 2, 300):
        ids = np.concatenate([np.roll(corpus_of(task).train.ids, random.integers(99)) for _ in range(repeat)])
        part = Part(ids, 2 * len(ids), len(ids))
        found = evaluate(model, part)
        assert found.tokens == len(ids)
        assert found.loss == pytest.approx(sequential_loss(model, part), abs=1e-6 if repeat == 1 else 1e-3)
        assert found.figures["bits_per_byte"] == pytest.approx(found.figures["bits_per_character"] / 2)
        assert found.figures["perplexity"] == pytest.approx(math.exp(found.loss))


def test_evaluation_of_a_part_of_the_text(text_file: Path) -> None:
    task = make_task(text_file)
    model = make_model(task)
    part = corpus_of(task).train
    long = Part(np.tile(part.ids, 50), 50 * part.bytes, 50 * part.characters)
    whole = evaluate(model, long)
    some = evaluate(model, long, limit=20_000)
    assert 19_000 <= some.tokens <= 20_000
    assert some.loss == pytest.approx(whole.loss, abs=0.05)
    assert some.figures["bits_per_byte"] == pytest.approx(
        some.loss / math.log(2)
    )  # the denominators are those of the tokens read
    assert evaluate(model, long, limit=10**9) == whole


def test_validation_gives_back_the_memory_of_what_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ids").write_bytes(bytes([2, 3, 1]) * 30_000)
    mapped = np.asarray(np.memmap(tmp_path / "ids", np.uint8, mode="r"))
    part = Part(mapped, bytes=90_000, characters=90_000)
    model = LanguageModel(ModelConfig(vocabulary_size=4, cells=("rnn",), hidden_size=4))
    model.initialise(0)
    wanted = evaluate(model, part)
    released: list[Any] = []
    monkeypatch.setattr(evaluation, "PAGES_BYTES", 10_000)
    monkeypatch.setattr(evaluation, "release_pages", released.append)
    assert evaluate(model, part) == wanted
    assert len(released) in range(7, 10)
    assert all(array is mapped for array in released)


def test_few_streams_begin_afresh_and_the_same_ones_again() -> None:
    flags = np.array([random_resets(3, step, 50) for step in range(400)])
    assert flags.mean() == pytest.approx(RESET_PROBABILITY, rel=0.2)
    assert (flags.any(axis=0)).all()
    np.testing.assert_array_equal(flags[7], random_resets(3, 7, 50))
    assert (np.array([random_resets(4, step, 50) for step in range(400)]) != flags).any()


def test_the_streams_that_begin_afresh_lose_their_state(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def states(share: float) -> list[bool]:
        monkeypatch.setattr("charrnn.text.batches.RESET_PROBABILITY", share)
        task = make_task(text_file, steps=3, val_fraction=0.0)
        model = make_model(task)
        same: list[bool] = []
        loss = model.loss

        def compare(batch: Any, *arguments: Any) -> Any:
            """Whether the state that was carried made no difference."""
            from_zeros = loss(dataclasses.replace(batch, state=None, fresh=None), *arguments)
            found = loss(batch, *arguments)
            same.append(from_zeros == found)
            return found

        monkeypatch.setattr(model, "loss", compare)
        for _ in train(task, model):
            pass
        return same

    assert states(0.0) == [True, False, False]
    assert states(1.0) == [True, True, True]

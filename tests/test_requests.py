"""From what is asked for to a run: defaults, memory, what may change on --resume, --init-from, --dry-run."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.runtime import memory
from charrnn.runtime.features import HAS_BFLOAT16
from charrnn.tasks import language_defaults as defaults
from charrnn.tasks.language import TASK
from charrnn.tasks.machine_speed import arithmetic_speed
from charrnn.training import estimate, setup
from charrnn.training.clock import stopwatch
from charrnn.training.loop import train
from tests.runs import (
    SMALL,
    TEXT,
    corpus_of,
    prepared,
    request,
    train_request,
)


def test_defaults_follow_the_corpus(text_file: Path) -> None:
    task, model = prepared(request(text_file))
    assert model.config.cells == ("lstm",)
    assert task.config.epochs == 40
    assert task.config.patience > 0
    assert task.config.precision == ("bfloat16" if HAS_BFLOAT16 else "float32")  # auto is resolved once
    task, model = prepared(request(text_file, unit="word", cell=("gru", "lstm"), hidden_size=16, max_time=9.0))
    assert model.config.cells == ("gru", "lstm")
    assert model.config.embedding_size == 16
    assert (corpus_of(task).config.min_count, corpus_of(task).config.max_vocab) == (2, 100_000)
    assert (task.config.epochs, task.config.patience) == (40, 6)  # a small corpus is not read for longer
    assert model.config.cutoffs == ()
    task, model = prepared(request(text_file, cutoffs=(4,), hidden_size=16))
    assert model.config.cutoffs == (4,)
    with pytest.raises(UsageError, match="`layers` is 3"):
        prepared(request(text_file, cell=("gru", "lstm"), layers=3))
    with pytest.raises(UsageError, match="plateau"):
        prepared(request(text_file, schedule="plateau", val_fraction=0.0))


def test_a_limit_of_time_sets_the_hidden_size_and_dropout() -> None:
    def chosen(tokens: int, speed: float = 2.5e11, unit: str = "char", **given: object) -> tuple[int, int, float]:
        text = TextConfig(unit=unit)
        model = defaults.resolve_model(given, text, 66, tokens, lambda: speed)
        config = defaults.resolve_training(given, text, model, tokens, lambda: speed)
        return len(model.cells), model.hidden_size, config.dropout

    sizes = [chosen(10**6, max_time=seconds)[1] for seconds in (1.0, 60.0, 130.0, 240.0, 1500.0, 1e6)]
    assert sizes == [128, 320, 384, 448, 512, 512]  # never many more weights than tokens
    assert chosen(10**7, max_time=1500.0)[1] == 768
    assert chosen(10**8, max_time=1e6)[1] == 1024
    assert chosen(10**6, speed=2.5e10, max_time=130.0)[1] < 384  # a slower machine
    assert chosen(10**6, max_time=130.0, unit="word")[:2] == (2, 256)  # of about as many weights
    assert chosen(10**5, max_time=1500.0)[1] == chosen(10**5)[1] == 256  # a small corpus
    assert chosen(10**6, max_time=130.0, hidden_size=100)[1] == 100
    assert chosen(10**6, max_time=130.0, epochs=3.0)[1] == chosen(10**6)[1]
    assert chosen(10**6, max_time=10.0, epochs=40.0)[2] < chosen(10**6, epochs=40.0)[2]  # what ends it first
    dropouts = [chosen(10**6, max_time=seconds)[2] for seconds in (10.0, 130.0, 1500.0)]
    assert dropouts == sorted(set(dropouts))
    assert chosen(10**8, max_time=130.0)[2] == 0
    assert chosen(10**6, epochs=40.0)[2] == chosen(10**6, steps=40 * 10**6 // 2048 + 1)[2] == 0.5
    assert chosen(10**6, epochs=40.0, dropout=0.25)[2] == 0.25


def test_large_vocabularies_get_an_adaptive_softmax() -> None:
    def cutoffs(size: int, hidden: int = 256, **given: object) -> tuple[int, ...]:
        options = {"unit": "word", "hidden_size": hidden, **given}
        return defaults.resolve_model(options, TextConfig(unit="word"), size, 10**6, lambda: 1e11).cutoffs

    assert cutoffs(defaults.FULL_SOFTMAX) == ()
    assert cutoffs(50_000) == cutoffs(50_000, cutoffs="auto") != ()
    assert len(cutoffs(100_000)) > len(cutoffs(20_000)) > 0
    assert cutoffs(100_000, hidden=8) == ()  # too narrow to be divided
    assert cutoffs(50_000, tie_weights=True) == cutoffs(50_000, cutoffs="none") == ()


def test_never_more_than_the_machine_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(vocabulary_size=100, cells=("lstm",), hidden_size=64)
    config = TrainingConfig(batch_size=1024, seq_length=64, learning_rate=0.1)
    needed = defaults.memory_needed(model, config, 10**6)
    monkeypatch.setattr(defaults, "available_memory", lambda: needed - 1)
    assert defaults.fit_into_memory(model, config, 10**6).batch_size < 1024
    monkeypatch.setattr(memory, "available_memory", lambda: needed)
    defaults.require_memory_to_train(model, config, 10**6)
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    with pytest.raises(CharrnnError, match=r"training 48,740 parameters on 1,024 x 64 units .* `batch_size`"):
        defaults.require_memory_to_train(model, config, 10**6)
    defaults.require_memory_to_train(model, config, 10**4)  # for which the batch is smaller
    monkeypatch.setattr(defaults, "available_memory", lambda: 10)
    assert defaults.fit_into_memory(model, config, 10**6).batch_size == 1
    monkeypatch.setattr(defaults, "available_memory", lambda: None)
    assert defaults.fit_into_memory(model, config, 10**6) == config
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    defaults.require_memory_to_train(model, config, 10**6)


def test_a_gradient_takes_no_more_memory_for_more_rows_than_it_takes_at_once() -> None:
    model = ModelConfig(vocabulary_size=100, cells=("lstm",), hidden_size=512)

    def needed(batch_size: int) -> int:
        return defaults.memory_needed(model, TrainingConfig(batch_size, 64, 0.1), 10**9)

    assert needed(128) - needed(64) > 100e6
    assert needed(256) - needed(128) < 10e6


def test_memory_is_asked_for_before_it_is_taken(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    monkeypatch.setattr("charrnn.models.language.LanguageModel", None)
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000_000)
    for start in (prepared, lambda again: setup.resume(TASK, again, saved, lambda: 0.0)):
        with pytest.raises(CharrnnError, match=r"needs about 0\.\d GB of memory and 0\.0 GB are free; lower"):
            start(dataclasses.replace(asked, given={**SMALL, "steps": 9}))


def test_what_may_change_when_a_run_is_resumed(text_file: Path) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    again = dataclasses.replace(asked, corpora=[])
    result = setup.finished_result(TASK, again, saved)
    assert result is not None
    assert result["stopped_by"] == "steps"
    assert setup.finished_result(TASK, asked, saved) == result
    longer = dataclasses.replace(again, given={"steps": 9})
    assert setup.finished_result(TASK, longer, saved) is None
    task, model = setup.resume(TASK, longer, saved, lambda: 0.0)
    assert list(train(task, model))[-1].steps == 9  # type: ignore[attr-defined]
    timed = dataclasses.replace(again, given={"max_time": 5.0})
    assert setup.resumed_config(TASK, timed, saved).steps is None
    for name, value in (("batch_size", 3), ("learning_rate", 0.5), ("hidden_size", 9), ("lines", True), ("layers", 2)):
        with pytest.raises(UsageError, match="`force`"):
            setup.resumed_config(TASK, dataclasses.replace(again, given={name: value}), saved)
    for cutoffs in ("auto", "none"):
        assert setup.resumed_config(TASK, dataclasses.replace(again, given={"cutoffs": cutoffs}), saved).steps == 6
    with pytest.raises(UsageError, match=r"`cutoffs` is 3,4 and .* has none"):
        setup.resumed_config(TASK, dataclasses.replace(again, given={"cutoffs": (3, 4)}), saved)
    with pytest.raises(UsageError, match="`val`"):
        setup.resumed_config(TASK, dataclasses.replace(again, val="other.txt"), saved)


def test_what_cannot_be_read_of_a_run_is_one_error(text_file: Path) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    again = dataclasses.replace(asked, given={"steps": 9})
    source, options = saved.training["source"], saved.training["options"]
    wrong: Any
    for wrong in (None, [], {"corpora": source["corpora"]}, {**source, "corpora": [1]}, {**source, "init_from": 1}):
        saved.training["source"] = wrong
        with pytest.raises(CharrnnError, match="does not say what it was trained on; `init_from`"):
            setup.resume(TASK, again, saved, lambda: 0.0)
    saved.training["source"] = source
    for wrong in ({**options, "depth": 3}, None):
        saved.training["options"] = wrong
        with pytest.raises(CharrnnError, match="its training options cannot be read"):
            setup.resume(TASK, again, saved, lambda: 0.0)


def test_a_changed_corpus_is_not_resumed(text_file: Path) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    text_file.write_text(TEXT + "more\n")
    with pytest.raises(CharrnnError, match="not the text it was trained on"):
        setup.resume(TASK, dataclasses.replace(asked, given={"steps": 9}), saved, lambda: 0.0)


def test_init_from_takes_weights_and_vocabulary(text_file: Path, tmp_path: Path) -> None:
    asked = request(text_file, **SMALL)
    first = train_request(asked)
    other = tmp_path / "other.txt"
    other.write_text("a zebu sits.\n" * 50)
    second = dataclasses.replace(
        request(other, steps=3), output=tmp_path / "second.safetensors", init_from=str(asked.output)
    )
    task, model = prepared(second)
    assert corpus_of(task).vocabulary.units == first.vocabulary.units
    for name, tensor in model.tensors().items():
        assert np.array_equal(tensor, first.weights[name])
    list(train(task, model))
    going_on = dataclasses.replace(second, given={"steps": 5})
    saved = checkpoint.load(second.output, with_training=True)
    assert list(train(*setup.resume(TASK, going_on, saved, lambda: 0.0)))[-1].steps == 5  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="`hidden_size` is 9"):
        prepared(dataclasses.replace(second, given={"hidden_size": 9}))
    with pytest.raises(UsageError, match="`unit` is word"):
        prepared(dataclasses.replace(second, given={"unit": "word"}))


def test_an_estimate_writes_nothing(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.01)
    task, model = setup.prepare(TASK, request(text_file, **SMALL), stopwatch())
    before = model.parameters.copy()
    found, start = estimate.estimate(task, model)
    assert (found["steps"], found["parameters"], found["vocabulary"]) == (
        6,
        model.parameters.size,
        start.counts["vocabulary"],
    )
    assert found["seconds"] > 0
    assert found["memory"] > model.parameters.nbytes
    assert not task.output.exists()
    assert np.array_equal(model.parameters, before)
    without = request(text_file, **SMALL, val_fraction=0.0)
    found, start = estimate.estimate(*setup.prepare(TASK, without, stopwatch()))
    assert found["steps"] == 6
    assert found["seconds"] > 0


def test_an_estimate_of_a_run_with_a_limit_of_time(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.01)
    monkeypatch.setattr("charrnn.tasks.machine_speed.arithmetic_speed", lambda threads, precision: 1e6)
    small = {name: value for name, value in SMALL.items() if name not in ("steps", "hidden_size")}
    task, model = setup.prepare(TASK, request(text_file, **small, max_time=5.0, val_fraction=0.0), stopwatch())
    assert model.config.hidden_size == defaults.NARROWEST  # of a machine so slow
    found, start = estimate.estimate(task, model)
    assert found["steps"] == start.total_steps > 0
    assert 0 < found["seconds"] < 20


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_arithmetic_of_this_machine_has_a_speed(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """Operations of a small network by the median of five durations, here of a clock that is not this machine's."""
    durations = [0.5, 9.0, 0.25, 0.5, 0.125]
    moments = itertools.accumulate(itertools.chain.from_iterable((1.0, duration) for duration in durations))
    monkeypatch.setattr("charrnn.tasks.machine_speed.time.perf_counter", lambda: next(moments))
    operations = defaults.TRAINING_COST * 32 * 32 * (4 * 256 * 256 + 64 * 256)
    assert arithmetic_speed(1, precision) == operations / 0.5
    assert next(moments, None) is None

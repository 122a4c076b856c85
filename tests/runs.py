"""Small training runs for the tests: their tasks, models and events."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from charrnn import checkpoint
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.models import LanguageModel
from charrnn.runtime.processes import Processes
from charrnn.tasks.language import TASK, Language
from charrnn.text.batch import Batch
from charrnn.text.batches import Batches
from charrnn.text.corpus import Corpus, Part, load_corpus
from charrnn.training import events, setup
from charrnn.training.loop import train
from charrnn.training.metrics import Metrics
from charrnn.training.task import Request, RunSpec

TEXT = "".join(f"the {animal} {verb}s.\n" for animal in ("cat", "dog", "hen") for verb in ("sit", "run", "eat")) * 12


def read(path: Path, text: TextConfig, fraction: float = 0.1) -> Corpus:
    return load_corpus([str(path)], text, val_path=None, val_fraction=fraction, seed=0, cache_dir=path.parent / "cache")


def make_task(path: Path, *, output: str = "model.safetensors", lines: bool = False, **options: Any) -> RunSpec:
    chosen = {"batch_size": 4, "seq_length": 8, "learning_rate": 0.02, "steps": 40, "eval_every": 10} | options
    config = TrainingConfig(**chosen)
    text = TextConfig(lines=lines)
    return RunSpec(WatchedLanguage(), read(path, text, config.val_fraction), config, path.parent / output)


def corpus_of(task: RunSpec) -> Corpus:
    assert isinstance(task.dataset, Corpus)
    return task.dataset


def make_model(task: RunSpec, kind: type[LanguageModel] = LanguageModel, *, threads: int = 1) -> LanguageModel:
    size = len(corpus_of(task).vocabulary)
    config = ModelConfig(vocabulary_size=size, cells=("lstm", "gru"), hidden_size=12, embedding_size=6)
    model = kind(config, threads=threads)
    model.initialise(task.config.seed)
    return model


def run(task: RunSpec, model: LanguageModel | None = None) -> list[events.Event]:
    return list(train(task, model or make_model(task)))


def resumed(task: RunSpec) -> RunSpec:
    return dataclasses.replace(task, resumed=checkpoint.load(task.output, with_training=True))


def assert_same(a: Path, b: Path) -> None:
    """The same tensors, bit for bit, and the same text and training metadata."""
    left, right = (checkpoint.load(path, with_training=True) for path in (a, b))
    assert_same_tensors(left, right)
    assert left.vocabulary.units == right.vocabulary.units


def assert_same_tensors(left: Checkpoint, right: Checkpoint) -> None:
    """The same tensors, bit for bit, and the same progress."""
    for mine, other in ((left.weights, right.weights), (left.training_tensors, right.training_tensors)):
        assert mine.keys() == other.keys()
        for name in mine:
            assert np.array_equal(mine[name], other[name]), name
    assert left.training["progress"] == right.training["progress"]


def of(kind: type[Any], happened: Iterable[events.Event]) -> list[Any]:
    return [event for event in happened if isinstance(event, kind)]


def interrupt(training: Generator[events.Event]) -> None:
    """What the command line does when a signal comes while it draws an event."""
    try:
        assert isinstance(training.throw(KeyboardInterrupt), events.Saved)
        pytest.fail(f"{next(training)} came after the interruption")
    except KeyboardInterrupt:
        pass


class Hooked(LanguageModel):
    """Calls `hook(step)` before each gradient; what that returns other than None becomes the loss."""

    hook: Callable[[int], float | None] = staticmethod(lambda step: None)
    step = 0

    def loss(self, *args: Any, **options: Any) -> tuple[float, float]:
        replaced = type(self).hook(Hooked.step)
        loss, count = super().loss(*args, **options)
        return (loss if replaced is None else replaced * count), count


class WatchedLanguage(Language):
    """Lets `Hooked` know at which step it is; its samples are short."""

    def sample(self, network: LanguageModel, dataset: Corpus, seed: int) -> str:
        with mock.patch("charrnn.tasks.language.SAMPLE_UNITS", 12):
            return super().sample(network, dataset, seed)

    def batches(self, dataset: Corpus, config: TrainingConfig) -> Batches:
        made = super().batches(dataset, config)
        batch = made.batch

        def watched(step: int) -> Batch:
            Hooked.step = step
            return batch(step)

        made.batch = watched  # type: ignore[method-assign]
        return made


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        return self.now


def request(path: Path, **given: Any) -> Request:
    return Request([str(path)], path.parent / "out.safetensors", given)


SMALL = {"hidden_size": 8, "layers": 1, "embedding_size": 4, "batch_size": 2, "seq_length": 8, "steps": 6}


def prepared(asked: Request) -> tuple[RunSpec, LanguageModel]:
    spec, network = setup.prepare(TASK, asked, lambda: 0.0)
    assert isinstance(network, LanguageModel)
    return spec, network


def train_request(asked: Request) -> Checkpoint:
    task, model = prepared(asked)
    list(train(task, model))
    return checkpoint.load(asked.output, with_training=True)


def script_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let validations return these losses, one after the other."""
    queue = iter(losses)

    def scripted(model: LanguageModel, part: Part, *, limit: int | None, processes: Processes) -> Metrics:
        return metrics(next(queue), len(part.ids))

    monkeypatch.setattr("charrnn.tasks.language_evaluation.evaluate", scripted)


def metrics(loss: float, tokens: int = 10) -> Metrics:
    return Metrics(loss, tokens, {"bits_per_byte": 1.0, "bits_per_character": 1.0, "perplexity": 2.0})

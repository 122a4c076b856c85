"""The training loop: it learns, keeps the best weights, can be interrupted anywhere, and comes back from divergence."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint, memory
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import CharrnnError, DivergedError, UsageError
from charrnn.models import LanguageModel, layout
from charrnn.text.corpus import Corpus, Part, load_corpus
from charrnn.text.vocabulary import EOS
from charrnn.training import defaults, estimate, evaluation, events, plan, setup
from charrnn.training.clock import stopwatch
from charrnn.training.evaluation import Evaluation, evaluate
from charrnn.training.interrupts import uninterrupted
from charrnn.training.loop import train
from charrnn.training.run import RESTARTS, restarted
from charrnn.training.setup import Request
from charrnn.training.speed import arithmetic_speed
from charrnn.training.task import Task

TEXT = "".join(f"the {animal} {verb}s.\n" for animal in ("cat", "dog", "hen") for verb in ("sit", "run", "eat")) * 12


@pytest.fixture
def text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARRNN_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def read(path: Path, text: TextConfig, fraction: float = 0.1) -> Corpus:
    return load_corpus([str(path)], text, val_path=None, val_fraction=fraction, seed=0, cache_dir=path.parent / "cache")


def make_task(path: Path, *, output: str = "model.safetensors", lines: bool = False, **options: Any) -> Task:
    chosen = {"batch_size": 4, "seq_length": 8, "learning_rate": 0.02, "steps": 40, "eval_every": 10} | options
    config = TrainingConfig(**chosen)
    text = TextConfig(lines=lines)
    return Task(read(path, text, config.val_fraction), text, config, path.parent / output)


def make_model(task: Task, kind: type[LanguageModel] = LanguageModel, *, threads: int = 1) -> LanguageModel:
    size = len(task.corpus.vocabulary)
    config = ModelConfig(vocabulary_size=size, cells=("lstm", "gru"), hidden_size=12, embedding_size=6)
    model = kind(config, threads=threads, boundary=EOS if task.text.lines else -1)
    model.initialise(task.config.seed)
    return model


def run(task: Task, model: LanguageModel | None = None) -> list[events.Event]:
    return list(train(task, model or make_model(task)))


def resumed(task: Task) -> Task:
    return dataclasses.replace(task, resumed=checkpoint.load(task.output, with_training=True))


def assert_same(a: Path, b: Path) -> None:
    """The same tensors, bit for bit, and the same text and training metadata."""
    left, right = (checkpoint.load(path, with_training=True) for path in (a, b))
    for mine, other in ((left.weights, right.weights), (left.training_tensors, right.training_tensors)):
        assert mine.keys() == other.keys()
        for name in mine:
            assert np.array_equal(mine[name], other[name]), name
    assert left.vocabulary.units == right.vocabulary.units
    assert left.training["progress"] == right.training["progress"]


def of(kind: type[Any], happened: Iterable[events.Event]) -> list[Any]:
    return [event for event in happened if isinstance(event, kind)]


def test_a_run_from_start_to_end(text_file: Path) -> None:
    task = make_task(text_file, steps=120, eval_every=20)
    model = make_model(task)
    happened = run(task, model)
    start, end = happened[0], happened[-1]
    assert isinstance(start, events.Start)
    assert isinstance(end, events.End)
    assert start.total_steps == 120
    assert start.parameters == model.parameters.size == end.parameters
    assert start.corpus["training"]["tokens"] == len(task.corpus.train.ids)
    steps = of(events.Step, happened)
    assert steps[0].loss > 2 > 1 > steps[-1].loss
    assert all(late.step - early.step <= 20 for early, late in itertools.pairwise(steps))
    assert all(event.tokens_per_second > 0 and event.gradient_norm > 0 for event in steps)
    validations = of(events.Validation, happened)
    assert [event.step for event in validations] == [20, 40, 60, 80, 100, 120]
    best = min(validations, key=lambda event: event.loss)
    assert (end.val_loss, end.best_step) == (best.loss, best.step)
    assert end.val_loss is not None
    assert end.val_bits_per_byte == pytest.approx(end.val_loss / math.log(2))  # ASCII characters
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
    validation = task.corpus.validation
    assert validation is not None
    assert len(validation.ids) > 30
    model = make_model(task)
    model.load(checkpoint.load(task.output).weights)
    assert end.val_loss == pytest.approx(evaluate(model, validation).loss, rel=1e-6)
    assert abs(end.val_loss - min(event.loss for event in of(events.Validation, happened))) > 1e-4


def script_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let validations return these losses, one after the other."""
    queue = iter(losses)

    def scripted(model: LanguageModel, part: Part, *, limit: int | None = None) -> Evaluation:
        return Evaluation(next(queue), 1.0, 1.0, len(part.ids))

    monkeypatch.setattr("charrnn.training.run.evaluate", scripted)


def test_patience_ends_a_run(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_losses(monkeypatch, [3.0, 2.0, 2.5, 2.2, 9.9])
    happened = run(make_task(text_file, steps=100, patience=2))
    end = happened[-1]
    assert isinstance(end, events.End)
    assert (end.steps, end.stopped_by, end.best_step, end.val_loss) == (40, "patience", 20, 2.0)


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
    assert end.val_loss is end.val_bits_per_byte is end.val_bits_per_character is end.best_step is None
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


def interrupt(training: Generator[events.Event]) -> None:
    """What the command line does when a signal comes while it draws an event."""
    try:
        assert isinstance(training.throw(KeyboardInterrupt), events.Saved)
        pytest.fail(f"{next(training)} came after the interruption")
    except KeyboardInterrupt:
        pass


@pytest.mark.parametrize("embedding_size", [0, 6])
def test_large_vocabularies_have_the_same_bits_too(
    text_file: Path, embedding_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BY_ROW_FROM", 2)
    options: dict[str, Any] = {"dropout": 0.2, "weight_decay": 0.1, "clip_norm": 0.5, "batch_size": 2, "seq_length": 5}

    def model_of(task: Task, threads: int) -> LanguageModel:
        size = len(task.corpus.vocabulary)
        config = ModelConfig(size, ("lstm",), 16, embedding_size, cutoffs=(4, 9))
        model = LanguageModel(config, threads=threads)
        model.initialise(0)
        assert model.table is not None
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


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_interrupted_anywhere_and_resumed_ends_with_the_same_bits(text_file: Path, lines: bool, optimizer: str) -> None:
    options: dict[str, Any] = {
        "lines": lines,
        "optimizer": optimizer,
        "dropout": 0.2,
        "learning_rate": 0.02,
        "schedule": "plateau" if optimizer == "sgd" else "cosine",
        "warmup": 5,
        "sample_every": 3,  # to have many places for an interruption
    }
    whole = make_task(text_file, output="whole.safetensors", **options)
    run(whole)
    task = make_task(text_file, output="parts.safetensors", **options)
    for stop in (2, 5, 9, 11, 12, 13, 14, 15, 16):
        training = train(task, make_model(task))
        for _, event in zip(range(stop), training, strict=False):
            if isinstance(event, events.End):
                break
        else:
            interrupt(training)
        if task.output.exists():
            task = resumed(task)
    while not isinstance(list(train(task, make_model(task)))[-1], events.End):
        task = resumed(task)
    assert_same(whole.output, task.output)


def test_killed_between_checkpoints_and_resumed(text_file: Path) -> None:
    whole = make_task(text_file, output="whole.safetensors", dropout=0.2, sample_every=4)
    run(whole)
    task = make_task(text_file, output="parts.safetensors", dropout=0.2, sample_every=4)
    training = train(task, make_model(task))
    while not (isinstance(event := next(training), events.Sampled) and event.step == 28):
        pass
    del training  # nothing gets a chance to save
    assert checkpoint.load(task.output).training["progress"]["step"] == 20
    run(resumed(task))
    assert_same(whole.output, task.output)


def test_a_sample_that_cannot_be_drawn_does_not_end_training(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Iterator[Any]:
        raise CharrnnError("no unit has a probability")
        yield

    monkeypatch.setattr("charrnn.training.run.sample", refuse)
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


class Hooked(LanguageModel):
    """Calls `hook(step)` before each gradient; what that returns other than None becomes the loss."""

    hook: Callable[[int], float | None] = staticmethod(lambda step: None)

    def gradient(self, *args: Any, **options: Any) -> tuple[float, np.ndarray]:
        replaced = type(self).hook(options["step"])
        loss, gradient = super().gradient(*args, **options)
        return (loss if replaced is None else replaced), gradient


@pytest.fixture
def hooked() -> Iterable[type[Hooked]]:
    yield Hooked
    Hooked.hook = staticmethod(lambda step: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step(text_file: Path, hooked: type[Hooked], number: signal.Signals) -> None:
    whole = make_task(text_file, output="whole.safetensors")
    run(whole)
    task = make_task(text_file, output="parts.safetensors")
    sent: list[int] = []

    def interrupt(step: int) -> None:
        if step == 13 and not sent:
            sent.append(step)
            signal.raise_signal(number)

    def on_signal(received: int, frame: object) -> None:
        raise KeyboardInterrupt

    hooked.hook = staticmethod(interrupt)
    previous = signal.signal(number, on_signal)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(task, make_model(task, hooked))
    finally:
        signal.signal(number, previous)
    assert checkpoint.load(task.output).training["progress"]["step"] == 14  # the step was completed
    run(resumed(task))
    assert_same(whole.output, task.output)


def test_uninterrupted_delivers_signals_afterwards() -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert received == []
        assert received == [signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_another_thread_leaves_signals_alone() -> None:
    def ask() -> None:
        with uninterrupted():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[Any] = []
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_divergence_goes_back_and_halves_the_learning_rate(text_file: Path, hooked: type[Hooked]) -> None:
    bad = [17]
    hooked.hook = staticmethod(lambda step: math.nan if step in bad and bad.pop() else None)
    task = make_task(text_file, schedule="constant")
    happened = run(task, make_model(task, hooked))
    (diverged,) = of(events.Diverged, happened)
    assert (diverged.step, diverged.back_to, diverged.times) == (17, 10, 1)
    rates = [event.learning_rate for event in of(events.Step, happened)]
    assert rates[0] == 0.02
    assert rates[-1] == 0.01
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.steps == 40
    saved = checkpoint.load(task.output, with_training=True)
    assert (saved.training["progress"]["divergences"], saved.training["progress"]["halvings"]) == (1, 1)
    assert all(np.isfinite(tensor).all() for tensor in (*saved.weights.values(), *saved.training_tensors.values()))


def test_a_validation_that_is_not_finite_is_a_divergence(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script_losses(monkeypatch, [3.0, math.nan, 2.5, 2.0, 1.0])
    happened = run(make_task(text_file, schedule="constant"))
    (diverged,) = of(events.Diverged, happened)
    assert (diverged.step, diverged.back_to, diverged.times) == (20, 10, 1)
    assert [event.loss for event in of(events.Validation, happened)] == [3.0, 2.5, 2.0, 1.0]
    assert of(events.Step, happened)[-1].learning_rate == 0.01


def test_divergence_before_the_first_checkpoint_goes_back_to_the_start(text_file: Path, hooked: type[Hooked]) -> None:
    bad = [3]
    hooked.hook = staticmethod(lambda step: math.nan if step in bad and bad.pop() else None)
    task = make_task(text_file)
    happened = run(task, make_model(task, hooked))
    (diverged,) = of(events.Diverged, happened)
    assert (diverged.step, diverged.back_to) == (3, 0)
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.steps == 40


def test_divergence_again_and_again_is_the_end(text_file: Path, hooked: type[Hooked]) -> None:
    hooked.hook = staticmethod(lambda step: math.inf if step == 12 else None)
    task = make_task(text_file)
    happened: list[events.Event] = []
    with pytest.raises(DivergedError, match=r"5 times.*--learning-rate"):
        happened.extend(train(task, make_model(task, hooked)))
    assert [event.times for event in of(events.Diverged, happened)] == [1, 2, 3, 4]
    saved = checkpoint.load(task.output, with_training=True)
    assert saved.training["progress"]["step"] == 10
    assert all(np.isfinite(tensor).all() for tensor in saved.training_tensors.values())


def test_weights_that_blow_up_are_never_saved(text_file: Path) -> None:
    task = make_task(text_file, learning_rate=1e38, optimizer="sgd", val_fraction=0.0, eval_every=1)
    with pytest.raises(DivergedError):
        run(task)
    if task.output.exists():
        saved = checkpoint.load(task.output, with_training=True)
        assert all(np.isfinite(tensor).all() for tensor in (*saved.weights.values(), *saved.training_tensors.values()))


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("slower", [1.0, 3.0, 0.4])
def test_a_limit_of_time_is_kept_and_used(text_file: Path, hooked: type[Hooked], slower: float) -> None:
    clock, calls = Clock(), [0]

    def tick(step: int) -> None:
        calls[0] += 1
        clock.now += 0.1 if calls[0] < 150 else 0.1 * slower

    hooked.hook = staticmethod(tick)
    task = dataclasses.replace(make_task(text_file, steps=None, max_time=60.0, eval_every=20), elapsed=clock)
    happened = run(task, make_model(task, hooked))
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.stopped_by == "max-time"
    assert 50 < end.seconds <= 60
    plans = checkpoint.load(task.output).training["progress"]["plans"]
    assert len(plans) == 1 + len(of(events.Replanned, happened))
    assert (len(plans) > 1) == (slower != 1)
    if slower != 3:
        assert end.steps == plans[-1][1]  # the schedule came to its end
    rates = [event.learning_rate for event in of(events.Step, happened)]
    assert rates[-1] < 0.1 * max(rates)


def test_a_time_too_short_for_anything_still_gives_a_model(text_file: Path, hooked: type[Hooked]) -> None:
    clock = Clock()

    def tick(step: int) -> None:
        clock.now += 10.0

    hooked.hook = staticmethod(tick)
    task = dataclasses.replace(make_task(text_file, steps=None, max_time=1.0), elapsed=clock)
    end = run(task, make_model(task, hooked))[-1]
    assert isinstance(end, events.End)
    assert (end.steps, end.stopped_by) == (1, "max-time")
    assert task.output.exists()


def test_a_larger_budget_recomputes_the_schedule(text_file: Path) -> None:
    task = make_task(text_file)
    run(task)
    longer = dataclasses.replace(resumed(task), config=dataclasses.replace(task.config, steps=60))
    happened = run(longer)
    (note,) = of(events.Note, happened)
    assert "not the run" in note.message
    assert of(events.Step, happened)[0].learning_rate > 0.001
    assert happened[-1].steps == 60  # type: ignore[attr-defined]


def test_resuming_needs_a_training_state_that_fits(text_file: Path) -> None:
    task = make_task(text_file)
    run(task)
    loaded = checkpoint.load(task.output)
    stripped = dataclasses.replace(task, resumed=loaded)
    with pytest.raises(CharrnnError, match="is missing"):
        run(stripped)
    foreign = dataclasses.replace(loaded, training={**loaded.training, "layout": "other"})
    with pytest.raises(CharrnnError, match="--init-from"):
        run(dataclasses.replace(task, resumed=foreign))


def test_a_checkpoint_that_cannot_be_written_is_known_before_training(text_file: Path) -> None:
    task = make_task(text_file)
    blocked = dataclasses.replace(task, output=text_file / "model.safetensors")  # below a file
    with pytest.raises(CharrnnError):
        next(train(blocked, make_model(task)))


# Evaluation


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
        ids = np.concatenate([np.roll(task.corpus.train.ids, random.integers(99)) for _ in range(repeat)])
        part = Part(ids, 2 * len(ids), len(ids))
        found = evaluate(model, part)
        assert found.tokens == len(ids)
        assert found.loss == pytest.approx(sequential_loss(model, part), abs=1e-6 if repeat == 1 else 1e-3)
        assert found.bits_per_byte == pytest.approx(found.bits_per_character / 2)
        assert found.perplexity == pytest.approx(math.exp(found.loss))


def test_evaluation_of_a_part_of_the_text(text_file: Path) -> None:
    task = make_task(text_file)
    model = make_model(task)
    part = task.corpus.train
    long = Part(np.tile(part.ids, 50), 50 * part.bytes, 50 * part.characters)
    whole = evaluate(model, long)
    some = evaluate(model, long, limit=20_000)
    assert 19_000 <= some.tokens <= 20_000
    assert some.loss == pytest.approx(whole.loss, abs=0.05)
    assert some.bits_per_byte == pytest.approx(some.loss / math.log(2))  # the denominators are those of the tokens read
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


# From a request to a task


def request(path: Path, **given: Any) -> Request:
    return Request([str(path)], path.parent / "out.safetensors", given)


SMALL = {"hidden_size": 8, "layers": 1, "embedding_size": 4, "batch_size": 2, "seq_length": 8, "steps": 6}


def prepared(asked: Request) -> tuple[Task, LanguageModel]:
    return setup.prepare(asked, lambda: 0.0)


def test_defaults_follow_the_corpus(text_file: Path) -> None:
    task, model = prepared(request(text_file))
    assert model.config.cells == ("lstm",)
    assert task.config.epochs == 40
    assert task.config.patience > 0
    assert task.config.precision in ("float32", "bfloat16")  # auto is resolved once
    task, model = prepared(request(text_file, unit="word", cell=("gru", "lstm"), hidden_size=16, max_time=9.0))
    assert model.config.cells == ("gru", "lstm")
    assert model.config.embedding_size == 16
    assert (task.text.min_count, task.text.max_vocab) == (2, 100_000)
    assert (task.config.epochs, task.config.patience) == (40, 6)  # a small corpus is not read for longer
    assert model.config.cutoffs == ()
    task, model = prepared(request(text_file, cutoffs=(4,), hidden_size=16))
    assert model.config.cutoffs == (4,)
    with pytest.raises(UsageError, match="--layers is 3"):
        prepared(request(text_file, cell=("gru", "lstm"), layers=3))
    with pytest.raises(UsageError, match="plateau"):
        prepared(request(text_file, schedule="plateau", val_fraction=0.0))


def test_few_streams_begin_afresh_and_the_same_ones_again() -> None:
    flags = np.array([restarted(3, step, 50) for step in range(400)])
    assert flags.mean() == pytest.approx(RESTARTS, rel=0.2)
    assert (flags.any(axis=0)).all()
    np.testing.assert_array_equal(flags[7], restarted(3, 7, 50))
    assert (np.array([restarted(4, step, 50) for step in range(400)]) != flags).any()


def test_the_streams_that_begin_afresh_lose_their_state(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def states(share: float) -> list[Any]:
        monkeypatch.setattr("charrnn.training.run.RESTARTS", share)
        task = make_task(text_file, steps=3, val_fraction=0.0)
        model = make_model(task)
        seen: list[Any] = []
        gradient = model.gradient

        def record(ids: Any, targets: Any, state: Any, **options: Any) -> Any:
            seen.append(state.copy())
            return gradient(ids, targets, state, **options)

        monkeypatch.setattr(model, "gradient", record)
        for _ in train(task, model):
            pass
        return seen

    assert [bool(state.any()) for state in states(0.0)] == [False, True, True]
    assert [bool(state.any()) for state in states(1.0)] == [False, False, False]


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
    with pytest.raises(CharrnnError, match=r"training 48,740 parameters on 1,024 x 64 units .* --batch-size"):
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
    monkeypatch.setattr(setup, "LanguageModel", None)
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000_000)
    for start in (prepared, lambda again: setup.resume(again, saved, lambda: 0.0)):
        with pytest.raises(CharrnnError, match=r"needs about 0\.\d GB of memory and 0\.0 GB are free; lower"):
            start(dataclasses.replace(asked, given={**SMALL, "steps": 9}))


def train_request(asked: Request) -> Checkpoint:
    task, model = prepared(asked)
    list(train(task, model))
    return checkpoint.load(asked.output, with_training=True)


def test_what_may_change_when_a_run_is_resumed(text_file: Path) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    again = dataclasses.replace(asked, corpora=[])
    result = setup.finished_result(again, saved)
    assert result is not None
    assert result["stopped_by"] == "steps"
    assert setup.finished_result(asked, saved) == result
    longer = dataclasses.replace(again, given={"steps": 9})
    assert setup.finished_result(longer, saved) is None
    task, model = setup.resume(longer, saved, lambda: 0.0)
    assert list(train(task, model))[-1].steps == 9  # type: ignore[attr-defined]
    timed = dataclasses.replace(again, given={"max_time": 5.0})
    assert setup.resumed_config(timed, saved).steps is None
    for name, value in (("batch_size", 3), ("learning_rate", 0.5), ("hidden_size", 9), ("lines", True), ("layers", 2)):
        with pytest.raises(UsageError, match="--force"):
            setup.resumed_config(dataclasses.replace(again, given={name: value}), saved)
    for cutoffs in ("auto", "none"):
        assert setup.resumed_config(dataclasses.replace(again, given={"cutoffs": cutoffs}), saved).steps == 6
    with pytest.raises(UsageError, match=r"--cutoffs is 3,4 and .* has none"):
        setup.resumed_config(dataclasses.replace(again, given={"cutoffs": (3, 4)}), saved)
    with pytest.raises(UsageError, match="--val"):
        setup.resumed_config(dataclasses.replace(again, val="other.txt"), saved)


def test_what_cannot_be_read_of_a_run_is_one_error(text_file: Path) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    again = dataclasses.replace(asked, given={"steps": 9})
    source, options = saved.training["source"], saved.training["options"]
    wrong: Any
    for wrong in (None, [], {"corpora": source["corpora"]}, {**source, "corpora": [1]}, {**source, "init_from": 1}):
        saved.training["source"] = wrong
        with pytest.raises(CharrnnError, match="does not say what it was trained on; --init-from"):
            setup.resume(again, saved, lambda: 0.0)
    saved.training["source"] = source
    for wrong in ({**options, "depth": 3}, None):
        saved.training["options"] = wrong
        with pytest.raises(CharrnnError, match="its training options cannot be read"):
            setup.resume(again, saved, lambda: 0.0)


def test_a_changed_corpus_is_not_resumed(text_file: Path) -> None:
    asked = request(text_file, **SMALL)
    saved = train_request(asked)
    text_file.write_text(TEXT + "more\n")
    with pytest.raises(CharrnnError, match="not the text it was trained on"):
        setup.resume(dataclasses.replace(asked, given={"steps": 9}), saved, lambda: 0.0)


def test_init_from_takes_weights_and_vocabulary(text_file: Path, tmp_path: Path) -> None:
    asked = request(text_file, **SMALL)
    first = train_request(asked)
    other = tmp_path / "other.txt"
    other.write_text("a zebu sits.\n" * 50)
    second = dataclasses.replace(
        request(other, steps=3), output=tmp_path / "second.safetensors", init_from=str(asked.output)
    )
    task, model = prepared(second)
    assert task.corpus.vocabulary.units == first.vocabulary.units
    for name, tensor in model.tensors().items():
        assert np.array_equal(tensor, first.weights[name])
    list(train(task, model))
    going_on = dataclasses.replace(second, given={"steps": 5})
    saved = checkpoint.load(second.output, with_training=True)
    task, model = setup.resume(going_on, saved, lambda: 0.0)
    assert list(train(task, model))[-1].steps == 5  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="--hidden-size is 9"):
        prepared(dataclasses.replace(second, given={"hidden_size": 9}))
    with pytest.raises(UsageError, match="--unit is word"):
        prepared(dataclasses.replace(second, given={"unit": "word"}))


def test_an_estimate_writes_nothing(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.01)
    task, model = setup.prepare(request(text_file, **SMALL), stopwatch())
    before = model.parameters.copy()
    found, start = estimate.estimate(task, model)
    assert (found["steps"], found["parameters"], found["vocabulary"]) == (6, model.parameters.size, start.vocabulary)
    assert found["seconds"] > 0
    assert found["memory"] > model.parameters.nbytes
    assert not task.output.exists()
    assert np.array_equal(model.parameters, before)
    without = request(text_file, **SMALL, val_fraction=0.0)
    found, start = estimate.estimate(*setup.prepare(without, stopwatch()))
    assert found["steps"] == 6
    assert found["seconds"] > 0


def test_an_estimate_of_a_run_with_a_limit_of_time(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.01)
    monkeypatch.setattr(setup, "arithmetic_speed", lambda threads, precision: 1e6)
    small = {name: value for name, value in SMALL.items() if name not in ("steps", "hidden_size")}
    task, model = setup.prepare(request(text_file, **small, max_time=5.0, val_fraction=0.0), stopwatch())
    assert model.config.hidden_size == defaults.NARROWEST  # of a machine so slow
    found, start = estimate.estimate(task, model)
    assert found["steps"] == start.total_steps > 0
    assert 0 < found["seconds"] < 20


def test_the_arithmetic_of_this_machine_has_a_speed() -> None:
    for precision in ("float32", "auto"):
        assert 0 < arithmetic_speed(1, precision) < math.inf

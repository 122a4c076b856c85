"""A task that the program does not have, defined here and nowhere else: training, resuming, saving and evaluating work.

A sequence of bits is given, and after each of them the parity of all so far is to be told: what a text model cannot be,
since inputs and targets are different things. It has its own data, batches, figures, network and checkpoint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from charrnn import checkpoint, tasks
from charrnn.checkpoint import Checkpoint
from charrnn.cli import info
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.formats import record_from_json, require_table
from charrnn.models import LanguageModel
from charrnn.models.language import parameter_layout
from charrnn.runtime.processes import ALONE, Processes
from charrnn.runtime.safefile import Shape
from charrnn.text.batch import Batch
from charrnn.training import events, setup
from charrnn.training.loop import train
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options, given_fields
from charrnn.training.task import Advice, Description, Request, RunSpec, Task
from tests.runs import assert_same_tensors, interrupt, of

LABELS = ("even", "odd")
LENGTH = 8


@dataclass(frozen=True)
class Parity:
    """What the network is: the record that a checkpoint keeps."""

    hidden_size: int
    cell: str = "lstm"

    vocabulary_size: ClassVar[int] = 2  # which `LanguageModel` looks at

    def network(self) -> ModelConfig:
        """Two symbols in, two out."""
        return ModelConfig(2, (self.cell,), self.hidden_size)


@dataclass(frozen=True)
class Bits:
    """Sequences (N, LENGTH) of bits."""

    values: np.ndarray

    def __len__(self) -> int:
        return self.values.size

    def batch(self, rows: np.ndarray) -> Batch:
        """Inputs and targets (LENGTH, rows); each sequence begins with zeros."""
        inputs = np.ascontiguousarray(self.values[rows].T, np.int32)
        reset = np.zeros(inputs.shape, np.bool_)
        reset[0] = True
        return Batch(inputs, np.cumsum(inputs, axis=0, dtype=np.int32) % 2, reset)


@dataclass(frozen=True)
class BitFile:
    train: Bits
    validation: Bits | None
    digest: str
    notes: list[str]

    def sizes(self) -> dict[str, Any]:
        return {"digest": self.digest, "training": {"tokens": len(self.train)}}


class BitBatches:
    note: str | None = None
    seq_length = LENGTH

    def __init__(self, part: Bits, config: TrainingConfig) -> None:
        self.part, self.seed, self.batch_size = part, config.seed, config.batch_size
        self.steps_per_epoch = len(part.values) // config.batch_size

    def batch(self, step: int) -> Batch:
        random = np.random.default_rng([self.seed, step])
        return self.part.batch(random.integers(0, len(self.part.values), self.batch_size))


class ParityNetwork(LanguageModel):
    """A language model of two symbols whose targets are not its inputs."""

    def __init__(self, parity: Parity, threads: int = 1) -> None:
        super().__init__(parity.network(), threads=threads)
        self.config: Any = parity


class ParityFormat:
    task = "parity"

    def parse(self, metadata: Mapping[str, Any]) -> tuple[Parity, tuple[str, ...]]:
        labels = require_table(metadata.get("output"), "output").get("labels")
        if labels != list(LABELS):
            raise ValueError(f"its labels are {str(labels)[:40]}")
        return record_from_json(Parity, require_table(metadata.get("model"), "model"), "model"), tuple(labels)

    def describe(self, model: Parity, data: tuple[str, ...]) -> dict[str, Any]:
        output = {"kind": "labels", "labels": list(data)}
        return {"model": dataclasses.asdict(model), "input": {"kind": "columns"}, "output": output}

    def tensor_shapes(self, model: Parity, most: int) -> Mapping[str, Shape]:
        return parameter_layout(model.network()).tensor_shapes()

    def parameter_count(self, model: Parity) -> int:
        return parameter_layout(model.network()).size


class ParityTask(Task[BitFile, ParityNetwork]):
    format = ParityFormat()
    figures = ("accuracy",)
    verbs = ("sample",)
    settings = (TextConfig, Parity, TrainingConfig)

    def read(self, request: Request, initial: Checkpoint | None) -> BitFile:
        data = Path(request.corpora[0]).read_bytes()
        values = np.array([[int(bit) for bit in line] for line in data.decode().split()], np.uint8)
        held_out = len(values) // 5
        digest = hashlib.sha256(data).hexdigest()
        return BitFile(Bits(values[held_out:]), Bits(values[:held_out]), digest, ["bits were read"])

    def configure(self, request: Request, dataset: BitFile, model: Any | None) -> tuple[Parity, TrainingConfig]:
        chosen: dict[str, Any] = {"batch_size": 16, "seq_length": LENGTH, "learning_rate": 0.02, "schedule": "constant"}
        config = TrainingConfig(**(chosen | given_fields(TrainingConfig, request.given)))
        size: dict[str, Any] = {"hidden_size": 12}
        return model or Parity(**(size | given_fields(Parity, request.given))), config

    def network(self, model: Parity, config: TrainingConfig, dataset: BitFile, threads: int) -> ParityNetwork:
        return ParityNetwork(model, threads)

    def memory(self, model: Parity, config: TrainingConfig, dataset: BitFile) -> int:
        return 1_000_000

    def batches(self, dataset: BitFile, config: TrainingConfig) -> BitBatches:
        return BitBatches(dataset.train, config)

    def evaluate(
        self, network: ParityNetwork, part: Bits, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        rows = len(part.values) if limit is None else max(1, min(len(part.values), limit // LENGTH))
        batch = part.batch(np.arange(rows))
        state = network.zero_state(rows)
        probabilities = network.log_probs(batch.inputs, batch.targets, state, batch.reset)
        right = float((probabilities > np.log(0.5)).mean())
        return Metrics(-float(probabilities.mean()), probabilities.size, {"accuracy": right})

    def record(self, dataset: BitFile) -> tuple[str, ...]:
        return LABELS

    def describe(self, dataset: BitFile, network: ParityNetwork) -> Description:
        return Description({"labels": 2}, {"names": list(LABELS)}, (("bits", f"{len(dataset.train)} to learn from"),))

    def options(self, run: Checkpoint) -> Options:
        return {"base": 2}

    def check_options(self, given: Options, recorded: Options, init_from: str | None) -> None:
        if "unit" in given:
            raise UsageError(f"`unit` is for text; base {recorded.get('base')}")

    def sample(self, network: ParityNetwork, dataset: BitFile, seed: int) -> str:
        return f"seed {seed}"

    def advise_at_start(self, spec: RunSpec) -> Iterator[Advice]:
        yield "parity", "try two layers"


TASK = ParityTask()


@pytest.fixture
def bits(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "bits.txt"
    path.write_text("".join("".join(map(str, row)) + "\n" for row in random.integers(0, 2, (150, LENGTH))))
    return path


def asked(bits: Path, name: str, **given: Any) -> Request:
    options = {"steps": 60, "eval_every": 20, "sample_every": 10, "dropout": 0.1} | given
    return Request([str(bits)], bits.parent / f"{name}.safetensors", options)


def start(request: Request) -> Any:
    return train(*setup.prepare(TASK, request, lambda: 0.0))


def go_on(request: Request) -> Any:
    saved = checkpoint.load(request.output, TASK.format, with_training=True)
    return train(*setup.resume(TASK, dataclasses.replace(request, corpora=[]), saved, lambda: 0.0))


def test_it_learns_and_its_figures_are_told(bits: Path) -> None:
    request = asked(bits, "whole", steps=300, eval_every=100, dropout=0.0)
    happened = list(start(request))
    end = happened[-1]
    assert isinstance(end, events.End)
    result = end.result()
    assert list(result) == [
        *("checkpoint", "parameters", "labels", "steps", "epochs", "seconds", "tokens_per_second"),
        *("train_loss", "val_loss", "val_accuracy", "best_step", "stopped_by"),
    ]
    assert result["labels"] == 2
    assert result["val_accuracy"] > 0.95
    assert result["val_loss"] < 0.2 < np.log(2)
    begin = of(events.Start, happened)[0].to_json()
    assert begin["model"] == {"hidden_size": 12, "cell": "lstm"}
    assert (begin["labels"], begin["names"]) == (2, ["even", "odd"])
    assert all(event.to_json()["accuracy"] == event.figures["accuracy"] for event in of(events.Validation, happened))
    assert [event.text for event in of(events.Sampled, happened)] == ["seed 0"] * 30
    assert of(events.Advice, happened)[0].message == "try two layers"
    assert "bits were read" in [event.message for event in of(events.Note, happened)]
    saved = checkpoint.load(request.output, TASK.format)
    network = ParityNetwork(saved.model)
    network.load(saved.weights)
    dataset = TASK.read(request, None)
    assert TASK.evaluate(network, dataset.validation).loss == pytest.approx(result["val_loss"], rel=1e-6)  # type: ignore[arg-type]
    finished = setup.finished_result(TASK, dataclasses.replace(request, corpora=[]), saved)
    assert finished is not None
    assert (list(finished), finished["val_accuracy"]) == (list(result), result["val_accuracy"])


def test_it_is_interrupted_and_resumed_to_the_same_bits(bits: Path) -> None:
    whole, parts = asked(bits, "whole"), asked(bits, "parts")
    list(start(whole))
    training = start(parts)
    for stop in (9, 5, 7):
        for _ in range(stop):
            next(training)
        interrupt(training)
        training = go_on(parts)
    assert isinstance(list(training)[-1], events.End)
    assert_same_tensors(*(checkpoint.load(one.output, TASK.format, with_training=True) for one in (whole, parts)))


def test_its_checkpoint_is_its_own(bits: Path) -> None:
    request = asked(bits, "whole", steps=2, hidden_size=5)
    list(start(request))
    path = request.output
    assert checkpoint.task_of(path) == "parity"
    contents = checkpoint.read_contents(path, TASK.format)
    assert contents.checkpoint.model == Parity(5)
    assert contents.checkpoint.data == LABELS
    assert TASK.format.parameter_count(contents.checkpoint.model) == ParityNetwork(Parity(5)).parameters.size
    with pytest.raises(CharrnnError, match=r"whole.* is a model of the task parity, and one of the task language"):
        checkpoint.load(path)
    for read in (tasks.load_checkpoint, tasks.load, tasks.read_contents):
        with pytest.raises(CharrnnError, match="of the task parity, which this charrnn does not know"):
            read(path)
    with pytest.raises(UsageError, match="`unit` is for text; base 2"):
        setup.resumed_config(TASK, dataclasses.replace(request, given={"unit": "char"}), contents.checkpoint)
    with pytest.raises(UsageError, match=r"`hidden_size` is 9 and .* has 5"):
        setup.resumed_config(TASK, dataclasses.replace(request, given={"hidden_size": 9}), contents.checkpoint)


def test_info_describes_what_it_has(bits: Path) -> None:
    request = asked(bits, "whole", steps=2)
    list(start(request))
    description = info.describe("x", checkpoint.read_contents(request.output, TASK.format))
    assert json.loads(json.dumps(description))["task"] == "parity"
    assert description["parameters"] == ParityNetwork(Parity(12)).parameters.size
    assert any("parity" in line for line in info.as_text(description))


def test_training_begins_from_its_weights(bits: Path) -> None:
    first = asked(bits, "first", steps=5)
    list(start(first))
    second = dataclasses.replace(asked(bits, "second", steps=1), init_from=str(first.output))
    spec, network = setup.prepare(TASK, second, lambda: 0.0)
    assert spec.initialised
    for name, tensor in checkpoint.load(first.output, TASK.format).weights.items():
        np.testing.assert_array_equal(network.tensors()[name], tensor)

"""What training asks of a task, and the run of one. The loop knows no more of tasks than stands here.

A task is a file of `charrnn/tasks` with a subclass of `Task`. Nothing here needs Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from charrnn.formats import LARGEST_NUMBER, TaskFormat
from charrnn.training.clock import stopwatch
from charrnn.training.options import Options

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint
    from charrnn.config import TrainingConfig
    from charrnn.nn.dropout import DropoutKey
    from charrnn.nn.parameters import Layout
    from charrnn.runtime.arrays import Array, Ids
    from charrnn.text.batch import Batch

Advice = tuple[str, str]  # a topic, one or two fixed words, and what to say about it


class Part(Protocol):
    """A part of a dataset, to train or to validate on."""

    def __len__(self) -> int:
        """The number of targets."""


class Dataset(Protocol):
    """What was read: a part to train on, and one that is held out unless there is none."""

    @property
    def train(self) -> Part: ...

    @property
    def validation(self) -> Part | None: ...

    @property
    def digest(self) -> str:
        """A digest of everything that was read: a run is resumed on the same only."""

    @property
    def notes(self) -> list[str]:
        """Remarks for the user about what was found."""

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of both parts, for the log and the checkpoint."""


class Network(Protocol):
    """A network over one flat vector of parameters. It is safe to change that vector if `invalidate` is called."""

    threads: int
    parameters: Array
    """(P,), float32."""
    gradient: Array
    """(P,), of the mean loss of the last batch."""
    layout: Layout
    """The places of the parameters in the vector, and which of them are learned by row."""
    touched: Ids | None
    """The rows of `layout.row_table` in which the gradient is not zero; None where all of it is updated."""

    @property
    def config(self) -> Any:
        """The record of the model, a dataclass, that a checkpoint keeps."""

    def initialise(self, seed: int) -> None:
        """Set all parameters to random values to start training from."""

    def loss(self, batch: Batch, dropout: DropoutKey | None = None) -> tuple[float, float]:
        """The summed loss in nats of `batch` and how much its targets count; `gradient` becomes that of their quotient.

        `batch.state` moves on to the last step.
        """

    def invalidate(self) -> None:
        """Note that `parameters` changed."""

    def zero_state(self, batch: int) -> Array:
        """The state before the first window of `batch` rows; an array without elements where none is carried."""

    def tensors(self) -> dict[str, Array]:
        """Copies of the parameters in the names and shapes of a checkpoint."""

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Take the parameters from a checkpoint's tensors. Raises CharrnnError when they do not fit."""


class Batches(Protocol):
    """The batches of a run. A batch is a function of the step and of nothing else."""

    batch_size: int
    seq_length: int
    steps_per_epoch: int
    note: str | None
    """A remark for the user, for example that a small dataset had to shrink the batch."""

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`, counted from 0 through all epochs; its `state` is left to training."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a network is worth on a part: its mean `loss` over so many `tokens` (targets), which decides what is best,
    and the figures of its field."""

    loss: float
    tokens: int
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, float]:
        """For the checkpoint's metadata."""
        return {"loss": self.loss, "tokens": self.tokens, **self.figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], entry: str) -> Metrics:
        """Read what `to_json` wrote, the entry of that name. Raises ValueError."""
        for name, value in data.items():
            if type(value) not in (int, float) or (type(value) is int and abs(value) > LARGEST_NUMBER):
                raise ValueError(f"{entry}.{name[:40]} is {str(value)[:40]!r}, which is not a number, or too large")
        for name in ("loss", "tokens"):
            if name not in data:
                raise ValueError(f"{entry} lacks the entry {name!r}")
        if type(data["tokens"]) is not int or data["tokens"] < 1:
            raise ValueError(f"{entry} has a loss over {data['tokens']} tokens")
        figures = {name: value for name, value in data.items() if name not in ("loss", "tokens")}
        return cls(data["loss"], data["tokens"], figures)


@dataclass(frozen=True)
class Description:
    """What the events at the start and the end of a run say of data and network.

    `counts` are sizes that both have, `records` are options that the start has besides those of model and training, and
    `lines` are a word and a sentence each, for people.
    """

    counts: dict[str, int]
    records: dict[str, Any] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()


def _cache_directory() -> Path:
    from charrnn.runtime.compile import user_cache_directory  # which needs Numba

    return user_cache_directory()


@dataclass(frozen=True)
class Request:
    """What was asked for. `given` are the options of data, model and training that were given, by Python name."""

    corpora: list[str]
    output: Path
    given: Options
    val: str | None = None
    init_from: str | None = None
    threads: int = 1
    cache: Path = field(default_factory=_cache_directory)  # where encoded corpora are kept


D = TypeVar("D", bound=Dataset)
N = TypeVar("N", bound=Network)


class Task(Protocol[D, N]):
    """What is learned: from which data `D`, by which network `N`, and how good that is."""

    @property
    def format(self) -> TaskFormat:
        """The task's part of a checkpoint, and its name."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Which of the figures of `Metrics` the result of a run has, each after `val_`."""

    def read(self, request: Request, initial: Checkpoint | None) -> D:
        """The dataset that was asked for.

        `initial` is a checkpoint whose vocabulary, labels or columns are to be used, because training begins from its
        weights. Raises CharrnnError for data and UsageError for options that cannot be used.
        """

    def configure(self, request: Request, dataset: D, model: Any | None) -> tuple[Any, TrainingConfig]:
        """The record of the network, which is `model` unless that is None, and how to train it: what was given, and
        defaults that suit the data for the rest."""

    def network(self, model: Any, config: TrainingConfig, dataset: D, threads: int) -> N:
        """The network of that record, all zeros. Raises CharrnnError when the machine cannot hold its training."""

    def memory(self, model: Any, config: TrainingConfig, dataset: D) -> int:
        """About how many bytes training takes."""

    def batches(self, dataset: D, config: TrainingConfig) -> Batches:
        """What is trained on, batch by batch. Raises CharrnnError when there is nothing."""

    def evaluate(self, network: N, part: Any, *, limit: int | None = None) -> Metrics:
        """What the network is worth on a part of a dataset, or on about `limit` targets spread over it."""

    def record(self, dataset: D) -> Any:
        """What a checkpoint keeps of the data: the second record that `format` reads and writes."""

    def describe(self, dataset: D, network: N) -> Description:
        """What is said of data and network."""

    # What a task need not have

    def options(self, run: Checkpoint) -> Options:
        """The options of reading the data that a checkpoint was made with."""
        return {}

    def check_options(self, given: Options, recorded: Options, init_from: str | None) -> None:
        """Raise UsageError for an option that was given and changes nothing.

        `recorded` are those of the run that is resumed, or of the model `init_from` that training begins with.
        """
        return

    def sample(self, network: N, dataset: D, seed: int) -> str | None:
        """What the network makes by now, to be shown while it is trained. Raises CharrnnError when there is nothing."""
        return None

    def advise_at_start(self, spec: RunSpec) -> Iterator[Advice]:
        """What is to be said before the first step of a run."""
        return iter(())

    def advise_at_end(self, spec: RunSpec) -> Iterator[Advice]:
        """What is to be said after a run, beside what its losses say."""
        return iter(())


@dataclass(frozen=True)
class RunSpec:
    """A run: what is to be learned, how, and where the result goes.

    `source` is what has to be remembered to read the data again. `resumed` is the checkpoint to go on from, read with
    its training state, which is let go once it is copied. `elapsed` tells the seconds since the start of the command.
    `samples` asks for a sample at every validation, besides those of `config.sample_every`. `remarks` are what the user
    should know about resuming.
    """

    task: Task[Any, Any]
    dataset: Dataset
    config: TrainingConfig
    output: Path
    source: dict[str, Any] = field(default_factory=dict)
    resumed: Checkpoint | None = None
    elapsed: Callable[[], float] = field(default_factory=stopwatch)
    samples: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def initialised(self) -> bool:
        """Whether training began from the weights of another model."""
        return not self.source.get("own_vocabulary", True)

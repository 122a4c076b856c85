"""The interface between training and a task. The loop knows tasks by this file only.

A task is a file of `charrnn/tasks` with a subclass of `Task`. Nothing here needs Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from charrnn.errors import CharrnnError
from charrnn.formats import TaskFormat
from charrnn.runtime.folders import user_cache_directory
from charrnn.runtime.processes import ALONE, Processes
from charrnn.training.clock import stopwatch
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charrnn.checkpoint import Checkpoint
    from charrnn.config import TrainingConfig
    from charrnn.nn.context import Context
    from charrnn.nn.dropout import DropoutKey
    from charrnn.nn.parameters import Layout
    from charrnn.runtime.arrays import Array, Ids
    from charrnn.text.batch import Batch, Shard

Advice = tuple[str, str]  # a topic, one or two fixed words, and what to say about it


class Part(Protocol):
    """A part of a dataset: the training part or the held-out part."""

    def __len__(self) -> int:
        """The number of targets."""


class Dataset(Protocol):
    """The data of a run: the training part, and the held-out part if there is one."""

    @property
    def train(self) -> Part:
        """The training part."""

    @property
    def validation(self) -> Part | None:
        """The held-out part, None if there is none."""

    @property
    def digest(self) -> str:
        """A digest of everything that was read: a run is resumed on data with the same digest only."""

    @property
    def notes(self) -> list[str]:
        """Remarks for the user about what was found."""

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of both parts, for the log and the checkpoint."""


class Network(Protocol):
    """A network whose parameters are one flat vector. Whoever changes the vector calls `invalidate`."""

    threads: int
    context: Context
    """What its blocks share; the threads of its pool update the parameters, too."""
    parameters: Array
    """(P,), float32."""
    gradient: Array
    """(P,), of the mean loss of the last batch with respect to `parameters`."""
    layout: Layout
    """The places of the parameters in the vector, and which of them are updated by row."""
    touched: Ids | None
    """The rows of `layout.row_table` in which the gradient is not zero; None where all of it is updated."""

    @property
    def config(self) -> Any:
        """The record of the model, a dataclass, that a checkpoint keeps."""

    def initialise(self, seed: int) -> None:
        """Set all parameters to random values to start training from."""

    def loss(
        self, batch: Batch, dropout: DropoutKey | None = None, *, shard: Shard | None = None
    ) -> tuple[float, float]:  # fmt: skip
        """The summed loss of `batch` in nats, or of the rows of `shard` alone, and the sum of the weights of the batch.

        Sets `gradient` to that of their quotient. In `batch.state` these rows become those after the last step. Raises
        CharrnnError where an id is out of range.
        """

    def invalidate(self) -> None:
        """Invalidate what was computed from `parameters`, such as packed weights: the vector has changed."""

    def zero_state(self, batch: int) -> Array:
        """The initial hidden state of `batch` rows, all zeros; an array without elements where none is carried."""

    def tensors(self) -> dict[str, Array]:
        """Copies of the parameters, by their names and in their shapes in a checkpoint."""

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Load the parameters from a checkpoint's tensors. Raises CharrnnError for missing names and wrong shapes."""


class Batches(Protocol):
    """The batches of a run. A batch is a function of the step and of nothing else."""

    batch_size: int
    seq_length: int
    steps_per_epoch: int
    note: str | None
    """A remark for the user, for example that a small dataset had to shrink the batch."""

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`, counted from 0 through all epochs; its `state` is left to training."""


@dataclass(frozen=True)
class Description:
    """The description of data and network in the events at the start and the end of a run.

    `counts` are sizes that both have, `records` are options that the start has besides those of model and training, and
    `lines` are for people: a label and a sentence each. `examples` is what a batch has whole ones of, as a plural;
    without, a batch is of windows of a fixed length.
    """

    counts: dict[str, int]
    records: dict[str, Any] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()
    examples: str = ""


@dataclass(frozen=True)
class Request:
    """A request to train: on which data, with which options, into which file.

    `given` are the options of data, model and training that were given, by Python name; the task chooses the others.
    """

    corpora: list[str]
    output: Path
    given: Options
    val: str | None = None
    init_from: str | None = None
    threads: int = 1
    cache: Path = field(default_factory=user_cache_directory)  # the folder of encoded corpora
    processes: Processes = ALONE
    task: str | None = None  # None: the language task, or that of the run to resume


D = TypeVar("D", bound=Dataset)
N = TypeVar("N", bound=Network)


class Task(Protocol[D, N]):
    """A task: how its data `D` are read, its network `N` is made, batches are formed and a network is evaluated."""

    @property
    def format(self) -> TaskFormat:
        """The task's part of a checkpoint, and its name."""

    @property
    def figures(self) -> tuple[str, ...]:
        """Which of `Metrics.figures` the result of a run has."""

    @property
    def settings(self) -> tuple[type[Any], ...]:
        """The dataclasses whose settings are the options of a run."""

    @property
    def verbs(self) -> tuple[str, ...]:
        """The commands that a trained model is for."""

    def read(self, request: Request, initial: Checkpoint | None) -> D:
        """Read the dataset of a request.

        `initial` is a checkpoint whose vocabulary, labels or columns are used: training begins from its weights. Raises
        CharrnnError for data, UsageError for options.
        """

    def configure(self, request: Request, dataset: D, model: Any | None) -> tuple[Any, TrainingConfig]:
        """The configurations of network, `model` unless that is None, and training: what is given, else defaults.

        Raises UsageError for options that contradict each other.
        """

    def network(self, model: Any, config: TrainingConfig, dataset: D, threads: int) -> N:
        """The network of the configuration `model`, all zeros. Raises CharrnnError when there is too little memory."""

    def memory(self, model: Any, config: TrainingConfig, dataset: D) -> int:
        """The memory that training takes, in bytes, about."""

    def batches(self, dataset: D, config: TrainingConfig) -> Batches:
        """The batches of the training part. Raises CharrnnError when it is empty."""

    def evaluate(
        self, network: N, part: Any, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        """Evaluate the network on a part of a dataset, or on about `limit` targets spread over it.

        The work is shared out between `processes`, which get the same metrics to the last bit, however many they are.
        """

    def record(self, dataset: D) -> Any:
        """What a checkpoint stores of the data, such as the vocabulary: the second record of `format`."""

    def describe(self, dataset: D, network: N) -> Description:
        """The description of data and network for the user and the log."""

    # Optional

    fitted_at_start: bool = False
    """Whether the weights before the first step may be the best of a run: they are validated, too."""

    def shown_by(self, data: Any) -> tuple[str, str | None]:
        """The command that shows what a model has learned, and a prompt for it if it needs one.

        `data` is what a checkpoint stores of the data, see `record`.
        """
        return self.verbs[0], None

    def trained(self, run: Checkpoint, *, threads: int, precision: str) -> Any:
        """The model of a checkpoint, to be used with `threads` and `precision`. Raises CharrnnError when it has none.

        Raises UsageError for `threads` out of range or an unknown `precision`.
        """
        raise CharrnnError(f"a model of the task {self.format.task} can be trained only")

    def options(self, run: Checkpoint) -> Options:
        """The options of reading the data that a checkpoint was made with."""
        return {}

    def check_options(self, given: Options, recorded: Options, init_from: str | None) -> None:
        """Raise UsageError for a given option that has no effect.

        `recorded` are those of the run that is resumed, or of the model `init_from` that training begins with.
        """
        return

    def is_whole(self, metrics: Metrics, part: Any) -> bool:
        """Whether `evaluate` looked at all of the part; if not, the best weights are evaluated again at the end."""
        return metrics.tokens >= len(part)

    def completion_seconds(self, network: N, dataset: D) -> float:
        """About how long `complete` takes; a time limit leaves room for it."""
        return 0.0

    def complete(self, network: N, dataset: D) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
        """A checkpoint's memory, made with the best weights when training is over, and figures of it."""
        return {}, {}

    def sample(self, network: N, dataset: D, seed: int) -> str | None:
        """A sample of the network, to be shown during training; None if the task has none. Raises CharrnnError."""
        return None

    def advise_at_start(self, spec: RunSpec) -> Iterator[Advice]:
        """Advice before the first step of a run."""
        return iter(())

    def advise_at_end(self, spec: RunSpec, final: Metrics | None) -> Iterator[Advice]:
        """Advice after a run, beside that of `training.advice`; `final` are the metrics of its best weights."""
        return iter(())


@dataclass(frozen=True)
class RunSpec:
    """The specification of a run: task, data, configuration and output.

    `source` has what is needed to read the data again. `resumed` is the checkpoint to resume, with its training state,
    which is released once it is copied. `elapsed` returns the seconds since the process began. With `samples` there is
    one at every validation, besides those of `config.sample_every`. `remarks`: how a resumed run differs from another.
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
    processes: Processes = ALONE

    @property
    def initialised(self) -> bool:
        """Whether training began from the weights of another model."""
        return not self.source.get("own_vocabulary", True)

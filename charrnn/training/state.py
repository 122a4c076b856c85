"""The training state: everything that a step changes, in memory and in the checkpoint that a run is resumed from."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError
from charrnn.formats import record_from_json, require_table
from charrnn.runtime.processes import ALONE, Processes
from charrnn.training.metrics import Metrics
from charrnn.training.optimizer import Optimizer
from charrnn.training.recorded import LARGEST_COUNT, rows
from charrnn.training.reduction import Reduction
from charrnn.training.schedule import Plan
from charrnn.training.task import Network

if TYPE_CHECKING:
    from charrnn.nn.dropout import DropoutKey
    from charrnn.text.batch import Batch

HISTORY_LENGTH = 1000  # validations recorded; beyond that every second one is dropped
# Entries that checkpoints of earlier versions lack.
LATER: dict[str, Any] = {"norm_sum": 0.0, "gradient_norm": None, "learning_rate": None, "pace": []}
Arrays = dict[str, np.ndarray]


@dataclass(slots=True)
class Progress:
    """The scalars of the training state. `validated` is the last step at which a validation was due and done, -1 where
    one is due before the first step."""

    step: int = 0
    validated: int = 0
    plans: list[Plan] = field(default_factory=list)
    updates: int = 0
    halvings: int = 0  # of the learning rate
    divergences: int = 0
    validations_since_best: int = 0  # for early stopping, see `TrainingConfig.patience`
    best: Metrics | None = None
    best_step: int | None = None
    loss_sum: float = 0.0  # of the training losses since the last validation
    loss_count: int = 0
    norm_sum: float = 0.0  # of the norms of the gradients of these steps
    train_loss: float | None = None  # the mean loss between the last two validations
    gradient_norm: float | None = None  # the mean norm, before clipping
    learning_rate: float | None = None  # of the last step
    history: list[list[float | None]] = field(default_factory=list)  # step, training loss, validation loss
    pace: list[list[float | None]] = field(default_factory=list)  # step, learning rate, gradient norm of the same ones

    def note_step(self, loss: float, norm: float, rate: float) -> None:
        """Add the training loss of one step, in nats per token, the norm of its gradient and its learning rate."""
        self.loss_sum += loss
        self.norm_sum += norm
        self.loss_count += 1
        self.learning_rate = rate

    def close_interval(self) -> None:
        """Set `train_loss` and `gradient_norm` to the means since the last call."""
        if self.loss_count:
            self.train_loss = self.loss_sum / self.loss_count
            self.gradient_norm = self.norm_sum / self.loss_count
        self.loss_sum, self.norm_sum, self.loss_count = 0.0, 0.0, 0

    def record(self, evaluation: Metrics, *, plateau: bool) -> bool:
        """Record a validation; True if it is the best so far. With `plateau`, others halve the rate."""
        better = self.best is None or evaluation.order < self.best.order
        if better:
            self.best, self.best_step, self.validations_since_best = evaluation, self.step, 0
        else:
            self.validations_since_best += 1
            self.halvings += plateau
        self.history.append([self.step, self.train_loss, evaluation.loss])
        self.pace.append([self.step, self.learning_rate, self.gradient_norm])
        for curve in (self.history, self.pace):
            if len(curve) > HISTORY_LENGTH:
                del curve[1::2]
        return better

    def to_json(self) -> dict[str, Any]:
        """A JSON object for the metadata of the checkpoint."""
        best = None if self.best is None else self.best.to_json()
        return dataclasses.asdict(self) | {"plans": [list(plan) for plan in self.plans], "best": best}

    @classmethod
    def from_json(cls, data: Any) -> Progress:
        """The progress that `to_json` wrote. Raises CharrnnError when `data` is anything else."""
        try:
            data = LATER | require_table(data, "progress")
            values = {name: data[name] for name in cls.__dataclass_fields__}
            plans, best, history, pace = (values.pop(name) for name in ("plans", "best", "history", "pace"))
            progress = record_from_json(cls, values, "progress", largest=LARGEST_COUNT)
            progress.plans = [Plan(*row) for row in rows(plans, "progress.plans", (int, int))]
            if best is not None:
                progress.best = Metrics.from_json(require_table(best, "progress.best"), "progress.best")
            progress.history = rows(history, "progress.history", (int, (float, None), float))
            progress.pace = list(rows(pace, "progress.pace", (int, (float, None), (float, None))))
            progress.check()
        except (KeyError, ValueError) as error:
            found = f"progress lacks the entry {error}" if isinstance(error, KeyError) else str(error)
            raise CharrnnError(
                f"the training state in the checkpoint is damaged: {found}; train again with `force`"
            ) from None
        return progress

    def check(self) -> None:
        """Raise ValueError where values are out of range or contradict each other."""
        if self.validated < -1:
            raise ValueError(f"progress.validated is {self.validated}; it must be at least -1")
        for name in ("step", "updates", "halvings", "divergences", "validations_since_best", "loss_count"):
            if getattr(self, name) < 0:
                raise ValueError(f"progress.{name} is {getattr(self, name)}; it must be at least 0")
        for name in ("validated", "updates", "best_step"):
            if (getattr(self, name) or 0) > self.step:
                raise ValueError(f"progress.{name} is {getattr(self, name)}, and progress.step only {self.step}")
        if (self.best is None) != (self.best_step is None) or (self.best_step or 0) < 0:
            raise ValueError(f"progress.best_step is {self.best_step}, which does not go with progress.best")
        begins = [0, *(plan.step for plan in self.plans)]
        if not self.plans or begins != sorted(begins) or any(plan.total < 1 for plan in self.plans):
            raise ValueError("progress.plans is empty or not in order")
        for name in ("history", "pace"):
            if (entries := len(getattr(self, name))) > HISTORY_LENGTH:
                raise ValueError(f"progress.{name} has {entries} entries; at most {HISTORY_LENGTH} are stored")


class Learner:
    """A network, its optimiser, and the hidden state `carried` from window to window: all that one step changes.

    Raises UsageError where `config.shards` are fewer than the `processes`.
    """

    def __init__(
        self, network: Network, config: TrainingConfig, batch_size: int, processes: Processes = ALONE
    ) -> None:  # fmt: skip
        self.network = network
        self.reduction = Reduction(network, config.shards, processes)
        layout = network.layout
        self.optimizer = Optimizer(
            config, network.parameters, layout.segments, pool=network.context.pool, table=layout.row_table,
            matrices=layout.matrices,
        )  # fmt: skip
        self.carried = network.zero_state(batch_size)

    def loss(self, batch: Batch, dropout: DropoutKey | None) -> tuple[float, float]:
        """The summed loss of a batch that begins with the carried state, and the sum of its weights; sets the gradient.

        See `Reduction.loss`.
        """
        return self.reduction.loss(dataclasses.replace(batch, state=self.carried), dropout)

    def arrays(self) -> Arrays:
        """The arrays of the state, not copies, by their names in a checkpoint."""
        moments = {f"moment.{name}": moment for name, moment in self.optimizer.moments.items()}
        return {"parameters": self.network.parameters, "carried": self.carried, **moments}

    def copy(self) -> Arrays:
        """Copies of the arrays, for `restore`; the number of updates, `optimizer.updates`, is not among them."""
        return {name: array.copy() for name, array in self.arrays().items()}

    def restore(self, arrays: Mapping[str, np.ndarray], updates: int) -> None:
        """Restore the state from copies of its arrays. Raises CharrnnError when one is missing or has another shape."""
        mine = self.arrays()
        for name, array in mine.items():
            if name not in arrays or arrays[name].shape != array.shape:
                found = f"has shape {arrays[name].shape}" if name in arrays else "is missing"
                raise CharrnnError(
                    f"cannot resume: training.{name} {found} in the checkpoint and must have shape {array.shape}; "
                    "`init_from` starts a new run from its weights"
                )
        for name, array in mine.items():
            array[...] = arrays[name]
        self.optimizer.updates = updates
        self.network.invalidate()

    def finite(self) -> bool:
        """Whether every parameter is a finite number."""
        return bool(np.isfinite(self.network.parameters).all())


class Snapshot:
    """A copy of a learner and the progress it had made, to roll back to."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.arrays = {name: np.empty_like(array) for name, array in learner.arrays().items()}
        self.progress = Progress()

    def take(self, progress: Progress) -> None:
        """Copy the state of the learner, and `progress`."""
        for name, array in self._learner.arrays().items():
            np.copyto(self.arrays[name], array)
        self.progress = copy.deepcopy(progress)

    def rollback(self) -> Progress:
        """Restore the learner from the copy; returns the progress at that time."""
        self._learner.restore(self.arrays, self.progress.updates)
        return copy.deepcopy(self.progress)

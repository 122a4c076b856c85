"""Checkpoints of a run: the last good state for rollback, the best weights, and when both are written to disk."""

from __future__ import annotations

from typing import Any

from charrnn import checkpoint
from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError
from charrnn.training import events
from charrnn.training.reports import describe_run
from charrnn.training.state import Arrays, Learner, Progress, Snapshot
from charrnn.training.task import Network, RunSpec

LAST_GOOD = "last_good."  # before the names of the tensors of `Keeper.last_good` in a checkpoint
# Between validations a checkpoint is written every so many seconds, less often where writing would take a larger share
# of the time than SAVE_SHARE.
SAVE_SECONDS = 180.0
SAVE_SHARE = 0.05


class Keeper:
    """Stores the last good state and the best weights; writes and resumes checkpoints.

    `last_good` is the state at the last validation whose numbers were finite, `best_weights` are those with the lowest
    validation loss.

    `memory` are the tensors that the task adds when training is over, see `Task.complete`.

    `changed`: the state has changed since the last checkpoint. `save_seconds`: how long writing that one took.
    """

    def __init__(self, spec: RunSpec, network: Network, learner: Learner) -> None:
        self.spec, self.network, self.learner = spec, network, learner
        self.last_good = Snapshot(learner)
        self.best_weights: Arrays | None = None
        self.memory: dict[str, Any] = {}
        self.changed = False
        self.save_seconds = 0.0
        self._saved_at = spec.elapsed()

    def resume(self, resumed: Checkpoint) -> Progress:
        """Restore the learner from a checkpoint, whose tensors are released; returns the progress of its run.

        Raises CharrnnError when the checkpoint has no training state, or one of another network.
        """
        if resumed.training.get("layout") != self.learner.network.layout.digest:
            raise CharrnnError(
                f"cannot resume: {self.spec.output} has no training state that this version of charrnn can go on from; "
                "`init_from` starts a new run with its weights"
            )
        training, tensors = in_current_names(resumed.training, resumed.training_tensors)
        progress = Progress.from_json(training.get("progress"))
        last_good = training.get("last_good")  # if it was written between two validations
        if last_good is not None:
            named = {name: array for name, array in tensors.items() if name.startswith(LAST_GOOD)}
            progress_then = Progress.from_json(last_good)
            self._restore({name.removeprefix(LAST_GOOD): named[name] for name in named}, progress_then.updates)
            self.last_good.take(progress_then)
        self._restore(tensors, progress.updates)
        if last_good is None:
            self.last_good.take(progress)
        resumed.training_tensors = {}  # copied by now
        if progress.best is not None:
            self.best_weights = resumed.weights
        return progress

    def _restore(self, arrays: Arrays, updates: int) -> None:
        self.learner.restore(arrays, updates)
        if not self.learner.finite():
            raise CharrnnError(
                f"cannot resume: the training state in {self.spec.output} has weights that are not finite numbers; "
                "`init_from` starts a new run from its weights"
            )

    def due(self) -> bool:
        """Whether a checkpoint between validations is due. Never with weights that are not finite: the next step rolls
        them back."""
        waited = self.spec.elapsed() - self._saved_at
        return waited >= max(SAVE_SECONDS, self.save_seconds / SAVE_SHARE) and self.changed and self.learner.finite()

    def save(
        self, progress: Progress, config: TrainingConfig, epoch: float, result: dict[str, Any] | None,
        timings: dict[str, Any],
    ) -> events.Saved:  # fmt: skip
        """Write the checkpoint: the best weights for use, the latest training state to resume from.

        Between validations the last good state is written too, so that a resumed run rolls back to the same one.
        `epoch` is the progress in epochs; `timings` hold seconds and tokens per second. Raises CharrnnError when the
        file cannot be written; the one before is then unchanged.
        """
        start = self.spec.elapsed()
        if self.spec.processes.rank == 0:
            checkpoint.save(self.spec.output, self._checkpoint(progress, config, epoch, result, timings))
        self.spec.processes.agree()
        self.changed = False
        self._saved_at = self.spec.elapsed()
        self.save_seconds = self._saved_at - start
        return events.Saved(self._saved_at, step=progress.step, path=str(self.spec.output))

    def _checkpoint(
        self, progress: Progress, config: TrainingConfig, epoch: float, result: dict[str, Any] | None,
        timings: dict[str, Any],
    ) -> Checkpoint:  # fmt: skip
        training = describe_run(self.spec, config, progress, epoch)
        training |= {"layout": self.learner.network.layout.digest, "result": result, "last_good": None}
        tensors = self.learner.arrays()
        if progress.step != self.last_good.progress.step:
            training["last_good"] = self.last_good.progress.to_json()
            tensors |= {LAST_GOOD + name: array for name, array in self.last_good.arrays.items()}
        return Checkpoint(
            self.network.config,
            self.spec.task.record(self.spec.dataset),
            training,
            timings,
            self.best_weights or self.network.tensors(),
            tensors,
            self.memory,
            self.spec.task.format,
        )


def in_current_names(training: dict[str, Any], tensors: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Metadata and tensors of a training state in the names of format 2; those of format 1 are translated."""
    if "good" not in training:
        return training, tensors
    training = {**training, "last_good": training["good"]}
    for name in ("progress", "last_good"):
        if isinstance(training.get(name), dict) and "stale" in training[name]:
            training[name] = {**training[name], "validations_since_best": training[name]["stale"]}
    old = "good."
    return training, {
        LAST_GOOD + name.removeprefix(old) if name.startswith(old) else name: array for name, array in tensors.items()
    }

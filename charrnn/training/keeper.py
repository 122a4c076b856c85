"""What a run could need later: the last good state, the best weights, and the checkpoint that holds both on disk."""

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
# Between validations a checkpoint is written after that many seconds, unless writing takes more than such a share.
SAVE_SECONDS = 180.0
SAVE_SHARE = 0.05


class Keeper:
    """Keeps `last_good`, the last state that validation found to be sound, and `best_weights`, and writes checkpoints.

    `changed` says that something would be lost by ending now, `save_seconds` how long the last checkpoint took.
    """

    def __init__(self, spec: RunSpec, network: Network, learner: Learner) -> None:
        self.spec, self.network, self.learner = spec, network, learner
        self.last_good = Snapshot(learner)
        self.best_weights: Arrays | None = None
        self.changed = False
        self.save_seconds = 0.0
        self._saved_at = spec.elapsed()

    def resume(self, resumed: Checkpoint) -> Progress:
        """Bring the learner to the state in a checkpoint, whose tensors are let go; the progress it had made.

        Raises CharrnnError when there is no such state, or not one of this network.
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
        """Whether too much would be lost by a sudden end. Never of weights that the next step will go back from."""
        waited = self.spec.elapsed() - self._saved_at
        return waited >= max(SAVE_SECONDS, self.save_seconds / SAVE_SHARE) and self.changed and self.learner.finite()

    def save(
        self, progress: Progress, config: TrainingConfig, epoch: float, result: dict[str, Any] | None,
        timings: dict[str, Any],
    ) -> events.Saved:  # fmt: skip
        """Write the checkpoint: the best weights for use, the latest state to go on from.

        Between validations also the state that a divergence would go back to.
        """
        start = self.spec.elapsed()
        training = describe_run(self.spec, config, progress, epoch)
        training |= {"layout": self.learner.network.layout.digest, "result": result, "last_good": None}
        tensors = self.learner.arrays()
        if progress.step != self.last_good.progress.step:
            training["last_good"] = self.last_good.progress.to_json()
            tensors |= {LAST_GOOD + name: array for name, array in self.last_good.arrays.items()}
        written = Checkpoint(
            self.network.config,
            self.spec.task.record(self.spec.dataset),
            training,
            timings,
            self.best_weights or self.network.tensors(),
            tensors,
            self.spec.task.format,
        )
        checkpoint.save(self.spec.output, written)
        self.changed = False
        self._saved_at = self.spec.elapsed()
        self.save_seconds = self._saved_at - start
        return events.Saved(self._saved_at, step=progress.step, path=str(self.spec.output))


def in_current_names(training: dict[str, Any], tensors: Arrays) -> tuple[dict[str, Any], Arrays]:
    """The state of a run that may have been saved in format 1, in the names that it has now."""
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

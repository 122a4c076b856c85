"""What a run could need later: the last good state, the best weights, and the checkpoint that holds both on disk."""

from __future__ import annotations

from typing import Any

from charrnn import checkpoint
from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError
from charrnn.models import LanguageModel
from charrnn.training import events
from charrnn.training.state import Arrays, Learner, Progress, Snapshot
from charrnn.training.task import Task, describe_run

GOOD = "good."  # before the names of the tensors of `Keeper.good` in a checkpoint
# Between validations a checkpoint is written after that many seconds, unless writing takes more than such a share.
SAVE_SECONDS = 180.0
SAVE_SHARE = 0.05


class Keeper:
    """Keeps `good`, the last state that validation found to be sound, and `best_weights`, and writes checkpoints.

    `changed` says that something would be lost by ending now, `save_seconds` how long the last checkpoint took.
    """

    def __init__(self, task: Task, model: LanguageModel, learner: Learner) -> None:
        self.task, self.model, self.learner = task, model, learner
        self.good = Snapshot(learner)
        self.best_weights: Arrays | None = None
        self.changed = False
        self.save_seconds = 0.0
        self._saved_at = task.elapsed()

    def resume(self, resumed: Checkpoint) -> Progress:
        """Bring the learner to the state in a checkpoint, whose tensors are let go; the progress it had made.

        Raises CharrnnError when there is no such state, or not one of this network.
        """
        if resumed.training.get("layout") != self.learner.layout():
            raise CharrnnError(
                f"cannot resume: {self.task.output} has no training state that this version of charrnn can go on from; "
                "`init_from` starts a new run with its weights"
            )
        progress = Progress.from_json(resumed.training.get("progress"))
        tensors = resumed.training_tensors
        good = resumed.training.get("good")  # if it was written between two validations
        if good is not None:
            arrays = {name.removeprefix(GOOD): array for name, array in tensors.items() if name.startswith(GOOD)}
            progress_then = Progress.from_json(good)
            self._restore(arrays, progress_then.updates)
            self.good.take(progress_then)
        self._restore(tensors, progress.updates)
        if good is None:
            self.good.take(progress)
        resumed.training_tensors = {}  # copied by now
        if progress.best is not None:
            self.best_weights = resumed.weights
        return progress

    def _restore(self, arrays: Arrays, updates: int) -> None:
        self.learner.restore(arrays, updates)
        if not self.learner.finite():
            raise CharrnnError(
                f"cannot resume: the training state in {self.task.output} has weights that are not finite numbers; "
                "`init_from` starts a new run from its weights"
            )

    def due(self) -> bool:
        """Whether too much would be lost by a sudden end. Never of weights that the next step will go back from."""
        waited = self.task.elapsed() - self._saved_at
        return waited >= max(SAVE_SECONDS, self.save_seconds / SAVE_SHARE) and self.changed and self.learner.finite()

    def save(
        self, progress: Progress, config: TrainingConfig, epoch: float, result: dict[str, Any] | None,
        timings: dict[str, Any],
    ) -> events.Saved:  # fmt: skip
        """Write the checkpoint: the best weights for use, the latest state to go on from.

        Between validations also the state that a divergence would go back to.
        """
        start = self.task.elapsed()
        training = describe_run(self.task, config, progress, epoch)
        training |= {"layout": self.learner.layout(), "result": result, "good": None}
        tensors = self.learner.arrays()
        if progress.step != self.good.progress.step:
            training["good"] = self.good.progress.to_json()
            tensors |= {GOOD + name: array for name, array in self.good.arrays.items()}
        written = Checkpoint(
            self.model.config,
            self.task.corpus.vocabulary,
            self.task.text,
            training,
            timings,
            self.best_weights or self.model.tensors(),
            tensors,
        )
        checkpoint.save(self.task.output, written)
        self.changed = False
        self._saved_at = self.task.elapsed()
        self.save_seconds = self._saved_at - start
        return events.Saved(self._saved_at, step=progress.step, path=str(self.task.output))

"""The tasks by name. A new task is a file here and an entry in `TASKS`.

The file has `TASK`, see `training.task.Task`.

Nothing here imports Numba before a network is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from charrnn.errors import CharrnnError, UsageError
from charrnn.runtime.processors import processors

if TYPE_CHECKING:
    from pathlib import Path

    from charrnn.checkpoint import Checkpoint, Contents
    from charrnn.training.task import Task

TASKS = {
    "language": "charrnn.tasks.language",
    "classify": "charrnn.tasks.classify",
    "tag": "charrnn.tasks.tag",
    "forecast": "charrnn.tasks.forecast",
    "translate": "charrnn.tasks.translate",
}
DEFAULT = "language"


def task_named(name: str) -> Task[Any, Any]:
    """The task of that name. Raises UsageError when there is none."""
    if name not in TASKS:
        raise UsageError(f"`task` is {name!r}; it must be one of {', '.join(TASKS)}")
    task: Task[Any, Any] = import_module(TASKS[name]).TASK
    return task


def task_of(path: str | Path) -> Task[Any, Any]:
    """The task of the checkpoint at `path`. Raises CharrnnError when it cannot be read or is of an unknown task."""
    from charrnn import checkpoint

    name = checkpoint.task_of(path)
    if name not in TASKS:
        raise CharrnnError(
            f"{path} is a model of the task {name}, which this charrnn does not know (it knows {', '.join(TASKS)}); "
            "upgrade charrnn"
        )
    return task_named(name)


def load_checkpoint(path: str | Path, *, with_training: bool = False) -> Checkpoint:
    """The checkpoint at `path`, of any task; the tensors of its training run only `with_training`.

    Raises CharrnnError, one line that names the file and its defect.
    """
    from charrnn import checkpoint

    return checkpoint.load(path, task_of(path).format, with_training=with_training)


def read_contents(path: str | Path) -> Contents:
    """The checkpoint at `path`, of any task, without its tensors. Raises CharrnnError as `load_checkpoint` does."""
    from charrnn import checkpoint

    return checkpoint.read_contents(path, task_of(path).format)


def load(path: str | Path, *, threads: int | None = None, precision: str = "float32") -> Any:
    """The model of a checkpoint, whose methods depend on its task; any number of threads may use it at once.

    A `TrainedLanguageModel` scores and samples, a `TrainedClassifier` and a `TrainedTagger` predict, a
    `TrainedForecaster` forecasts, a `TrainedTranslator` predicts, scores and samples.

    `threads` is the number of threads that it computes with, None for one a processor; results do not depend on it.
    `precision` is that of matrix products: float32, bfloat16, or auto, which is the faster one on this machine. The
    first call on a machine compiles the kernels, which takes some seconds.

    Raises CharrnnError when the file cannot be read, UsageError for `threads` out of range or an unknown `precision`.
    """
    from charrnn import checkpoint

    task = task_of(path)
    loaded = checkpoint.load(path, task.format)
    return task.trained(loaded, threads=processors() if threads is None else threads, precision=precision)

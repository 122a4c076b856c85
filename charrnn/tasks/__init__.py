"""The tasks by name. A new task is a file here and an entry in `TASKS`.

The file has `TASK`, see `training.task.Task`, and a function `trained` that makes the model of a checkpoint.

Nothing here imports Numba before a network is made.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from charrnn.errors import CharrnnError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from charrnn.checkpoint import Checkpoint, Contents
    from charrnn.tasks.trained_language import TrainedLanguageModel
    from charrnn.training.task import Task

TASKS = {"language": "charrnn.tasks.language"}
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


def load(path: str | Path, *, threads: int | None = None, precision: str = "float32") -> TrainedLanguageModel:
    """The model of the checkpoint at `path`, to score and sample with; any number of threads may use it at once.

    `threads` is the number of threads that it computes with, None for one a processor; results do not depend on it.
    `precision` is that of matrix products: float32, bfloat16, or auto, which is the faster one on this machine. The
    first call on a machine compiles the kernels, which takes some seconds.

    Raises CharrnnError when the file cannot be read, UsageError for `threads` out of range or an unknown `precision`.
    """
    return trained(load_checkpoint(path), threads=processors() if threads is None else threads, precision=precision)


def trained(checkpoint: Checkpoint, *, threads: int, precision: str) -> TrainedLanguageModel:
    """The model of a checkpoint that is loaded already. For parameters and errors see `load`."""
    made: TrainedLanguageModel = import_module(TASKS[checkpoint.format.task]).trained(
        checkpoint, threads=threads, precision=precision
    )
    return made


def processors() -> int:
    """The number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1

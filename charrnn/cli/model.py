"""Chooses the checkpoint of a command and loads its model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from charrnn.cli import streams
from charrnn.cli.options import resolve_threads
from charrnn.errors import CharrnnError, UsageError

DEFAULT_FOLDER = Path("checkpoints")
# What a clone has; the first is used where nothing else is.
DEMOS = ("demo.safetensors", *(f"demo-{name}.safetensors" for name in ("dates", "numbers", "labels", "tags", "throws")))
ENVIRONMENT_VARIABLE = "CHARRNN_CHECKPOINT"


def find_checkpoint(explicit: str | None) -> Path:
    """Which checkpoint to use: `explicit`, else $CHARRNN_CHECKPOINT, else the most recently modified file
    checkpoints/*.safetensors other than the demos, else demo.safetensors.

    Raises `UsageError` when `explicit` is empty, as an unset variable of the shell would leave it, and `CharrnnError`
    when there is none. Does not read the file.
    """
    if explicit == "":
        raise UsageError("the name of the checkpoint is empty; give one, or leave out the option")
    if chosen := explicit or os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(chosen)
    newest: tuple[int, int, str] | None = None
    for path in DEFAULT_FOLDER.glob("*.safetensors"):
        try:
            rank = -DEMOS.index(path.name) if path.name in DEMOS else 1
            candidate = (rank, path.stat().st_mtime_ns, path.name)
        except OSError:  # a link to nothing, or removed just now
            continue
        if path.is_file() and (newest is None or candidate > newest):
            newest = candidate
    if newest is None:
        raise CharrnnError(
            f"there is no checkpoint in {DEFAULT_FOLDER}{os.sep}; make one with: charrnn train corpus.txt, "
            "or name one with -c FILE"
        )
    return DEFAULT_FOLDER / newest[2]


def require_file(path: Path, explicit: str | None) -> None:
    """Raise `CharrnnError`, with the command that makes one, where there is no file at the path of a checkpoint, which
    `find_checkpoint` found for `explicit`."""
    try:
        path.stat()
    except FileNotFoundError:
        named = f" (${ENVIRONMENT_VARIABLE})" if not explicit and os.environ.get(ENVIRONMENT_VARIABLE) else ""
        raise CharrnnError(f"there is no checkpoint {path}{named}; charrnn train corpus.txt makes one") from None
    except OSError:  # which the reader of the checkpoint reports
        pass


def with_memory(model: Any, *, no_memory: bool) -> Any:
    """A language model as it is, or with `no_memory` the network alone."""
    if no_memory and model.memory is None:
        raise UsageError("--no-memory is for a model with a memory of its corpus, and this has none; leave it out")
    return model.without_memory() if no_memory else model


def open_model(
    checkpoint_option: str | None, threads: int | None, precision: str, *, verb: str, called: str = "checkpoint"
) -> Any:
    """The model of the chosen checkpoint, ready to compute; the choice is named on stderr.

    `precision` is that of the products: float32, bfloat16, or auto, which is the faster one on this machine. Raises
    `CharrnnError` when there is no checkpoint or it is damaged, `UsageError` for wrong options, and where its task is
    one for which the command `verb` has no meaning.
    """
    count = resolve_threads(threads)

    from charrnn import checkpoint, tasks

    path = find_checkpoint(checkpoint_option)
    require_file(path, checkpoint_option)
    streams.note(f"{called} {path}")
    task = tasks.task_of(path)
    if verb not in task.verbs:
        raise UsageError(
            f"charrnn {verb} is not for models of the task {task.format.task}, and {path} is one; use charrnn "
            f"{' or '.join(task.verbs)}"
        )
    loaded = checkpoint.load(path, task.format)

    from charrnn.cli.compiling import announce_compilation

    announce_compilation()
    return task.trained(loaded, threads=count, precision=precision)

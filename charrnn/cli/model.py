"""Opening the model that `sample` and `score` read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charrnn.cli import streams
from charrnn.cli.options import resolve_threads

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint
    from charrnn.models import LanguageModel


def open_model(
    checkpoint_option: str | None, threads: int | None, precision: str, *, called: str = "checkpoint"
) -> tuple[LanguageModel, Checkpoint]:
    """The model of the chosen checkpoint, ready to compute, and the checkpoint; the choice is named on stderr.

    `precision` is that of the products: float32, bfloat16, or auto, which is the faster one on this machine. Raises
    `CharrnnError` when there is no checkpoint or it is damaged, `UsageError` for wrong options.
    """
    count = resolve_threads(threads)

    from charrnn import checkpoint

    path = checkpoint.find(checkpoint_option)
    streams.note(f"{called} {path}")
    loaded = checkpoint.load(path)

    from charrnn.cli.compiling import announce_compilation
    from charrnn.models import LanguageModel, resolve_precision

    announce_compilation()
    bfloat16 = resolve_precision(precision) == "bfloat16"
    model = LanguageModel(loaded.model, threads=count, bfloat16=bfloat16)
    model.load(loaded.weights)
    return model, loaded

"""Opening the model that `sample` and `score` read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charrnn.cli import streams
from charrnn.cli.options import resolve_threads
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint
    from charrnn.models import LanguageModel


def require_precision(precision: str) -> None:
    """Raise `UsageError` for a precision that this build cannot compute in."""
    if precision == "bfloat16":
        raise UsageError("--precision is bfloat16, and this build computes in float32 only; leave it out")


def open_model(checkpoint_option: str | None, threads: int | None, precision: str) -> tuple[LanguageModel, Checkpoint]:
    """The model of the chosen checkpoint, ready to compute, and the checkpoint; the choice is named on stderr.

    Raises `CharrnnError` when there is none or it is damaged, `UsageError` for wrong options.
    """
    require_precision(precision)
    count = resolve_threads(threads)

    from charrnn import checkpoint

    path = checkpoint.find(checkpoint_option)
    streams.note(f"checkpoint {path}")
    loaded = checkpoint.load(path)

    from charrnn.models import LanguageModel
    from charrnn.text.vocabulary import EOS

    model = LanguageModel(loaded.model, threads=count, boundary=EOS if loaded.text.lines else -1)
    model.load(loaded.weights)
    return model, loaded

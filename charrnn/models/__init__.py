"""Language models as arrays and shapes: input, a stack of recurrent layers, a softmax over the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.models.language_model import LanguageModel

__all__ = ["LanguageModel"]


def __getattr__(name: str) -> Any:
    """Import the model, and with it Numba, only when it is asked for: shapes alone need neither."""
    if name == "LanguageModel":
        from charrnn.models.language_model import LanguageModel

        return LanguageModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

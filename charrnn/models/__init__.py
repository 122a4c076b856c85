"""Language models as arrays and shapes: input, a stack of recurrent layers, a softmax over the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.models.language import LanguageModel, resolve_precision

__all__ = ["LanguageModel", "resolve_precision"]


def __getattr__(name: str) -> Any:
    """Import the model, and with it Numba, only when it is asked for: shapes alone need neither."""
    if name in __all__:
        from charrnn.models import language

        return getattr(language, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

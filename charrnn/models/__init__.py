"""Networks put together from the blocks of `nn/`: arrays in, arrays out, no text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.models.language import LanguageModel, resolve_precision

__all__ = ["LanguageModel", "resolve_precision"]


def __getattr__(name: str) -> Any:
    """Import the model, and with it Numba, at its first use (PEP 562): shapes alone need neither."""
    if name in __all__:
        from charrnn.models import language

        return getattr(language, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

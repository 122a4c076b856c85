"""charrnn: recurrent networks from the command line, and `charrnn.load` for what they have learned in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.tasks import load as load

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what computes only when it is asked for."""
    if name == "load":
        from charrnn.tasks import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

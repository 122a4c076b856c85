"""The folder of cached files."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache_directory() -> Path:
    """$CHARRNN_CACHE_DIR, else `charrnn` in the user's cache directory."""
    if chosen := os.environ.get("CHARRNN_CACHE_DIR"):
        return Path(chosen)
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "charrnn"

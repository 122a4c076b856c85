"""The one decorator that holds the compile options of every kernel, and where compiled code is kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import config as numba_config
from numba.core.caching import FunctionCache

from charrnn import __version__

Function = TypeVar("Function", bound=Callable[..., Any])

# Reassociation and contraction let LLVM vectorise sums and use fused multiply-add. "nnan" and "ninf" are left out: with
# them np.isnan(nan) is False, and a diverged run would go unseen.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # no check for division by zero: it would stop vectorisation
    "fastmath": FASTMATH,
    # A quarter of the time to compile goes into what kernels do not need: they own no memory, so there are no
    # references to count, and no C function takes them as a callback.
    "_nrt": False,
    "no_cfunc_wrapper": True,
}


def user_cache_directory() -> Path:
    """$CHARRNN_CACHE_DIR, else the user's cache directory with `charrnn` in it."""
    if chosen := os.environ.get("CHARRNN_CACHE_DIR"):
        return Path(chosen)
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "charrnn"


def source_digest() -> str:
    """A digest of every kernel source: Numba alone serves a stale result after a helper in another file changed."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    for path in sorted([*package.glob("kernels/*.py"), *package.glob("runtime/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def open_kernel_cache() -> bool:
    """Point Numba at a folder keyed by version and sources; False where no such folder can be written.

    Numba's own index inside it is keyed by the CPU's name and features.
    """
    try:
        folder = user_cache_directory() / "kernels" / f"{__version__}-{source_digest()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):
        return False
    numba_config.CACHE_DIR = str(folder)
    return True


CACHED = open_kernel_cache()


class Cache(FunctionCache):  # type: ignore[misc]
    """Numba's own, but for its first step: to know all functions that could be compiled, in a third of a second, is
    not needed to load code that was."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code for a signature, or None."""
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def kernel(function: Function) -> Function:
    """Compile a kernel: no Python objects, no GIL."""
    compiled: Any = numba.njit(nogil=True, **OPTIONS)(function)
    if CACHED:
        compiled._cache = Cache(function)
    made: Function = compiled
    return made


def inline(function: Function) -> Function:
    """Compile a small function into each kernel that calls it."""
    compiled: Function = numba.njit(inline="always", **OPTIONS)(function)
    return compiled

"""The one decorator that holds the compile options of every kernel, and the cache of compiled code on disk.

Importing this changes no setting of Numba and writes nothing: the cache is opened when the first kernel is compiled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator

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

VERSIONS_KEPT = 3  # compiled code of so many versions stays in the cache, the one in use among them
_VERSION = re.compile(r".+-[0-9a-f]{16}")


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


@functools.cache  # chosen once in a process
def kernel_cache() -> Path | None:
    """The folder of compiled code, keyed by version and sources, made where it is missing; None where there is none to
    use: it cannot be written, or others could put code into it.

    Numba's own index inside it is keyed by the CPU's name and features. What it loads is pickle, and so can run any
    code: the folder is private (0700), and one that belongs to or can be written by another user is not used.
    """
    try:
        versions = user_cache_directory() / "kernels"
        folder = versions / f"{__version__}-{source_digest()}"
        made = not folder.exists()
        versions.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (versions, folder):
            path.mkdir(mode=0o700, exist_ok=True)
        if not is_private(versions, folder) or is_replaceable(versions.parent):
            return None
        with tempfile.TemporaryFile(dir=folder):
            pass
        os.utime(folder)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    if made:
        prune(versions, folder)
    return folder


def is_private(*folders: Path) -> bool:
    """Whether each of the folders is this user's own and nobody else may write into it."""
    if not hasattr(os, "geteuid"):  # Windows: the user's folders are private
        return True
    found = [folder.stat() for folder in folders]
    return all(entry.st_uid == os.geteuid() and not entry.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for entry in found)


def is_replaceable(folder: Path) -> bool:
    """Whether everyone may replace what is in a folder."""
    mode = folder.stat().st_mode
    return os.name != "nt" and bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def prune(versions: Path, current: Path) -> None:
    """Remove the code of all versions but the current one and those that were used last."""
    with contextlib.suppress(OSError):
        others = [path for path in versions.iterdir() if path != current and _VERSION.fullmatch(path.name)]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[VERSIONS_KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


class Locator(UserProvidedCacheLocator):  # type: ignore[misc]
    """Where the compiled code of one function lies: in `kernel_cache()`, whatever Numba is told of other functions."""

    def __init__(self, function: Any, source: str) -> None:
        self._py_file, self._lineno = source, function.__code__.co_firstlineno
        self._cache_path = str(Path(kernel_cache() or "") / self.get_suitable_cache_subpath(source))

    @classmethod
    def from_function(cls, function: Any, source: str) -> Locator | None:
        """The locator of a function in this source file; None without a folder or a file."""
        return cls(function, source) if kernel_cache() and Path(source).exists() else None

    def ensure_cache_path(self) -> None:
        """Make the function's folder; that it can be written is known."""
        Path(self._cache_path).mkdir(mode=0o700, parents=True, exist_ok=True)


class CacheFormat(CompileResultCacheImpl):  # type: ignore[misc]
    """Numba's own, at our place."""

    _locator_classes = (Locator,)


class Cache(FunctionCache):  # type: ignore[misc]
    """Numba's own cache of one function, opened when the function is first compiled.

    One step of loading is left out: to know all functions that could be compiled, in a third of a second, is not needed
    to load code that was. A cache that fails is no cache, and no error.
    """

    _impl_class = CacheFormat

    def __init__(self, function: Any) -> None:
        self._function, self._name = function, repr(function)

    @functools.cached_property
    def _usable(self) -> bool:
        if kernel_cache() is None:
            return False
        try:
            super().__init__(self._function)
        except (OSError, RuntimeError):  # no source file: a function typed into an interpreter
            return False
        return True

    @property
    def cache_path(self) -> str | None:
        """The function's folder, or None."""
        return self._cache_path if self._usable else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code for a signature, or None."""
        if self._usable:
            with contextlib.suppress(OSError):
                return self._load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the compiled code for a signature."""
        if self._usable:
            with contextlib.suppress(OSError):
                self._save_overload(sig, data)

    def flush(self) -> None:
        """Forget all compiled code of the function."""
        if self._usable:
            super().flush()


def kernel(function: Function) -> Function:
    """Compile a kernel: no Python objects, no GIL."""
    compiled: Any = numba.njit(nogil=True, **OPTIONS)(function)
    compiled._cache = Cache(function)
    made: Function = compiled
    return made


def inline(function: Function) -> Function:
    """Compile a small function into each kernel that calls it."""
    compiled: Function = numba.njit(inline="always", **OPTIONS)(function)
    return compiled

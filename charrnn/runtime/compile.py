"""The decorators that compile all kernels, with one set of options, and the cache of compiled code on disk.

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
from charrnn.runtime.folders import user_cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])

# Reassociation and contraction let LLVM vectorise sums and use fused multiply-add. "nnan" and "ninf" are left out: with
# them np.isnan(nan) is False, and a diverged run would go unseen.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # no check for division by zero: it would stop vectorisation
    "fastmath": FASTMATH,
    # Without these two, compilation takes a third longer. Kernels allocate nothing, so no references are counted, and
    # none is a callback of a C function.
    "_nrt": False,
    "no_cfunc_wrapper": True,
}

VERSIONS_KEPT = 3  # versions of the package whose code stays in the cache, the current one included
_VERSION = re.compile(r".+-[0-9a-f]{16}")


def source_digest() -> str:
    """A hash of all kernel sources. Numba's own cache would miss a change of a helper in another file."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    for path in sorted([*package.glob("kernels/*.py"), *package.glob("runtime/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache  # chosen once in a process
def kernel_cache() -> Path | None:
    """The folder of compiled code for this version and these sources, created if missing; None if it cannot be used.

    It cannot if it is not writable, or if another user owns it or may write to it: Numba loads pickle files, which can
    run any code, so the folder is private (0700). Numba's index inside is keyed by the CPU's name and features.
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
    """Whether this user owns each of the folders and no other user may write into them."""
    if not hasattr(os, "geteuid"):  # Windows: the user's folders are private
        return True
    found = [folder.stat() for folder in folders]
    return all(entry.st_uid == os.geteuid() and not entry.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for entry in found)


def is_replaceable(folder: Path) -> bool:
    """Whether other users may replace the entries of a folder: one of them, not root, owns it, or it is writable by
    all, without the sticky bit."""
    if not hasattr(os, "geteuid"):
        return False
    entry = folder.stat()
    if entry.st_uid not in (0, os.geteuid()):
        return True
    return bool(entry.st_mode & stat.S_IWOTH) and not entry.st_mode & stat.S_ISVTX


def prune(versions: Path, current: Path) -> None:
    """Remove compiled code, except that of the current version and of the others used last: `VERSIONS_KEPT` in all."""
    with contextlib.suppress(OSError):
        others = [path for path in versions.iterdir() if path != current and _VERSION.fullmatch(path.name)]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[VERSIONS_KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


class Locator(UserProvidedCacheLocator):  # type: ignore[misc]
    """The place of a function's compiled code: in `kernel_cache()`, whatever Numba's settings for other functions."""

    def __init__(self, function: Any, source: str) -> None:
        self._py_file, self._lineno = source, function.__code__.co_firstlineno
        self._cache_path = str(Path(kernel_cache() or "") / self.get_suitable_cache_subpath(source))

    @classmethod
    def from_function(cls, function: Any, source: str) -> Locator | None:
        """The locator of a function in this source file; None if there is no cache folder or no such file."""
        return cls(function, source) if kernel_cache() and Path(source).exists() else None

    def ensure_cache_path(self) -> None:
        """Create the function's folder; `kernel_cache` has checked that it can be written."""
        Path(self._cache_path).mkdir(mode=0o700, parents=True, exist_ok=True)


class CacheFormat(CompileResultCacheImpl):  # type: ignore[misc]
    """Numba's format of compiled code, in the place that `Locator` gives."""

    _locator_classes = (Locator,)


class Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, opened when the function is first compiled.

    Loading skips Numba's refresh of its registries of functions: it takes a third of a second, and only compilation
    needs it. If the cache fails, functions are compiled as if there were none.
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
        """The folder of the function's compiled code; None without a cache."""
        return self._cache_path if self._usable else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code for a signature; None if there is none, or its files are damaged."""
        if self._usable:
            with contextlib.suppress(Exception):  # unpickling what is damaged can raise any
                return self._load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the compiled code for a signature; an index that is damaged is replaced by a new one."""
        if not self._usable:
            return
        with contextlib.suppress(Exception):
            try:
                self._save_overload(sig, data)
            except OSError:
                return
            except Exception:
                self.flush()
                self._save_overload(sig, data)

    def flush(self) -> None:
        """Remove the index of the function's compiled code."""
        if self._usable:
            super().flush()


def kernel(function: Function) -> Function:
    """Decorator: compile a kernel at its first call, without Python objects, and release the GIL while it runs.

    Where kernels call kernels, a constant (-1, False) or an integer of another size compiles a second version of what
    is called: `np.int64(-1)` does not.
    """
    compiled: Any = numba.njit(nogil=True, **OPTIONS)(function)
    compiled._cache = Cache(function)
    made: Function = compiled
    return made


def exact(function: Function) -> Function:
    """Decorator: as `kernel`, with IEEE arithmetic as it is written.

    Where kernels call kernels, LLVM compiles copies of one function, and which of them runs depends on what else was
    compiled in the process. What may be reassociated or contracted can have other last bits in each copy.
    """
    compiled: Any = numba.njit(nogil=True, **{**OPTIONS, "fastmath": False})(function)
    compiled._cache = Cache(function)
    made: Function = compiled
    return made


def inline(function: Function) -> Function:
    """Decorator: compile a small function into each kernel that calls it."""
    compiled: Function = numba.njit(inline="always", **OPTIONS)(function)
    return compiled

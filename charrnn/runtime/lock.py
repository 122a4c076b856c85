"""Locks on files, which the system releases when the process that holds them ends, in any way."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from charrnn.errors import CharrnnError


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; False if another process has locked it. Does not wait.

    A `shared` lock excludes only those that are not. On a file system without locks this does nothing and returns True;
    on Windows, so does a shared lock.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            if not shared:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """A context that only one process at a time can enter for `path`, by a lock on a file beside it.

    Creates the folder of `path`, and removes it again if it is empty at the end; removes the lock file.

    Raises:
        CharrnnError: another process is in such a context for `path`, or the folder is not writable.
    """
    target = Path(os.path.realpath(path))  # the same lock for all links to a file
    made = [folder for folder in target.parents if not folder.exists()]
    beside = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(beside)
    except FileExistsError as error:
        raise CharrnnError(f"cannot write {path}: {path.parent} is not a folder; choose another name") from error
    except OSError as error:
        raise CharrnnError(f"cannot write {path}: {error.strerror or error}") from error
    if descriptor is None:
        raise CharrnnError(
            f"another training is writing {path}: let it end or stop it, or choose another file with `output`"
        )
    try:
        yield
    finally:
        if os.name == "nt":  # where an open file cannot be removed
            os.close(descriptor)
        with contextlib.suppress(OSError):
            beside.unlink()
        if os.name != "nt":
            os.close(descriptor)
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def _open_locked(file: Path) -> int | None:
    """A descriptor of `file`, created and locked; None if another process has the lock."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        if not try_lock(descriptor):
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)  # removed by its holder between the opening and the locking

"""How much memory is available, and an error before something is started that needs more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from charrnn.errors import CharrnnError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# For both versions of control groups: the files with the limit and the usage, and the prefix of the entries about file
# pages in memory.stat. In version 1, entries with "total_" include the child groups, as its limits do.
FILES = {2: ("memory.max", "memory.current", ""), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")}


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Raise `CharrnnError` if `what` needs more bytes than are available; `remedy` says what the user can do."""
    free = available_memory()
    if free is not None and needed > free:
        raise CharrnnError(
            f"{what} needs about {readable(needed / 1e9, 1)} GB of memory and {readable(free / 1e9, 1)} GB are free; "
            f"{remedy}"
        )


def readable(number: float, decimals: int = 0) -> str:
    """A number with thousands separators; in scientific notation if it is very large."""
    return f"{number:,.{decimals}f}" if number < 1e9 else f"{number:.2g}"


def available_memory() -> int | None:
    """Bytes that this process can still allocate; None if the system does not say.

    The minimum of the machine's free memory and of what each control group around this process leaves, since a limit
    also holds for nested groups (Linux kernel documentation, cgroup-v2.rst and cgroup-v1/memory.rst).
    """
    free = [*_machine(), *_control_groups()]
    if free:
        return min(free)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _machine() -> Iterator[int]:
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _control_groups() -> Iterator[int]:
    """Bytes left by each control group with a limit, from that of this process up to the root.

    In a container that sees only a part of the tree, its own group is at the root and the other paths do not exist.
    """
    for line in _lines(PROC / "self" / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            root, version = CGROUPS, 2
        elif "memory" in controllers.split(","):
            root, version = CGROUPS / "memory", 1
        else:
            continue
        inner = PurePosixPath(group.lstrip("/"))
        for path in (inner, *inner.parents):
            if ".." not in path.parts:
                yield from _left(root / path, version)


def _left(folder: Path, version: int) -> Iterator[int]:
    """Bytes that one control group leaves. File pages count as used, but the system reclaims them when needed."""
    limit_name, used_name, prefix = FILES[version]
    limit, used = (next(_lines(folder / name), "") for name in (limit_name, used_name))
    if limit.isdigit() and used.isdigit():
        names = {f"{prefix}inactive_file", f"{prefix}active_file"}
        entries = (line.partition(" ") for line in _lines(folder / "memory.stat"))
        yield max(0, int(limit) - int(used) + sum(int(size) for name, _, size in entries if name in names))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a system file; none if it cannot be read."""
    try:
        yield from path.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return

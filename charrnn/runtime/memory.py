"""How much memory there is, and a complaint in time where something would need more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from charrnn.errors import CharrnnError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# Of the two versions of control groups: what the limit and the use are called, and what pages of files begin with in
# memory.stat. Version 1 gives there also the sums over the groups below, which its limits count.
FILES = {2: ("memory.max", "memory.current", ""), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")}


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Raise `CharrnnError` where `what` needs more bytes than this process could get; `remedy` says what to do."""
    free = available_memory()
    if free is not None and needed > free:
        raise CharrnnError(
            f"{what} needs about {readable(needed / 1e9, 1)} GB of memory and {readable(free / 1e9, 1)} GB are free; "
            f"{remedy}"
        )


def readable(number: float, decimals: int = 0) -> str:
    """A number that may be absurdly large, in few digits."""
    return f"{number:,.{decimals}f}" if number < 1e9 else f"{number:.2g}"


def available_memory() -> int | None:
    """Bytes that this process could still get; None where that cannot be told.

    The least of what the machine has and what each control group around this process still allows (Linux kernel
    documentation, cgroup-v2.rst and cgroup-v1/memory.rst): a limit holds for all groups below it.
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
    """What each control group with a limit leaves, from that of this process up to the root.

    Where a container shows a part of the tree only, the folder of its own group is that of the root, and the names on
    the way to it lead nowhere.
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
    """What one control group leaves. Pages of files count as used, and the system gives them up when asked."""
    limit_name, used_name, prefix = FILES[version]
    limit, used = (next(_lines(folder / name), "") for name in (limit_name, used_name))
    if limit.isdigit() and used.isdigit():
        names = {f"{prefix}inactive_file", f"{prefix}active_file"}
        entries = (line.partition(" ") for line in _lines(folder / "memory.stat"))
        yield max(0, int(limit) - int(used) + sum(int(size) for name, _, size in entries if name in names))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file of the system; none where it cannot be read."""
    try:
        yield from path.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return

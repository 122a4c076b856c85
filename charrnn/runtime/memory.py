"""How much memory there is, and a complaint in time where something would need more."""

from __future__ import annotations

import os
from pathlib import Path

from charrnn.errors import CharrnnError


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
    """Bytes that this process could still get; None where that cannot be told."""
    limits = []
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        if limit.isdigit():
            used = int(Path("/sys/fs/cgroup/memory.current").read_text("ascii")) - _file_cache()
            limits.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    if limits:
        return min(limits)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _file_cache() -> int:
    """Bytes of files that the system keeps in the memory of this group of processes, and gives up when asked."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(size) for name, _, size in (line.partition(" ") for line in lines) if name.endswith("active_file"))

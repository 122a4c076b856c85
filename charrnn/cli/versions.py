"""The lines of `charrnn --version`, for bug reports: versions and processor, without importing the packages."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from charrnn import __version__

PROCESSORS = Path("/proc/cpuinfo")
# The instruction sets that the kernels use, by their names in Linux.
_INSTRUCTIONS = ("sse2", "avx", "fma", "avx2", "avx512f", "avx512_bf16", "asimd", "bf16")


def version_lines() -> Iterator[str]:
    """`charrnn 0.2.0`, then a line with the versions of Python and the numerical packages, and the processor."""
    yield f"charrnn {__version__}"
    packages = ", ".join(f"{name} {_version(name)}" for name in ("NumPy", "Numba"))
    yield f"Python {platform.python_version()}, {packages}, {platform.system()} {processor_features()}"


def processor_features() -> str:
    """`x86_64 with sse2, avx, fma, avx2`; the architecture alone where Linux does not list the instructions.

    Of the processor, not of the code that Numba makes for it: for that see `training.machine.instruction_set`.
    """
    try:
        listed = PROCESSORS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", listed, re.MULTILINE)
    known = found[1].split() if found else []
    used = [name for name in _INSTRUCTIONS if name in known]
    return f"{platform.machine()} with {', '.join(used)}" if used else platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"

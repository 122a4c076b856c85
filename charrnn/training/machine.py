"""What the bits of a result depend on beside seed, options and data: package versions and the instruction set."""

from __future__ import annotations

import platform

import numba
import numpy as np
from llvmlite import binding

from charrnn import __version__
from charrnn.runtime.features import HAS_BFLOAT16, VECTOR_BYTES


def versions() -> dict[str, str]:
    """The versions of charrnn, Python, NumPy and Numba, by name."""
    return {
        "charrnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def instruction_set() -> str:
    """The processor that kernels are compiled for. Its vector width decides the order of sums, so their last bits."""
    name = numba.config.CPU_NAME or binding.get_host_cpu_name()
    return f"{platform.machine()} {name}, vectors of {VECTOR_BYTES} bytes{', bfloat16' * HAS_BFLOAT16}"

"""The features of the processor that code is generated for, and the sizes of vectors and register tiles that follow.

They are determined at the first use of any of them, and only then is llvmlite imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

FEATURES: frozenset[str]
VECTOR_BYTES: int  # size of a vector register
TILE_ROWS: int  # rows of a register tile, see `kernels/tile.py`
TILE_VECTORS: int  # its width in vectors
PANEL_BYTES: int  # its width in bytes, and that of a packed panel
HAS_BFLOAT16: bool  # the processor has an instruction for products of bfloat16


def host_features() -> frozenset[str]:
    """CPU features that code is generated for, by LLVM's names, with Numba's environment variables respected."""
    if (chosen := os.environ.get("NUMBA_CPU_FEATURES")) is not None:
        return frozenset(f[1:] for f in chosen.split(",") if f.startswith("+"))
    if os.environ.get("NUMBA_CPU_NAME") == "generic":
        return frozenset()
    from llvmlite import binding

    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


def derive(features: frozenset[str]) -> dict[str, object]:
    """All values of this module, by name, for these features."""
    if "avx512f" in features:
        vector_bytes, rows, vectors = 64, 6, 4  # 24 accumulators of 32 registers
    elif "avx2" in features and "fma" in features:
        vector_bytes, rows, vectors = 32, 6, 2  # 12 of 16
    else:
        vector_bytes, rows, vectors = 16, 6, 2  # SSE2, NEON
    return {
        "FEATURES": features,
        "VECTOR_BYTES": vector_bytes,
        "TILE_ROWS": rows,
        "TILE_VECTORS": vectors,
        "PANEL_BYTES": vector_bytes * vectors,
        "HAS_BFLOAT16": "avx512bf16" in features and vector_bytes == 64,
    }


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Determine the values above at the first use of one (PEP 562)."""
        if name not in derive(frozenset()):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals().update(derive(host_features()))
        return globals()[name]

"""The features of the processor that code is generated for, and the sizes of vectors and tiles that follow."""

from __future__ import annotations

import os

from llvmlite import binding


def host_features() -> set[str]:
    """CPU features that code is generated for, as Numba sees them."""
    if (chosen := os.environ.get("NUMBA_CPU_FEATURES")) is not None:
        return {f[1:] for f in chosen.split(",") if f.startswith("+")}
    if os.environ.get("NUMBA_CPU_NAME") == "generic":
        return set()
    return {name for name, present in binding.get_host_cpu_features().items() if present}


FEATURES = host_features()
if "avx512f" in FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 64, 6, 4  # 24 accumulators of 32 registers
elif "avx2" in FEATURES and "fma" in FEATURES:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 32, 6, 2  # 12 of 16
else:
    VECTOR_BYTES, TILE_ROWS, TILE_VECTORS = 16, 6, 2  # SSE2, NEON

HAS_BFLOAT16 = "avx512bf16" in FEATURES and VECTOR_BYTES == 64
PANEL_BYTES = VECTOR_BYTES * TILE_VECTORS

"""The precision of matrix products."""

from __future__ import annotations

from charrnn.runtime import features


def resolve_precision(precision: str) -> str:
    """`precision`; for "auto", bfloat16 on a CPU with an instruction for its products, else float32."""
    if precision == "auto":
        return "bfloat16" if features.HAS_BFLOAT16 else "float32"
    return precision

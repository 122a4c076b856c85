"""The precision of matrix products."""

from __future__ import annotations

from charrnn.config import MAX_THREADS, PRECISIONS
from charrnn.runtime import features
from charrnn.settings import require_choice, require_whole


def resolve_precision(precision: str) -> str:
    """`precision`; for "auto", bfloat16 on a CPU with an instruction for its products, else float32."""
    if precision == "auto":
        return "bfloat16" if features.HAS_BFLOAT16 else "float32"
    return precision


def uses_bfloat16(threads: int, precision: str) -> bool:
    """Whether a model that runs with `threads` and `precision` multiplies in bfloat16.

    Raises UsageError for `threads` out of range or an unknown `precision`.
    """
    require_choice("`precision`", precision, PRECISIONS)
    require_whole("`threads`", threads, 1, MAX_THREADS)
    return resolve_precision(precision) == "bfloat16"

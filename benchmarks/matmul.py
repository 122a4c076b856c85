"""The matrix product alone, one thread, at the shapes of a training step: GFLOP/s and the share of the peak.

python -m benchmarks.matmul [--quick]
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import Side, arguments, describe_machine, in_turns, print_table
from benchmarks.peak import peak
from charrnn.kernels import matmul
from charrnn.runtime.arrays import Array


def gemm_input(shape: tuple[int, int], dtype: np.typing.DTypeLike, rng: np.random.Generator) -> Array:
    """A random gemm input; as bfloat16, the upper halves of float32 numbers."""
    values = rng.standard_normal(shape).astype(np.float32)
    return values if np.dtype(dtype) == np.float32 else (values.view(np.uint32) >> 16).astype(np.uint16)


def forward_product(M: int, K: int, N: int, dtype: np.typing.DTypeLike) -> Side:
    """C (M, N) += A (M, K) B, as in every time step."""
    rng = np.random.default_rng(0)
    a, panels, c = gemm_input((M, K), dtype, rng), matmul.empty_panels(K, N, dtype), np.zeros((M, N), np.float32)
    panels[...] = 0
    return lambda: matmul.add_product(a, 0, panels, matmul.OWN, c, 0, N, matmul.NOTHING)


def gradient_product(R: int, M: int, N: int, dtype: np.typing.DTypeLike) -> Side:
    """C (M, N) += A' B for A (R, M), B (R, N), as for a weight's gradient, packing included."""
    rng = np.random.default_rng(0)
    a, b, c = gemm_input((R, M), dtype, rng), gemm_input((R, N), dtype, rng), np.zeros((M, N), np.float32)
    scratch, count = matmul.empty_scratch(dtype), matmul.panels_shape(1, N, dtype)[0]
    return lambda: matmul.add_transposed_product(a, M, b, 0, c, 0, N, 0, count, *scratch)


def main() -> None:
    """Print the table."""
    options = arguments("The matrix product alone.").parse_args()
    print(describe_machine())
    sizes = (128, 512) if options.quick else (100, 128, 256, 300, 512, 1000)
    rows = []
    for name, dtype in (("float32", np.float32), ("bfloat16", np.uint16)):
        most = peak(bfloat16=name == "bfloat16", threads=1)
        for H in sizes:
            shapes = [(M, H, 4 * H) for M in (1, 7, 25, 50)]
            sides = {f"{M} x {K} x {N}": forward_product(M, K, N, dtype) for M, K, N in shapes}
            sides["gradient"] = gradient_product(2500, H, 4 * H, dtype)
            times = in_turns(sides, 3, least=0.05)
            for (M, K, N), seconds in zip([*shapes, (H, 2500, 4 * H)], times.values(), strict=True):
                speed = 2.0 * M * K * N / float(np.median(seconds))
                kind = "gradient" if K == 2500 else "forward"
                rows.append((name, kind, f"{M} x {K} x {N}", f"{speed / 1e9:.0f}", f"{speed / most:.0%}"))
    print_table("matrix products, one thread", ("precision", "kind", "M x K x N", "GFLOP/s", "of peak"), rows)


if __name__ == "__main__":
    main()

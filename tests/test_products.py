"""Matrix products of up to 70 in each dimension, for every number type and kind of CPU.

Left operands and results lie inside arrays full of NaN: a number read from outside the operand spoils a sum, and one
written outside the result is seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite import binding

from charrnn.kernels import matmul, packing, rounding
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import kernel

LARGEST = 70
MARGIN = 3
# Odd and even, and around every multiple of 16, the numbers of a vector; others are more of the same steps.
DEPTHS = [*range(1, 10), *(16 * n + k for n in range(1, 5) for k in (-1, 0, 1, 2)), LARGEST]
NAN16 = np.uint16(0x7FC0)


@kernel
def take_error(c: Array, expected: Array, M: int, N: int) -> float:
    """Largest error of c[:M, :N], infinite where the margin around it was touched; c is NaN again afterwards."""
    worst = 0.0
    for m in range(M):
        for n in range(N):
            error = abs(c[m, n] - expected[m, n])
            worst = max(worst, error if error == error else np.inf)
            c[m, n] = np.nan
    for m in range(M + 1):
        for n in range(N + 1):
            if (m == M or n == N) and c[m, n] == c[m, n]:
                worst = np.inf
    return worst


@kernel
def worst_error(
    a: Array, panels: Array, c: Array, expected: Array, N: int, table: Array, numbers: Ids, from_rows: Array,
    from_one: Array, more: bool,
) -> float:  # fmt: skip
    """Largest error of C = A B over all numbers of rows of A up to the whole; infinite where a margin was touched.

    c has MARGIN more rows and columns than the largest product, all NaN. With `more` the same of C = S + A B over what
    is NaN, S being rows of a table by number, or one of them over and over.
    """
    worst = 0.0
    nothing, of_a = (matmul.signed(0), matmul.signed(0)), (matmul.signed(a.ctypes.data), matmul.signed(a.nbytes))
    for M in range(1, a.shape[0] + 1):
        for kind in range(3 if more else 1):
            start, prefetch = matmul.OWN, of_a
            if kind == 0:
                c[:M, :N] = 0
                right = expected
            elif kind == 1:
                start, prefetch, right = matmul.rows_of(table, numbers[:M]), nothing, from_rows
            else:
                start, prefetch, right = matmul.row_of(table[0]), nothing, from_one
            matmul.add_product(a[:M], 0, panels, start, c[:M], 0, N, prefetch)
            worst = max(worst, take_error(c, right, M, N))
    return worst


def worst_transposed_error(
    a: Array, b: Array, c: Array, expected: Array, N: int, panels: int, scratch: tuple[Array, Array]
) -> float:  # fmt: skip
    """The same for C = A' B over all numbers of columns of A (R, M)."""
    worst = 0.0
    for M in range(1, expected.shape[0] + 1):
        c[:M, :N] = 0
        matmul.add_transposed_product(a, M, b, 0, c, 0, N, 0, panels, *scratch)
        worst = max(worst, take_error(c, expected, M, N))
    return worst


def operand(values: Array, name: str) -> tuple[Array, Array]:
    """A left operand inside NaN, and the numbers it stands for. Rows of bfloat16 have an even width, filled with 0."""
    M, K = values.shape
    if name != "bfloat16":
        outer = np.full((M + 1, K), np.nan, values.dtype)
        outer[:M] = values
        return outer[:M], values
    rounded = np.zeros((1, M, K + K % 2), np.uint16)
    rounding.store_operands(values[np.newaxis], rounded, 0, M)
    padded = np.full((M + 1, K + K % 2), NAN16, np.uint16)
    padded[:M] = rounded[0]
    exact = (padded[:M, :K].astype(np.uint32) << 16).view(np.float32)
    return padded[:M], exact


def check(name: str, depths: Sequence[int], widths: Sequence[int]) -> None:
    """Products with K from `depths`, N from `widths` and every M."""
    number: Any = np.float64 if name == "float64" else np.float32
    kind: Any = np.uint16 if name == "bfloat16" else number
    tolerance = 1e-13 if name == "float64" else 5e-5
    rng = np.random.default_rng(0)
    a = rng.standard_normal((LARGEST, LARGEST)).astype(number)
    b = rng.standard_normal((LARGEST, LARGEST)).astype(number)
    c = np.full((LARGEST + MARGIN, LARGEST + MARGIN), np.nan, number)
    scratch = matmul.empty_scratch(kind)
    table = np.full((5, LARGEST + MARGIN), np.nan, number)
    numbers = rng.integers(0, 5, LARGEST).astype(np.int32)
    for K in depths:
        left, left_numbers = operand(np.ascontiguousarray(a[:, :K]), name)
        tall, tall_numbers = operand(np.ascontiguousarray(a[:K]), name)
        wide, right_numbers = operand(np.ascontiguousarray(b[:K]), name)
        expected = left_numbers.astype(np.float64) @ right_numbers.astype(np.float64)
        across = tall_numbers.T.astype(np.float64) @ right_numbers.astype(np.float64)
        for N in widths:
            panels = matmul.empty_panels(K, N, kind)
            panels[...] = np.uint32(0x7FC07FC0) if name == "bfloat16" else np.nan
            packing.pack(np.ascontiguousarray(right_numbers[:, :N]), 0, N, panels, 0, len(panels))
            other = np.empty_like(panels)
            packing.pack_transposed(np.ascontiguousarray(right_numbers[:, :N].T), 0, K, other, 0, len(panels))
            np.testing.assert_array_equal(other, panels)
            table[...] = np.nan
            table[:, :N] = rng.standard_normal((5, N))
            from_rows, from_one = expected + table[numbers, :LARGEST], expected + table[0, :LARGEST]
            more = K % 7 in (0, 1)
            error = worst_error(left, panels, c, expected, N, table, numbers, from_rows, from_one, more)
            assert error < tolerance, (K, N)
            assert worst_transposed_error(tall, wide, c, across, N, len(panels), scratch) < tolerance, (K, N)


@pytest.mark.parametrize(
    "name", ["float32", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bfloat16", "float64"))]
)
def test_products_of_every_shape(name: str) -> None:
    check(name, DEPTHS, range(1, LARGEST + 1))


FEATURES = sorted(name for name, present in binding.get_host_cpu_features().items() if present)
WITHOUT_BFLOAT16 = ",".join(f"+{name}" for name in FEATURES if name != "avx512bf16")
WITHOUT_AVX512 = ",".join(f"+{name}" for name in FEATURES if not name.startswith("avx512"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpu", "features", "needs"),
    [
        ("skylake-avx512", WITHOUT_BFLOAT16, "avx512bf16"),  # which is what is taken away
        ("haswell", WITHOUT_AVX512, "avx512f"),
        ("generic", "", ""),
    ],
)
def test_products_on_other_cpus(cpu: str, features: str, needs: str) -> None:
    if needs and needs not in FEATURES:
        pytest.skip(f"this CPU has no {needs}: its own kernels are those of a lesser one already")
    environment = dict(os.environ, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features)
    sizes = [1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 70]
    code = (
        "from tests.test_products import check\nfor name in ('float32', 'float64', 'bfloat16'): check(name, {0}, {0})"
    )
    command = [sys.executable, "-c", code.format(sizes)]
    found = subprocess.run(
        command, cwd=Path(__file__).parent.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr

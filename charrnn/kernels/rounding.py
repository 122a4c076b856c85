"""bfloat16: the upper half of a float32, rounded to nearest even, stored as uint16.

Two make a pair in a uint32, the first in the lower half, as the multiply-add instruction wants them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import OPTIONS, kernel

_1, _16 = np.uint32(1), np.uint32(16)
_HALF_ULP, _UPPER = np.uint32(0x7FFF), np.uint32(0xFFFF0000)


@intrinsic  # type: ignore[untyped-decorator]
def float_bits(typingctx: Any, x: Any) -> Any:
    """The bits of a float32 as uint32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def bits_float(typingctx: Any, bits: Any) -> Any:
    """The float32 that has these uint32 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), codegen


def pair(x: Any, y: Any) -> Any:
    """Two numbers, float32 or already bfloat16, as a pair."""
    raise NotImplementedError  # compiled forms below


@overload(pair, jit_options=OPTIONS)
def _pair(x, y):  # type: ignore[no-untyped-def]
    def rounded(x, y):  # type: ignore[no-untyped-def]
        a, b = float_bits(x), float_bits(y)
        a = np.uint32(a + _HALF_ULP + ((a >> _16) & _1))
        b = np.uint32(b + _HALF_ULP + ((b >> _16) & _1))
        return np.uint32((a >> _16) | (b & _UPPER))

    def joined(x, y):  # type: ignore[no-untyped-def]
        return np.uint32(np.uint32(x) | (np.uint32(y) << _16))

    return joined if x == types.uint16 else rounded


def pairs_of_rows(numbers: Array) -> npt.NDArray[np.uint32]:
    """Rows k and k + 1 of float32 numbers (K, N) as pairs (K / 2 rounded up, N), by NumPy; 0 beside an odd last one."""
    bits = np.ascontiguousarray(numbers).view(np.uint32)
    rounded = (bits + _HALF_ULP + ((bits >> _16) & _1)) >> _16
    pairs = rounded[::2]
    pairs[: len(rounded) // 2] |= rounded[1::2] << _16
    return pairs


def store_gemm_input(row: Array, operand: Array) -> None:
    """Round a row of float32 into the row of bfloat16 that products read; nothing where they read the row itself."""
    raise NotImplementedError


@overload(store_gemm_input, jit_options=OPTIONS)
def _store_gemm_input(row, operand):  # type: ignore[no-untyped-def]
    def convert(row, operand):  # type: ignore[no-untyped-def]
        for j in range(row.size):
            bits = float_bits(row[j])
            operand[j] = np.uint16((bits + _HALF_ULP + ((bits >> _16) & _1)) >> _16)

    def nothing(row, operand):  # type: ignore[no-untyped-def]
        pass

    return convert if operand.dtype == types.uint16 else nothing


def replace_gemm_input(row: Array, operand: Array) -> None:
    """Store a row as products read it, rounded or as it is; the number that makes an odd row of bfloat16 even is 0."""
    raise NotImplementedError


@overload(replace_gemm_input, jit_options=OPTIONS)
def _replace_gemm_input(row, operand):  # type: ignore[no-untyped-def]
    def convert(row, operand):  # type: ignore[no-untyped-def]
        store_gemm_input(row, operand)
        if row.size % 2:
            operand[row.size] = 0

    def copy(row, operand):  # type: ignore[no-untyped-def]
        for j in range(row.size):
            operand[j] = row[j]

    return convert if operand.dtype == types.uint16 else copy


def widen(x: Any) -> Any:
    """The number that an operand stands for."""
    raise NotImplementedError


@overload(widen, jit_options=OPTIONS)
def _widen(x):  # type: ignore[no-untyped-def]
    if x == types.uint16:
        return lambda x: bits_float(np.uint32(np.uint32(x) << _16))
    return lambda x: x


@kernel
def store_operands(rows: Array, operands: Array, begin: int, end: int) -> None:
    """`store_gemm_input` for the rows from `begin` to `end` of every step: rows (T, B, N), operands (T, B, N or one
    more)."""
    for t in range(rows.shape[0]):
        for b in range(begin, end):
            store_gemm_input(rows[t, b], operands[t, b])

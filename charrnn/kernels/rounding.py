"""bfloat16: the upper half of a float32, rounded to nearest even, stored as uint16. A NaN stays one.

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
_HALF_ULP, _UPPER, _QUIET = np.uint32(0x7FFF), np.uint32(0xFFFF0000), np.uint32(0x00400000)


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


def emit_rounded(builder: Any, x: Any) -> Any:
    """LLVM code: the bits of a float32, or of a vector of them, whose upper half is x rounded to bfloat16.

    Adding half a unit to the bits would turn a NaN with few bits set into infinity: its quiet bit is set instead.
    """
    vector = isinstance(x.type, ir.VectorType)
    kind = ir.VectorType(ir.IntType(32), x.type.count) if vector else ir.IntType(32)

    def const(n: int) -> Any:
        return ir.Constant(kind, [n] * x.type.count if vector else n)

    bits = builder.bitcast(x, kind)
    odd = builder.and_(builder.lshr(bits, const(16)), const(1))
    rounded = builder.add(builder.add(bits, const(int(_HALF_ULP))), odd)
    return builder.select(builder.fcmp_unordered("uno", x, x), builder.or_(bits, const(int(_QUIET))), rounded)


@intrinsic  # type: ignore[untyped-decorator]
def rounded_bits(typingctx: Any, x: Any) -> Any:
    """`emit_rounded` for one float32; uint32."""
    return types.uint32(types.float32), lambda context, builder, signature, args: emit_rounded(builder, args[0])


def pair(x: Any, y: Any) -> Any:
    """Two numbers, float32 or already bfloat16, as a pair."""
    raise NotImplementedError  # compiled forms below


@overload(pair, jit_options=OPTIONS)
def _pair(x, y):  # type: ignore[no-untyped-def]
    def rounded(x, y):  # type: ignore[no-untyped-def]
        return np.uint32((rounded_bits(x) >> _16) | (rounded_bits(y) & _UPPER))

    def joined(x, y):  # type: ignore[no-untyped-def]
        return np.uint32(np.uint32(x) | (np.uint32(y) << _16))

    return joined if x == types.uint16 else rounded


def pairs_of_rows(numbers: Array) -> npt.NDArray[np.uint32]:
    """Rows k and k + 1 of float32 numbers (K, N) as pairs (K / 2 rounded up, N), by NumPy; 0 beside an odd last one."""
    numbers = np.ascontiguousarray(numbers)
    bits = numbers.view(np.uint32)
    rounded = bits + _HALF_ULP + ((bits >> _16) & _1)
    if np.isnan(np.max(numbers, initial=0)):
        nan = np.isnan(numbers)
        rounded[nan] = bits[nan] | _QUIET
    rounded >>= _16
    pairs = rounded[::2]
    pairs[: len(rounded) // 2] |= rounded[1::2] << _16
    return pairs


def store_gemm_input(row: Array, gemm: Array) -> None:
    """Store a row as gemm input: rounded from float32 to bfloat16; nothing where products read the row itself."""
    raise NotImplementedError


@overload(store_gemm_input, jit_options=OPTIONS)
def _store_gemm_input(row, gemm):  # type: ignore[no-untyped-def]
    def convert(row, gemm):  # type: ignore[no-untyped-def]
        for j in range(row.size):
            gemm[j] = np.uint16(rounded_bits(row[j]) >> _16)

    def nothing(row, gemm):  # type: ignore[no-untyped-def]
        pass

    return convert if gemm.dtype == types.uint16 else nothing


def replace_gemm_input(row: Array, gemm: Array) -> None:
    """Store a row as gemm input in other memory: rounded or as it is; what pads an odd row of bfloat16 is 0."""
    raise NotImplementedError


@overload(replace_gemm_input, jit_options=OPTIONS)
def _replace_gemm_input(row, gemm):  # type: ignore[no-untyped-def]
    def convert(row, gemm):  # type: ignore[no-untyped-def]
        store_gemm_input(row, gemm)
        if row.size % 2:
            gemm[row.size] = 0

    def copy(row, gemm):  # type: ignore[no-untyped-def]
        for j in range(row.size):
            gemm[j] = row[j]

    return convert if gemm.dtype == types.uint16 else copy


def widen(x: Any) -> Any:
    """A number of a gemm input as float: bfloat16 widened to float32, others as they are."""
    raise NotImplementedError


@overload(widen, jit_options=OPTIONS)
def _widen(x):  # type: ignore[no-untyped-def]
    if x == types.uint16:
        return lambda x: bits_float(np.uint32(np.uint32(x) << _16))
    return lambda x: x


@kernel
def store_operands(rows: Array, gemm: Array, begin: int, end: int) -> None:
    """`store_gemm_input` for the rows from `begin` to `end` of every step: rows (T, B, N), gemm (T, B, N or one
    more)."""
    for t in range(rows.shape[0]):
        for b in range(begin, end):
            store_gemm_input(rows[t, b], gemm[t, b])

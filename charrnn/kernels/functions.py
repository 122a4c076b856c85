"""tanh, sigmoid and exp that vectorise: rational and polynomial forms in float32, the exact functions in float64.

The exact functions are calls into the C library, which LLVM cannot vectorise, at some forty times the cost. float64 is
what gradients are checked in, and there exactness matters more: the derivative of an approximation is not 1 - tanh².
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from charrnn.kernels.rounding import bits_float, float_bits
from charrnn.runtime.compile import OPTIONS

# tanh(x) = x p(x²) / q(x²) on ±8, whose largest relative error is least: 6e-9, far below what rounding adds (least
# squares, weighted until the extremes were level; both scaled alike so that rounding adds little). Beyond, it stays as
# it is there.
_TANH_BOUND = np.float32(8)
_P = tuple(np.float32(a) for a in (1.612499952e00, 2.167926431e-01, 5.759215448e-03, 3.530536560e-05, 2.455935899e-08))
_Q = tuple(np.float32(b) for b in (1.612499952e00, 7.542925477e-01, 4.219021648e-02, 5.500730476e-04, 1.374257181e-06))

# 2^t = 2^n 2^r with |r| <= 1/2, and 2^r by the polynomial of degree 5, exact at 0, whose largest relative error is
# least: 9e-8 (least squares, weighted until its extremes were level). exp(x) = 2^n exp(r') with r' = r ln 2, and
# sigmoid(x) = 1 / (1 + 2^t) with t = -x log2 e.
_T = tuple(
    np.float32(a) for a in (1.0, 6.931469776e-01, 2.402224209e-01, 5.550733743e-02, 9.671512641e-03, 1.326472718e-03)
)
_E = tuple(np.float32(float(t) * math.log2(math.e) ** n) for n, t in enumerate(_T))
_LOWEST, _HIGHEST, _MOST = np.float32(-87), np.float32(88), np.float32(126)
_LOG2_E, _LN_2 = np.float32(math.log2(math.e)), np.float32(math.log(2))
_1 = np.float32(1)
_31, _BELOW_SIGN = np.int32(31), np.int32(0x7FFFFFFF)


def tanh(x: Any) -> Any:
    """tanh(x); in float32 to 3e-7, and never beyond ±1."""
    return np.tanh(x)


def exp(x: Any) -> Any:
    """exp(x); in float32 to 4e-7 of its value, and at least exp(-87)."""
    return np.exp(x)


@intrinsic  # type: ignore[untyped-decorator]
def _scale(typingctx: Any, x: Any, n: Any) -> Any:
    """x 2^n for a float32 x and an int32 n, none of x and the result below 2^-126 or above 2^127: n is added to the
    exponent bits.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        int32 = ir.IntType(32)
        exponent = builder.shl(args[1], ir.Constant(int32, 23))
        return builder.bitcast(builder.add(builder.bitcast(args[0], int32), exponent), ir.FloatType())

    return types.float32(types.float32, types.int32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _to_int(typingctx: Any, x: Any) -> Any:
    """A float32 that int32 can hold as int32; a NaN as 0.

    LLVM's plain conversion is undefined for a NaN. Its saturating one (`llvm.fptosi.sat`) is not, but loops with it are
    not vectorised: sigmoid would take three times as long.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (x,) = args
        number = builder.select(builder.fcmp_ordered("ord", x, x), x, ir.Constant(x.type, 0.0))
        return builder.fptosi(number, ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _clamp(typingctx: Any, x: Any, least: Any, most: Any) -> Any:
    """x clamped to [least, most]; a NaN stays one.

    LLVM makes one instruction of each comparison in this order only, where NaN is what is compared last.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, least, most = args
        x = builder.select(builder.fcmp_ordered("<", most, x), most, x)
        return builder.select(builder.fcmp_ordered(">", least, x), least, x)

    return types.float32(types.float32, types.float32, types.float32), codegen


@overload(tanh, jit_options=OPTIONS)
def _tanh(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: np.tanh(x)

    def rational(x):  # type: ignore[no-untyped-def]
        x = _clamp(x, -_TANH_BOUND, _TANH_BOUND)
        y = x * x
        p = ((((_P[4] * y + _P[3]) * y + _P[2]) * y + _P[1]) * y + _P[0]) * x
        return p / ((((_Q[4] * y + _Q[3]) * y + _Q[2]) * y + _Q[1]) * y + _Q[0])

    return rational


@overload(exp, jit_options=OPTIONS)
def _exp(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: np.exp(x)

    def polynomial(x):  # type: ignore[no-untyped-def]
        x = _clamp(x, _LOWEST, _HIGHEST)
        n = np.rint(x * _LOG2_E)
        r = x - n * _LN_2
        p = ((((_E[5] * r + _E[4]) * r + _E[3]) * r + _E[2]) * r + _E[1]) * r + _E[0]
        return _scale(p, _to_int(n))

    return polynomial


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); in float32 to 1.2e-7, and where x > -5 to 6e-7 of its value."""
    return 1 / (1 + np.exp(-x))


@overload(sigmoid, jit_options=OPTIONS)
def _sigmoid(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: 1 / (1 + np.exp(-x))

    def by_powers_of_two(x):  # type: ignore[no-untyped-def]
        t = _clamp(x * -_LOG2_E, -_MOST, _MOST)
        n = np.rint(t)
        r = t - n
        p = ((((_T[5] * r + _T[4]) * r + _T[3]) * r + _T[2]) * r + _T[1]) * r + _T[0]
        return _1 / (_1 + _scale(p, _to_int(n)))

    return by_powers_of_two


def largest(row: Any) -> Any:
    """The largest number of a row; NaN counts as the largest of all, with a minus sign as the smallest."""
    return np.max(row)


@overload(largest, jit_options=OPTIONS)
def _largest(row):  # type: ignore[no-untyped-def]
    if row.dtype != types.float32:

        def one_by_one(row):  # type: ignore[no-untyped-def]
            highest = row[0]
            for v in range(row.size):
                if not row[v] <= highest:
                    highest = row[v]
            return highest

        return one_by_one

    def by_bits(row):  # type: ignore[no-untyped-def]
        # LLVM vectorises a maximum of integers, ten times as fast. Floats are ordered as their bits are, but for
        # negative ones, in the reverse order: all bits below the sign are turned over, and back at the end.
        highest = np.int32(-(2**31))
        for v in range(row.size):
            bits = np.int32(float_bits(row[v]))
            highest = max(highest, np.int32(bits ^ ((bits >> _31) & _BELOW_SIGN)))
        return bits_float(np.uint32(highest ^ ((highest >> _31) & _BELOW_SIGN)))

    return by_bits

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

from charrnn.kernels.compile import OPTIONS
from charrnn.kernels.rounding import bits_float, float_bits

# tanh(x) = x p(x²) / q(x²), Eigen's minimax coefficients of degree 13 over 6, on ±7.905: beyond, tanh rounds to ±1.
_LIMIT = np.float32(7.90531110763549805)
_P = tuple(
    np.float32(a)
    for a in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
_Q = tuple(
    np.float32(b) for b in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)

# exp(x) = 2^n exp(r) with |r| <= ln 2 / 2, and exp(r) by its Taylor polynomial of degree 7 (error below 6e-9).
_LOWEST = np.float32(-87.0)
_HIGHEST = np.float32(88.0)
_LOG2_E = np.float32(math.log2(math.e))
_LN_2 = np.float32(math.log(2))
_E = tuple(np.float32(1 / math.factorial(n)) for n in range(8))
_HALF, _1 = np.float32(0.5), np.float32(1)

# sigmoid(x) = 1 / (1 + 2^t), t = -x log2 e, and 2^t = 2^n 2^r with |r| <= 1/2: 2^r by the polynomial of degree 5, exact
# at 0, whose largest relative error is least: 9e-8 (least squares, weighted until its extremes were level).
_MOST = np.float32(126)
_T = tuple(
    np.float32(a) for a in (1.0, 6.931469776e-01, 2.402224209e-01, 5.550733743e-02, 9.671512641e-03, 1.326472718e-03)
)
_31, _BELOW_SIGN = np.int32(31), np.int32(0x7FFFFFFF)


def tanh(x: Any) -> Any:
    """tanh(x); in float32 to 2.5e-7."""
    return np.tanh(x)


def exp(x: Any) -> Any:
    """exp(x); in float32 to 3e-7 of its value, and at least exp(-87)."""
    return np.exp(x)


@intrinsic  # type: ignore[untyped-decorator]
def _scale(typingctx: Any, x: Any, n: Any) -> Any:
    """x 2^n for a float32 x and an int32 n, none of x and the result below 2^-126 or above 2^127: n is added to the
    exponent bits.

    A NaN converted to n is -2^31, no bit of which arrives there: x stays as it is.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        int32 = ir.IntType(32)
        exponent = builder.shl(args[1], ir.Constant(int32, 23))
        return builder.bitcast(builder.add(builder.bitcast(args[0], int32), exponent), ir.FloatType())

    return types.float32(types.float32, types.int32), codegen


@overload(tanh, jit_options=OPTIONS)
def _tanh(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: np.tanh(x)

    def rational(x):  # type: ignore[no-untyped-def]
        x = _LIMIT if x > _LIMIT else x
        x = -_LIMIT if x < -_LIMIT else x
        y = x * x
        p = ((((((y * _P[6] + _P[5]) * y + _P[4]) * y + _P[3]) * y + _P[2]) * y + _P[1]) * y + _P[0]) * x
        return p / (((y * _Q[3] + _Q[2]) * y + _Q[1]) * y + _Q[0])

    return rational


@overload(exp, jit_options=OPTIONS)
def _exp(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: np.exp(x)

    def polynomial(x):  # type: ignore[no-untyped-def]
        x = _LOWEST if x < _LOWEST else x
        x = _HIGHEST if x > _HIGHEST else x
        n = np.floor(x * _LOG2_E + _HALF)
        r = x - n * _LN_2
        q = ((((((_E[7] * r + _E[6]) * r + _E[5]) * r + _E[4]) * r + _E[3]) * r + _E[2]) * r + _E[1]) * r + _E[0]
        return _scale(q, np.int32(n))

    return polynomial


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); in float32 to 1.2e-7, and where x > -5 to 6e-7 of its value."""
    return 1 / (1 + np.exp(-x))


@overload(sigmoid, jit_options=OPTIONS)
def _sigmoid(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: 1 / (1 + np.exp(-x))

    def by_powers_of_two(x):  # type: ignore[no-untyped-def]
        t = x * -_LOG2_E
        t = _MOST if t > _MOST else t
        t = -_MOST if t < -_MOST else t
        n = np.rint(t)
        r = t - n
        p = ((((_T[5] * r + _T[4]) * r + _T[3]) * r + _T[2]) * r + _T[1]) * r + _T[0]
        return _1 / (_1 + _scale(p, np.int32(n)))

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

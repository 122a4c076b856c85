"""Operands copied into the order in which the tiles of `matmul.py` read them.

Panels hold columns of B side by side, tiles hold rows of A side by side; both are walked along K. Of float32 and
float64 a step of K is one row, copied; of bfloat16 it is two, interleaved into pairs. The type of the target decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from charrnn.kernels.rounding import emit_rounded, pair, pairs_of_rows
from charrnn.kernels.tile import emit_prefetch
from charrnn.runtime.arrays import CACHE_LINE, Array
from charrnn.runtime.compile import OPTIONS, inline, kernel
from charrnn.runtime.features import VECTOR_BYTES

PREFETCH_DISTANCE = 16  # rows from the one that is read to the one that is prefetched
PACKED_AT_ONCE = 2  # neighbouring panels: rows are read in longer pieces


@kernel
def pack(b: Array, column: int, N: int, panels: Array, first: int, last: int) -> None:
    """Pack B = b[:, column:column + N] (K, N): the panels from `first` to `last`."""
    width = panels.shape[2]
    pack_rows(b, 0, b.shape[0], column + first * width, min(last * width, N) - first * width, panels[first:last])


def pack_uncompiled(b: Array, panels: Array, first: int, last: int) -> None:
    """Pack B = b (K, N): the panels from `first` to `last`. With NumPy, to the same bits as the kernels."""
    width = panels.shape[2]
    for n in range(first, last):
        columns = b[:, n * width : (n + 1) * width]
        panels[n] = 0
        panels[n, :, : columns.shape[1]] = pairs_of_rows(columns) if panels.dtype == np.uint32 else columns


@inline
def pack_rows(b: Array, start: int, stop: int, column: int, columns: int, panels: Array) -> None:
    """`pack_steps` for any number of panels, a few at a time."""
    count, _, width = panels.shape
    for n in range(0, count, PACKED_AT_ONCE):
        few = min(PACKED_AT_ONCE * width, columns - n * width)
        pack_steps(b, start, stop, column + n * width, few, panels[n : n + PACKED_AT_ONCE])


@kernel
def pack_transposed(b: Array, column: int, K: int, panels: Array, first: int, last: int) -> None:
    """Pack B = b[:, column:column + K]' of b (N, ·): the panels from `first` to `last`."""
    _, steps, width = panels.shape
    N = b.shape[0]
    lanes = VECTOR_BYTES // panels.itemsize
    numbers = -(-K // steps)  # of a row in a step: 1, or a pair
    square_steps = K // numbers // lanes * lanes
    for n in range(first, last):
        panel = panels[n]
        columns = min(width, N - n * width)
        square_rows = columns // lanes * lanes
        for j in range(0, square_rows, lanes):
            for k in range(0, square_steps, lanes):
                transpose_square(
                    b[n * width + j].ctypes.data + (column + numbers * k) * b.itemsize, b.strides[0],
                    panel[k].ctypes.data + j * panel.itemsize, panel.strides[0], panel,
                )  # fmt: skip
        for j in range(columns):
            row = b[n * width + j, column : column + K]
            pack_row(row, square_steps if j < square_rows else 0, steps, panel, j)
        for k in range(steps):
            for j in range(columns, width):
                panel[k, j] = 0


@intrinsic  # type: ignore[untyped-decorator]
def transpose_square(typingctx: Any, source: Any, row: Any, target: Any, step: Any, like: Any) -> Any:
    """Transpose as many rows as a vector has lanes, each of as many steps, in registers.

    Rows lie `row` bytes apart from `source` on, steps `step` bytes apart from `target` on; `like` is an array of the
    packed type. For pairs of bfloat16 a step is two float32 of a row.
    """
    pairs = like.dtype == types.uint32
    scalar = ir.DoubleType() if like.dtype == types.float64 else ir.IntType(32)
    size = like.dtype.bitwidth // 8
    lanes = VECTOR_BYTES // size
    vector = ir.VectorType(scalar, lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, row, target, step, _ = args
        pointer = ir.PointerType()

        def at(start: Any, stride: Any, n: int) -> Any:
            return builder.add(start, builder.mul(stride, ir.Constant(stride.type, n)))

        def load(address: Any) -> Any:
            return builder.load(builder.inttoptr(address, pointer), align=size, typ=vector)

        def pick(x: Any, y: Any, places: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), places)
            return builder.shuffle_vector(x, y, mask)

        def splat(n: int) -> ir.Constant:
            return ir.Constant(vector, [n] * lanes)

        def rounded(bits: Any) -> Any:
            return emit_rounded(builder, builder.bitcast(bits, ir.VectorType(ir.FloatType(), lanes)))

        rows = []
        for n in range(lanes):
            here = at(source, row, n)
            numbers = load(here)
            if pairs:
                following = load(builder.add(here, ir.Constant(here.type, VECTOR_BYTES)))
                first = rounded(pick(numbers, following, list(range(0, 2 * lanes, 2))))
                second = rounded(pick(numbers, following, list(range(1, 2 * lanes, 2))))
                numbers = builder.or_(builder.lshr(first, splat(16)), builder.and_(second, splat(0xFFFF0000)))
            rows.append(numbers)
        # Swap ever larger blocks across the diagonal: single numbers, squares of two, of four, ...
        block = 1
        while block < lanes:
            upper = [n if not n & block else n - block + lanes for n in range(lanes)]
            lower = [n + block if not n & block else n + lanes for n in range(lanes)]
            for n in range(lanes):
                if not n & block:
                    x, y = rows[n], rows[n + block]
                    rows[n], rows[n + block] = pick(x, y, upper), pick(x, y, lower)
            block *= 2
        for n in range(lanes):
            builder.store(rows[n], builder.inttoptr(at(target, step, n), pointer), align=size)
        return context.get_dummy_value()

    word = types.intp
    return types.void(word, word, word, word, like), codegen


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typingctx: Any, address: Any) -> Any:
    """Software prefetching of the cache line at an address, which may be any."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_prefetch(builder, args[0], write=False)
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@inline
def prefetch_row(b: Array, row: int, column: int, columns: int) -> None:
    """Prefetch a part of a row of b: rows lie too far apart for the hardware prefetcher."""
    start = b.ctypes.data + row * b.strides[0] + column * b.itemsize
    for offset in range(0, columns * b.itemsize, CACHE_LINE):
        prefetch(start + offset)


def pack_steps(b: Array, start: int, stop: int, column: int, columns: int, panels: Array) -> None:
    """panels[n, k] = the rows of step k from `start` to `stop` of b, `columns` wide from `column` on, cut into panels;
    zeros beside and below."""
    raise NotImplementedError  # compiled forms below


def pack_row(row: Array, start: int, stop: int, panel: Array, j: int) -> None:
    """panel[k, j] = step k of a row, for the steps from `start` to `stop`."""
    raise NotImplementedError


@overload(pack_steps, jit_options=OPTIONS)
def _pack_steps(b, start, stop, column, columns, panels):  # type: ignore[no-untyped-def]
    def copy(b, start, stop, column, columns, panels):  # type: ignore[no-untyped-def]
        width = panels.shape[2]
        for k in range(stop - start):
            prefetch_row(b, start + k + PREFETCH_DISTANCE, column, columns)
            for n in range(-(-columns // width)):
                some, at = min(width, columns - n * width), column + n * width
                source, target = b[start + k, at : at + some], panels[n, k]
                for j in range(some):
                    target[j] = source[j]
                for j in range(some, width):
                    target[j] = 0

    def pairs(b, start, stop, column, columns, panels):  # type: ignore[no-untyped-def]
        width = panels.shape[2]
        for k in range((stop - start) // 2):
            prefetch_row(b, start + 2 * k + PREFETCH_DISTANCE, column, columns)
            prefetch_row(b, start + 2 * k + 1 + PREFETCH_DISTANCE, column, columns)
            for n in range(-(-columns // width)):
                some, at = min(width, columns - n * width), column + n * width
                upper, lower = b[start + 2 * k, at : at + some], b[start + 2 * k + 1, at : at + some]
                target = panels[n, k]
                for j in range(some):
                    target[j] = pair(upper[j], lower[j])
                for j in range(some, width):
                    target[j] = 0
        if (stop - start) % 2:
            zero = b.dtype.type(0)
            for n in range(-(-columns // width)):
                some, at = min(width, columns - n * width), column + n * width
                source, target = b[stop - 1, at : at + some], panels[n, (stop - start) // 2]
                for j in range(some):
                    target[j] = pair(source[j], zero)
                for j in range(some, width):
                    target[j] = 0

    return pairs if panels.dtype == types.uint32 else copy


@overload(pack_row, jit_options=OPTIONS)
def _pack_row(row, start, stop, panel, j):  # type: ignore[no-untyped-def]
    def copy(row, start, stop, panel, j):  # type: ignore[no-untyped-def]
        for k in range(start, stop):
            panel[k, j] = row[k]

    def pairs(row, start, stop, panel, j):  # type: ignore[no-untyped-def]
        whole = min(stop, row.size // 2)
        for k in range(start, whole):
            panel[k, j] = pair(row[2 * k], row[2 * k + 1])
        for k in range(max(start, whole), stop):
            panel[k, j] = pair(row[2 * k], row.dtype.type(0))

    return pairs if panel.dtype == types.uint32 else copy

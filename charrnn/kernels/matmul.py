"""Every matrix product of the project: C = S + A B, mostly C += A B, with B packed once into panels.

A panel is as wide as a tile (`tile.py`): columns n w to (n+1) w of B as one contiguous (K, w) block, the last one
filled up with zeros. Each element of C is one chain of fused multiply-adds over k in rising order, whatever the tile,
the panel, the number of rows or the thread: results do not depend on how work is divided.

Operands (gemm inputs) are float32 or float64, or bfloat16 as `rounding.py` stores it: A in uint16 with rows of even
width, panels in uint32, each a pair of rows k and k + 1 of B. C is float32 then. K counts pairs wherever a packed shape
is meant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn.kernels.packing import PACKED_AT_ONCE, pack_rows
from charrnn.kernels.tile import make_tile
from charrnn.runtime.arrays import Array, Ids, zeros
from charrnn.runtime.compile import inline, kernel
from charrnn.runtime.features import PANEL_BYTES, TILE_ROWS, TILE_VECTORS, VECTOR_BYTES

# What is left beside the last whole panel is computed in edge tiles (strips): of 256 bits at most, since many
# processors do two such vectors in the time of one of 512, of which more would be wasted; so many rows keep the
# multiply-add units busy.
STRIP_ROWS, STRIP_BYTES = 8, min(VECTOR_BYTES, 32)

tile_1 = make_tile(1, TILE_VECTORS, masked=False)
tile_2 = make_tile(2, TILE_VECTORS, masked=False)
tile_3 = make_tile(3, TILE_VECTORS, masked=False)
tile_4 = make_tile(4, TILE_VECTORS, masked=False)
tile_5 = make_tile(5, TILE_VECTORS, masked=False)
tile_6 = make_tile(6, TILE_VECTORS, masked=False)
strip = make_tile(STRIP_ROWS, 1, masked=True, vector_bytes=STRIP_BYTES)

# Blocks of `add_transposed_product`: a panel of 512 steps of K stays in the second-level cache while those of A stream
# by, at most so many columns of it.
BLOCK_STEPS, BLOCK_COLUMNS = 512, 1024

Memory = tuple[int, int]  # an address and a number of bytes
NOTHING: Memory = (0, 0)
Rows = tuple[int, int, int]  # what a product starts from: address, stride, address of the number of each row or 0
OWN: Rows = (0, 0, 0)  # the result's own rows
IN_ORDER = np.arange(STRIP_ROWS, dtype=np.int32)  # the numbers of rows that follow each other


def packed_type(operand: np.typing.DTypeLike) -> np.dtype[Any]:
    """Number type of panels for operands of this type: pairs of bfloat16 are packed as uint32."""
    operand = np.dtype(operand)
    return np.dtype(np.uint32) if operand == np.uint16 else operand


def panels_shape(K: int, N: int, operand: np.typing.DTypeLike) -> tuple[int, int, int]:
    """Shape of the packed form of a right operand (K, N): panels, steps of K, panel width."""
    steps = -(-K // 2) if np.dtype(operand) == np.uint16 else K
    width = PANEL_BYTES // packed_type(operand).itemsize
    return (-(-N // width), steps, width)


def empty_panels(K: int, N: int, operand: np.typing.DTypeLike) -> Array:
    """Room for the packed form of a right operand (K, N)."""
    return zeros(panels_shape(K, N, operand), packed_type(operand))


def empty_scratch(operand: np.typing.DTypeLike) -> tuple[Array, Array]:
    """The `left` and `right` that `add_transposed_product` packs blocks of its operands into."""
    packed = packed_type(operand)
    width = PANEL_BYTES // packed.itemsize
    left = zeros((BLOCK_COLUMNS // width, BLOCK_STEPS, width), packed)
    return left, zeros((PACKED_AT_ONCE, BLOCK_STEPS, width), packed)


@inline
def add_panel(
    like: Array, a: int, a_row: int, a_step: int, panel: int, s: int, s_row: int, index: int, c: int, c_row: int,
    K: int, M: int, columns: int, below: int, prefetch: int, stride: int,
) -> None:  # fmt: skip
    """One panel's part of C = S + A B; operands are addresses and strides in bytes, see `tile.py`.

    Row m of S is the row of `s` that the m-th int32 at `index` names, or the m-th where `index` is 0. `below` is 1
    where C must come from memory: each tile then prefetches that of the next one.
    `prefetch` is the address to prefetch meanwhile, `stride` bytes further at each step of K. It is one of ours
    even where there is nothing to prefetch: the processor takes long to find out about others.
    """
    if columns < PANEL_BYTES // like.itemsize:
        lanes = STRIP_BYTES // like.itemsize
        for column in range(0, columns, lanes):
            at = column * like.itemsize
            for m in range(0, M, STRIP_ROWS):
                start, order = start_at(s, s_row, index, m)
                strip(
                    like, a + m * a_row, a_row, a_step, panel + at, start + at, s_row, order, c + m * c_row + at, c_row,
                    K, min(STRIP_ROWS, M - m), columns - column, 0, 0, 0,
                )  # fmt: skip
        return
    # Tiles of nearly equal height: 25 rows are five tiles of 5, not four of 6 and a thin one.
    tiles = -(-M // TILE_ROWS)
    m = 0
    for n in range(tiles):
        height = (M - m) // (tiles - n)
        left = a + m * a_row
        corner = c + m * c_row
        start, order = start_at(s, s_row, index, m)
        if height == 6:
            tile_6(
                like, left, a_row, a_step, panel, start, s_row, order, corner, c_row, K, 0, 0, below, prefetch, stride
            )  # fmt: skip
        elif height == 5:
            tile_5(
                like, left, a_row, a_step, panel, start, s_row, order, corner, c_row, K, 0, 0, below, prefetch, stride
            )  # fmt: skip
        elif height == 4:
            tile_4(
                like, left, a_row, a_step, panel, start, s_row, order, corner, c_row, K, 0, 0, below, prefetch, stride
            )  # fmt: skip
        elif height == 3:
            tile_3(
                like, left, a_row, a_step, panel, start, s_row, order, corner, c_row, K, 0, 0, below, prefetch, stride
            )  # fmt: skip
        elif height == 2:
            tile_2(
                like, left, a_row, a_step, panel, start, s_row, order, corner, c_row, K, 0, 0, below, prefetch, stride
            )  # fmt: skip
        else:
            tile_1(
                like, left, a_row, a_step, panel, start, s_row, order, corner, c_row, K, 0, 0, below, prefetch, stride
            )  # fmt: skip
        m += height
        prefetch += K * stride


@inline
def start_at(s: int, s_row: int, index: int, m: int) -> tuple[int, int]:
    """`s` and `index` for a tile whose first row is m."""
    if index:
        return s, index + m * IN_ORDER.itemsize
    return s + m * s_row, signed(IN_ORDER.ctypes.data)


@inline
def signed(number: Any) -> Any:
    """An address or a constant as the number type that all others have: with others, Numba would make floats of it."""
    return np.intp(number)


@inline
def memory_of(steps: Array, t: int, begin: int, end: int) -> Memory:
    """Where steps[t, begin:end] of steps (T, B, N) lie; nothing where there is no step t."""
    if 0 <= t < len(steps):
        return signed(steps[t, begin].ctypes.data), (end - begin) * steps.strides[1]
    return NOTHING


@inline
def rows_of(table: Array, numbers: Ids) -> Rows:
    """table[numbers] for a product to start from: table (U, N), numbers (M), one for each row of the product."""
    return signed(table.ctypes.data), table.strides[0], signed(numbers.ctypes.data)


@inline
def row_of(bias: Array) -> Rows:
    """A row (N) for every row of a product to start from."""
    return signed(bias.ctypes.data), signed(0), signed(0)


@inline
def add_product(
    a: Array, a_column: int, panels: Array, start: Rows, c: Array, c_column: int, N: int, prefetch: Memory
) -> None:  # fmt: skip
    """C = S + A B for A = a[:, a_column:a_column + K] (M, K), B packed in `panels`, C = c[:, c_column:c_column + N] (M,
    N), S = these columns of `start`.

    `prefetch` is what will be used next: software prefetching, a little of it at each step, so that nothing waits for
    memory when the product is done.
    """
    (s, s_row, index), (address, size) = start, prefetch
    corner = signed(c.ctypes.data) + c_column * c.itemsize
    add_packed(
        signed(a.ctypes.data) + a_column * a.itemsize, a.strides[0], panels,
        signed(s) + c_column * c.itemsize if s else corner, signed(s_row) if s else c.strides[0], signed(index),
        corner, c.strides[0], a.shape[0], N, signed(address) if size else corner, signed(size),
    )  # fmt: skip


@kernel
def add_packed(
    a: int, a_row: int, panels: Array, s: int, s_row: int, index: int, c: int, c_row: int, M: int, N: int,
    prefetch: int, prefetch_size: int,
) -> None:  # fmt: skip
    """`add_product` over addresses: compiled once, whatever arrays they lie in."""
    count, K, width = panels.shape
    steps = -(-M // TILE_ROWS) * K
    stride = -(-prefetch_size // max(steps * count, 1))
    for n in range(count):
        at = n * PANEL_BYTES
        add_panel(
            panels, a, a_row, panels.itemsize, panels[n].ctypes.data, s + at, s_row, index, c + at, c_row, K, M,
            min(width, N - n * width), 0, prefetch + n * steps * stride, stride,
        )  # fmt: skip


@kernel
def add_products(a: Array, panels: Array, c: Array, begin: int, end: int) -> None:
    """C[t] += A[t] B for the rows from `begin` to `end` of every step: a (T, B, K), c (T, B, N).

    Panel by panel, so that each is read from memory once for all the steps.
    """
    count, K, width = panels.shape
    T, _, N = c.shape
    for n in range(count):
        for t in range(T):
            corner = signed(c[t, begin].ctypes.data) + n * PANEL_BYTES
            add_panel(
                panels, a[t, begin].ctypes.data, a.strides[1], panels.itemsize, panels[n].ctypes.data,
                corner, c.strides[1], 0, corner, c.strides[1], K, end - begin, min(width, N - n * width), 1, corner, 0,
            )  # fmt: skip


@kernel
def add_transposed_product(
    a: Array, M: int, b: Array, b_column: int, c: Array, c_column: int, N: int, first: int, last: int,
    left: Array, right: Array,
) -> None:  # fmt: skip
    """C += A' B for A = a[:, :M] (R, M), B = b[:, b_column:b_column + N] (R, N), C = c[:, c_column:c_column + N] (M,
    N).

    Only the panels from `first` to `last` of C are computed. `left` and `right` come from `empty_scratch`: A is packed
    as well, since walking down a column of it misses every cache.
    """
    R = a.shape[0]
    most, depth, width = left.shape
    rows_per_step = left.itemsize // a.itemsize
    for start in range(0, R, depth * rows_per_step):
        stop = min(start + depth * rows_per_step, R)
        K = -(-(stop - start) // rows_per_step)
        for top in range(0, M, most * width):
            bottom = min(top + most * width, M)
            pack_rows(a, start, stop, top, bottom - top, left[: -(-(bottom - top) // width)])
            for some in range(first, last, PACKED_AT_ONCE):
                few = min(PACKED_AT_ONCE, last - some)
                columns = min(few * width, N - some * width)
                pack_rows(b, start, stop, b_column + some * width, columns, right[:few])
                for n in range(some, some + few):
                    for m in range(top, bottom, width):
                        corner = signed(c[m].ctypes.data) + (c_column + n * width) * c.itemsize
                        add_panel(
                            right, left[(m - top) // width].ctypes.data, left.itemsize, left.strides[1],
                            right[n - some].ctypes.data, corner, c.strides[0], 0, corner, c.strides[0], K,
                            min(width, bottom - m), min(width, N - n * width), 1, corner, 0,
                        )  # fmt: skip

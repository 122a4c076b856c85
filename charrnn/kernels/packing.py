"""Operands copied into the order in which the tiles of `matmul.py` read them.

Panels hold columns of B side by side, tiles hold rows of A side by side; both are walked along K. Of float32 and
float64 a step of K is one row, copied; of bfloat16 it is two, interleaved into pairs. The type of the target decides.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from charrnn.kernels.arrays import Array
from charrnn.kernels.compile import OPTIONS, kernel
from charrnn.kernels.rounding import pair
from charrnn.kernels.tile import TILE_ROWS


@kernel
def pack(b: Array, column: int, N: int, panels: Array, first: int, last: int) -> None:
    """Pack B = b[:, column:column + N] (K, N): the panels from `first` to `last`."""
    width = panels.shape[2]
    for n in range(first, last):
        pack_steps(b, 0, b.shape[0], column + n * width, min(width, N - n * width), panels[n])


@kernel
def pack_transposed(b: Array, column: int, K: int, panels: Array, first: int, last: int) -> None:
    """Pack B = b[:, column:column + K]' of b (N, ·): the panels from `first` to `last`."""
    _, steps, width = panels.shape
    N = b.shape[0]
    for n in range(first, last):
        columns = min(width, N - n * width)
        for start in range(0, steps, 16):  # blocks that stay in the first-level cache while both sides are walked
            stop = min(start + 16, steps)
            for j in range(columns):
                pack_row(b[n * width + j, column : column + K], start, stop, panels[n], j)
            for k in range(start, stop):
                for j in range(columns, width):
                    panels[n, k, j] = 0


def pack_steps(b: Array, start: int, stop: int, column: int, columns: int, panel: Array) -> None:
    """panel[k] = the rows of step k from `start` to `stop` of b, `columns` wide from `column` on; zeros beside and
    below."""
    raise NotImplementedError  # compiled forms below


def pack_row(row: Array, start: int, stop: int, panel: Array, j: int) -> None:
    """panel[k, j] = step k of a row, for the steps from `start` to `stop`."""
    raise NotImplementedError


def pack_tiles(a: Array, start: int, stop: int, top: int, height: int, tiles: Array) -> None:
    """tiles[m, k, i] = step k of column top + 6 m + i of a, for the rows from `start` to `stop`."""
    raise NotImplementedError


@overload(pack_steps, jit_options=OPTIONS)
def _pack_steps(b, start, stop, column, columns, panel):  # type: ignore[no-untyped-def]
    def copy(b, start, stop, column, columns, panel):  # type: ignore[no-untyped-def]
        width = panel.shape[1]
        for k in range(stop - start):
            source, target = b[start + k, column : column + columns], panel[k]
            for j in range(columns):
                target[j] = source[j]
            for j in range(columns, width):
                target[j] = 0

    def pairs(b, start, stop, column, columns, panel):  # type: ignore[no-untyped-def]
        width = panel.shape[1]
        for k in range((stop - start) // 2):
            upper = b[start + 2 * k, column : column + columns]
            lower = b[start + 2 * k + 1, column : column + columns]
            target = panel[k]
            for j in range(columns):
                target[j] = pair(upper[j], lower[j])
            for j in range(columns, width):
                target[j] = 0
        if (stop - start) % 2:
            source, target = b[stop - 1, column : column + columns], panel[(stop - start) // 2]
            zero = b.dtype.type(0)
            for j in range(columns):
                target[j] = pair(source[j], zero)
            for j in range(columns, width):
                target[j] = 0

    return pairs if panel.dtype == types.uint32 else copy


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


@overload(pack_tiles, jit_options=OPTIONS)
def _pack_tiles(a, start, stop, top, height, tiles):  # type: ignore[no-untyped-def]
    def copy(a, start, stop, top, height, tiles):  # type: ignore[no-untyped-def]
        whole = height // TILE_ROWS
        for k in range(stop - start):
            row = a[start + k, top : top + height]
            for m in range(whole):
                for i in range(TILE_ROWS):
                    tiles[m, k, i] = row[m * TILE_ROWS + i]
            for i in range(height - whole * TILE_ROWS):
                tiles[whole, k, i] = row[whole * TILE_ROWS + i]

    def pairs(a, start, stop, top, height, tiles):  # type: ignore[no-untyped-def]
        whole = height // TILE_ROWS
        for k in range(-(-(stop - start) // 2)):
            upper = a[start + 2 * k, top : top + height]
            last = start + 2 * k + 1 == stop
            lower = upper if last else a[start + 2 * k + 1, top : top + height]
            mask = np.uint32(0xFFFF) if last else np.uint32(0xFFFFFFFF)
            for m in range(whole):
                for i in range(TILE_ROWS):
                    tiles[m, k, i] = pair(upper[m * TILE_ROWS + i], lower[m * TILE_ROWS + i]) & mask
            for i in range(height - whole * TILE_ROWS):
                tiles[whole, k, i] = pair(upper[whole * TILE_ROWS + i], lower[whole * TILE_ROWS + i]) & mask

    return pairs if tiles.dtype == types.uint32 else copy

"""The input's part of the gates, x W + b.

For the first layer it is a row of a table. The units of a window repeat: with `U` distinct ones among its T·B, the
product is done once for each distinct unit, giving a table (U, G), and every step reads its row. The gradient of a row
is the sum over the steps that read it. For the layers above, the table has one row, b, and x W is added.
"""

from __future__ import annotations

from charrnn.kernels.matmul import NOTHING, OWN, Rows, add_product, memory_of, rows_of
from charrnn.kernels.rounding import store_gemm_input, widen
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel


@kernel
def number_units(ids: Ids, seen: Ids, distinct: Ids, local: Ids) -> int:
    """Number the distinct units of ids (N) in the order they appear; local (N) has each one's number. Returns how many.

    seen (V): -1 everywhere, before and after. distinct (N): the units by number.
    """
    count = 0
    for n in range(ids.size):
        unit = ids[n]
        if seen[unit] < 0:
            seen[unit] = count
            distinct[count] = unit
            count += 1
        local[n] = seen[unit]
    for u in range(count):
        seen[distinct[u]] = -1
    return count


@kernel
def gather_rows(table: Array, distinct: Ids, rows: Array) -> None:
    """rows[u] = table[distinct[u]]: table (V, E), rows (U, E)."""
    for u in range(rows.shape[0]):
        source, target = table[distinct[u]], rows[u]
        for j in range(target.size):
            target[j] = source[j]


@kernel
def look_up_rows(table: Array, distinct: Ids, rows: Array, rows_gemm: Array, first: int, last: int) -> None:
    """rows[u] = table[distinct[u]] for u from `first` to `last`: table (V, E), rows (U, E); rows_gemm: gemm input."""
    for u in range(first, last):
        source, target = table[distinct[u]], rows[u]
        for j in range(target.size):
            target[j] = source[j]
        store_gemm_input(target, rows_gemm[u])


@kernel
def scatter_rows(rows: Array, distinct: Ids, table: Array) -> None:
    """table[distinct[u]] = rows[u]: table (V, E), rows (U, E)."""
    for u in range(rows.shape[0]):
        source, target = rows[u], table[distinct[u]]
        for j in range(target.size):
            target[j] = source[j]


@kernel
def add_rows(rows: Array, distinct: Ids, table: Array) -> None:
    """table[distinct[u]] += rows[u]: table (V, E), rows (U, E)."""
    for u in range(rows.shape[0]):
        source, target = rows[u], table[distinct[u]]
        for j in range(target.size):
            target[j] += source[j]


@inline
def start_gates(
    table: Array, local: Ids, x: Array, t: int, direction: int, weight: Array, gates: Array, begin: int, end: int
) -> Rows:  # fmt: skip
    """What the gates (B, G or more) of step t are before the state's part is added, for the rows from `begin` to `end`:
    table[local[t, b]] + x[t, b] W, table (U, G).

    weight: packed W, or no panels where the table is all of the input's part; local (T, B), x (T, B, E) as gemm input.
    direction: step t + direction comes next, and its x is prefetched.
    Returns the rows that the product of the state is to start from: the gates themselves, or still those of the table.
    """
    start = rows_of(table, local[t, begin:end])
    if weight.shape[0] == 0:
        return start
    prefetch = memory_of(x, t + direction, begin, end)
    add_product(x[t, begin:end], 0, weight, start, gates[begin:end], 0, table.shape[1], prefetch)
    return OWN


@inline
def input_gradient(dgates: Array, weight: Array, dx: Array, overwrite: bool, begin: int, end: int) -> None:
    """dx = dgates W', or dx += dgates W' unless `overwrite`, for the rows from `begin` to `end` of a step.

    dgates (B, G) as gemm input, dx (B, E). weight: packed W', or no panels where x needs no gradient: dx is untouched.
    """
    if weight.shape[0] == 0:
        return
    if overwrite:
        for b in range(begin, end):
            dx[b] = 0
    add_product(dgates[begin:end], 0, weight, OWN, dx[begin:end], 0, dx.shape[1], NOTHING)


@kernel
def fill_rows(gates: Array, bias: Array, begin: int, end: int) -> None:
    """gates[t, b] = bias for the rows from `begin` to `end`: gates (T, B, G), bias (G)."""
    T, _, G = gates.shape
    for t in range(T):
        for b in range(begin, end):
            target = gates[t, b]
            for j in range(G):
                target[j] = bias[j]


@kernel
def sum_by_unit(
    dgates: Array, local: Ids, dtable: Array, dtable_gemm: Array, dbias: Array, first: int, last: int
) -> None:  # fmt: skip
    """dtable[u] = sum of dgates (T, B, G) over the places that read unit u, for the columns from `first` to `last`.

    dgates as gemm input, its rows may be longer. dtable_gemm: dtable as gemm input. dbias (G) += the sum of dtable.
    """
    T, B, _ = dgates.shape
    dtable[:, first:last] = 0
    for t in range(T):
        for b in range(B):
            source, target = dgates[t, b, first:last], dtable[local[t, b], first:last]
            for j in range(last - first):
                target[j] += widen(source[j])
    bias = dbias[first:last]
    for u in range(dtable.shape[0]):
        row = dtable[u, first:last]
        for j in range(last - first):
            bias[j] += row[j]
        store_gemm_input(row, dtable_gemm[u, first:last])


@kernel
def add_column_sums(rows: Array, sums: Array, first: int, last: int) -> None:
    """sums (G) += sum of rows (N, G) over N, for the columns from `first` to `last`; rows may be gemm input, and
    longer."""
    target = sums[first:last]
    for n in range(rows.shape[0]):
        source = rows[n, first:last]
        for j in range(last - first):
            target[j] += widen(source[j])


@kernel
def add_to_rows(rows: Array, bias: Array) -> None:
    """rows[u] += bias: rows (U, G), bias (G)."""
    for u in range(rows.shape[0]):
        target = rows[u]
        for j in range(target.size):
            target[j] += bias[j]

"""The input product of the first layer, where what is multiplied is a row of a table.

The units of a window repeat: with `U` distinct ones among its T·B, the product is done once for each distinct unit,
giving a table (U, G), and every step reads its row. The gradient of a row is the sum over the steps that read it.
"""

from __future__ import annotations

from charrnn.kernels.arrays import Array, Ids
from charrnn.kernels.compile import kernel


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


@kernel
def look_up(table: Array, local: Ids, gates: Array, begin: int, end: int) -> None:
    """gates[t, b] = table[local[t, b]] for the rows from `begin` to `end`: table (U, G), gates (T, B, G)."""
    T, _, G = gates.shape
    for t in range(T):
        for b in range(begin, end):
            source, target = table[local[t, b]], gates[t, b]
            for j in range(G):
                target[j] = source[j]


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
def sum_by_unit(dgates: Array, local: Ids, dtable: Array, first: int, last: int) -> None:
    """dtable[u] = sum of dgates (T, B, G) over the places that read unit u, for the columns from `first` to `last`."""
    T, B, _ = dgates.shape
    dtable[:, first:last] = 0
    for t in range(T):
        for b in range(B):
            source, target = dgates[t, b, first:last], dtable[local[t, b], first:last]
            for j in range(last - first):
                target[j] += source[j]


@kernel
def add_column_sums(rows: Array, sums: Array, first: int, last: int) -> None:
    """sums (G) += sum of rows (N, G) over N, for the columns from `first` to `last`."""
    target = sums[first:last]
    for n in range(rows.shape[0]):
        source = rows[n, first:last]
        for j in range(last - first):
            target[j] += source[j]


@kernel
def add_to_rows(rows: Array, bias: Array) -> None:
    """rows[u] += bias: rows (U, G), bias (G)."""
    for u in range(rows.shape[0]):
        target = rows[u]
        for j in range(target.size):
            target[j] += bias[j]

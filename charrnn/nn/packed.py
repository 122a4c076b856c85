"""Weights packed into panels, and the products of weight gradients, as jobs that threads share."""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn import kernels
from charrnn.nn.context import Context
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job

ADDITION = 24  # the cost of adding up a number from memory, in multiply-adds of a product


class Packed:
    """Columns `column` to `column + size` of a weight (K, N), or their transpose, packed into panels.

    `panels` (panels, K, panel width) is the right factor B of products A B, see `kernels/packing.py`; `operand` is the
    type of the gemm inputs A.
    """

    def __init__(
        self, weight: Array, column: int, size: int, operand: np.dtype[Any], *, transposed: bool = False
    ) -> None:  # fmt: skip
        self.weight, self.column, self.size, self.transposed = weight, column, size, transposed
        K, N = (size, weight.shape[0]) if transposed else (weight.shape[0], size)
        self.panels = kernels.matmul.empty_panels(K, N, operand)

    def job(self, *, often: bool = True) -> Job:
        """The job that packs the weight, divided by panels.

        If it is not done `often`, NumPy packs, to the same bits: the kernels take a second to compile.
        """
        count, K, width = self.panels.shape
        packing = kernels.packing
        if often:
            pack = packing.pack_transposed if self.transposed else packing.pack
            return Job(count, K * width, pack, (self.weight, self.column, self.size, self.panels))
        part = self.weight[:, self.column : self.column + self.size]
        return Job(count, K * width, packing.pack_uncompiled, (part.T if self.transposed else part, self.panels))


def product_job(
    a: Array, M: int, b: Array, b_column: int, c: Array, c_column: int, size: int, context: Context
) -> Job:  # fmt: skip
    """c[:, c_column:c_column + size] += a[:, :M]' b[:, b_column:b_column + size], divided by panels of c.

    a (R, M or more), b (R, N) are gemm inputs; c (M, N').
    """
    matmul = kernels.matmul
    count, _, width = matmul.panels_shape(1, size, a.dtype)
    arguments = (a, M, b, b_column, c, c_column, size)
    return Job(count, a.shape[0] * M * width, matmul.add_transposed_product, arguments, context.scratch)


def sum_job(rows: Array, sums: Array) -> Job:
    """sums (G) += Σ over N of rows (N, G or more), divided by columns."""
    return Job(sums.size, ADDITION * rows.shape[0], kernels.inputs.add_column_sums, (rows, sums))


def flat(array: Array) -> Array:
    """A view (T·B, N) of an array (T, B, N)."""
    return array.reshape(-1, array.shape[-1])

"""Muon: the momentum of a matrix, its singular values made equal, as the direction of an update.

    M = β M + (1 - β) G              momentum of the gradient G of a weight W (k, N), k <= N, else of W'
    U = β M + (1 - β) G              Nesterov's look ahead
    O = (U U')^(-1/2) U              all singular values 1
    D = O / rms of each column       its root mean square
    W = (1 - η λ) W - η s D          learning rate η, weight decay λ, s = `UPDATE_SIZE`

A gradient has a few large singular values, and a step along it moves the matrix in those few directions only. This one
moves it as far in all of them.

- Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": the orthogonalised momentum, and the
  quintic Newton-Schulz iteration with these coefficients.
- Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982: weight decay, and updates of the size of
  Adam's, so that one learning rate serves both.
- Li et al. 2025, "NorMuon: making Muon more efficient and scalable", arXiv:2510.05491: equal sizes for all units.
- Gupta, Koren and Singer 2018, "Shampoo: preconditioned stochastic tensor optimization", arXiv:1802.09568: an inverse
  root that is renewed every few steps only. Here it is (U U')^(-1/2), of U at that step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from charrnn.kernels import matmul
from charrnn.kernels import optimizers as kernels
from charrnn.nn.packed import ADDITION
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import WORTH_THREADS, Job, ThreadPool

MOMENTUM = 0.9  # β
UPDATE_SIZE = 0.3  # s: Adam's updates are about as large
RENEWAL = 8  # updates from one inverse root to the next
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5

Matrices = Sequence[tuple[int, tuple[int, int]]]  # where each starts in the flat vector, and its shape


class Matrix:
    """One weight W at a `place` of the vector, with its `momentum` (k, N) and `root` (k, k), a multiple of about (U
    U')^(-1/2)."""

    def __init__(self, place: slice, weight: Array, momentum: Array, root: Array) -> None:
        self.place, self.weight, self.root = place, weight, root
        self.tall = weight.shape[0] > weight.shape[1]
        self.momentum = momentum.reshape(len(root), -1)
        self.ahead, self.direction = np.empty_like(self.momentum), np.empty_like(self.momentum)  # U, O
        self.wide = np.empty_like(self.momentum) if self.tall else weight
        self.panels = matmul.panels_shape(*self.momentum.shape, weight.dtype)
        self.scales: Array = np.empty(self.momentum.shape[1], weight.dtype)
        self.work = np.empty_like(root), np.empty_like(root), np.empty_like(root)


class Muon:
    """The updates of some `matrices` in the flat vector `parameters`, by the rule above.

    `momentum` is a vector like `parameters`; further state are the `roots`, one after the other. The result has the
    same bits for any number of threads.
    """

    def __init__(self, parameters: Array, momentum: Array, matrices: Matrices, pool: ThreadPool) -> None:
        self.roots: Array = np.zeros(sum(min(shape) ** 2 for _, shape in matrices), parameters.dtype)
        self.matrices: list[Matrix] = []
        begin = 0
        for start, (m, n) in matrices:
            place, k = slice(start, start + m * n), min(m, n)
            root = self.roots[begin : begin + k * k].reshape(k, k)
            self.matrices.append(Matrix(place, parameters[place].reshape(m, n), momentum[place], root))
            begin += k * k
        self._pool = pool
        self._scratch = [matmul.empty_scratch(parameters.dtype) for _ in range(pool.count)]

    def update(self, gradient: Array, scale: float, limit: float, rate: float, decay: float, updates: int) -> None:
        """Update the matrices with `gradient` (N), as scaled and limited; `updates` so far, this one included."""
        scalar: Any = gradient.dtype.type  # a Python float would turn the whole kernel into float64
        clipping, beta = (scalar(scale), scalar(limit)), scalar(1 - MOMENTUM)
        size, shrink = scalar(rate * UPDATE_SIZE), scalar(1 - rate * decay)
        self._run(self._look_ahead(matrix, gradient, (*clipping, beta)) for matrix in self.matrices)
        if (updates - 1) % RENEWAL == 0:
            for matrix in self.matrices:
                self._renew(matrix)
        self._run(self._product(x.root, x.ahead, x.direction, x.panels) for x in self.matrices)
        self._run(self._step(matrix, size, shrink) for matrix in self.matrices)
        for matrix in self.matrices:
            if matrix.tall:
                np.copyto(matrix.weight, matrix.wide.T)

    def _look_ahead(self, matrix: Matrix, gradient: Array, scalars: tuple[Any, ...]) -> Job:
        """The job that computes M and U, divided by rows."""
        own = gradient[matrix.place].reshape(matrix.weight.shape)
        if matrix.tall:
            own = np.ascontiguousarray(own.T)
        k, N = matrix.momentum.shape
        return Job(k, ADDITION * N, kernels.look_ahead, (own, matrix.momentum, matrix.ahead, *scalars))

    def _step(self, matrix: Matrix, size: Any, shrink: Any) -> Job:
        """The job that computes W, divided by panels."""
        if matrix.tall:
            np.copyto(matrix.wide, matrix.weight.T)
        count, k, width = matrix.panels
        given = (matrix.wide, matrix.direction, matrix.scales, size, shrink, width)
        return Job(count, ADDITION * k * width, kernels.subtract_columns, given)

    def _product(self, left: Array, right: Array, result: Array, panels: tuple[int, int, int]) -> Job:
        """The job result = left' right: left (K, M), right (K, N); its columns are divided into `panels`."""
        M, N = result.shape
        count, K, width = panels
        result[...] = 0
        arguments = (left, M, right, 0, result, 0, N)
        return Job(count, K * M * width, matmul.add_transposed_product, arguments, self._scratch)

    def _renew(self, matrix: Matrix) -> None:
        """Renew the root. Newton-Schulz iterations are X = Z X with Z = a + b X X' + c (X X')²; here only two matrices
        of them are kept, R = X X' and the root Q, X = Q U."""
        (a, b, c), (k, N) = NEWTON_SCHULZ, matrix.ahead.shape
        panels = matmul.panels_shape(k, k, matrix.root.dtype)
        Q, (R, Z, Y) = matrix.root, matrix.work

        def product(left: Array, right: Array, result: Array) -> None:
            """result = left right, where left is symmetric."""
            self._run([self._product(left, right, result, panels)])

        transposed = np.ascontiguousarray(matrix.ahead.T)
        self._run([self._product(transposed, transposed, R, matmul.panels_shape(N, k, R.dtype))])
        R /= max(np.trace(R), np.finfo(R.dtype).tiny)
        for n in range(ITERATIONS):
            product(R, R, Z)
            Z *= c
            Z += b * R
            Z.reshape(-1)[:: k + 1] += a
            if n == 0:
                Q[...] = Z
            else:
                product(Q, Z, Y)
                Q[...] = Y
            if n + 1 < ITERATIONS:
                product(R, Z, Y)
                product(Y, Z, R)

    def _run(self, jobs: Iterable[Job]) -> None:
        self._pool.run(list(jobs), least=WORTH_THREADS)

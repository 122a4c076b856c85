"""Muon: the momentum of a weight, its singular values made about equal, as the direction of an update.

    M = β M + (1 - β) G                  momentum of the clipped gradient G of a weight W (k, N), k <= N
    U = β M + (1 - β) G                  Nesterov's look ahead
    O = (U U')^(-1/2) U                  of which singular values of 1 would be left, see below
    D = O / max(rms, r / √N)             rms: the root mean square of each column of O; 1 / √N is that of all if exact
    W = (1 - η λ) W - η s D              learning rate η, weight decay λ, s = `UPDATE_SIZE`, r = `LEAST`

A gradient has a few large singular values, and a step along it moves the matrix in those few directions only. This one
moves it as far in all of them.

- Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": the orthogonalised momentum, and the
  quintic Newton-Schulz iteration with these coefficients. After five iterations the singular values are within a factor
  of two of each other, but for those that were below a few thousandths of the norm, which remain smaller.
- Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982: weight decay, and updates of the size of
  Adam's, so that one learning rate serves both.
- Li et al. 2025, "NorMuon: making Muon more efficient and scalable", arXiv:2510.05491: equal sizes for all units. A
  unit that no longer has a gradient comes to rest: its columns become smaller than r / √N.
- Gupta, Koren and Singer 2018, "Shampoo: preconditioned stochastic tensor optimization", arXiv:1802.09568: an inverse
  root that is renewed every few steps only. Here it is (U U')^(-1/2), of U at that step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from charrnn.kernels import matmul
from charrnn.kernels import optimizers as kernels
from charrnn.nn.packed import ADDITION
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import WORTH_THREADS, Job, ThreadPool

MOMENTUM = 0.9  # β
UPDATE_SIZE = 0.3  # s: Adam's updates are about as large
LEAST = 0.1  # r
RENEWAL = 8  # updates from one inverse root to the next
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5

Matrices = Sequence[tuple[int, tuple[int, int]]]  # where each weight starts in the flat vector, and its shape (k, N)


class Matrix:
    """One weight W (k, N), k <= N, at a `place` of the vector. Of its two moments, the first is its momentum (k, N),
    and the second begins with its root (k, k), about (U U')^(-1/2)."""

    def __init__(self, place: slice, shape: tuple[int, int], parameters: Array, first: Array, second: Array) -> None:
        k, N = shape
        self.place, self.shape = place, shape
        self.weight, self.momentum = parameters[place].reshape(k, N), first[place].reshape(k, N)
        self.root = second[place][: k * k].reshape(k, k)
        self.ahead, self.direction = np.empty_like(self.weight), np.empty_like(self.weight)  # U, O
        self.panels = matmul.panels_shape(k, N, parameters.dtype)
        self.scales: Array = np.empty(N, parameters.dtype)


class Muon:
    """The updates of some weights, `matrices` in the flat vector `parameters`, by the rule above.

    `first` and `second` are vectors like `parameters`, and all its state. The result has the same bits for any number
    of threads.
    """

    def __init__(self, parameters: Array, first: Array, second: Array, matrices: Matrices, pool: ThreadPool) -> None:
        self.matrices = [
            Matrix(slice(start, start + k * N), (k, N), parameters, first, second) for start, (k, N) in matrices
        ]
        most = max(k for _, (k, _) in matrices)
        self._work: Array = np.empty((3, most * most), parameters.dtype)
        self._pool = pool
        self._scratch = [matmul.empty_scratch(parameters.dtype) for _ in range(pool.count)]

    def look_ahead(self, gradient: Array, scale: float, limit: float) -> list[Job]:
        """The jobs that compute M and U of each weight from `gradient`, of all parameters, as scaled and limited.

        They are divided by rows; their cost is the number of parameters.
        """
        scalar: Any = gradient.dtype.type  # a Python float would turn the whole kernel into float64
        given, jobs = (scalar(scale), scalar(limit), scalar(1 - MOMENTUM)), []
        for x in self.matrices:
            own = gradient[x.place].reshape(x.shape)
            jobs.append(Job(x.shape[0], x.shape[1], kernels.look_ahead, (own, x.momentum, x.ahead, *given)))
        return jobs

    def update(self, rate: float, decay: float, updates: int) -> None:
        """Update the weights, after `look_ahead`; `updates` so far, this one included."""
        if (updates - 1) % RENEWAL == 0:
            for matrix in self.matrices:
                self._renew(matrix)
        jobs = []
        for x in self.matrices:
            (count, k, width), scalar = x.panels, x.weight.dtype.type
            size, least, shrink = rate * UPDATE_SIZE, LEAST / math.sqrt(x.shape[1]), 1 - rate * decay
            arrays = (x.weight, x.root, x.ahead, x.direction, x.scales)
            given = (*arrays, scalar(size), scalar(least), scalar(shrink), width)
            jobs.append(Job(count, (k + ADDITION) * k * width, kernels.subtract_direction, given, self._scratch))
        self._run(jobs)

    def _product(self, left: Array, right: Array, result: Array, panels: tuple[int, int, int]) -> Job:
        """The job result = left' right: left (K, M), right (K, N); its columns are divided into `panels`."""
        M, N = result.shape
        count, K, width = panels
        result[...] = 0
        arguments = (left, M, right, 0, result, 0, N)
        return Job(count, K * M * width, matmul.add_transposed_product, arguments, self._scratch)

    def _renew(self, matrix: Matrix) -> None:
        """Renew the root. Newton-Schulz iterations are X = Z X with Z = a + b X X' + c (X X')², from X = U / |U| on; of
        them only two matrices are kept, R = X X' and the root Q, X = Q U."""
        (a, b, c), (k, N) = NEWTON_SCHULZ, matrix.shape
        panels = matmul.panels_shape(k, k, matrix.root.dtype)
        Q, (R, Z, Y) = matrix.root, self._work[:, : k * k].reshape(3, k, k)

        def product(left: Array, right: Array, result: Array) -> None:
            """result = left right, where left is symmetric."""
            self._run([self._product(left, right, result, panels)])

        transposed = np.ascontiguousarray(matrix.ahead.T)
        self._run([self._product(transposed, transposed, R, matmul.panels_shape(N, k, R.dtype))])
        square = float(np.trace(R))  # of the Frobenius norm
        if square == 0:
            Q[...] = 0
            return
        R /= square
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
        Q /= math.sqrt(square)

    def _run(self, jobs: list[Job]) -> None:
        self._pool.run(jobs, least=WORTH_THREADS)

"""The connections between blocks: activations forward, gradients backward.

Matrix products (gemm) do not always read an array itself. Beside an activation `value` stands its gemm input: with
bfloat16 a copy rounded to it (stored as uint16, its width made even), else the same array. In this package it is called
`operand`: an attribute `operand` beside `value`, a name that ends in `_operand` beside any other array, and
`Context.operand` is its number type. The kernels call it `gemm`.
"""

from __future__ import annotations

from dataclasses import dataclass

from charrnn.runtime.arrays import Array, Ids


@dataclass
class Signal:
    """Activations (T, B, N) of any width N, in memory that belongs to this signal alone.

    `value` (T, B, N); `operand` (T, B, N, or N + 1 if that makes it even) is its gemm input. `gradient` (T, B, N) is
    the gradient of the loss by `value`, which every reader of the signal adds to; None in a window without backward.
    """

    value: Array
    operand: Array
    gradient: Array | None = None
    _written: bool = False

    def steps(self, steps: slice) -> Signal:
        """The signal of some of the T steps only: views, no copies."""
        return Signal(self.value[steps], self.operand[steps], None if self.gradient is None else self.gradient[steps])

    def claim(self) -> tuple[Array, bool]:
        """`gradient` (T, B, N), and whether the caller is its first writer: that one overwrites it, all others add.

        Readers call this in the order in which their backward passes run, and before the first of those.

        Raises:
            ValueError: the window has no backward pass.
        """
        if self.gradient is None:
            raise ValueError("no gradient was asked for")
        first, self._written = not self._written, True
        return self.gradient, first


@dataclass
class Lookup:
    """Activations that are rows of a table: position (t, b) has the row `index[t, b]`; index (T, B).

    The ids of a window repeat. With U different ones among its T·B positions, `distinct` (U) has each once, `value`
    (1, U, N) its row and `operand` the gemm input of that; both are None for one-hot rows, which are never stored.
    `gradient` (1, U, N) is summed over all positions that read a row. U is at most `rows`. If `whole`, the rows are
    those of all ids, and stay valid until the weights change.
    """

    distinct: Ids
    index: Ids
    rows: int
    value: Array | None = None
    operand: Array | None = None
    gradient: Array | None = None
    whole: bool = False
    _written: bool = False

    def claim(self) -> bool:
        """Whether the gradient holds nothing yet; see `Signal.claim`."""
        first, self._written = not self._written, True
        return first

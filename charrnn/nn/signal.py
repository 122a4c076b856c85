"""What one block hands to the next, and the gradient it gets back."""

from __future__ import annotations

from dataclasses import dataclass

from charrnn.runtime.arrays import Array, Ids


@dataclass
class Signal:
    """Activations (T, B, N) of any width N, in memory of their own.

    `operand` is `value` as products read it: rounded to bfloat16, or the same array. `gradient` (T, B, N) is what the
    readers of the signal add to, where a gradient is wanted.
    """

    value: Array
    operand: Array
    gradient: Array | None = None
    _written: bool = False

    def steps(self, steps: slice) -> Signal:
        """The signal of some steps only."""
        return Signal(self.value[steps], self.operand[steps], None if self.gradient is None else self.gradient[steps])

    def claim(self) -> tuple[Array, bool]:
        """The gradient, and whether it holds nothing yet: then the reader overwrites it, otherwise it adds.

        Readers ask in the order in which they run backward, before any of them runs.
        """
        if self.gradient is None:
            raise ValueError("no gradient was asked for")
        first, self._written = not self._written, True
        return self.gradient, first


@dataclass
class Lookup:
    """Activations that are rows of a table: place (t, b) is row `index[t, b]`.
    `rows` is the most there can be.

    The ids of a window repeat: with U `distinct` ones among its T·B, `value` (1, U, N) has one row for each; None for
    one-hot rows, which are never written down. `gradient` (1, U, N) is the sum over the places that read a row. Where
    `whole`, the rows are those of all ids and stay the same while the weights do.
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

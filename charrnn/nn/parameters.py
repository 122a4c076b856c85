"""Declarations of parameters, and their layout in one flat vector.

A block declares everything about a parameter in one `Parameter`. Since all of them lie in one vector, optimiser,
gradient clipping, averaging and gradient checks see one array. A weight has the shape in which the equations use it:
`x W_ih` has `weight_ih (E, G)`. A checkpoint has PyTorch's names, transposed shapes and second biases instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np

from charrnn.errors import CharrnnError
from charrnn.runtime.arrays import Array

Shape = tuple[int, ...]
Init = Callable[[np.random.Generator, Shape], Array]


class Stored(NamedTuple):
    """Rows `start` to `stop` of the tensor `name`, of `shape`, in a checkpoint."""

    name: str
    shape: Shape
    start: int
    stop: int


@dataclass(frozen=True)
class Parameter:
    """One array of weights.

    `init` gives its initial values. `decay`: weight decay applies to it. `torch_name` is the name of its tensor in a
    checkpoint, PyTorch's if PyTorch has the function; `transposed`: the tensor is the transpose. If the parameter is
    only a part of its tensor, `stored` says which. `second` is PyTorch's redundant second bias: written as zeros, added
    when it is read. `by_row`: a step of training updates only the rows that its window reads. `muon`: the
    optimiser of that name has a rule of its own for it; a weight (k, N) with k <= N.
    """

    name: str
    shape: Shape
    init: Init
    decay: bool
    torch_name: str
    transposed: bool = False
    stored: Stored | None = None
    second: Stored | None = None
    by_row: bool = False
    muon: bool = False

    @property
    def place(self) -> Stored:
        """Its tensor in a checkpoint, and the rows of it."""
        if self.stored is not None:
            return self.stored
        shape = self.shape[::-1] if self.transposed else self.shape
        return Stored(self.torch_name, shape, 0, shape[0])


class Layout:
    """The places of parameters, in their order, in one flat vector of `size` numbers."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.size = sum(prod(parameter.shape) for parameter in self.parameters)

    def views(self, vector: Array) -> dict[str, Array]:
        """Views of a flat vector (size) by parameter name, each of its parameter's shape."""
        views: dict[str, Array] = {}
        start = 0
        for parameter in self.parameters:
            stop = start + prod(parameter.shape)
            views[parameter.name] = vector[start:stop].reshape(parameter.shape)
            start = stop
        return views

    @property
    def training_size(self) -> int:
        """How many numbers training keeps of the parameters.

        They, their gradient and two moments of it; the last good ones with their moments; packed weights, forward and
        transposed; what Muon computes, about three times as many as of recurrent weights; as tensors of a checkpoint,
        the best ones and those being written.
        """
        return 12 * self.size + 2 * sum(prod(shape) for shape in self.tensor_shapes().values())

    @property
    def row_table(self) -> Shape | None:
        """Shape (V, N) of the first parameter if it is updated by row, N its width; else None."""
        first = self.parameters[0]
        return first.shape if first.by_row else None

    @property
    def segments(self) -> list[tuple[int, int, bool]]:
        """The vector cut into ranges (start, stop, whether weight decay applies); one ends where `row_table` does."""
        ranges: list[tuple[int, int, bool]] = []
        start = 0
        cut = prod(self.row_table or (0,))
        for parameter in self.parameters:
            begin, stop = start, start + prod(parameter.shape)
            if ranges and start != cut and ranges[-1][2] == parameter.decay:
                begin = ranges.pop()[0]
            if stop > begin:
                ranges.append((begin, stop, parameter.decay))
            start = stop
        return ranges

    @property
    def matrices(self) -> list[tuple[int, tuple[int, int]]]:
        """Where each parameter of the rule `muon` starts, and its shape."""
        starts = accumulate((prod(parameter.shape) for parameter in self.parameters), initial=0)
        return [(start, (p.shape[0], p.shape[1])) for start, p in zip(starts, self.parameters, strict=False) if p.muon]

    @cached_property
    def digest(self) -> str:
        """A hash of names, shapes and order of the parameters: a run is resumed only with the same."""
        places = [[parameter.name, *parameter.shape] for parameter in self.parameters]
        return hashlib.sha256(repr(places).encode()).hexdigest()[:16]

    def initialise(self, views: Mapping[str, Array], seed: int) -> None:
        """Fill the views, by name, with initial values.

        Random numbers are counter-based: Philox, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
        doi:10.1145/2063384.2063405.
        """
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0])))
        for parameter in self.parameters:
            views[parameter.name][:] = parameter.init(rng, parameter.shape)

    def tensor_shapes(self) -> dict[str, Shape]:
        """Name and shape of every tensor of weights in a checkpoint."""
        shapes: dict[str, Shape] = {}
        for parameter in self.parameters:
            for stored in (parameter.place, parameter.second):
                if stored is not None:
                    shapes[stored.name] = stored.shape
        return shapes

    def to_tensors(self, views: Mapping[str, Array]) -> dict[str, Array]:
        """Copies of the parameters, views by name, as tensors with the names and shapes of a checkpoint."""
        dtype = next(iter(views.values())).dtype
        tensors: dict[str, Array] = {name: np.zeros(shape, dtype) for name, shape in self.tensor_shapes().items()}
        for parameter in self.parameters:
            name, _, start, stop = parameter.place
            view = views[parameter.name]
            tensors[name][start:stop] = view.T if parameter.transposed else view
        return tensors

    def from_tensors(self, tensors: Mapping[str, Array], views: Mapping[str, Array]) -> None:
        """Fill the views, by name, from a checkpoint's tensors.

        Raises:
            CharrnnError: a tensor is missing or has a wrong shape.
        """
        for name, shape in self.tensor_shapes().items():
            if name not in tensors:
                raise CharrnnError(f"the checkpoint has no tensor {name}, which its model needs; it is damaged")
            if tensors[name].shape != shape:
                raise CharrnnError(
                    f"tensor {name} has the shape {tensors[name].shape}, and its model needs {shape}; "
                    "the checkpoint is damaged"
                )
        for parameter in self.parameters:
            name, _, start, stop = parameter.place
            value, view = tensors[name][start:stop], views[parameter.name]
            view[:] = value.T if parameter.transposed else value
            if parameter.second is not None:
                name, _, start, stop = parameter.second
                with np.errstate(over="ignore"):  # a sum that is not finite is found where it is used
                    view[start:stop] += tensors[name][start:stop]


def require_unique(parameters: Sequence[Parameter]) -> None:
    """Raise `ValueError` if two parameters have the same name."""
    names = [parameter.name for parameter in parameters]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"the parameters {', '.join(sorted(repeated))} are declared twice; each needs its own name")

"""The processes of a training run: this one alone, or those that an MPI launcher started.

All processes of a run do the same in the same order, each with its own part of the work, and meet in the methods of
`Processes`. Here these are trivial; `runtime/mpi.py` has those of many. P is the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from charrnn.errors import CharrnnError

if TYPE_CHECKING:
    from charrnn.runtime.arrays import Array

Item = TypeVar("Item")
Result = TypeVar("Result")

# What Open MPI, MPICH and Intel MPI, and Slurm with PMIx tell the processes that they start.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
LAUNCHERS = (*SIZES, "PMIX_RANK")


class Processes:
    """One process, which is alone. `rank` counts from 0; process 0 decides about time, saves, logs and prints."""

    rank = 0
    size = 1

    def agree(self, signal: int = 0) -> int:
        """Wait for all processes; the number of a signal that one of them has received, 0 if none has.

        Raises ElsewhereError where a process has failed, as all methods do.
        """
        return signal

    def same(self, make: Callable[[], Result]) -> Result:
        """What `make` returns on process 0, where alone it is called. Raises what it raises."""
        return make()

    def map(self, compute: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`compute` of each item, in order: the processes take turns. What one of them raises, all of them raise."""
        return map(compute, items)

    def require_same(self, value: object, what: str) -> None:
        """Raise CharrnnError unless `value` is that of process 0 on all processes; `what` it is, for the message."""

    def clock(self, stopwatch: Callable[[], float]) -> Callable[[], float]:
        """A clock that all processes read alike: that of process 0, as it was when they last met."""
        return stopwatch

    def threads(self, available: int) -> int:
        """The threads of this process, which may use `available` processors: its share of those it has in common with
        others."""
        return available

    def sum_disjoint(self, numbers: Array) -> Array:
        """The sum of `numbers`, each of which is zero on all processes but one."""
        return numbers

    # These three follow `sum_disjoint` with nothing between that can fail.

    def spread(self, values: Array, counts: Sequence[int], senders: Sequence[int]) -> Array:
        """Each process gets its slice of the vectors `values` (N) of all `senders`, in their order.

        counts (P): the lengths of the slices. Returns (senders, counts[rank]).
        """
        return values[None]

    def collect(self, part: Array, counts: Sequence[int], whole: Array) -> None:
        """Fill whole (N) with the slices of all processes, of which this one has `part`; counts (P) as in `spread`."""
        whole[:] = part

    def gather_rows(self, array: Array, bounds: Sequence[int]) -> None:
        """On process 0, fill array (S, B, H) with the rows of all: process r has bounds[r] to bounds[r + 1]."""

    def fail(self, status: int) -> bool:
        """Tell the others, wherever they meet next, that this process ends with `status`; whether it is the first."""
        return True


ALONE = Processes()


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether an MPI launcher started this process, with others."""
    return any(name in environment for name in LAUNCHERS) and not any(environment.get(name) == "1" for name in SIZES)


def join(environment: Mapping[str, str] = os.environ) -> Processes:
    """The processes that were started together with this one; `ALONE` without an MPI launcher.

    Raises CharrnnError when a launcher started this process and `mpi4py` or the library of MPI is missing, or another
    one than the launcher's.
    """
    if not launched(environment):
        return ALONE
    try:
        from charrnn.runtime.mpi import world
    except (ImportError, RuntimeError) as error:  # the latter: mpi4py does not find the library of MPI
        raise CharrnnError(
            f"an MPI launcher started this process, and mpi4py cannot be used ({error}); install charrnn[mpi] and a "
            "library of MPI such as openmpi, or start charrnn without the launcher"
        ) from None
    found = world()
    if found.size == 1 and any(environment.get(name, "1") != "1" for name in SIZES):
        raise CharrnnError(
            "a launcher started several processes, and the library of MPI that mpi4py uses sees only this one; use the "
            "launcher of that library (Open MPI's and MPICH's do not mix)"
        )
    return found

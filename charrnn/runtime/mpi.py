"""Processes that an MPI launcher started: what each tells the others, by `mpi4py`.

Dalcin and Fang 2021, "mpi4py: status update after 12 years of development", doi:10.1109/MCSE.2021.3083216.

Whenever processes meet they first exchange a small record of a fixed size, so that one that has failed, which meets the
others in `fail`, is noticed wherever they are. P is the number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from typing import cast

import mpi4py
import numpy as np

from charrnn.errors import CharrnnError, ElsewhereError
from charrnn.runtime.arrays import Array
from charrnn.runtime.interrupts import uninterrupted
from charrnn.runtime.processes import ALONE, Item, Processes, Result
from charrnn.runtime.processors import affinity

mpi4py.rc.initialize, mpi4py.rc.finalize = False, True  # `world` starts MPI

from mpi4py import MPI  # noqa: E402 - it reads what stands above

STATUS, SIGNAL, SECONDS = range(3)  # places in the record
SPINS, NAP = 1000, 0.0002  # times that the others are looked for before each nap, of so many seconds
AT_ONCE = 4  # items that each process computes before results are exchanged


def world() -> Processes:
    """All processes of the launcher; starts MPI."""
    if not MPI.Is_initialized():
        MPI.Init_thread(MPI.THREAD_FUNNELED)  # only the main thread calls it
    return MPIProcesses(MPI.COMM_WORLD) if MPI.COMM_WORLD.size > 1 else ALONE


class MPIProcesses(Processes):
    """The processes of a communicator. `sent` counts the bytes of arrays that this process has sent to others.

    Signals wait for the end of a method: an exception in the middle of one would leave the others waiting.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.sent = 0
        self._stopwatch: Callable[[], float] = lambda: 0.0
        self._seconds = 0.0
        self._others_failed = False
        self._records = np.zeros((self.size, 3))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What the block sends and receives: all of it, or the end of all processes."""
        with uninterrupted():
            try:
                yield
            except MPI.Exception:  # the others may wait for what will not come
                self.comm.Abort(1)

    @contextmanager
    def _meeting(self, status: int = 0, signal: int = 0) -> Iterator[None]:
        """Exchange records, and then what the block does; raises ElsewhereError where only others have failed."""
        with self._whole():
            self._wait(self.comm.Iallgather(np.array([status, signal, self._stopwatch()]), self._records))
            self._seconds = float(self._records[0, SECONDS])
            if not status and (failed := self._records[:, STATUS].max()):
                self._others_failed = True
                raise ElsewhereError(int(failed))
            yield

    @staticmethod
    def _wait(request: MPI.Request) -> None:
        """Wait for the others, who may be long in coming: unlike MPI's own waiting, this leaves the processor free."""
        spins = 0
        while not request.Test():
            spins += 1
            if spins > SPINS:
                time.sleep(NAP)

    def agree(self, signal: int = 0) -> int:
        """See `Processes.agree`."""
        with self._meeting(signal=signal):
            return int(self._records[:, SIGNAL].max().item())

    def fail(self, status: int) -> bool:
        """See `Processes.fail`."""
        if self._others_failed:  # they do not come any more; a signal took the place of their error here
            return False
        with self._meeting(status):
            return not self._records[: self.rank, STATUS].any()

    def same(self, make: Callable[[], Result]) -> Result:
        """See `Processes.same`."""
        made = make() if self.rank == 0 else None
        with self._meeting():
            made = self.comm.bcast(made)
        return cast(Result, made)

    def map(self, compute: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Processes.map`."""
        left = iter(items)
        while some := list(islice(left, AT_ONCE * self.size)):
            mine: list[Result | CharrnnError] = []
            for item in some[self.rank :: self.size]:
                try:
                    mine.append(compute(item))
                except CharrnnError as error:
                    mine.append(error)
            with self._meeting():
                found = self.comm.allgather(mine)
            for n in range(len(some)):
                result = found[n % self.size][n // self.size]
                if isinstance(result, CharrnnError):
                    raise result
                yield result
        self.agree()

    def require_same(self, value: object, what: str) -> None:
        """See `Processes.require_same`."""
        with self._meeting():
            values = self.comm.allgather(value)
        others = [rank for rank, other in enumerate(values) if other != values[0]]
        if others:
            raise CharrnnError(
                f"{what} of process {others[0]}, {values[others[0]]}, differs from that of process 0, {values[0]}; "
                "all must be the same"
            )

    def clock(self, stopwatch: Callable[[], float]) -> Callable[[], float]:
        """See `Processes.clock`."""
        self._stopwatch = stopwatch
        self.agree()
        return lambda: self._seconds

    def threads(self, available: int) -> int:
        """See `Processes.threads`."""
        with self._meeting():
            node = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
            mine = affinity()
            sharing = [other == mine for other in node.allgather(mine)].count(True)
            node.Free()
        return max(1, available // sharing)

    def sum_disjoint(self, numbers: Array) -> Array:
        """See `Processes.sum_disjoint`."""
        total = np.empty_like(numbers)
        with self._meeting():
            self.comm.Allreduce(numbers, total)
        return total

    def spread(self, values: Array, counts: Sequence[int], senders: Sequence[int]) -> Array:
        """See `Processes.spread`."""
        own, sends = counts[self.rank], self.rank in senders
        received = np.empty((len(senders), own), values.dtype)
        sizes = [own * (rank in senders) for rank in range(self.size)]
        outgoing = [count * sends for count in counts]
        self.sent += sends * (sum(counts) - own) * values.itemsize
        with self._whole():
            self.comm.Alltoallv([values, (outgoing, _places(counts))], [received, (sizes, _places(sizes))])
        return received

    def collect(self, part: Array, counts: Sequence[int], whole: Array) -> None:
        """See `Processes.collect`."""
        self.sent += part.nbytes * (self.size - 1)
        with self._whole():
            self.comm.Allgatherv(part, [whole, (counts, _places(counts))])

    def gather_rows(self, array: Array, bounds: Sequence[int]) -> None:
        """See `Processes.gather_rows`."""
        width = array.shape[0] * array.shape[2]
        counts = [(bounds[r + 1] - bounds[r]) * width for r in range(self.size)]
        mine = np.ascontiguousarray(array[:, bounds[self.rank] : bounds[self.rank + 1]])
        received = np.empty(sum(counts) if self.rank == 0 else 0, array.dtype)
        self.sent += mine.nbytes * (self.rank > 0)
        with self._whole():
            self.comm.Gatherv(mine, [received, (counts, _places(counts))])
        if self.rank == 0:
            for rank, place in enumerate(_places(counts)):
                rows = received[place : place + counts[rank]]
                array[:, bounds[rank] : bounds[rank + 1]] = rows.reshape(array.shape[0], -1, array.shape[2])


def _places(counts: Sequence[int]) -> list[int]:
    """Where slices of these lengths begin."""
    return [0, *accumulate(counts)][:-1]

"""The lines of a text in a random order that is another one in each epoch, without loading the text into memory."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from charrnn.text.lines import take_lines
from charrnn.text.mapped import CHUNK, FAULT_BYTES, PAGES_BYTES, release_pages
from charrnn.text.vocabulary import EOS

RUN = 1 << 16  # least tokens of a run
MOST_RUNS = 1 << 19  # if a text had more runs, they are made longer
GROUP = 1 << 21  # most tokens of a group
GROUPS_BYTES = 32 << 20  # size of all groups in memory, one per stream

Ids = NDArray[np.integer]


class LineShuffle:
    """The lines of a text in an order that depends on seed, epoch and the number of streams that read it.

    Neither the text nor an index of its lines has to fit in memory. The text is cut into runs of neighbouring lines,
    and the runs are put in random order. Consecutive runs of that order form a group, and the lines of a group are
    shuffled when it is first read. A small text is one group: all orders of its lines are equally likely. A line that
    is larger than a group is a group by itself, and is not copied.
    """

    def __init__(self, ids: Ids, seed: int, streams: int) -> None:
        run = max(RUN, len(ids) // MOST_RUNS)
        self._ids, self._seed = ids, seed
        self._runs = run_starts(ids, run)
        small = len(ids) <= GROUP
        self._size = GROUP if small else max(run, min(GROUP, GROUPS_BYTES // (streams * ids.itemsize)))
        self._longest = max(2 * run, self._size)
        self._epoch = -1
        self._groups: dict[int, Ids] = {}  # those that the last call read

    def read(self, epoch: int, places: NDArray[np.int64], count: int) -> Ids:
        """Tokens (count, N) from each of `places` (N) on, in the order of `epoch`; 0 for negative positions."""
        if epoch != self._epoch:
            self._begin(epoch)
        tokens = np.zeros((len(places), count), self._ids.dtype)
        groups = np.searchsorted(self._ends, np.maximum(places, 0), "right")
        before, self._groups = self._groups, {}
        for row, place, group in zip(tokens, places.tolist(), groups.tolist(), strict=True):
            done = max(0, -place)
            while done < count:
                if group not in self._groups:
                    self._groups[group] = before[group] if group in before else self._load(group)
                lines = self._groups[group]
                first = place + done - (self._ends[group] - len(lines))
                piece = lines[first : first + count - done]
                row[done : done + len(piece)] = piece
                done += len(piece)
                group += 1
        return tokens.T

    def _begin(self, epoch: int) -> None:
        """Draw the order of the runs and cut it into groups, without reading the text."""
        self._epoch, self._groups = epoch, {}
        self._order = keyed_generator("runs", self._seed, epoch).permutation(len(self._runs) - 1)
        lengths = np.diff(self._runs)[self._order]
        ends = np.cumsum(lengths)
        alone = lengths > self._longest
        last = np.append((np.diff((ends - 1) // self._size) > 0) | alone[1:] | alone[:-1], True)
        self._stops = np.flatnonzero(last) + 1  # group g ends with the run order[stops[g] - 1]
        self._ends = ends[last]

    def _load(self, group: int) -> Ids:
        """The lines of a group, shuffled."""
        runs = self._order[self._stops[group - 1] if group else 0 : self._stops[group]]
        pieces = [self._ids[self._runs[run] : self._runs[run + 1]] for run in runs]
        if len(pieces[0]) > self._longest:  # a line by itself
            return pieces[0]
        lines = np.concatenate(pieces)
        release_pages(self._ids)
        stops = np.flatnonzero(lines == EOS) + 1
        if len(stops) == 0 or stops[-1] < len(lines):  # a last line without an end
            stops = np.append(stops, len(lines))
        starts = np.append(0, stops[:-1])
        order = keyed_generator("lines", self._seed, self._epoch, group).permutation(len(stops))
        return take_lines(lines, starts[order], stops[order])


def run_starts(ids: Ids, least: int) -> NDArray[np.int64]:
    """The starts of runs of whole lines, and then the number of ids: (runs + 1).

    A run has from `least` to 2 · `least` tokens. A longer line is a run by itself. The run before it may have fewer, as
    may the last one. The text is read only near the ends of runs.
    """
    starts, mapped = [0], 0
    while starts[-1] < len(ids):
        start = starts[-1]
        end = _line_end(ids, start + least - 1)
        mapped += FAULT_BYTES
        if end - start > 2 * least:
            ends = np.flatnonzero(ids[start : start + least - 1] == EOS)
            if len(ends):
                starts.append(start + int(ends[-1]) + 1)
            mapped += end - start
        if mapped > PAGES_BYTES:
            release_pages(ids)
            mapped = 0
        starts.append(end)
    release_pages(ids)
    return np.array(starts, np.int64)


def _line_end(ids: Ids, place: int) -> int:
    """The position after the first end of line from `place` on; the number of ids if there is none."""
    step = 1 << 8
    while place < len(ids):
        ends = np.flatnonzero(ids[place : place + step] == EOS)
        if len(ends):
            return place + int(ends[0]) + 1
        place += step
        if step == CHUNK:
            release_pages(ids)
        step = min(2 * step, CHUNK)
    return len(ids)


def keyed_bytes(*key: str | int) -> bytes:
    """A hash of the key, 16 bytes: BLAKE2b."""
    return hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=16).digest()


def keyed_generator(*key: str | int) -> np.random.Generator:
    """Counter-based random numbers, a function of the key: Philox (Salmon et al. 2011, doi:10.1145/2063384.2063405)."""
    return np.random.Generator(np.random.Philox(key=np.frombuffer(keyed_bytes(*key), np.uint64)))

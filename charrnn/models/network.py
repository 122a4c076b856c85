"""A network: a chain of blocks with a head, over one flat vector of parameters.

Letters in shapes as in `nn/block.py`; S is the number of arrays of hidden state, P that of parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError
from charrnn.models.program import Program, Stage
from charrnn.nn.block import Block, Head, Log, Window
from charrnn.nn.context import Context
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.parameters import Layout, require_unique
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Ids, zeros
from charrnn.runtime.threads import Job
from charrnn.text.batch import Batch, Shard, shards_of

ZEROED_AT_ONCE = 1 << 16  # elements of the gradient that one item of the zeroing job covers
MOST_GATES = 1 << 24  # elements of the gates of all layers and steps that backward stores: 64 MB in float32 …
LEAST_ROWS = 16  # … but never fewer rows, for which reading the weights from memory would take most of the time


def rows_per_group(steps: int, gates: int) -> int:
    """The most rows of a batch that a gradient takes at once; `gates`: the sum of G over all layers."""
    return max(MOST_GATES // (steps * gates), LEAST_ROWS)


class Network:
    """Blocks, each reading the signal of the one before, and a head; see `nn/block.py`. `others`: blocks that a
    subclass runs besides.

    `parameters` (P) is flat, `views` are its parts by name and shape, see `layout`. After a change of either, call
    `invalidate`. `gradient` (P) is that of the latest `loss`. If `layout.row_table` is not None, the first parameter is
    updated by row, and its gradient is zero but for the rows `touched`.

    `dtype` is the type of parameters, states and sums; with `bfloat16`, gemm inputs are rounded to it. Every row of a
    batch is computed by itself: its result has the same bits for any other rows and any number of threads. Methods may
    be called from several threads at once: each call holds `lock`, since all share one workspace.

    Raises:
        ValueError: two parameters have the same name.
    """

    def __init__(
        self, blocks: Sequence[Block], head: Head, *, others: Sequence[Block] = (), threads: int = 1,
        dtype: npt.DTypeLike = np.float32, bfloat16: bool = False,
    ) -> None:  # fmt: skip
        self.blocks, self.head, self.threads = list(blocks), head, threads
        self.parts = (*others, *blocks, head)
        declared = [parameter for block in self.parts for parameter in block.parameters()]
        require_unique(declared)
        declared.sort(key=lambda parameter: not parameter.by_row)  # the layout has that one first
        self.layout = Layout(declared)
        self.dtype = np.dtype(dtype)
        self.lock = threading.RLock()
        self.context = Context(threads, self.dtype, bfloat16=bfloat16)
        self.parameters: Array = zeros(self.layout.size, self.dtype)
        self.gradient: Array = zeros(self.layout.size, self.dtype)
        self.views, gradients = self.layout.views(self.parameters), self.layout.views(self.gradient)
        for block in self.parts:
            block.bind(self.views, gradients, self.context)
        self._table = self.layout.row_table
        self.touched: Ids | None = None if self._table is None else np.zeros(0, np.int32)
        self._dense = self.gradient[0 if self._table is None else prod(self._table) :]
        self._zeroing = Job(-(-self._dense.size // ZEROED_AT_ONCE), ZEROED_AT_ONCE // 4, self._zero_gradient)
        self._rows_blocks = [block for block in blocks if type(block).forward_rows is not Block.forward_rows]
        self.states = sum(block.states for block in blocks)
        self.pools = any(block.pools for block in blocks)
        self._gates = sum(block.gate_columns for block in self.parts)
        self.state_size = max(block.state_size for block in blocks)
        self._program: Program | None = None
        self._pack_jobs: dict[tuple[bool, bool], list[Job]] = {}
        self.invalidate()

    def _zero_gradient(self, first: int, last: int, thread: int) -> None:
        self._dense[first * ZEROED_AT_ONCE : last * ZEROED_AT_ONCE] = 0

    def initialise(self, seed: int) -> None:
        """Set all parameters to their initial values, which depend on `seed` only."""
        with self.lock:
            self.layout.initialise(self.views, seed)
            self.invalidate()

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Set the parameters from tensors of a checkpoint. Raises `CharrnnError` if one is missing or misshapen."""
        with self.lock:
            self.layout.from_tensors(tensors, self.views)
            self.invalidate()

    def tensors(self) -> dict[str, Array]:
        """Copies of the parameters, with the names and shapes of a checkpoint."""
        with self.lock:
            return self.layout.to_tensors(self.views)

    def invalidate(self) -> None:
        """Note that `parameters` changed: the weights are packed again before their next use."""
        with self.lock:
            self._packed_forward = self._packed_backward = False
            self.context.version += 1

    def zero_state(self, batch: int) -> Array:
        """The state before any input, zeros (S, B, H): the arrays of each layer in turn (h, of an LSTM also c)."""
        return np.zeros((self.states, batch, self.state_size), self.dtype)

    def pack(self, *, backward: bool = False) -> None:
        """Pack the weights if they changed; `backward`: also their transposes, and set the gradient to zero."""
        jobs: list[Job] = []
        if not self._packed_forward:
            jobs += self._jobs_to_pack(backward=False, often=backward)
        if backward:
            if not self._packed_backward:
                jobs += self._jobs_to_pack(backward=True, often=True)
            jobs.append(self._zeroing)
            if self._table is not None and self.touched is not None:
                self.gradient[: prod(self._table)].reshape(self._table)[self.touched] = 0
        self.context.pool.run(jobs)
        self._packed_forward = True
        self._packed_backward |= backward

    def _jobs_to_pack(self, *, backward: bool, often: bool) -> list[Job]:
        key = backward, often
        if key not in self._pack_jobs:
            self._pack_jobs[key] = [job for part in self.parts for job in part.pack(backward=backward, often=often)]
        return self._pack_jobs[key]

    def open_window(
        self, batch: Batch, *, gradient: bool = False, first_state: bool = False, rate: float = 0.0
    ) -> tuple[Window, Signal]:  # fmt: skip
        """A window of the shape of `batch`, and the signal (K, B, N) of the last block, which `forward_rows` fills."""
        get, shape = self.context.workspace.get, batch.inputs.shape[:2]
        window = Window(
            batch.inputs, get("mask", *shape), get("reverse mask", *shape), len(batch.targets),
            batch.reset is not None or batch.ends is not None, gradient,
            first_state, rate, source=batch.source,
        )  # fmt: skip
        self._program = None  # its arrays are reused by this window
        signal: Signal | Lookup | None = None
        for block in self.blocks:
            signal = block.prepare(signal, window)
        assert isinstance(signal, Signal)
        self.head.open(window)
        self._first_states = [array for block in self.blocks for array in block.state(last=False)]
        self._last_states = [array for block in self.blocks for array in block.state(last=True)]
        return window, signal

    def begin(self, window: Window, batch: Batch, state: Array, key: int = 0) -> None:
        """Start a window: inputs and masks of `batch`, the state (S, B, H) before it, the seed of dropout masks, `key`.

        Raises `CharrnnError` for ids outside [0, V).
        """
        window.inputs, window.bags, window.beside, window.key = batch.inputs, batch.bags, batch.beside, key
        window.source = batch.source
        window.mask[:] = 1 if batch.reset is None else ~batch.reset
        window.reverse_mask[:] = 1 if batch.ends is None else ~batch.ends
        for block in self.blocks:
            block.begin()
        for before, row in zip(self._first_states, state, strict=True):
            before[:] = row

    def check(self, batch: Batch, state: Array) -> None:
        """Raise `CharrnnError` unless kernels can take `batch` and `state` (S, B, H) on trust: shapes and ids."""
        shape, outputs = batch.inputs.shape[:2], batch.targets.shape[:2]
        if self.pools and (batch.reset is None or batch.ends is None):
            raise CharrnnError("the batch does not say where sequences begin and end; pooling needs `reset` and `ends`")
        expected = outputs if self.pools and outputs[1:] == shape[1:] else shape
        named = {"targets": expected, "weights": expected, "offsets": expected, "reset": shape, "ends": shape}
        for name, needed in named.items():
            array = getattr(batch, name)
            if array is not None and array.shape[:2] != needed:
                raise CharrnnError(f"the batch's {name} have the shape {array.shape}; its inputs have {shape}")
        if state.shape != (needed := (self.states, shape[1], self.state_size)):
            raise CharrnnError(f"the state has the shape {state.shape}; the network needs {needed}")
        self.head.check(batch.targets)
        self.blocks[0].check(batch.inputs)

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Run all blocks forward for the rows from `begin` to `end`."""
        for block in self._rows_blocks:
            block.forward_rows(begin, end, thread)

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """Run all blocks backward, in reverse order, for the rows from `begin` to `end`."""
        for block in reversed(self._rows_blocks):
            block.backward_rows(begin, end, thread)

    def kind(self, batch: Batch) -> tuple[object, ...]:
        """What windows must have in common to be computed in the same arrays."""
        return batch.inputs.shape, batch.targets.shape, batch.reset is None, batch.ends is None

    def prepare_backward(self) -> None:
        """`Block.prepare_backward`, in reverse order."""
        for block in reversed(self.blocks):
            block.prepare_backward()

    def stages_before(self) -> Iterator[Stage]:
        """What a window computes before `forward_rows`: nothing."""
        yield from ()

    def stages_after(self) -> Iterator[Stage]:
        """What a gradient computes after the jobs of the weights: its rest."""
        yield self.finish_gradient

    def finish_gradient(self) -> None:
        """`Block.finish_gradient`, in reverse order."""
        for block in reversed(self.blocks):
            block.finish_gradient()

    def copy_state(self, state: Array) -> None:
        """Copy the state after the last step of the window to state (S, B, H)."""
        for after, row in zip(self._last_states, state, strict=True):
            row[:] = after

    def loss(
        self, batch: Batch, dropout: DropoutKey | None = None, *, shard: Shard | None = None,
        state_gradient: Array | None = None,
    ) -> tuple[float, float]:  # fmt: skip
        """The summed loss in nats of `batch`, or of the rows of `shard` alone, and the number of targets of the whole
        batch, or the sum of their weights if it has any.

        `gradient` (P) becomes that of the first divided by the second: the sum of those of all shards is the gradient
        of the mean loss. So does `state_gradient` (S, B, H), by the carried state, if given. In `batch.state`, the rows
        of the shard become those after the last step.

        Backpropagation through time over the window, truncated at its start: Werbos 1990, "Backpropagation through
        time: what it does and how to do it", doi:10.1109/5.58337.

        Raises:
            CharrnnError: an input or a target is outside [0, V).
        """
        with self.lock:
            T, B = batch.inputs.shape[:2]
            state = batch.state
            if state is None or not state.size:
                state = Network.zero_state(self, B)
            if not T * B:
                raise CharrnnError(f"a batch has {T} steps of {B} rows; it must have at least one of each")
            self.check(batch, state)
            if batch.weights is not None and not batch.weights.sum() > 0:
                raise CharrnnError("the weights of a batch add up to nothing; at least one target must count")
            self.pack(backward=True)
            if self._table is not None:
                self.touched = self.rows_read(batch)
            shards = [slice(0, B)] if shard is None else shards_of(B, shard.total)
            own = shards[0 if shard is None else shard.number]
            if batch.fresh is not None:
                state[:, own][:, batch.fresh[own]] = 0
            shape = batch.targets.shape[:2]
            count = prod(shape) if batch.weights is None else float(batch.weights.sum())
            scales = np.full(shape, 1 / count) if batch.weights is None else batch.weights / count
            rate, total = 0.0 if dropout is None else dropout.rate, 0.0
            for rows, key in self._row_groups(T, shards, own, dropout):
                whole = rows == slice(0, B)
                part = batch if whole else self.part(batch, rows)
                carried = state if whole else np.ascontiguousarray(state[:, rows])
                log_probs = self._add_gradient(
                    part, carried, scales[:, rows], rate, key, first_state=state_gradient is not None
                )
                total += float(np.sum(log_probs if part.weights is None else part.weights * log_probs))
                state[:, rows] = carried
                if state_gradient is not None:
                    found = [array for block in self.blocks for array in block.state_gradient()]
                    state_gradient[:, rows] = np.stack(found)
            return -total, count

    def rows_read(self, batch: Batch) -> Ids:
        """The rows, ascending, of the parameter that is updated by row which `batch` reads: those of its ids."""
        rows: Ids = np.unique(batch.inputs)
        return rows

    def part(self, batch: Batch, rows: slice) -> Batch:
        """Some rows of a batch."""
        return batch.rows(rows)

    def _row_groups(
        self, T: int, shards: Sequence[slice], own: slice, dropout: DropoutKey | None
    ) -> list[tuple[slice, int]]:  # fmt: skip
        """The rows of `own` in groups of nearly equal size, each of at most `rows_per_group`, and with a seed of
        dropout masks, which depends on the place of the group among those of all `shards`."""
        groups: list[tuple[slice, bool]] = []
        for rows in shards:
            size = rows.stop - rows.start
            count = -(-size // rows_per_group(T, self._gates)) if self._gates else min(size, 1)
            bounds = [rows.start + size * n // count for n in range(count + 1)] if count else []
            groups += [(slice(first, last), rows is own) for first, last in pairwise(bounds)]
        sequence = None if dropout is None else np.random.SeedSequence([dropout.seed, dropout.step, 1])
        keys = [0] * len(groups) if sequence is None else sequence.generate_state(len(groups)).tolist()
        return [(rows, key) for (rows, mine), key in zip(groups, keys, strict=True) if mine]

    def _add_gradient(
        self, batch: Batch, state: Array, scales: Log, rate: float, key: int, *, first_state: bool
    ) -> Log:  # fmt: skip
        """Add the gradient of Σ scales · loss over a group of B rows; return log-probabilities (K, B), in nats."""
        kind = (*self.kind(batch), rate, first_state)
        program = self._program
        if program is None or program.kind != kind or not self.head.fixed:
            window, hidden = self.open_window(batch, gradient=True, first_state=first_state, rate=rate)
            program = self._program = Program(self, kind, window, hidden, batch.targets, scales)
        self.begin(program.window, batch, state, key)
        program.targets[:], program.scales[:] = batch.targets, scales
        for stage in program.stages:  # of a head that is not fixed each is made when those before are done
            stage()
        self.copy_state(state)
        return program.log_probs

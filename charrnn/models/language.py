"""A recurrent language model: P(next unit | units so far) = softmax(W h + b), h from the stack of recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

from charrnn.config import ModelConfig
from charrnn.kernels import matmul, rounding
from charrnn.models.generation import Generator, step_by_step
from charrnn.nn import exchange
from charrnn.nn.adaptive_softmax import AdaptiveOutput
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.initialise import initialise
from charrnn.nn.layout import parameter_count, parameter_shapes, row_table
from charrnn.nn.softmax import Output
from charrnn.nn.stack import Stack
from charrnn.runtime.arrays import Array, Flags, Ids, zeros
from charrnn.runtime.features import HAS_BFLOAT16
from charrnn.runtime.threads import Job, Threads, Work, one_after_another
from charrnn.runtime.workspace import Workspace
from charrnn.text.batch import Batch

ZEROED_AT_ONCE = 1 << 16  # numbers of the gradient
GATES_AT_ONCE = 1 << 24  # numbers in the gates of all layers that a gradient keeps: 64 MB in float32 …
LEAST_ROWS = 16  # … unless that were fewer rows, which waste the time in which weights are read from memory
POSITIONS_AT_ONCE = 16384  # steps times rows that are scored at once


def resolve_precision(precision: str) -> str:
    """The precision that "auto" stands for: bfloat16 on a CPU with an instruction for its products, else float32."""
    if precision == "auto":
        return "bfloat16" if HAS_BFLOAT16 else "float32"
    return precision


def rows_at_once(steps: int, gates: int) -> int:
    """How many rows of a batch a gradient takes at once; each has so many `gates` in all layers, at every step."""
    return max(GATES_AT_ONCE // (steps * gates), LEAST_ROWS)


class LanguageModel:
    """Input, stack and softmax over one flat parameter vector.

    `parameters` (P,) is flat; `views` are its named parts, inner names and shapes as in `layout.parameter_shapes`.
    After a change of either, call `invalidate`. `table` is the shape of the part at the start that is learned by row, see
    `layout.row_table`, or None; only in its rows `touched` is the last gradient not zero. `dtype` is that of parameters, states and sums; with
    `bfloat16`, the operands of matrix products are rounded to it. Every row of a batch is computed by itself: its
    result is the same bits whatever the other rows and the threads.
    """

    def __init__(
        self, config: ModelConfig, *, threads: int = 1, dtype: npt.DTypeLike = np.float32,
        bfloat16: bool = False,
    ) -> None:  # fmt: skip
        self.config, self.threads = config, threads
        self.dtype = np.dtype(dtype)
        self.parameters: Array = zeros(parameter_count(config), self.dtype)
        self.views = self._views(self.parameters)
        self.gradient: Array = zeros(self.parameters.size, self.dtype)
        self._gradients = self._views(self.gradient)
        self.table = row_table(config)
        self.touched: Ids | None = None if self.table is None else np.zeros(0, np.int32)
        self._dense = self.gradient[0 if self.table is None else prod(self.table) :]
        self._zeroing = Job(-(-self._dense.size // ZEROED_AT_ONCE), ZEROED_AT_ONCE // 4, self._zero_gradient)
        self._threads = Threads(threads)
        self.run = self._threads.run
        operand = np.dtype(np.uint16) if bfloat16 else self.dtype
        self.workspace = Workspace(self.dtype, operand)
        self._scratch = [matmul.empty_scratch(operand) for _ in range(threads)]
        self.stack = Stack(config, self.views, self._gradients, self._threads, self.workspace)
        self.output = self._make_output()
        self.invalidate()

    def _make_output(self) -> Output | AdaptiveOutput:
        views, gradients = self.views, self._gradients
        if self.config.cutoffs:
            return AdaptiveOutput(self.config, views, gradients, self.workspace)
        weight, bias = "embedding.weight" if self.config.tie_weights else "output.weight", "output.bias"
        return Output(views[weight], views[bias], gradients[weight], gradients[bias], self.workspace)

    def _views(self, vector: Array) -> dict[str, Array]:
        views: dict[str, Array] = {}
        start = 0
        for name, shape in parameter_shapes(self.config).items():
            views[name] = vector[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return views

    def _zero_gradient(self, first: int, last: int, thread: int) -> None:
        self._dense[first * ZEROED_AT_ONCE : last * ZEROED_AT_ONCE] = 0

    def initialise(self, seed: int) -> None:
        """Set all parameters to random values to start training from."""
        initialise(self.config, self.views, seed)
        self.invalidate()

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Take the parameters from a checkpoint's tensors. Raises `CharrnnError` for a missing one or a wrong shape."""
        exchange.from_tensors(self.config, tensors, self.views)
        self.invalidate()

    def tensors(self) -> dict[str, Array]:
        """Copies of the parameters in the names and shapes of a checkpoint."""
        return exchange.to_tensors(self.config, self.views)

    def invalidate(self) -> None:
        """Note that `parameters` changed: packed copies of the weights are made anew when next needed."""
        self._packed_forward = self._packed_backward = False
        self._generator: Generator | None = None

    def zero_state(self, batch: int) -> Array:
        """The state before any text: (S, B, H), S arrays for h of every layer and c of every LSTM layer."""
        return np.zeros((self.stack.states, batch, self.config.hidden_size), self.dtype)

    def _pack(self, *, backward: bool = False) -> None:
        """Bring the packed copies of the weights up to date; for a gradient, also zero the last one."""
        jobs: list[Job] = []
        if not self._packed_forward:
            for part in (self.stack, self.output):
                jobs += part.pack(backward=False, often=backward)
        if backward:
            if not self._packed_backward:
                jobs += [*self.stack.pack(backward=True), *self.output.pack(backward=True)]
            jobs.append(self._zeroing)
            if self.table is not None and self.touched is not None:
                self.gradient[: prod(self.table)].reshape(self.table)[self.touched] = 0
        self.run(jobs)
        self._packed_forward = True
        self._packed_backward |= backward

    def forward(self, ids: Ids, state: Array, reset: Flags | None = None) -> Array:
        """Hidden states (T, B, H) after each of the units ids (T, B). `state` (S, B, H) moves on to the last step.

        reset (T, B): whether the state is reset to zero before a step; None for never. The result is overwritten by the next call.
        """
        self._pack()
        hidden = self.stack.prepare(ids, state, reset)
        self.run([Job(ids.shape[1], 1, self.stack.forward_rows)])
        self.stack.copy_state(state)
        return hidden

    def logits(self, hidden: Array) -> Array:
        """Unnormalised log-probabilities (N, V) of every unit to come next, for hidden states (N, H)."""
        self._pack()
        N = hidden.shape[0]
        rows = np.ascontiguousarray(hidden)[np.newaxis]
        operand = self.workspace.operand_of("hidden", rows)
        rounding.store_operands(rows, operand, 0, N)
        result: Array = np.empty((N, self.config.vocabulary_size), self.dtype)
        self.run([Job(N, 1, self.output.logits_rows(operand, result[np.newaxis]))])
        return result

    def log_probs(self, ids: Ids, targets: Ids, state: Array, reset: Flags | None = None) -> npt.NDArray[np.float64]:
        """log P(target) (T, B), natural, of targets (T, B), each after all units of ids (T, B) up to its step.

        `state` (S, B, H) moves on to the last step; `reset` as in `forward`.
        """
        self._pack()
        T, B = ids.shape
        result = np.empty((T, B))
        steps = max(1, POSITIONS_AT_ONCE // B)
        for start in range(0, T, steps):
            part = slice(start, start + steps)
            self.stack.prepare(ids[part], state, None if reset is None else reset[part])
            compute = self.output.log_probs_rows(self.stack.hidden_operand, targets[part], result[part])
            self.run([Job(B, 1, one_after_another(self.stack.forward_rows, compute))])
            self.stack.copy_state(state)
        return result

    def next_log_probs(self, units: Ids, state: Array, rows: Ids, targets: Ids) -> npt.NDArray[np.float64]:
        """log P(targets[n]) (N), natural, each after unit units[rows[n]] and what state (S, B, H) knows of its row.

        units (B); rows and targets (N): rows ascend, and each of the B appears at least once. The softmax of a row is
        computed once for all that is asked of it; the bits are those of `log_probs`. `state` moves on by one step.
        """
        self._pack()
        result = np.empty(rows.size)
        self.stack.prepare(units[np.newaxis], state)
        compute = self.output.next_log_probs_rows(self.stack.hidden_operand[0], rows, targets, result)
        self.run([Job(units.size, 1, one_after_another(self.stack.forward_rows, compute))])
        self.stack.copy_state(state)
        return result

    def generate(
        self, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64], *, temperature: float = 1.0,
        top_k: int = 0, top_p: float = 1.0, line_end: int = -1, reset_unit: int = -1,
    ) -> Ids:  # fmt: skip
        """Draw up to n units for each of B samples, (n, B), by uniform numbers (n, B) in [0, 1).

        `previous` (B) holds the last unit of each sample; it and `state` (S, B, H) are moved on. Fewer units are drawn
        where every sample has drawn `line_end` before. The state is reset before `reset_unit` is read. See `kernels/draw.py` for temperature, top-k and top-p. A sample
        does not depend on its neighbours, nor on how its units are divided into calls.
        """
        self._pack()
        most = min(int(top_k), self.config.vocabulary_size)
        options = (float(temperature), most, float(top_p), int(line_end), int(reset_unit))
        if len(set(self.config.cells)) > 1 or self.dtype != np.float32 or self.config.cutoffs:
            return step_by_step(self, previous, state, uniforms, *options)
        if self._generator is None:
            self._generator = Generator(self)
        return self._generator.run(previous, state, uniforms, *options)

    def loss(self, batch: Batch, dropout: DropoutKey | None = None) -> tuple[float, int]:
        """The summed loss in nats of `batch`, and the number of its targets; `gradient` becomes that of their quotient.

        Backpropagation through time over the window (Werbos 1990), truncated at its start. The carried state moves on
        to the last step.
        """
        self._pack(backward=True)
        if self.table is not None:
            self.touched = np.unique(batch.inputs)
        T, B = batch.inputs.shape
        state = self.zero_state(B) if batch.state is None else batch.state
        if batch.fresh is not None:
            state[:, batch.fresh] = 0
        groups = self._row_groups(T, B)
        sequence = None if dropout is None else np.random.SeedSequence([dropout.seed, dropout.step, 1])
        keys = (0,) * len(groups) if sequence is None else sequence.generate_state(len(groups)).tolist()
        total = 0.0
        for rows, key in zip(groups, keys, strict=True):
            part = np.ascontiguousarray(state[:, rows])
            inputs, outputs = np.ascontiguousarray(batch.inputs[:, rows]), np.ascontiguousarray(batch.targets[:, rows])
            reset = None if batch.reset is None else batch.reset[:, rows]
            rate = 0.0 if dropout is None else dropout.rate
            total += self._add_gradient(inputs, outputs, part, reset, 1 / (T * B), rate, int(key))
            state[:, rows] = part
        return -total, T * B

    def _row_groups(self, T: int, B: int) -> list[slice]:
        """The rows of a batch in groups of nearly equal size, few enough for the memory that a gradient takes."""
        count = -(-B // rows_at_once(T, sum(layer.G for layer in self.stack.layers)))
        bounds = [B * n // count for n in range(count + 1)]
        return [slice(first, last) for first, last in pairwise(bounds)]

    def _add_gradient(
        self,
        ids: Ids,
        targets: Ids,
        state: Array,
        reset: Flags | None,
        scale: float,
        dropout: float,
        key: int,
    ) -> float:  # fmt: skip
        """Add the gradient of `scale` times the summed loss of some rows; returns their summed log-probability."""
        T, B = ids.shape
        shape = self.stack.prepare(ids, state, reset, gradient=True, rate=dropout, key=key).shape
        hidden, dhidden = self.stack.hidden_operand, self.workspace.get("dhidden", *shape)
        self.stack.prepare_backward(dhidden)
        log_probs = np.empty((T, B))
        # Threads meet only where they must: between chunks of logits that replace each other, and before the weights.
        rows: list[Work] = [self.stack.forward_rows]
        chunks = self.output.chunks(targets)
        for chunk in chunks:
            rows.append(
                self.output.gradient_rows(hidden[chunk], targets[chunk], log_probs[chunk], dhidden[chunk], scale)
            )
            if chunk is not chunks[-1]:
                self.run([Job(B, 1, one_after_another(*rows))])
                self.run(self.output.weight_jobs(hidden[chunk], self._scratch))
                rows = []
        self.run([Job(B, 1, one_after_another(*rows, self.stack.backward_rows))])
        jobs = self.output.weight_jobs(hidden[chunks[-1]], self._scratch)
        self.run([*jobs, *self.stack.weight_jobs(self._scratch)])
        self.stack.add_table_gradient(self._scratch)
        self.stack.copy_state(state)
        return float(np.sum(log_probs))

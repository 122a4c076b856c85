"""A recurrent language model: P(next unit | units so far) = softmax(W h + b), h from the stack of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from charrnn.config import ModelConfig
from charrnn.kernels import inputs, matmul, rounding, softmax
from charrnn.kernels.arrays import Array, Ids
from charrnn.kernels.threads import Job, Threads
from charrnn.kernels.tile import HAS_BFLOAT16
from charrnn.models import exchange
from charrnn.models.buffers import Buffers
from charrnn.models.generation import Generator, step_by_step
from charrnn.models.initialise import initialise
from charrnn.models.layers import Packed, flat, product_job, sum_job
from charrnn.models.layout import parameter_count, parameter_shapes
from charrnn.models.stack import Stack

# Logits are computed for as many rows at a time as keep them within this many numbers, whatever the vocabulary.
LOGITS_AT_ONCE = 1 << 22


def resolve_precision(precision: str) -> str:
    """The precision that "auto" stands for: bfloat16 on a CPU with an instruction for its products, else float32."""
    if precision == "auto":
        return "bfloat16" if HAS_BFLOAT16 else "float32"
    return precision


class LanguageModel:
    """Input, stack and softmax over one flat parameter vector.

    `parameters` (P,) is flat; `views` are its named parts, inner names and shapes as in `layout.parameter_shapes`.
    After a change of either, call `refresh`. `boundary` is the unit at whose input the state is reset to zero first, -1
    for none. `dtype` is that of parameters, states and sums; with `bfloat16`, the operands of matrix products are
    rounded to it. Every row of a batch is computed by itself: its result is the same bits whatever the other rows and
    the threads.
    """

    def __init__(
        self, config: ModelConfig, *, threads: int = 1, boundary: int = -1, dtype: npt.DTypeLike = np.float32,
        bfloat16: bool = False,
    ) -> None:  # fmt: skip
        self.config, self.boundary, self.threads = config, boundary, threads
        self.dtype = np.dtype(dtype)
        self.parameters: Array = np.zeros(parameter_count(config), self.dtype)
        self.views = self._views(self.parameters)
        self._gradient: Array = np.zeros_like(self.parameters)
        self._gradients = self._views(self._gradient)
        self._threads = Threads(threads)
        self.run = self._threads.run
        operand = np.dtype(np.uint16) if bfloat16 else self.dtype
        self.buffers = Buffers(self.dtype, operand)
        self._scratch = [matmul.empty_scratch(operand) for _ in range(threads)]
        self.stack = Stack(config, self.views, self._gradients, boundary, self._threads, self.buffers)
        weight = "embedding.weight" if config.tie_weights else "output.weight"
        self._output, self._doutput = self.views[weight], self._gradients[weight]
        self.to_logits = Packed(self._output, 0, config.hidden_size, operand, transposed=True)
        self._to_dhidden: Packed | None = None
        self.refresh()

    def _views(self, vector: Array) -> dict[str, Array]:
        views: dict[str, Array] = {}
        start = 0
        for name, shape in parameter_shapes(self.config).items():
            views[name] = vector[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return views

    def initialise(self, seed: int) -> None:
        """Set all parameters to random values to start training from."""
        initialise(self.config, self.views, seed)
        self.refresh()

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Take the parameters from a checkpoint's tensors. Raises `CharrnnError` for a missing one or a wrong shape."""
        exchange.from_tensors(self.config, tensors, self.views)
        self.refresh()

    def tensors(self) -> dict[str, Array]:
        """Copies of the parameters in the names and shapes of a checkpoint."""
        return exchange.to_tensors(self.config, self.views)

    def refresh(self) -> None:
        """Note that `parameters` changed: packed copies of the weights are made anew when next needed."""
        self._packed_forward = self._packed_backward = False
        self._generator: Generator | None = None

    def zero_state(self, batch: int) -> Array:
        """The state before any text: (S, B, H), S arrays for h of every layer and c of every LSTM layer."""
        return np.zeros((self.stack.states, batch, self.config.hidden_size), self.dtype)

    def _pack_forward(self) -> None:
        if not self._packed_forward:
            self.run([*self.stack.pack(backward=False), self.to_logits.job()])
            self._packed_forward = True

    def _pack_backward(self) -> None:
        if not self._packed_backward:
            if self._to_dhidden is None:
                self._to_dhidden = Packed(self._output, 0, self.config.hidden_size, self.buffers.operand)
            self.run([*self.stack.pack(backward=True), self._to_dhidden.job()])
            self._packed_backward = True

    def forward(self, ids: Ids, state: Array) -> Array:
        """Hidden states (T, B, H) after each of the units ids (T, B). `state` (S, B, H) moves on to the last step.

        The result is overwritten by the next call.
        """
        self._pack_forward()
        return self.stack.forward(ids, state)

    def logits(self, hidden: Array) -> Array:
        """Unnormalised log-probabilities (N, V) of every unit to come next, for hidden states (N, H)."""
        self._pack_forward()
        result: Array = np.empty((hidden.shape[0], self.config.vocabulary_size), self.dtype)
        work = self._logits_work(np.ascontiguousarray(hidden)[np.newaxis], result[np.newaxis])[0]
        self.run([Job(hidden.shape[0], 1, work)])
        return result

    def _logits_work(self, hidden: Array, logits: Array) -> tuple[Callable[[int, int, int], None], Array]:
        """What computes rows of logits (1, N, V) = hidden W' + b, and hidden (1, N, H) as products read it."""
        operand = self.buffers.operand_of("hidden", hidden)

        def work(begin: int, end: int, thread: int) -> None:
            inputs.fill_rows(logits, self.views["output.bias"], begin, end)
            rounding.store_operands(hidden, operand, begin, end)
            matmul.add_products(operand, self.to_logits.panels, logits, begin, end)

        return work, operand

    def _row_chunks(self, rows: int) -> list[tuple[int, int]]:
        size = max(1, LOGITS_AT_ONCE // self.config.vocabulary_size)
        return [(start, min(start + size, rows)) for start in range(0, rows, size)]

    def target_log_probs(self, hidden: Array, targets: Ids) -> npt.NDArray[np.float64]:
        """log P(target) (T, B), natural, for hidden states (T, B, H) and the units that came next, targets (T, B)."""
        self._pack_forward()
        rows, ids = flat(hidden)[np.newaxis], targets.reshape(-1)
        log_probs = np.empty(ids.size)
        for start, stop in self._row_chunks(ids.size):
            logits = self.buffers.get("logits", 1, stop - start, self.config.vocabulary_size)
            compute, _ = self._logits_work(rows[:, start:stop], logits)

            def work(begin: int, end: int, thread: int) -> None:
                compute(begin, end, thread)  # noqa: B023 - run before the next chunk
                softmax.target_log_probs(logits[0], ids[start:stop], log_probs[start:stop], begin, end)  # noqa: B023

            self.run([Job(stop - start, 1, work)])
        return log_probs.reshape(targets.shape)

    def generate(
        self, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64], *, temperature: float = 1.0,
        top_k: int = 0, top_p: float = 1.0, line_end: int = -1,
    ) -> Ids:  # fmt: skip
        """Draw up to n units for each of B samples, (n, B), by uniform numbers (n, B) in [0, 1).

        `previous` (B) holds the last unit of each sample; it and `state` (S, B, H) are moved on. Fewer units are drawn
        where every sample has drawn `line_end` before. See `kernels/draw.py` for temperature, top-k and top-p. A sample
        does not depend on its neighbours, nor on how its units are divided into calls.
        """
        self._pack_forward()
        options = (float(temperature), int(top_k), float(top_p), int(line_end))
        if len(set(self.config.cells)) > 1 or self.dtype != np.float32:
            return step_by_step(self, previous, state, uniforms, *options)
        if self._generator is None:
            self._generator = Generator(self)
        return self._generator.run(previous, state, uniforms, *options)

    def gradient(
        self, ids: Ids, targets: Ids, state: Array, *, dropout: float = 0.0, seed: int = 0, step: int = 0
    ) -> tuple[float, Array]:
        """Mean loss in nats per unit over ids, targets (T, B), and its gradient, flat as `parameters`.

        Backpropagation through time over the window (Werbos 1990), truncated at its start. `state` (S, B, H) moves on
        to the last step. Dropout masks depend on `seed` and `step`. The gradient is overwritten by the next call.
        """
        self._pack_forward()
        self._pack_backward()
        key = int(np.random.SeedSequence([seed, step, 1]).generate_state(1)[0]) if dropout else 0
        hidden = self.stack.forward(ids, state, rate=dropout, key=key)
        self._gradient[:] = 0
        dhidden = self.buffers.get("dhidden", *hidden.shape)
        log_probs, jobs = self._softmax_gradient(flat(hidden), targets.reshape(-1), flat(dhidden))
        self.stack.backward(dhidden)
        self.run([*jobs, *self.stack.weight_jobs(self._scratch)])
        self.stack.add_table_gradient(self._scratch)
        return -float(np.mean(log_probs)), self._gradient

    def _softmax_gradient(
        self, hidden: Array, targets: Ids, dhidden: Array
    ) -> tuple[npt.NDArray[np.float64], list[Job]]:  # fmt: skip
        """log P(target) (N,), with dhidden (N, H) filled; and the jobs left over, for the gradients of the output
        layer.

        loss = -mean log softmax(hidden W' + b)[target], chunk by chunk of rows.
        """
        assert self._to_dhidden is not None
        panels = self._to_dhidden.panels
        H, V = self.config.hidden_size, self.config.vocabulary_size
        log_probs = np.empty(targets.size)
        jobs: list[Job] = []
        for start, stop in self._row_chunks(targets.size):
            self.run(jobs)  # those of the chunk before, whose logits are about to be overwritten
            logits = self.buffers.get("logits", 1, stop - start, V)
            dlogits = self.buffers.operand_of("logits", logits)
            compute, operand = self._logits_work(hidden[np.newaxis, start:stop], logits)
            part = dhidden[np.newaxis, start:stop]

            def work(begin: int, end: int, thread: int) -> None:
                compute(begin, end, thread)  # noqa: B023 - run before the next chunk
                softmax.cross_entropy(
                    logits[0], targets[start:stop], 1 / targets.size, log_probs[start:stop], begin, end  # noqa: B023
                )  # fmt: skip
                rounding.store_operands(logits, dlogits, begin, end)  # noqa: B023
                part[:, begin:end] = 0  # noqa: B023
                matmul.add_products(dlogits, panels, part, begin, end)  # noqa: B023

            self.run([Job(stop - start, 1, work)])
            jobs = [
                product_job(dlogits[0], V, operand[0], 0, self._doutput, 0, H, self._scratch),
                sum_job(logits[0], self._gradients["output.bias"]),
            ]
        return log_probs, jobs

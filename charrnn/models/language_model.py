"""A recurrent language model: P(next unit | units so far) = softmax(W h + b), h from the stack of recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from charrnn.config import ModelConfig
from charrnn.kernels import inputs, matmul, softmax
from charrnn.kernels.arrays import Array, Ids
from charrnn.kernels.threads import Job, Threads
from charrnn.models import exchange
from charrnn.models.buffers import Buffers
from charrnn.models.initialise import initialise
from charrnn.models.layers import Operand, flat, product_job, sum_job
from charrnn.models.layout import parameter_count, parameter_shapes
from charrnn.models.stack import Stack

# Logits are computed for as many rows at a time as keep them within this many numbers, whatever the vocabulary.
LOGITS_AT_ONCE = 1 << 22


class LanguageModel:
    """Input, stack and softmax over one flat parameter vector.

    `parameters` (P,) is flat; `views` are its named parts, inner names and shapes as in `layout.parameter_shapes`. After
    a change of either, call `refresh`. `boundary` is the unit at whose input the state is reset to zero first, -1 for none.
    Every row of a batch is computed by itself: its result is the same bits whatever the other rows and the threads.
    """

    def __init__(
        self, config: ModelConfig, *, threads: int = 1, boundary: int = -1, dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.config, self.boundary, self.threads = config, boundary, threads
        self.dtype = np.dtype(dtype)
        self.parameters: Array = np.zeros(parameter_count(config), self.dtype)
        self.views = self._views(self.parameters)
        self._gradient: Array = np.zeros_like(self.parameters)
        self._gradients = self._views(self._gradient)
        self._threads = Threads(threads)
        self._buffers = Buffers(self.dtype)
        self._scratch = [
            tuple(np.empty(shape, self.dtype) for shape in matmul.scratch_shapes(self.dtype)) for _ in range(threads)
        ]
        self._stack = Stack(config, self.views, self._gradients, boundary, self._threads, self._buffers)
        weight = "embedding.weight" if config.tie_weights else "output.weight"
        self._output, self._doutput = self.views[weight], self._gradients[weight]
        self._logits_operand = Operand(self._output, 0, config.hidden_size, transposed=True)
        self._dhidden_operand: Operand | None = None
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

    def zero_state(self, batch: int) -> Array:
        """The state before any text: (S, B, H), S arrays for h of every layer and c of every LSTM layer."""
        return np.zeros((self._stack.states, batch, self.config.hidden_size), self.dtype)

    def _pack_forward(self) -> None:
        if not self._packed_forward:
            self._threads.run([*self._stack.pack(backward=False), self._logits_operand.job()])
            self._packed_forward = True

    def _pack_backward(self) -> None:
        if not self._packed_backward:
            if self._dhidden_operand is None:
                self._dhidden_operand = Operand(self._output, 0, self.config.hidden_size)
            self._threads.run([*self._stack.pack(backward=True), self._dhidden_operand.job()])
            self._packed_backward = True

    def forward(self, ids: Ids, state: Array) -> Array:
        """Hidden states (T, B, H) after each of the units ids (T, B). `state` (S, B, H) moves on to the last step.

        The result is overwritten by the next call.
        """
        self._pack_forward()
        return self._stack.forward(ids, state)

    def logits(self, hidden: Array) -> Array:
        """Unnormalised log-probabilities (N, V) of every unit to come next, for hidden states (N, H)."""
        self._pack_forward()
        result: Array = np.empty((hidden.shape[0], self.config.vocabulary_size), self.dtype)
        self._threads.run([Job(hidden.shape[0], 1, self._logits_work(np.ascontiguousarray(hidden), result))])
        return result

    def _logits_work(self, hidden: Array, logits: Array):  # type: ignore[no-untyped-def]
        N, V = logits.shape

        def work(begin: int, end: int, thread: int) -> None:
            inputs.fill_rows(logits.reshape(1, N, V), self.views["output.bias"], begin, end)
            matmul.add_product(hidden[begin:end], 0, self._logits_operand.panels, logits[begin:end], 0, V)

        return work

    def _row_chunks(self, rows: int) -> list[tuple[int, int]]:
        size = max(1, LOGITS_AT_ONCE // self.config.vocabulary_size)
        return [(start, min(start + size, rows)) for start in range(0, rows, size)]

    def target_log_probs(self, hidden: Array, targets: Ids) -> npt.NDArray[np.float64]:
        """log P(target) (T, B), natural, for hidden states (T, B, H) and the units that came next, targets (T, B)."""
        self._pack_forward()
        rows, ids = flat(hidden), targets.reshape(-1)
        log_probs = np.empty(ids.size)
        for start, stop in self._row_chunks(ids.size):
            logits = self._buffers.get("logits", stop - start, self.config.vocabulary_size)
            compute = self._logits_work(rows[start:stop], logits)

            def work(begin: int, end: int, thread: int) -> None:
                compute(begin, end, thread)  # noqa: B023 - run before the next chunk
                softmax.target_log_probs(logits, ids[start:stop], log_probs[start:stop], begin, end)  # noqa: B023

            self._threads.run([Job(stop - start, 1, work)])
        return log_probs.reshape(targets.shape)

    def gradient(
        self, ids: Ids, targets: Ids, state: Array, *, dropout: float = 0.0, seed: int = 0, step: int = 0
    ) -> tuple[float, Array]:
        """Mean loss in nats per unit over ids, targets (T, B), and its gradient, flat as `parameters`.

        Backpropagation through time over the window (Werbos 1990), truncated at its start. `state` (S, B, H) moves on to
        the last step. Dropout masks depend on `seed` and `step`. The gradient is overwritten by the next call.
        """
        self._pack_forward()
        self._pack_backward()
        key = int(np.random.SeedSequence([seed, step, 1]).generate_state(1)[0]) if dropout else 0
        hidden = self._stack.forward(ids, state, rate=dropout, key=key)
        self._gradient[:] = 0
        dhidden = self._buffers.get("dhidden", *hidden.shape)
        log_probs, jobs = self._softmax_gradient(flat(hidden), targets.reshape(-1), flat(dhidden))
        self._stack.backward(dhidden)
        self._threads.run([*jobs, *self._stack.weight_jobs(self._scratch)])
        self._stack.add_table_gradient(self._scratch)
        return -float(np.mean(log_probs)), self._gradient

    def _softmax_gradient(
        self, hidden: Array, targets: Ids, dhidden: Array
    ) -> tuple[npt.NDArray[np.float64], list[Job]]:  # fmt: skip
        """log P(target) (N,), with dhidden (N, H) filled; and the jobs left over, for the gradients of the output layer.

        loss = -mean log softmax(hidden W' + b)[target], chunk by chunk of rows.
        """
        assert self._dhidden_operand is not None
        panels = self._dhidden_operand.panels
        H, V = self.config.hidden_size, self.config.vocabulary_size
        log_probs = np.empty(targets.size)
        jobs: list[Job] = []
        for start, stop in self._row_chunks(targets.size):
            self._threads.run(jobs)  # those of the chunk before, whose logits are about to be overwritten
            logits = self._buffers.get("logits", stop - start, V)
            chunk = hidden[start:stop]
            compute = self._logits_work(chunk, logits)

            def work(begin: int, end: int, thread: int) -> None:
                compute(begin, end, thread)  # noqa: B023 - run before the next chunk
                softmax.cross_entropy(
                    logits, targets[start:stop], 1 / targets.size, log_probs[start:stop], begin, end  # noqa: B023
                )  # fmt: skip
                part = dhidden[start + begin : start + end]  # noqa: B023
                part[:] = 0
                matmul.add_product(logits[begin:end], 0, panels, part, 0, H)  # noqa: B023

            self._threads.run([Job(stop - start, 1, work)])
            jobs = [
                product_job(logits, chunk, 0, self._doutput, 0, H, self._scratch),
                sum_job(logits, self._gradients["output.bias"]),
            ]
        return log_probs, jobs

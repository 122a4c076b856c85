"""How much of its attention each step of a target gives to each unit of its source."""

from __future__ import annotations

import numpy as np

from charrnn.errors import CharrnnError
from charrnn.models.network import Network
from charrnn.models.translator import Translator
from charrnn.nn.attention import Attention
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job
from charrnn.text.batch import Batch


def alignments(network: Translator, batch: Batch) -> list[Array]:
    """The weights (steps, source units) of each sequence of `batch`, by row and in a row by time; rows add up to 1.

    Equations and their source: `kernels/attention.py`.

    Raises:
        CharrnnError: the network has no attention, or the batch does not fit, see `Translator.check`.
    """
    block = next((block for block in network.blocks if isinstance(block, Attention)), None)
    if block is None:
        raise CharrnnError("the model has no attention to show")
    with network.lock:
        state = Network.zero_state(network, batch.inputs.shape[1])
        network.check(batch, state)
        network.pack()
        window, _ = network.open_window(batch)
        network.begin(window, batch, state)
        for stage in network.stages_before():
            stage()
        network.context.pool.run([Job(batch.inputs.shape[1], 1, network.forward_rows)])
        source = batch.source
        assert source is not None and batch.reset is not None and batch.ends is not None  # noqa: PT018 - checked
        H, (T, B) = block.H, batch.inputs.shape
        h, memory = block.below.value.transpose(1, 0, 2).reshape(B * T, H), block.memory.value.reshape(-1, H)
        begins, ends = (np.flatnonzero(flags.T.reshape(-1)) for flags in (batch.reset, batch.ends))
        step, found = source.inputs.shape[1], []
        for begin, end, place, length in zip(
            begins.tolist(), ends.tolist(), source.places.tolist(), source.lengths.tolist(), strict=True
        ):
            scores = h[begin : end + 1] @ memory[place : place + length * step : step].T
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            found.append(weights / weights.sum(axis=1, keepdims=True))
        return found

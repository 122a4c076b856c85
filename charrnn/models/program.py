"""The stages of a gradient. Letters in shapes as in `nn/block.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from charrnn.nn.block import Log, Window
from charrnn.nn.signal import Signal
from charrnn.runtime.arrays import Ids
from charrnn.runtime.threads import Job, Work, in_sequence

if TYPE_CHECKING:
    from charrnn.models.network import Network

Stage = Callable[[], None]


class Program:
    """Everything about a gradient that is the same for all windows of one `kind` (shapes, resets, dropout rate).

    It is prepared once: arrays, and `stages`, to be called one after the other. Threads wait for each other between
    stages only. For each window `targets` and `scales` (K, B) are filled again, and the stages fill `log_probs` (K, B).
    """

    def __init__(
        self, network: Network, kind: tuple[object, ...], window: Window, hidden: Signal, targets: Ids, scales: Log
    ) -> None:  # fmt: skip
        self.kind, self.window = kind, window
        self.targets, self.scales, self.log_probs = targets.copy(), scales.copy(), np.empty(targets.shape[:2])
        network.head.claim(hidden)
        network.prepare_backward()
        stages = self._make_stages(network, hidden, window.shape[1])
        self.stages: Iterable[Stage] = list(stages) if network.head.fixed else stages

    def _make_stages(self, network: Network, hidden: Signal, B: int) -> Iterator[Stage]:
        """Forward, and chunk by chunk of the head the loss and the gradient of its weights; backward; weights."""
        head, run, rows = network.head, network.context.pool.run, list[Work]([network.forward_rows])
        yield from network.stages_before()
        chunks = head.chunks(self.targets)
        for chunk in chunks:
            part = hidden.steps(chunk)
            rows.append(head.gradient_rows(part, self.targets[chunk], self.scales[chunk], self.log_probs[chunk]))
            # The logits of the next chunk overwrite these, so weight gradients come before it.
            if chunk is not chunks[-1]:
                yield partial(run, [Job(B, 1, in_sequence(*rows))])
                yield partial(run, head.weight_jobs())
                rows = []
        yield partial(run, [Job(B, 1, in_sequence(*rows, network.backward_rows))])
        yield partial(run, [*head.weight_jobs(), *(job for block in network.blocks for job in block.weight_jobs())])
        yield from network.stages_after()

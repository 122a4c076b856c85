"""Sampling from a language model: by the compiled loop of `kernels/generate.py`, or by a loop in Python.

Letters in shapes as in `nn/block.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from charrnn.kernels import draw, generate
from charrnn.models.steps import Steps
from charrnn.nn.embedding import Embedding
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from charrnn.models.language import LanguageModel

    Choose = Callable[[int, Array, float], int]  # row, logits (V), uniform number


class Generator:
    """Draws units with a copy of a model's weights; see `Steps`.

    It is valid for one version of the weights: `LanguageModel.generate` makes another after `invalidate`.
    """

    @staticmethod
    def fits(model: LanguageModel) -> bool:
        """Whether the compiled loop knows the layers, and one softmax is over them."""
        return Steps.fit(model.layers, model.context) and isinstance(model.output, Softmax)

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.version, first, layer = model, model.context.version, model.blocks[0], model.layers[0]
        assert isinstance(model.output, Softmax)
        embedding = first if isinstance(first, Embedding) else None
        with np.errstate(over="ignore"):  # no unit is drawn from logits that are not finite
            table = layer.b[np.newaxis] if embedding else model.views[layer.weight_ih.name] + layer.b
        self.steps = Steps(model.layers, embedding, table, model.output, model.context)

    def run(
        self, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64], temperature: float, top_k: int,
        top_p: float, line_end: int, reset_unit: int,
    ) -> Ids:  # fmt: skip
        """See `LanguageModel.generate`: units (n, B) or fewer steps; previous (B), state (S, B, H), uniforms (n, B).

        Threads take rows; `previous` and `state` become those after the last step.
        """
        n, B = uniforms.shape
        net, cells = self.steps.arrays(B, reset_unit, B)
        lstm = cells[0]
        rows = iter(state)
        for index in range(len(net.h)):
            net.h[index, 0] = next(rows)
            if lstm is not None:
                lstm.c[index, 0] = next(rows)
        units = np.full((n, B), max(line_end, 0), np.int32)
        ended = np.zeros(B, np.bool_)
        drawn = np.zeros(self.model.threads, np.int64)

        def work(begin: int, end: int, thread: int) -> None:
            drawn[thread] = generate.generate(
                net, *cells, previous, uniforms, temperature, top_k, top_p, line_end, ended, units, begin, end
            )  # fmt: skip

        self.model.context.pool.run([Job(B, 1, work)])
        rows = iter(state)
        for index in range(len(net.h)):
            next(rows)[:] = net.h[index, 0]
            if lstm is not None:
                next(rows)[:] = lstm.c[index, 0]
        return units[: drawn.max()]


def drawn(temperature: float, top_k: int, top_p: float) -> Choose:
    """For `step_by_step`: a unit from the softmax of the logits, see `kernels/draw.py`."""
    return lambda b, logits, uniform: draw.draw(logits, uniform, temperature, top_k, top_p)


def step_by_step(
    model: LanguageModel, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64],
    choose: Choose, line_end: int, reset_unit: int,
) -> Ids:  # fmt: skip
    """As `Generator.run`, with one call of the network per step, where the compiled loop cannot be used.

    That loop needs layers of one type and one matrix of output weights: not several cells, not an adaptive softmax.
    `choose` draws the unit of row b, given its logits (V) float32 and its uniform number. previous (B), state (S, B,
    H), uniforms (n, B); see `LanguageModel.generate`.
    """
    ended = np.zeros(previous.size, np.bool_)
    units = np.empty(uniforms.shape, np.int32)
    for n, row in enumerate(uniforms):
        reset = (previous == reset_unit)[np.newaxis]
        logits = model.logits(model.forward(previous[np.newaxis], state, reset)[0]).astype(np.float32)
        for b in range(previous.size):
            previous[b] = units[n, b] = choose(b, logits[b], row[b])
        ended |= previous == line_end
        if ended.all():
            return units[: n + 1]
    return units

"""A forecaster: the last rows of some series in, a distribution of the next row out, many to one.

Changes from row to row, recurrent layers, the state after the last step, fully connected layers, location and scale;
beside these the direct path, which starts from an autoregression by least squares. Letters in shapes as in
`nn/block.py`; C is the number of series, F that of features of the direct path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError, NotFiniteError
from charrnn.models.network import Network
from charrnn.models.stack import dense_stack, recurrent_stack
from charrnn.nn.block import Block
from charrnn.nn.numbers import Density, LocationScale, Numbers
from charrnn.nn.parameters import Layout, Shape
from charrnn.nn.pooling import Pooling
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job
from charrnn.task_config import ForecasterConfig
from charrnn.text.batch import Batch

BASELINE_WEIGHT, BASELINE_BIAS = "baseline.weight", "baseline.bias"


@dataclass(frozen=True)
class Start:
    """What a forecaster starts from: direct (F, C), bias (C), and the regression it is compared with, weight (C, N)
    and bias (C), which is kept as it is."""

    direct: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    baseline_weight: npt.NDArray[np.float32]
    baseline_bias: npt.NDArray[np.float32]


def make_blocks(config: ForecasterConfig) -> tuple[list[Block], Density]:
    """The blocks and the head, before any array is allocated."""
    recurrent, width = recurrent_stack(config, config.series, bidirectional=False)
    pooling = Pooling(width, "last")
    dense, width = dense_stack(config.dense, width)
    output = LocationScale(width, config.features, config.series)
    return [Numbers(config.series), *recurrent, pooling, *dense, output], Density(config.series, config.degrees)


def parameter_layout(config: ForecasterConfig) -> Layout:
    """The layout of the parameters, without allocating them."""
    blocks, head = make_blocks(config)
    return Layout([parameter for block in (*blocks, head) for parameter in block.parameters()])


def tensor_shapes(config: ForecasterConfig) -> dict[str, Shape]:
    """The tensors of a checkpoint: the parameters, and the regression that forecasts are compared with."""
    C = config.series
    baseline = {BASELINE_WEIGHT: (C, config.baseline_lags * C), BASELINE_BIAS: (C,)}
    return {**parameter_layout(config).tensor_shapes(), **baseline}


class Forecaster(Network):
    """Windows of changes in, location and scale of the next change out; see `Network`.

    `unit`: the logarithm of the units of a row, so that the loss is that of the numbers in their own units.
    """

    def __init__(
        self, config: ForecasterConfig, start: Start | None = None, *, threads: int = 1,
        dtype: npt.DTypeLike = np.float32, unit: float = 0.0,
    ) -> None:  # fmt: skip
        self.config = config
        C = config.series
        if start is None:
            start = Start(
                np.zeros((config.features, C)), np.zeros(C), np.zeros((C, config.baseline_lags * C), np.float32),
                np.zeros(C, np.float32),
            )  # fmt: skip
        self.start, self.baseline_weight, self.baseline_bias = start, start.baseline_weight, start.baseline_bias
        blocks, head = make_blocks(config)
        head.constant -= unit / C
        super().__init__(blocks, head, threads=threads, dtype=dtype)

    def initialise(self, seed: int) -> None:
        """Initial values, of the direct path those of `start`; see `Network.initialise`."""
        with self.lock:
            super().initialise(seed)
            self.views["direct.weight"][:] = self.start.direct
            self.views["output.bias"][: self.config.series] = self.start.bias
            self.invalidate()

    def tensors(self) -> dict[str, Array]:
        """See `Network.tensors`; with the regression that forecasts are compared with."""
        baseline = {BASELINE_WEIGHT: self.baseline_weight.copy(), BASELINE_BIAS: self.baseline_bias.copy()}
        return {**super().tensors(), **baseline}

    def load(self, tensors: Mapping[str, Array]) -> None:
        """See `Network.load`."""
        shapes: Mapping[str, Any] = tensor_shapes(self.config)
        for name in (BASELINE_WEIGHT, BASELINE_BIAS):
            if name not in tensors or tensors[name].shape != shapes[name]:
                raise CharrnnError(f"the checkpoint has no tensor {name} of the shape {shapes[name]}; it is damaged")
        super().load(tensors)
        self.baseline_weight, self.baseline_bias = tensors[BASELINE_WEIGHT].copy(), tensors[BASELINE_BIAS].copy()

    def zero_state(self, batch: int) -> Array:
        """No state is carried from one batch to the next: zeros (S, 0, H)."""
        return super().zero_state(0)

    def distribution(self, batch: Batch) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Locations and logarithms of scales (B, C), in units of the output.

        Raises CharrnnError where a number is not finite.
        """
        with self.lock:
            B, C = batch.inputs.shape[1], self.config.series
            state = super().zero_state(B)
            self.check(batch, state)
            self.pack()
            window, out = self.open_window(batch)
            self.begin(window, batch, state)
            self.context.pool.run([Job(B, 1, self.forward_rows)])
            values = out.value[0].astype(np.float64)
        if not np.isfinite(values).all():
            raise NotFiniteError
        return values[:, :C], values[:, C:]

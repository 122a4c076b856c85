"""Cells that follow something: hidden units whose values go with a feature of the text.

Found by correlation alone, after Karpathy, Johnson and Fei-Fei 2015, "Visualizing and understanding recurrent
networks", arXiv:1506.02078, who picked them by eye. A correlation does not say that the network uses the cell for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

THRESHOLD = 0.8  # correlation from which a cell is shown; networks with random weights stay below
RARE = 0.01  # share of the places at which a feature must be there, or away, in both halves of the text

Values = npt.NDArray[np.float64]


class Found(NamedTuple):
    """The cell of a feature: its layer and number from 0, and its correlation on the half that it was not chosen on."""

    feature: str
    layer: int
    unit: int
    correlation: float


def correlations(cells: npt.NDArray[np.float32], values: Values) -> Values:
    """Pearson's correlation (H) of each column of cells (N, H) with values (N); 0 where one does not vary."""
    v = values - values.mean()
    centred = cells - cells.mean(axis=0, dtype=np.float64)
    norms = np.sqrt((centred**2).sum(axis=0)) * np.sqrt((v**2).sum())
    found: Values = np.divide(v @ centred, norms, out=np.zeros(cells.shape[1]), where=norms > 1e-9)
    return found


def best_cells(cells: npt.NDArray[np.float32], features: Mapping[str, Values]) -> list[Found]:
    """For each feature (N) the cell of cells (layers, N, H) that goes with it most.

    It is chosen on the first half of the places; the correlation is that on the second, so that it is none that the
    best of hundreds of cells has by chance. Features that hardly occur are left out.
    """
    half = cells.shape[1] // 2
    found = []
    for name, values in features.items():
        if any(_rare(part) for part in (values[:half], values[half:])):
            continue
        first = np.stack([correlations(layer[:half], values[:half]) for layer in cells])
        layer, unit = divmod(int(np.abs(first).argmax()), first.shape[1])
        later = correlations(cells[layer, half:, unit : unit + 1], values[half:])[0]
        same = float(later) if first[layer, unit] * later > 0 else 0.0
        found.append(Found(name, layer, unit, same))
    return sorted(found, key=lambda one: -abs(one.correlation))


def _rare(values: Values) -> bool:
    share = float((values > 0).mean()) if len(values) else 0.0
    return share < RARE or (share > 1 - RARE and set(np.unique(values)) <= {0.0, 1.0})


def learned(found: Sequence[Found]) -> list[Found]:
    """Those above the threshold."""
    return [one for one in found if abs(one.correlation) >= THRESHOLD]

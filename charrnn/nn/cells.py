"""The classes of the cells, found by name in the table `config.CELLS`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from charrnn.config import CELLS, RecurrentConfig

if TYPE_CHECKING:
    from charrnn.nn.recurrent import RecurrentLayer


def layer_class(cell: str) -> type[RecurrentLayer]:
    """The class `Layer` of the module that `config.CELLS` names for a cell. Raises `KeyError` for one not in it."""
    found: type[RecurrentLayer] = importlib.import_module(CELLS[cell]).Layer
    return found


def torch_computes(config: RecurrentConfig) -> bool:
    """Whether one of `torch.nn.LSTM`, `GRU` or `RNN` computes the same function as the stack of layers."""
    return len(set(config.cells)) == 1 and layer_class(config.cells[0]).torch_computes(config)

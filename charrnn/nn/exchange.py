"""The parameters in the names, shapes and gate order of a checkpoint, which are PyTorch's wherever it has the
function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError
from charrnn.nn.layout import stored_transposed, tensor_shapes, torch_computes
from charrnn.runtime.arrays import Array


def to_tensors(config: ModelConfig, views: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of the named parameters as a checkpoint stores them. PyTorch's redundant second bias is zero."""
    H = config.hidden_size
    as_torch = torch_computes(config)
    tensors: dict[str, Array] = {}
    for name, view in views.items():
        place, _, kind = name.rpartition(".")
        value = np.array(view.T if stored_transposed(name) else view, order="C")
        if not place.startswith("layers."):
            tensors[name] = value
            continue
        layer = place.removeprefix("layers.")
        if not as_torch:
            tensors[f"cells.{layer}.{kind}"] = value
        elif kind == "bias":
            tensors[f"rnn.bias_ih_l{layer}"] = value
            tensors[f"rnn.bias_hh_l{layer}"] = np.zeros_like(value)
        elif kind == "bias_hn":
            tensors[f"rnn.bias_hh_l{layer}"][2 * H :] = value
        else:
            tensors[f"rnn.{kind}_l{layer}"] = value
    return tensors


def from_tensors(config: ModelConfig, tensors: Mapping[str, Array], views: Mapping[str, Array]) -> None:
    """Fill the named parameters from a checkpoint's tensors.

    A second bias that is not zero, in a file that PyTorch wrote, is added to the first. Raises `CharrnnError` where a
    tensor is missing or has another shape.
    """
    for name, shape in tensor_shapes(config).items():
        if name not in tensors:
            raise CharrnnError(f"the checkpoint has no tensor {name}, which its model needs; it is damaged")
        if tensors[name].shape != shape:
            raise CharrnnError(
                f"tensor {name} has the shape {tensors[name].shape}, and its model needs {shape}; "
                "the checkpoint is damaged"
            )
    H = config.hidden_size
    as_torch = torch_computes(config)
    for name, view in views.items():
        place, _, kind = name.rpartition(".")
        if not place.startswith("layers."):
            view[:] = tensors[name].T if stored_transposed(name) else tensors[name]
            continue
        layer = place.removeprefix("layers.")
        if not as_torch:
            value = tensors[f"cells.{layer}.{kind}"]
        elif kind == "bias":
            second = tensors[f"rnn.bias_hh_l{layer}"].copy()
            if f"{place}.bias_hn" in views:
                second[2 * H :] = 0
            with np.errstate(over="ignore"):  # what comes of it is for those to say who use it
                value = tensors[f"rnn.bias_ih_l{layer}"] + second
        elif kind == "bias_hn":
            value = tensors[f"rnn.bias_hh_l{layer}"][2 * H :]
        else:
            value = tensors[f"rnn.{kind}_l{layer}"]
        view[:] = value.T if stored_transposed(name) else value

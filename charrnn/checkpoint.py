"""The checkpoint: one `.safetensors` file with a model, its vocabulary and how it was trained.

Weights have PyTorch's names, shapes and gate order (`models/layout.py`), the state of a training run the prefix
`training.`. The metadata has a single key `charrnn`, whose value is canonical JSON:

    format_version   1
    model            the fields of ModelConfig
    text             the fields of TextConfig, `vocabulary` (units in id order) and `fallback`
    training         options, step, corpus digest, plan, history …
    timings          what differs between two runs that are otherwise the same

Nothing in the file is ever executed, and everything is checked before memory is allocated for it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from charrnn.config import ModelConfig, TextConfig
from charrnn.errors import CharrnnError
from charrnn.nn.layout import tensor_shapes
from charrnn.runtime import safefile
from charrnn.runtime.safefile import Shape
from charrnn.text.vocabulary import Vocabulary

FORMAT_VERSION = 1
METADATA_KEY = "charrnn"
TRAINING_PREFIX = "training."
# The header ends at 100 MB; this leaves room for the tensors' names and the history beside the vocabulary.
MAX_VOCABULARY_BYTES = 90_000_000

LARGEST_NUMBER = 2**53  # of the integers that describe a model: float64 holds them exactly

Record = TypeVar("Record")


@dataclass
class Checkpoint:
    """A model and where it came from. `weights` have the names and shapes of `models.layout.tensor_shapes`.

    `training_tensors` are the latest weights, optimiser moments and carried state, without the prefix `training.`;
    empty in a finished model that was stripped of them, and unless they are asked for.
    """

    model: ModelConfig
    vocabulary: Vocabulary
    text: TextConfig
    training: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    training_tensors: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """A checkpoint without its tensors, their shapes under the names in the file, and the file's size in bytes."""

    checkpoint: Checkpoint
    shapes: dict[str, Shape]
    file_size: int


def check_header_size(vocabulary: Vocabulary) -> None:
    """Raise `CharrnnError` when `vocabulary` does not fit into the header of the file: to be asked before training."""
    size = len(json.dumps(safefile.canonical_json(vocabulary.to_json()), ensure_ascii=False).encode("utf-8"))
    if size > MAX_VOCABULARY_BYTES:
        raise CharrnnError(
            f"the vocabulary of {len(vocabulary)} units takes {size / 1e6:.0f} MB of the checkpoint's header, and "
            f"{MAX_VOCABULARY_BYTES / 1e6:.0f} MB is the most; lower `max_vocab` or raise `min_count`"
        )


def check_writable(path: str | Path) -> None:
    """Raise `CharrnnError` unless `save` could write to `path`; makes its folder."""
    safefile.check_writable(Path(path))


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` through a temporary file beside it, so that the file is always whole.

    Raises `CharrnnError` when it cannot be written or a weight is not finite; a file that was there is then untouched.
    """
    for name, tensor in checkpoint.weights.items():
        if not np.isfinite(tensor).all():
            raise CharrnnError(f"cannot write {path}: the weights {name} are not finite numbers; lower `learning_rate`")
    check_header_size(checkpoint.vocabulary)
    metadata = {
        "format_version": FORMAT_VERSION,
        "model": dataclasses.asdict(checkpoint.model),
        "text": dataclasses.asdict(checkpoint.text) | checkpoint.vocabulary.to_json(),
        "training": checkpoint.training,
        "timings": checkpoint.timings,
    }
    tensors = checkpoint.weights | {TRAINING_PREFIX + k: v for k, v in checkpoint.training_tensors.items()}
    safefile.write(Path(path), tensors, {METADATA_KEY: safefile.canonical_json(metadata)})


def load(path: str | Path, *, with_training: bool = False) -> Checkpoint:
    """Read the checkpoint at `path`; the tensors of its training run only `with_training`.

    Raises `CharrnnError`, one line that names the file and its defect.
    """
    path = Path(path)
    contents = read_contents(path)
    names = [name for name in contents.shapes if with_training or not name.startswith(TRAINING_PREFIX)]
    checkpoint = contents.checkpoint
    for name, tensor in safefile.read_tensors(path, names).items():
        if name.startswith(TRAINING_PREFIX):
            checkpoint.training_tensors[name.removeprefix(TRAINING_PREFIX)] = tensor
        elif not np.isfinite(tensor).all():
            raise CharrnnError(f"{path} is damaged: the weights {name} are not finite numbers")
        else:
            checkpoint.weights[name] = tensor
    return checkpoint


def read_contents(path: str | Path) -> Contents:
    """Read and check all of the checkpoint at `path` but the tensors themselves. Raises `CharrnnError`."""
    path = Path(path)
    header = safefile.read_header(path)
    if METADATA_KEY not in header.metadata:
        raise CharrnnError(f"{path} is not a charrnn checkpoint: it has no {METADATA_KEY!r} in its metadata")
    try:
        checkpoint = _parse_metadata(header.metadata[METADATA_KEY])
        weights = {k: v for k, v in header.shapes.items() if not k.startswith(TRAINING_PREFIX)}
        _check_shapes(weights, checkpoint.model)
    except _NewerFormatError as error:
        raise CharrnnError(f"{path} {error}") from None
    except (ValueError, CharrnnError) as error:
        raise CharrnnError(f"{path} is a damaged checkpoint: {error}") from error
    return Contents(checkpoint, header.shapes, header.file_size)


class _NewerFormatError(Exception):
    """The file was written by a later version of the program."""


def _parse_metadata(text: str) -> Checkpoint:
    """The checkpoint described by the metadata, without tensors. Raises `ValueError` or `CharrnnError`: the defect."""
    metadata = table(safefile.strict_json(text), "its metadata")
    version = metadata.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"its format_version is {str(version)[:20]}; it must be a whole number from 1")
    if version > FORMAT_VERSION:
        raise _NewerFormatError(
            f"was written by a newer charrnn (format {version}; this one reads up to {FORMAT_VERSION}); upgrade charrnn"
        )
    texts = table(metadata.get("text"), "text")
    model = record_from_json(ModelConfig, table(metadata.get("model"), "model"), "model")
    names = {f.name for f in dataclasses.fields(TextConfig)}
    text_config = record_from_json(TextConfig, {k: v for k, v in texts.items() if k in names}, "text")
    vocabulary = Vocabulary.from_json(texts)
    if len(vocabulary) != model.vocabulary_size:
        raise ValueError(
            f"its vocabulary has {len(vocabulary)} units and its model is made for {model.vocabulary_size}"
        )
    training = table(metadata.get("training"), "training")
    return Checkpoint(model, vocabulary, text_config, training, table(metadata.get("timings", {}), "timings"))


def table(value: Any, name: str) -> dict[str, Any]:
    """`value`, which must be a JSON object. Raises `ValueError`, in which it is called `name`."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is missing or is not a table of names and values")
    return value


def record_from_json(
    kind: type[Record], values: dict[str, Any], name: str, *, largest: int = LARGEST_NUMBER
) -> Record:  # fmt: skip
    """The dataclass `kind` from JSON values of exactly the types of its fields: numbers, texts, flags, None and tuples.

    A field that is a float may be a whole number; no integer is beyond `largest`. `name` is what messages call the
    record. Raises `ValueError`, and what `kind` itself raises.
    """
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind))}
    for key, value in values.items():
        if key not in fields:
            raise ValueError(f"{name} has an unknown entry {key[:40]!r}")
        wanted = str(fields[key].type)
        if not any(_is_of(value, choice) for choice in wanted.split(" | ")):
            raise ValueError(f"{name}.{key} is {str(value)[:40]!r}, which is not of the type {wanted}")
        for item in value if isinstance(value, list) else [value]:
            if type(item) is int and abs(item) > largest:
                raise ValueError(f"{name}.{key} is {str(item)[:40]}, which is too large")
    for key, entry in fields.items():
        if key not in values and entry.default is entry.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} lacks the entry {key!r}")
    record: Callable[..., Record] = kind
    return record(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _is_of(value: Any, wanted: str) -> bool:
    """Whether a JSON value has the type of that name."""
    if wanted.startswith("tuple"):
        item_type = wanted.removeprefix("tuple[").partition(",")[0]
        return isinstance(value, list) and all(_is_of(item, item_type) for item in value)
    if wanted == "None":
        return value is None
    return type(value).__name__ == wanted or (wanted == "float" and type(value) is int)


def _check_shapes(shapes: Mapping[str, Shape], model: ModelConfig) -> None:
    """Raise `ValueError` unless the weights are those of `model`."""
    if model.num_layers > len(shapes):
        raise ValueError(f"its model has {model.num_layers} layers, and the file only {len(shapes)} tensors")
    needed = tensor_shapes(model)
    for name in needed.keys() | shapes.keys():
        if name not in shapes:
            raise ValueError(f"the tensor {name} is missing")
        if name not in needed:
            raise ValueError(f"the tensor {name[:80]!r} does not belong to its model")
        if shapes[name] != needed[name]:
            raise ValueError(f"the tensor {name} has the shape {shapes[name]}; its model needs {needed[name]}")

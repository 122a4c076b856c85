"""The checkpoint: one `.safetensors` file with a model, its input and output (vocabulary, labels …) and its training.

Weights have PyTorch's names, shapes and gate order (`nn/parameters.py`), the state of a training run the prefix
`training.`, a memory of the corpus (`models/memory.py`) the prefix `memory.`. The metadata has a single key `charrnn`,
whose value is canonical JSON:

    format_version   2
    task             what the model does; format 1 had language models only
    model            the options of the network: for a language model, the fields of ModelConfig
    input, output    what the model reads and predicts, see `formats.TaskFormat`
    text             of a language model: the fields of TextConfig, `vocabulary` (units in id order) and `fallback`
    training         options, step, corpus digest, plan, history …
    timings          all that differs between two runs with the same options

Nothing in the file is ever executed, and everything is checked before memory is allocated for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.formats import LANGUAGE, TaskFormat, require_table
from charrnn.runtime import safefile
from charrnn.runtime.safefile import Shape
from charrnn.text.vocabulary import Vocabulary

FORMAT_VERSION = 2
METADATA_KEY = "charrnn"
TRAINING_PREFIX, MEMORY_PREFIX = "training.", "memory."


@dataclass
class Checkpoint:
    """A model and where it came from. `model` and `data` are the records that `format` reads and writes.

    `weights` are float32, with the names and shapes of `format.tensor_shapes`. `training_tensors` are the latest
    weights, optimiser moments and carried hidden state, by name without the prefix `training.`; empty if the file has
    none, or if it was loaded without them. `memory` are the tensors of the memory of a corpus, by name without the
    prefix `memory.`; empty without one, and until training is over.
    """

    model: Any
    data: Any
    training: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    training_tensors: dict[str, np.ndarray] = field(default_factory=dict)
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    format: TaskFormat = LANGUAGE

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of a language model."""
        vocabulary: Vocabulary = self.data.vocabulary
        return vocabulary

    @property
    def text(self) -> TextConfig:
        """How the text of a language model is cut into units."""
        config: TextConfig = self.data.config
        return config


@dataclass(frozen=True)
class Contents:
    """A checkpoint without its tensors; their shapes by name in the file; its size in bytes; its format version."""

    checkpoint: Checkpoint
    shapes: dict[str, Shape]
    file_size: int
    format_version: int


def check_writable(path: str | Path) -> None:
    """Raise `CharrnnError` unless `save` could write to `path`. Creates its folder."""
    safefile.check_writable(Path(path))


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` atomically: to a temporary file beside it, which is then renamed.

    Raises:
        CharrnnError: a weight is not finite, or the file cannot be written. The file that was there is unchanged.
    """
    for name, tensor in checkpoint.weights.items():
        if not np.isfinite(tensor).all():
            raise CharrnnError(f"cannot write {path}: the weights {name} are not finite numbers; lower `learning_rate`")
    metadata = {
        "format_version": FORMAT_VERSION,
        "task": checkpoint.format.task,
        **checkpoint.format.describe(checkpoint.model, checkpoint.data),
        "training": checkpoint.training,
        "timings": checkpoint.timings,
    }
    tensors = checkpoint.weights | {TRAINING_PREFIX + k: v for k, v in checkpoint.training_tensors.items()}
    tensors |= {MEMORY_PREFIX + k: v for k, v in checkpoint.memory.items()}
    safefile.write(Path(path), tensors, {METADATA_KEY: safefile.canonical_json(metadata)})


def load(path: str | Path, format: TaskFormat = LANGUAGE, *, with_training: bool = False) -> Checkpoint:
    """Read the checkpoint at `path`, which must be of the task of `format`; `with_training`, also `training_tensors`.

    Raises:
        CharrnnError: the file cannot be read, is damaged or of another task; one line names the file and the defect.
    """
    path = Path(path)
    contents = read_contents(path, format)
    names = [name for name in contents.shapes if with_training or not name.startswith(TRAINING_PREFIX)]
    checkpoint = contents.checkpoint
    for name, tensor in safefile.read_tensors(path, names).items():
        if name.startswith(TRAINING_PREFIX):
            checkpoint.training_tensors[name.removeprefix(TRAINING_PREFIX)] = tensor
        elif name.startswith(MEMORY_PREFIX):
            checkpoint.memory[name.removeprefix(MEMORY_PREFIX)] = tensor
        elif not np.isfinite(tensor).all():
            raise CharrnnError(f"{path} is damaged: the weights {name} are not finite numbers")
        else:
            checkpoint.weights[name] = tensor
    return checkpoint


def read_contents(path: str | Path, format: TaskFormat = LANGUAGE) -> Contents:
    """Read and check everything in the checkpoint at `path` except the tensors themselves.

    Raises:
        CharrnnError: as `load`.
    """
    path = Path(path)
    header, metadata = _read_metadata(path)
    if metadata["task"] != format.task:
        raise CharrnnError(
            f"{path} is a model of the task {metadata['task']}, and one of the task {format.task} is needed; "
            "name another checkpoint"
        )
    try:
        model, data = format.parse(metadata)
        training = require_table(metadata.get("training"), "training")
        timings = require_table(metadata.get("timings", {}), "timings")
        checkpoint = Checkpoint(model, data, training, timings, format=format)
        weights = {k: v for k, v in header.shapes.items() if not k.startswith((TRAINING_PREFIX, MEMORY_PREFIX))}
        _check_shapes(weights, format.tensor_shapes(model, len(weights)))
        for name in header.shapes.keys() - weights.keys():
            if name.startswith(MEMORY_PREFIX) and not getattr(model, "memory", False):
                raise ValueError(f"the tensor {name[:80]!r} does not belong to its model, which has no memory")
        for name, dtype in header.types.items():
            if not name.startswith(MEMORY_PREFIX):
                raise ValueError(f"the tensor {name[:80]!r} is {dtype}; it must be float32")
    except (ValueError, CharrnnError) as error:
        raise CharrnnError(f"{path} is a damaged checkpoint: {error}") from error
    return Contents(checkpoint, header.shapes, header.file_size, metadata["format_version"])


def task_of(path: str | Path) -> str:
    """The name of the task of the checkpoint at `path`. Nothing else in it is checked. Raises `CharrnnError`."""
    task: str = _read_metadata(Path(path))[1]["task"]
    return task


def _read_metadata(path: Path) -> tuple[safefile.Header, dict[str, Any]]:
    """The header of a file, and its metadata converted to the newest version; `format_version` is left as it was."""
    header = safefile.read_header(path)
    if METADATA_KEY not in header.metadata:
        raise CharrnnError(f"{path} is not a charrnn checkpoint: it has no {METADATA_KEY!r} in its metadata")
    try:
        metadata = require_table(safefile.strict_json(header.metadata[METADATA_KEY]), "its metadata")
        version = metadata.get("format_version")
        if type(version) is not int or version < 1:
            raise ValueError(f"its format_version is {str(version)[:20]}; it must be a whole number from 1")
        if version == 1:
            metadata |= {"task": LANGUAGE.task, "input": LANGUAGE.side, "output": LANGUAGE.side}
        task = metadata.get("task")
        if version <= FORMAT_VERSION and not (isinstance(task, str) and task.isidentifier() and len(task) < 40):
            raise ValueError(f"its task is {str(task)[:40]!r}; it must be the name of a task")
    except ValueError as error:
        raise CharrnnError(f"{path} is a damaged checkpoint: {error}") from error
    if version > FORMAT_VERSION:
        raise CharrnnError(
            f"{path} was written by a newer charrnn (format {version}; this one reads up to {FORMAT_VERSION}); upgrade "
            "charrnn"
        )
    return header, metadata


def _check_shapes(shapes: Mapping[str, Shape], needed: Mapping[str, Shape]) -> None:
    """Raise `ValueError` unless the weights have exactly the names and shapes `needed`."""
    for name in needed.keys() | shapes.keys():
        if name not in shapes:
            raise ValueError(f"the tensor {name} is missing")
        if name not in needed:
            raise ValueError(f"the tensor {name[:80]!r} does not belong to its model")
        if shapes[name] != needed[name]:
            raise ValueError(f"the tensor {name} has the shape {shapes[name]}; its model needs {needed[name]}")

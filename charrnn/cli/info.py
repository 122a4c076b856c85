"""`charrnn info`: describe a checkpoint, from its header alone."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli import streams
from charrnn.cli.model import find_checkpoint
from charrnn.cli.options import CheckpointOption, QuietOption, option
from charrnn.cli.visible import visible
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.checkpoint import Contents
    from charrnn.text.vocabulary import Vocabulary

FREQUENT_UNITS = 20
HISTORY_ROWS = 12
PROGRESS = ("step", "train_loss", "best_step", "best", "halvings", "divergences")  # what a reader can use


def info(
    path: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="A file made by charrnn train.", show_default=False)
    ] = None,
    checkpoint: CheckpointOption = None,
    as_json: Annotated[bool, option("--json", help="One JSON object instead.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Describe a checkpoint: model, vocabulary, training history, parameters by tensor, file size."""
    streams.set_quiet(quiet)
    if path and checkpoint:
        raise UsageError(f"two checkpoints are named, {path} and {checkpoint}; leave one out")

    from charrnn.checkpoint import read_contents

    file = find_checkpoint(checkpoint if path is None else path)
    if not path:
        streams.note(f"checkpoint {file}")
    description = describe(str(file), read_contents(file))
    with streams.Output() as out:
        if as_json:
            text = json.dumps(description, ensure_ascii=False, allow_nan=False)
            out.write((visible(text) if out.terminal else text) + "\n")
        else:
            for line in as_text(description):
                out.write(streams.printable(line) + "\n")


def describe(path: str, contents: Contents) -> dict[str, Any]:
    """All that `info` says, as the object of `--json`. `parameters` counts what is trained; PyTorch's second biases are
    zeros in the file and do not count.
    """
    from charrnn.checkpoint import FORMAT_VERSION, TRAINING_PREFIX
    from charrnn.nn.layout import parameter_count

    checkpoint = contents.checkpoint
    state = {name: shape for name, shape in contents.shapes.items() if name.startswith(TRAINING_PREFIX)}
    return {
        "checkpoint": path,
        "file_size": contents.file_size,
        "format_version": FORMAT_VERSION,
        "model": dataclasses.asdict(checkpoint.model),
        "parameters": parameter_count(checkpoint.model),
        "tensors": {name: list(shape) for name, shape in contents.shapes.items() if name not in state},
        "training_state_bytes": 4 * sum(math.prod(shape) for shape in state.values()),
        "text": dataclasses.asdict(checkpoint.text),
        "vocabulary": {"size": len(checkpoint.vocabulary), "most_frequent": _frequent(checkpoint.vocabulary)},
        "training": checkpoint.training,
        "timings": checkpoint.timings,
    }


def as_text(description: dict[str, Any]) -> Iterator[str]:
    """The lines for a person to read."""
    model, text, vocabulary = description["model"], description["text"], description["vocabulary"]
    yield f"{description['checkpoint']}: {_bytes(description['file_size'])}, format {description['format_version']}"
    yield ""
    cells = model["cells"]
    kind = cells[0] if len(set(cells)) == 1 else ", ".join(cells)
    yield f"model       {kind}, {_count(len(cells), 'layer')} of {model['hidden_size']:,}"
    yield f"input       {_input(model)}"
    unusual = ("peepholes", False), ("rms_norm", False), ("reset_gate", "after"), ("activation", "tanh")
    for name, usual in (*unusual, ("tie_weights", False)):
        if model[name] != usual:
            yield f"{name.replace('_', '-'):11} {_value(model[name])}"
    if model["cutoffs"]:
        yield f"output      adaptive softmax, clusters from unit {', '.join(f'{cut:,}' for cut in model['cutoffs'])}"
    yield f"parameters  {description['parameters']:,}"
    words = [text["unit"], *(name for name in ("pretokenized", "lines") if text[name])]
    yield f"text        {', '.join(words)}; {_count(vocabulary['size'], 'unit')}"
    yield f"frequent    {' '.join(_unit(unit) for unit in vocabulary['most_frequent'])}"
    state = description["training_state_bytes"]
    yield f"training    {f'{_bytes(state)} of state: --resume can go on' if state else 'finished, no state kept'}"
    yield ""
    progress = _dict(description["training"].get("progress"))
    shown = {**description["training"], "good": None, "progress": {name: progress.get(name) for name in PROGRESS}}
    for name, value in (*_flatten(shown), *_flatten(description["timings"], "timings.")):
        yield f"{name:34} {_value(value)}"
    yield from _history(progress.get("history"))
    yield ""
    width = max(len(name) for name in description["tensors"])
    for name, shape in description["tensors"].items():
        yield f"{name:{width}}  {' x '.join(map(str, shape)):>16}  {math.prod(shape):>14,}"


def _frequent(vocabulary: Vocabulary) -> list[str]:
    """The most frequent units, without <unk> and <eos>."""
    return list(vocabulary.units[2 : 2 + FREQUENT_UNITS])


def _unit(unit: str) -> str:
    return repr(unit) if " " in unit else streams.printable(unit)


def _input(model: dict[str, Any]) -> str:
    return f"embedding of {model['embedding_size']:,}" if model["embedding_size"] else "one-hot"


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` as `a.b`, 1; lists of records are summed up."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
            yield f"{prefix}{name}", _count(len(value), "record")
        elif value is not None:
            yield f"{prefix}{name}", value


def _history(history: Any) -> Iterator[str]:
    """A table of the validations, at most HISTORY_ROWS of them, evenly spread, the last one included."""
    if not isinstance(history, list) or not all(isinstance(row, list) and len(row) == 3 for row in history):
        return
    count = min(HISTORY_ROWS, len(history))
    if count:
        yield ""
        yield "    step  training loss  validation loss"
    for i in range(count):
        step, training, validation = (_value(cell) for cell in history[(i + 1) * len(history) // count - 1])
        yield f"{step:>8}  {training:>13}  {validation:>15}"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes(number: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"

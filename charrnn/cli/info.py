"""`charrnn info`: describe a checkpoint, from its header alone."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli import streams
from charrnn.cli.curve import curve
from charrnn.cli.info_lines import MODELS, Lines, another, sized
from charrnn.cli.model import find_checkpoint, require_file
from charrnn.cli.options import CheckpointOption, QuietOption, option
from charrnn.errors import UsageError
from charrnn.settings import counted

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint, Contents
    from charrnn.text.vocabulary import Vocabulary

FREQUENT_UNITS = 20


def info(
    path: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="A file made by charrnn train.", show_default=False)
    ] = None,
    checkpoint: CheckpointOption = None,
    as_json: Annotated[bool, option("--json", help="One JSON object instead, with all settings and figures.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Describe a checkpoint: what it is, what it learned from and how well, its parameters by tensor."""
    streams.set_quiet(quiet)
    if path and checkpoint:
        raise UsageError(f"two checkpoints are named, {path} and {checkpoint}; leave one out")

    from charrnn.tasks import read_contents

    named = checkpoint if path is None else path
    file = find_checkpoint(named)
    require_file(file, named)
    if not path:
        streams.note(f"checkpoint {file}")
    description = describe(str(file), read_contents(file))
    with streams.Output() as out:
        if as_json:
            out.show_json(description)
        else:
            for line in as_text(description, shutil.get_terminal_size().columns):
                out.write(streams.printable(line) + "\n")


def describe(path: str, contents: Contents) -> dict[str, Any]:
    """The description of a checkpoint, the object of `--json`.

    `parameters` counts trained parameters: the second bias vectors of PyTorch, zeros in the file, are not among them.
    """
    from charrnn.checkpoint import TRAINING_PREFIX

    checkpoint = contents.checkpoint
    state = {name: shape for name, shape in contents.shapes.items() if name.startswith(TRAINING_PREFIX)}
    return {
        "checkpoint": path,
        "file_size": contents.file_size,
        "format_version": contents.format_version,
        "task": checkpoint.format.task,
        "model": dataclasses.asdict(checkpoint.model),
        "parameters": checkpoint.format.parameter_count(checkpoint.model),
        "tensors": {name: list(shape) for name, shape in contents.shapes.items() if name not in state},
        "training_state_bytes": 4 * sum(math.prod(shape) for shape in state.values()),
        **_data(checkpoint),
        "training": checkpoint.training,
        "timings": checkpoint.timings,
    }


def as_text(description: dict[str, Any], width: int = 80) -> Iterator[str]:
    """The description as lines of text, the curve at most `width` columns wide.

    The training metadata of a checkpoint are not trusted: entries that are missing or of another type are left out.
    """
    yield f"{description['checkpoint']}: {sized(description['file_size'])}, format {description['format_version']}"
    yield ""
    for label, line in _model(description):
        yield f"{label:11} {line}"
    yield ""
    for label, line in _training(description):
        yield f"{label:11} {line}"
    progress = _dict(description["training"].get("progress"))
    yield from _curve(progress.get("history"), width)
    yield ""
    longest = max(len(name) for name in description["tensors"])
    for name, shape in description["tensors"].items():
        yield f"{name:{longest}}  {' x '.join(map(str, shape)):>16}  {math.prod(shape):>14,}"


def summary(description: dict[str, Any]) -> Lines:
    """The lines for model and training, each a name and a sentence. The training metadata are not trusted."""
    yield from _model(description)
    yield from _training(description)


def _model(description: dict[str, Any]) -> Lines:
    return MODELS.get(description["task"], another)(description)


def _data(checkpoint: Checkpoint) -> dict[str, Any]:
    """The description of what a model reads and writes."""
    from charrnn.formats import TextSide

    data = checkpoint.data
    if isinstance(data, TextSide):
        vocabulary = {"size": len(data.vocabulary), "most_frequent": _frequent(data.vocabulary)}
        return {"text": dataclasses.asdict(data.config), "vocabulary": vocabulary}
    described = checkpoint.format.describe(checkpoint.model, data)
    return {name: value for name, value in described.items() if name != "model"}


def _training(description: dict[str, Any]) -> Lines:
    """The lines for the training: corpus, losses and length."""
    from charrnn.cli.progress import duration_text, epochs_text

    training, timings = description["training"], description["timings"]
    names = _dict(training.get("source")).get("corpora")
    if isinstance(names, list) and names:
        yield "corpus", ", ".join("standard input" if name == "-" else str(name) for name in names)
    for label, part in (("learned", "training"), ("held out", "validation")):
        sizes = _dict(_dict(training.get("corpus")).get(part))
        counts = [(name, _number(sizes.get(f"{name}s"))) for name in ("record", "sentence", "row", "token")]
        found = [counted(count, name) for name, count in counts if count is not None]
        if found:
            size = _number(sizes.get("bytes"))
            yield label, f"{', '.join(found)}{f', {sized(size)}' if size is not None else ''}"
    options = _dict(training.get("options"))
    chosen = [name for name in map(options.get, ("optimizer", "schedule")) if isinstance(name, str)]
    for name in ("learning_rate", "batch_size", "dropout", "seed"):
        if (value := _number(options.get(name))) is not None:
            chosen.append(f"{name.replace('_', ' ')} {value if isinstance(value, int) else f'{value:g}'}")
    if chosen:
        yield "method", ", ".join(chosen)
    progress = _dict(training.get("progress"))
    best, result = _dict(progress.get("best")), _dict(training.get("result"))
    if "val_loss" in result:  # measured on all of the held-out text, as the validations on the way need not be
        best = {"loss": result["val_loss"], "bits_per_byte": result.get("val_bits_per_byte")}
    if (loss := _number(best.get("loss"))) is not None:
        with_memory = _number(result.get("val_memory_bits_per_byte"))
        bits, step = _number(best.get("bits_per_byte")), _number(progress.get("best_step"))
        yield (
            "best",
            f"validation loss {loss:.4f}"
            + (f", {bits:.3f} bits per byte" if bits is not None else "")
            + (f", {with_memory:.3f} with the memory" if with_memory is not None else "")
            + (f", at step {step:,}" if step is not None else ""),
        )
        yield from _figures(result)
    elif (loss := _number(progress.get("train_loss"))) is not None:
        yield "best", f"training loss {loss:.4f}; nothing was held out"
    step, epochs, seconds = (
        _number(value) for value in (progress.get("step"), training.get("epoch"), timings.get("seconds"))
    )
    lengths = [
        counted(step, "step") if step is not None else "",
        epochs_text(epochs) if epochs is not None else "",
        duration_text(seconds) if seconds is not None else "",
    ]
    if any(lengths):
        yield "length", ", ".join(filter(None, lengths))
    yield "training", _ending(training, description["training_state_bytes"])


def _figures(result: dict[str, Any]) -> Lines:
    """The task's own figures on the held-out part; of text there is none but the bits, which stand beside the loss."""
    from charrnn.cli.progress import figures_text

    found = {name.removeprefix("val_"): value for name, value in result.items() if name.startswith("val_")}
    numbers = {name: _number(value) for name, value in found.items() if name != "loss" and "bits" not in name}
    if text := figures_text(numbers):
        yield "figures", text


def _ending(training: dict[str, Any], state: int) -> str:
    """How far a run has come, and whether it can go on: `state` is the size of its training state."""
    from charrnn.cli.progress import reason_text

    progress, result = _dict(training.get("progress")), _dict(training.get("result"))
    step, plans = _number(progress.get("step")), progress.get("plans")
    last = plans[-1] if isinstance(plans, list) and plans else None
    total = _number(last[1]) if isinstance(last, list) and len(last) == 2 else None
    kept = f"{sized(state)} of state" if state else "no state kept"
    if isinstance(result.get("stopped_by"), str):
        further = ": --resume with a larger budget goes on" if state else ""
        return f"finished ({reason_text(result['stopped_by'])}), {kept}{further}"
    if step is not None and total is not None:
        return f"interrupted at step {step:,} of {total:,}, {kept}{': --resume goes on' if state else ''}"
    return f"{kept}: --resume can go on" if state else f"finished, {kept}"


def _curve(history: Any, width: int) -> Iterator[str]:
    """The validation loss over the steps, or the training loss where nothing was held out."""
    rows = [row for row in history if isinstance(row, list) and len(row) == 3] if isinstance(history, list) else []
    for title, column in (("validation loss", 2), ("training loss", 1)):
        pairs = [(_number(row[0]), _number(row[column])) for row in rows]
        lines = list(curve([(step, loss) for step, loss in pairs if step is not None and loss is not None], width))
        if lines:
            yield from ("", f"{title} by step", *lines)
            return


def _frequent(vocabulary: Vocabulary) -> list[str]:
    """The most frequent units, without <unk> and <eos>."""
    return list(vocabulary.units[2 : 2 + FREQUENT_UNITS])


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    """The value if it is a finite number below 1e18, else None."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
    return value if good else None

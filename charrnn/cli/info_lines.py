"""What `charrnn info` says of the models of each task, as people read it. To add a task, add an entry to `MODELS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from charrnn.cli import streams
from charrnn.settings import counted, listed

SHOWN = 20  # labels, tags and columns
HEADS = {"softmax": "each tag for itself", "crf": "scores of tags and of one after another (CRF)"}
UNUSUAL = ("peepholes", False), ("rms_norm", False), ("reset_gate", "after"), ("activation", "tanh")

Lines = Iterator[tuple[str, str]]  # a label and a sentence each


def language(description: dict[str, Any]) -> Lines:
    """The lines for a language model."""
    model, text, vocabulary = description["model"], description["text"], description["vocabulary"]
    yield "model", layers(model)
    yield "input", embedding(model)
    yield from unusual(model, ("tie_weights", False))
    if model["cutoffs"]:
        yield "output", f"adaptive softmax, clusters from unit {', '.join(f'{cut:,}' for cut in model['cutoffs'])}"
    yield "parameters", f"{description['parameters']:,}"
    sizes = {name: math.prod(shape) for name, shape in description["tensors"].items() if name.startswith("memory.")}
    if units := sizes.pop("memory.text", 0):
        import numpy as np

        nbytes = 4 * sum(sizes.values()) + units * np.min_scalar_type(vocabulary["size"] - 1).itemsize
        yield "memory", f"of {counted(units, 'unit')}, {nbytes / 1e6:.1f} MB"
    words = [text["unit"], *(name for name in ("pretokenized", "lines") if text[name])]
    yield "text", f"{', '.join(words)}; {counted(vocabulary['size'], 'unit')}"
    yield "frequent", " ".join(map(unit, vocabulary["most_frequent"]))


def classify(description: dict[str, Any]) -> Lines:
    """The lines for a classifier."""
    model, text, labels = description["model"], description["text"], description["output"]["labels"]
    yield "task", f"classify: one of {len(labels):,} labels for a text"
    yield "labels", f"{listed([*map(unit, labels)], SHOWN)} (the most frequent first)"
    longest = description["records"]["max_length"]
    cut = f", examples cut to {longest:,}" if longest else ""
    yield "text", f"{text['unit']}; {counted(len(text['vocabulary']), 'unit')}{cut}{columns(description)}"
    beside = f", beside n-grams of up to {counted(model['ngrams'], 'unit')}" if model["ngrams"] else ""
    yield "model", f"{layers(model)}, {embedding(model)}, {model['pool']} pooling{dense(model)}{beside}"
    yield from unusual(model)
    yield "parameters", f"{description['parameters']:,}"


def tag(description: dict[str, Any]) -> Lines:
    """The lines for a tagger."""
    model, output = description["model"], description["output"]
    tags = output["labels"]
    yield "task", f"tag: one of {len(tags):,} tags for each word"
    spans = f"; they are spans ({output['scheme'].upper()})" if output["scheme"] else ""
    yield "tags", listed([*map(unit, tags)], SHOWN) + spans
    parts = f", and of their n-grams of up to {model['char_ngrams']} characters" if model["char_ngrams"] else ""
    words = counted(len(description["text"]["vocabulary"]), "word")
    yield "words", f"sums of vectors of {model['embedding_size']:,}: of {words}{parts}{columns(description)}"
    yield "model", f"{layers(model)}{dense(model)}, {HEADS[model['head']]}"
    yield from unusual(model)
    yield "parameters", f"{description['parameters']:,}"


def forecast(description: dict[str, Any]) -> Lines:
    """The lines for a forecaster."""
    from charrnn.tasks.forecast_words import baseline_errors, numbers

    model, table = description["model"], description["columns"]
    found, scales = table["columns"], table["scales"]
    names, season = found["names"], table["season"]
    rows = max(scales["lags"] + 1, season)
    horizon = table["config"]["horizon"]
    ahead = "row" if horizon == 1 else f"{horizon:,} rows"
    yield "task", f"forecast: the next {ahead} of {counted(len(names), 'column')}, from {counted(rows, 'row')} before"
    dates = f"; dates in {unit(found['time_name'])}" if found["time"] >= 0 else ""
    sequences = f"; sequences by {unit(found['group_name'])}" if found["group"] >= 0 else ""
    yield "columns", listed([*map(unit, names)], SHOWN) + dates + sequences
    yield "numbers", numbers(scales["log"], season, scales["cycles"], model["degrees"])
    for name, errors in baseline_errors(names, table["errors"]["noise"], horizon):
        yield "baselines", f"{unit(name)}, rmse of the next row in the training part: {errors}"
    yield "model", f"{layers(model)}{dense(model)}, beside least squares"
    yield from unusual(model)
    yield "parameters", f"{description['parameters']:,}"


def translate(description: dict[str, Any]) -> Lines:
    """The lines for a translator."""
    model, source, target = description["model"], description["input"], description["text"]
    if source["kind"] == "labels":
        yield "task", f"translate: a text in the style of one of {counted(len(source['labels']), 'label')}"
        yield "labels", listed([*map(unit, source["labels"])], SHOWN)
    else:
        yield "task", "translate: one text from another"
        text = description["source"]
        yield "input", f"{text['unit']}; {counted(len(text['vocabulary']), 'unit')}{columns(description)}"
    yield "output", f"{target['unit']}; {counted(len(target['vocabulary']), 'unit')}"
    attention = "no attention" if model["attention"] == "none" else f"{model['attention']}-product attention"
    yield "model", f"encoder and decoder of {layers(model)}, {embedding(model)}, {attention}"
    yield from unusual(model, ("tie_weights", False))
    yield "parameters", f"{description['parameters']:,}"


def another(description: dict[str, Any]) -> Lines:
    """The lines for a model of any other task."""
    yield "task", description["task"]
    yield "parameters", f"{description['parameters']:,}"
    yield "model", ", ".join(f"{name} {_value(value)}" for name, value in description["model"].items())


MODELS: dict[str, Callable[[dict[str, Any]], Lines]] = {
    "language": language, "classify": classify, "tag": tag, "forecast": forecast, "translate": translate,
}  # fmt: skip


def layers(model: dict[str, Any]) -> str:
    """Cells and sizes of the recurrent layers."""
    cells = model["cells"]
    kind = cells[0] if len(set(cells)) == 1 else ", ".join(cells)
    both = " in both directions" if model.get("bidirectional") else ""
    return f"{kind}, {counted(len(cells), 'layer')} of {model['hidden_size']:,}{both}"


def embedding(model: dict[str, Any]) -> str:
    """What the layers read of a unit."""
    return f"embedding of {model['embedding_size']:,}" if model["embedding_size"] else "one-hot"


def dense(model: dict[str, Any]) -> str:
    """The fully connected layers, with a comma before; empty where there are none."""
    return f", fully connected {', '.join(map(str, model['dense']))}" if model["dense"] else ""


def columns(description: dict[str, Any]) -> str:
    """The columns of records that were read, with a semicolon before; empty where they were the usual ones."""
    found = description["records"]["columns"]
    return f"; columns {', '.join(map(unit, found))}" if found else ""


def unusual(model: dict[str, Any], *more: tuple[str, Any]) -> Lines:
    """The options of the layers that are not at their defaults, each with its name."""
    for name, usual in (*UNUSUAL, *more):
        if model[name] != usual:
            yield name.replace("_", "-"), _value(model[name])


def unit(text: str) -> str:
    """A unit, label or name, in quotes where it has spaces."""
    return repr(text) if " " in text else streams.printable(text)


def _value(value: Any) -> str:
    return "yes" if value is True else str(value)


def sized(number: float) -> str:
    """A number of bytes as text."""
    for name, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return "1 byte" if number == 1 else f"{number:g} bytes"

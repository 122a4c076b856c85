"""What the metadata of a checkpoint says of its model and of both sides of it, for each task as it needs it.

A format turns the metadata of a file into records and back, and knows the tensors that belong to a model. It computes
nothing and needs no Numba.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from charrnn.config import ModelConfig, TextConfig
from charrnn.errors import CharrnnError
from charrnn.models.language import parameter_layout
from charrnn.runtime import safefile
from charrnn.runtime.safefile import Shape
from charrnn.text.units import SURROGATES
from charrnn.text.vocabulary import Vocabulary

# The header ends at 100 MB; this leaves room for the tensors' names and the history beside the vocabulary.
MAX_VOCABULARY_BYTES = 90_000_000
LARGEST_NUMBER = 2**53  # of the integers that describe a model: float64 holds them exactly

Record = TypeVar("Record")


class TaskFormat(Protocol):
    """One task's part of the metadata: `model`, `input`, `output` and the entries that these speak of.

    `input` and `output` say what a side of the model is made of, as `kind` names it: a `vocabulary`, `labels`, or
    `columns` with their scales. A side may instead name the `entry` of the metadata that has this.
    """

    @property
    def task(self) -> str:
        """The name of the task."""

    def parse(self, metadata: Mapping[str, Any]) -> tuple[Any, Any]:
        """The record of the model, a dataclass of options, and that of its data, which can be compared.

        `metadata` is of the newest version. Raises ValueError or CharrnnError, which say the defect.
        """

    def describe(self, model: Any, data: Any) -> dict[str, Any]:
        """The entries of the metadata that `parse` reads. Raises CharrnnError when they are too large for a file."""

    def tensor_shapes(self, model: Any, most: int) -> Mapping[str, Shape]:
        """Name and shape of every weight of a model. Raises ValueError when it must have more than `most` of them."""

    def parameter_count(self, model: Any) -> int:
        """How many numbers are trained."""


@dataclass(frozen=True)
class TextSide:
    """A side of a model that is text: how text is cut into units, and which of them have a number."""

    vocabulary: Vocabulary
    config: TextConfig

    def to_json(self) -> dict[str, Any]:
        """The `text` object of a checkpoint. Raises CharrnnError when the vocabulary is too large for a file."""
        check_header_size(self.vocabulary)
        return dataclasses.asdict(self.config) | self.vocabulary.to_json()

    @classmethod
    def from_json(cls, value: Any, name: str = "text") -> TextSide:
        """Read what `to_json` wrote, the entry `name`. Raises ValueError or CharrnnError, which say the defect."""
        table = require_table(value, name)
        names = {f.name for f in dataclasses.fields(TextConfig)}
        config = record_from_json(TextConfig, {k: v for k, v in table.items() if k in names}, name)
        return cls(Vocabulary.from_json(table), config)


class LanguageFormat:
    """The format of language models: both sides are the text in the entry `text`."""

    task = "language"
    side = {"kind": "vocabulary", "entry": "text"}  # noqa: RUF012 - never changed

    def parse(self, metadata: Mapping[str, Any]) -> tuple[ModelConfig, TextSide]:
        """See `TaskFormat`."""
        for name in ("input", "output"):
            if metadata.get(name) != self.side:
                raise ValueError(f"{name} is {str(metadata.get(name))[:80]}; of a language model it is {self.side}")
        text = require_table(metadata.get("text"), "text")
        model = record_from_json(ModelConfig, require_table(metadata.get("model"), "model"), "model")
        side = TextSide.from_json(text)
        if len(side.vocabulary) != model.vocabulary_size:
            raise ValueError(
                f"its vocabulary has {len(side.vocabulary)} units and its model is made for {model.vocabulary_size}"
            )
        return model, side

    def describe(self, model: ModelConfig, data: TextSide) -> dict[str, Any]:
        """See `TaskFormat`."""
        fields = dataclasses.asdict(model)
        if not model.memory:
            del fields["memory"], fields["memory_size"]
        return {"model": fields, "text": data.to_json(), "input": self.side, "output": self.side}

    def tensor_shapes(self, model: ModelConfig, most: int) -> Mapping[str, Shape]:
        """See `TaskFormat`."""
        if model.num_layers > most:
            raise ValueError(f"its model has {model.num_layers} layers, and the file only {most} tensors")
        return parameter_layout(model).tensor_shapes()

    def parameter_count(self, model: ModelConfig) -> int:
        """See `TaskFormat`."""
        return parameter_layout(model).size


LANGUAGE = LanguageFormat()


def check_header_size(vocabulary: Vocabulary) -> None:
    """Raise `CharrnnError` when `vocabulary` does not fit into the header of the file: to be asked before training."""
    size = len(json.dumps(safefile.canonical_json(vocabulary.to_json()), ensure_ascii=False).encode("utf-8"))
    if size > MAX_VOCABULARY_BYTES:
        raise CharrnnError(
            f"the vocabulary of {len(vocabulary)} units takes {size / 1e6:.0f} MB of the checkpoint's header, and "
            f"{MAX_VOCABULARY_BYTES / 1e6:.0f} MB is the most; lower `max_vocab` or raise `min_count`"
        )


def require_table(value: Any, name: str) -> dict[str, Any]:
    """`value`, if it is a JSON object. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is missing or is not a table of names and values")
    return value


def require_labels(side: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The labels of the entry `name`, which says that it is made of labels. Raises ValueError."""
    labels = side.get("labels")
    if side.get("kind") != "labels" or not isinstance(labels, list):
        raise ValueError(f"{name} has no labels")
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) != len(labels):
        raise ValueError("its labels are not different texts")
    if any(SURROGATES.search(label) for label in labels):
        raise ValueError("one of its labels has a lone surrogate, which no text has")
    return tuple(labels)


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

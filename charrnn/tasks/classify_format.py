"""The format of classifiers in a checkpoint: the input is the text in the entry `text`, the output a list of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.formats import LANGUAGE, TextSide, record_from_json, require_labels, require_table
from charrnn.models.classifier import parameter_layout, tensor_shapes
from charrnn.runtime.safefile import Shape
from charrnn.task_config import ClassifierConfig, RecordsConfig


@dataclass(frozen=True)
class ClassifierSides:
    """How text becomes ids, the labels in the order of their numbers, and how records were read."""

    text: TextSide
    labels: tuple[str, ...]
    records: RecordsConfig


class ClassifyFormat:
    """See `formats.TaskFormat`."""

    task = "classify"

    def parse(self, metadata: Mapping[str, Any]) -> tuple[ClassifierConfig, ClassifierSides]:
        """See `TaskFormat`."""
        if metadata.get("input") != LANGUAGE.side:
            raise ValueError(f"input is {str(metadata.get('input'))[:80]}; of a classifier it is {LANGUAGE.side}")
        labels = require_labels(require_table(metadata.get("output"), "output"), "output")
        model = record_from_json(ClassifierConfig, require_table(metadata.get("model"), "model"), "model")
        text = TextSide.from_json(require_table(metadata.get("text"), "text"))
        for name, found, needed in (
            ("units", len(text.vocabulary), model.vocabulary_size), ("labels", len(labels), model.labels)
        ):  # fmt: skip
            if found != needed:
                raise ValueError(f"it has {found} {name} and its model is made for {needed}")
        records = record_from_json(RecordsConfig, require_table(metadata.get("records"), "records"), "records")
        return model, ClassifierSides(text, labels, records)

    def describe(self, model: ClassifierConfig, data: ClassifierSides) -> dict[str, Any]:
        """See `TaskFormat`."""
        return {
            "model": dataclasses.asdict(model), "text": data.text.to_json(), "input": LANGUAGE.side,
            "records": dataclasses.asdict(data.records), "output": {"kind": "labels", "labels": list(data.labels)},
        }  # fmt: skip

    def tensor_shapes(self, model: ClassifierConfig, most: int) -> Mapping[str, Shape]:
        """See `TaskFormat`."""
        if model.num_layers + len(model.dense) > most:
            raise ValueError(f"its model has {model.num_layers} layers, and the file only {most} tensors")
        return tensor_shapes(model)

    def parameter_count(self, model: ClassifierConfig) -> int:
        """See `TaskFormat`."""
        return parameter_layout(model).size


CLASSIFY = ClassifyFormat()

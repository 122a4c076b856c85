"""The format of taggers in a checkpoint: the input is words of the entry `text`, the output a list of tags."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.formats import LANGUAGE, TextSide, record_from_json, require_labels, require_table
from charrnn.models.tagger import parameter_layout
from charrnn.runtime.safefile import Shape
from charrnn.task_config import RecordsConfig, TaggerConfig
from charrnn.text.tag_schemes import SCHEMES
from charrnn.text.tagged_corpus import TagSet


@dataclass(frozen=True)
class TaggerSides:
    """Which words have a vector of their own, the tags, and how sentences were read."""

    text: TextSide
    tagset: TagSet
    records: RecordsConfig


class TagFormat:
    """See `formats.TaskFormat`."""

    task = "tag"

    def parse(self, metadata: Mapping[str, Any]) -> tuple[TaggerConfig, TaggerSides]:
        """See `TaskFormat`."""
        if metadata.get("input") != LANGUAGE.side:
            raise ValueError(f"input is {str(metadata.get('input'))[:80]}; of a tagger it is {LANGUAGE.side}")
        output = require_table(metadata.get("output"), "output")
        labels, scheme, usual = require_labels(output, "output"), output.get("scheme"), metadata.get("usual_labels")
        if any("\n" in label or "\t" in label for label in labels):
            raise ValueError("one of its labels has a line end or a TAB, which no tag has")
        if scheme not in SCHEMES:
            raise ValueError(f"the scheme of its labels is {str(scheme)[:40]!r}; it must be one of {SCHEMES}")
        model = record_from_json(TaggerConfig, require_table(metadata.get("model"), "model"), "model")
        text = TextSide.from_json(require_table(metadata.get("text"), "text"))
        if text.config.unit != "word" or not text.config.pretokenized:
            raise ValueError(f"its text is cut into {text.config.unit}s; a tagger reads words as they stand")
        if not isinstance(usual, list) or not all(type(tag) is int and 0 <= tag < len(labels) for tag in usual):
            raise ValueError("the usual labels of its words are not numbers of labels")
        for name, found, needed in (
            ("units", len(text.vocabulary), model.vocabulary_size), ("labels", len(labels), model.labels),
            ("usual labels", len(usual), model.vocabulary_size),
        ):  # fmt: skip
            if found != needed:
                raise ValueError(f"it has {found} {name} and its model is made for {needed}")
        records = record_from_json(RecordsConfig, require_table(metadata.get("records"), "records"), "records")
        return model, TaggerSides(text, TagSet(labels, scheme, tuple(usual)), records)

    def describe(self, model: TaggerConfig, data: TaggerSides) -> dict[str, Any]:
        """See `TaskFormat`."""
        tagset = data.tagset
        return {
            "model": dataclasses.asdict(model), "text": data.text.to_json(), "input": LANGUAGE.side,
            "records": dataclasses.asdict(data.records),
            "output": {"kind": "labels", "labels": list(tagset.labels), "scheme": tagset.scheme},
            "usual_labels": list(tagset.usual),
        }  # fmt: skip

    def tensor_shapes(self, model: TaggerConfig, most: int) -> Mapping[str, Shape]:
        """See `TaskFormat`."""
        if model.num_layers + len(model.dense) > most:
            raise ValueError(f"its model has {model.num_layers} layers, and the file only {most} tensors")
        return parameter_layout(model).tensor_shapes()

    def parameter_count(self, model: TaggerConfig) -> int:
        """See `TaskFormat`."""
        return parameter_layout(model).size


TAG = TagFormat()

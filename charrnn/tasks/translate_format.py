"""The format of translators in a checkpoint: the output is the text in the entry `text`, the input that in `source`, or
a list of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.formats import LANGUAGE, TextSide, record_from_json, require_labels, require_table
from charrnn.models.translator import parameter_layout
from charrnn.runtime.safefile import Shape
from charrnn.task_config import FORMS, PairsConfig, TranslatorConfig
from charrnn.text.pair_corpus import LARGEST_RATIO, Side
from charrnn.text.pair_gathering import MOST_LABELS

INPUT = {"kind": "vocabulary", "entry": "source"}


@dataclass(frozen=True)
class TranslatorSides:
    """How texts of both sides become ids, how pairs were read, and how long targets are, see `PairCorpus.ratio`."""

    source: Side
    target: Side
    records: PairsConfig
    ratio: float


class TranslateFormat:
    """See `formats.TaskFormat`."""

    task = "translate"

    def parse(self, metadata: Mapping[str, Any]) -> tuple[TranslatorConfig, TranslatorSides]:
        """See `TaskFormat`."""
        read, output = require_table(metadata.get("input"), "input"), require_table(metadata.get("output"), "output")
        model = record_from_json(TranslatorConfig, require_table(metadata.get("model"), "model"), "model")
        target = _text_side(metadata, LANGUAGE.side, output, "output")
        if read.get("kind") == "labels":
            labels = require_labels(read, "input")
            if len(labels) > MOST_LABELS:
                raise ValueError(f"it has {len(labels)} labels; at most {MOST_LABELS} can be")
            source = Side("none", None, None, labels)
        else:
            source = _text_side(metadata, INPUT, read, "input")
        for name, found, needed in (
            ("units", target.size, model.vocabulary_size),
            ("units of input", source.size, model.source_vocabulary_size),
        ):
            if found != needed:
                raise ValueError(f"it has {found} {name} and its model is made for {needed}")
        records = record_from_json(PairsConfig, require_table(metadata.get("records"), "records"), "records")
        ratio = metadata.get("length_ratio")
        if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 0 < ratio <= LARGEST_RATIO:
            raise ValueError(f"length_ratio is {str(ratio)[:40]!r}, which is not a number above 0, or too large")
        return model, TranslatorSides(source, target, records, float(ratio))

    def describe(self, model: TranslatorConfig, data: TranslatorSides) -> dict[str, Any]:
        """See `TaskFormat`."""
        source, target = data.source, data.target
        assert target.config is not None
        assert target.vocabulary is not None
        read: dict[str, Any] = {"input": {"kind": "labels", "labels": list(source.labels)}}
        if source.config is not None and source.vocabulary is not None:
            text = TextSide(source.vocabulary, source.config).to_json()
            read = {"input": {**INPUT, "form": source.form}, "source": text}
        return {
            "model": dataclasses.asdict(model), **read, "text": TextSide(target.vocabulary, target.config).to_json(),
            "output": {**LANGUAGE.side, "form": target.form}, "records": dataclasses.asdict(data.records),
            "length_ratio": data.ratio,
        }  # fmt: skip

    def tensor_shapes(self, model: TranslatorConfig, most: int) -> Mapping[str, Shape]:
        """See `TaskFormat`."""
        if model.num_layers > most:
            raise ValueError(f"its model has {model.num_layers} layers, and the file only {most} tensors")
        return parameter_layout(model).tensor_shapes()

    def parameter_count(self, model: TranslatorConfig) -> int:
        """See `TaskFormat`."""
        return parameter_layout(model).size


def _text_side(metadata: Mapping[str, Any], expected: Mapping[str, str], found: dict[str, Any], name: str) -> Side:
    """The side of a model that is text. Raises ValueError or CharrnnError, which say the defect."""
    form = found.get("form")
    if found != {**expected, "form": form} or form not in FORMS:
        raise ValueError(
            f"{name} is {str(found)[:80]}; of a translator it is {dict(expected)} and the `form` one of {FORMS}"
        )
    text = TextSide.from_json(metadata.get(expected["entry"]), expected["entry"])
    if text.config.unit == "byte" and form != "none":
        raise ValueError(f"the form of {name} is {form}, and bytes have none")
    return Side(str(form), text.config, text.vocabulary)


TRANSLATE = TranslateFormat()

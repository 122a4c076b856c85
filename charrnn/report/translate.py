"""The sections of a translator: attention maps, errors by length, and outputs beside the right ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from charrnn.report import draw, page
from charrnn.report.page import Item, Section
from charrnn.report.text import percent, unit_text, visible
from charrnn.tasks.trained_translator import TrainedTranslator, as_read
from charrnn.tasks.translate_figures import unit_errors
from charrnn.tasks.translate_results import Output

MOST_SOURCES = 200
LONGEST = 400  # characters of a source that is translated
MAPS = 4
MAP_UNITS = 40  # of a side of a map
EXAMPLES = 15
SAMPLES = 3  # of a label
LABELS = 12


def sections(
    model: TrainedTranslator, records: Sequence[tuple[bytes, bytes]] | None, seed: int
) -> Iterator[Section]:  # fmt: skip
    """See `report.sections`; records are sources with their targets."""
    if model.labels:
        yield Section("What it writes", "", [_samples(model, seed)])
    if records is None or model.labels:
        return
    references: dict[bytes, list[bytes]] = {}
    for source, target in records:
        if len(source) <= LONGEST and (source in references or len(references) < MOST_SOURCES):
            references.setdefault(source, []).append(target)
    if not references:
        return
    outputs = [best[0] for best in model.predict(list(references), alignment=model.has_alignment)]
    errors = [_error(model, output, right) for output, right in zip(outputs, references.values(), strict=True)]
    exact = float(np.mean([error == 0 for error, _ in errors]))
    introduction = (
        f"{len(references):,} sources, of at most {LONGEST} bytes: {percent(exact)} of the outputs are a right one, "
        "unit for unit."
    )
    examples = list(zip(references, references.values(), outputs, errors, strict=True))
    yield Section("How it does on held-out pairs", introduction, [*_by_length(errors), _examples(examples)])
    if maps := list(_maps(outputs, errors)):
        yield Section("Where it looks", "", maps)


def _error(model: TrainedTranslator, output: Output, right: Sequence[bytes]) -> tuple[int, int]:
    """Edits from the nearest right output to the output, in units, and the units of that one."""
    split = model.vocabulary.split
    found = split(as_read(output.data, model.sides.target))
    return unit_errors(found, [split(as_read(text, model.sides.target)) for text in right])


def _samples(model: TrainedTranslator, seed: int) -> Item:
    """Samples of each label."""
    found = []
    for label in model.labels[:LABELS]:
        drawn = model.sample(label, count=SAMPLES, seed=seed)
        found.append((visible(label, 60), "\n".join(visible(text, 400, keep="\n\t") for text in drawn)))
    return page.texts(
        "Samples of each label",
        "For each label a few texts, drawn with the probabilities that the model computes. They show what it takes to "
        "be the style of the label.",
        found,
    )  # fmt: skip


def _by_length(errors: Sequence[tuple[int, int]]) -> Iterator[Item]:
    """Errors by the length of the right output."""
    lengths = np.array([length for _, length in errors])
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, 7)).round().astype(np.int64))
    groups = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(len(edges) - 2, 0))
    names, values = [], []
    for group in range(max(len(edges) - 1, 1)):
        chosen = [one for one, of in zip(errors, groups, strict=True) if of == group]
        if chosen:
            inside = [length for _, length in chosen]
            names.append(f"{min(inside)}-{max(inside)}" if min(inside) < max(inside) else f"{min(inside)}")
            values.append(sum(error for error, _ in chosen) / max(sum(inside), 1))
    if len(names) < 2:
        return
    mean = sum(error for error, _ in errors) / max(int(lengths.sum()), 1)
    yield page.figure(
        "Errors by length",
        "Insertions, deletions and replacements for each unit of the right output, by how long that is; the dashed "
        "line is the mean of all. Without attention errors grow with the length, since one vector has to hold it all.",
        draw.bars(names, values, "units of the right output", "errors per unit", level=mean),
    )  # fmt: skip


Example = tuple[bytes, list[bytes], Output, tuple[int, int]]


def _examples(examples: Sequence[Example]) -> Item:
    """Outputs beside the right ones, the worst ones and some others."""
    ordered = sorted(examples, key=lambda one: -one[3][0] / max(one[3][1], 1))
    chosen = ordered[: EXAMPLES - 5] + ordered[EXAMPLES - 5 :: max(1, (len(ordered) - EXAMPLES + 5) // 5)][:5]
    rows = [
        (visible(source.decode("utf-8", "replace"), 160), visible(output.text, 160),
         visible(right[0].decode("utf-8", "replace"), 160), f"{error:g}")
        for source, right, output, (error, _) in chosen
    ]  # fmt: skip
    return page.table(
        "Outputs and what was right",
        "The worst outputs first, then some of the others; the last column counts the units that are wrong. An output "
        "that differs from the given one may still be right.",
        ("input", "output", "right", "errors"), rows, texts=3,
    )  # fmt: skip


def _maps(outputs: Sequence[Output], errors: Sequence[tuple[int, int]]) -> Iterator[Item]:
    """The attention over the source at each unit of some outputs."""
    fitting = [
        n for n, one in enumerate(outputs)
        if one.alignment is not None and one.units and len(one.source_units) > 1
    ]  # fmt: skip
    fitting.sort(key=lambda n: max(len(outputs[n].units), len(outputs[n].source_units)) > MAP_UNITS)
    wrong = [n for n in fitting if errors[n][0]][: MAPS // 2]
    chosen = [n for n in fitting if not errors[n][0]][: MAPS - len(wrong)] + wrong
    for n in chosen:
        one = outputs[n]
        assert one.alignment is not None
        shown = one.alignment[:MAP_UNITS, :MAP_UNITS]
        written = [*map(unit_text, one.units), "⟨end⟩"][: len(shown)]
        read = [*map(unit_text, one.source_units[:-1]), "⟨end⟩"][: shown.shape[1]]
        heats = [[page.heat(float(value)) for value in row] for row in shown]
        yield page.matrix(
            f"Attention: {visible(one.text, 60)}",
            "A row is a unit that was written, a column one of the source; the darker, the more the decoder looked "
            "there when it wrote. A dark diagonal means that the output follows the order of the source.",
            written, read, [[""] * len(row) for row in heats], heats, "written \\ read",
        )  # fmt: skip

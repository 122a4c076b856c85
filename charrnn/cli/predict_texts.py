"""`charrnn predict` of a translator: the most probable output of each line, or the best few."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.score_output import number
from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import listed
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_translator import BEAM, TrainedTranslator
from charrnn.tasks.translate_results import Output
from charrnn.text.pair_corpus import LONGER
from charrnn.text.vocabulary import UNKNOWN

WIDEST = 12  # characters of a unit in a table of alignment
AT_ONCE = 1000  # lines, whose outputs are in memory together


def write(model: TrainedTranslator, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the output of each line as soon as it is read."""
    if asked.alignment and not model.has_alignment:
        raise UsageError("--alignment shows the attention, and the model has none; leave it out")
    if asked.beam is not None and (asked.nbest or 1) > asked.beam:
        raise UsageError(
            f"--nbest is {asked.nbest} and --beam {asked.beam}, and the search finds no more outputs than it keeps; "
            "give a larger --beam, or leave it out"
        )
    fields = asked.text_field is not None
    with streams.Output() as out:
        if asked.header:
            columns = ["rank", "logprob"] * (asked.nbest is not None) + ["output"] + ["text"] * fields
            out.write("\t".join(columns) + "\n")
        for records in _records(model, chunks, asked):
            for line, found in records:
                if asked.format == "jsonl":
                    pieces = [streams.encode(_json(line, found, asked) + "\n")]
                else:
                    pieces = list(_tsv(line, found, asked))
                for piece in pieces:
                    out.show(piece)
            out.flush()


def warn_of_cut(lengths: Iterable[tuple[int, bool]]) -> bool:
    """Whether an output, of these units, did not end, of which there is a warning."""
    cut = next((units for units, ended in lengths if not ended), None)
    if cut is not None:
        streams.warn(
            f"an output did not end and was cut after {cut:,} units: at most {LONGER:g} times as long as "
            "outputs were in training for the same length of input"
        )
    return cut is not None


def warn_of_unknown(model: TrainedTranslator, sources: Sequence[bytes], name: str) -> bool:
    """Whether a source has units that the model does not know, of which there is a warning; labels are refused."""
    if model.labels:
        return False
    unknown = dict.fromkeys(
        unit
        for source in sources
        for unit, number in zip(model.source_units(source), model.source_ids(source).tolist(), strict=True)
        if number == UNKNOWN
    )
    if unknown:
        shown = listed([*map(repr, unknown)], 5)
        streams.warn(f"{name} has units that the model does not know: {shown}; read as the unknown token")
    return bool(unknown)


def _warn_of_source(model: TrainedTranslator, sources: Sequence[bytes], asked: Asked) -> bool:
    """Whether there is something odd in the sources, of which there is a warning: TABs, or else unknown units."""
    if not model.labels and asked.text_field is None and any(b"\t" in source for source in sources):
        streams.warn(f"{asked.name} has TABs, and each line is read as one input; --text-field 1 reads the first field")
        return True
    return not asked.copy_unknown and warn_of_unknown(model, sources, asked.name)


def _records(
    model: TrainedTranslator, chunks: Iterable[list[Line]], asked: Asked
) -> Iterator[Iterable[tuple[Line, list[Output]]]]:
    """Some lines at a time with their best outputs. Raises CharrnnError at an unknown label, after those before it."""
    cut, odd, count = False, False, 0  # lines
    for chunk in chunks:
        for start in range(0, len(chunk), AT_ONCE):
            some = list(takewhile(lambda line: model.knows(line.data), chunk[start : start + AT_ONCE]))
            odd = odd or _warn_of_source(model, [line.data for line in some], asked)
            found = model.predict(
                [line.data for line in some], beam=asked.beam or BEAM, best=asked.nbest or 1,
                copy_unknown=asked.copy_unknown, alignment=asked.alignment,
            )  # fmt: skip
            cut = cut or warn_of_cut((len(output.units), output.ended) for outputs in found for output in outputs)
            yield zip(some, found, strict=True)
            count += len(some)
            if len(some) < len(chunk[start : start + AT_ONCE]):
                try:
                    model.source_ids(chunk[start + len(some)].data)  # raises
                except CharrnnError as error:
                    raise CharrnnError(f"{asked.name}, line {count + 1}: {error}") from None


def _tsv(line: Line, found: list[Output], asked: Asked) -> Iterator[bytes]:
    """`output`, or with several `rank TAB logprob TAB output`, and where a field was read, the whole line after it."""
    for rank, output in enumerate(found, 1):
        before = f"{rank}\t{number(output.logprob)}\t".encode() if asked.nbest is not None else b""
        after = b"" if line.whole is None else b"\t" + line.whole
        yield before + output.data + after + b"\n"
        if asked.alignment:
            yield streams.encode(alignment_table(output))


def _json(line: Line, found: list[Output], asked: Asked) -> str:
    """One JSON object."""
    values: dict[str, Any] = {"text": line.data.decode("utf-8", "replace"), **_members(found[0], asked)}
    if asked.nbest is not None:
        values["outputs"] = [_members(output, asked) for output in found]
    if line.whole is not None:
        values["line"] = line.whole.decode("utf-8", "replace")
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _members(output: Output, asked: Asked) -> dict[str, Any]:
    """What jsonl says of an output; the alignment has a row for each of its units and its end."""
    values = {"output": output.text, "logprob": output.logprob, "tokens": len(output.units) + output.ended}
    if not output.ended:
        values["cut"] = True
    if asked.alignment and output.alignment is not None:
        rows = [[round(float(weight), 6) for weight in row] for row in output.alignment]
        values |= {"source_units": output.source_units, "output_units": _rows(output), "alignment": rows}
    return values


def alignment_table(output: Output) -> str:
    """The attention as a table: a row for each unit of the output, a column for each of the source, per cent."""
    assert output.alignment is not None
    names = _rows(output)
    heads = [_short(unit) for unit in output.source_units]
    widths = [max(3, len(head)) for head in heads]
    first = max((len(_short(name)) for name in names), default=0)
    lines = [f"{'':{first}}  " + " ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))]
    for name, row in zip(names, output.alignment.tolist(), strict=False):
        cells = (f"{100 * weight:.0f}" if weight >= 0.005 else "." for weight in row)
        joined = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        lines.append(f"{_short(name):{first}}  {joined}")
    return "\n".join([*lines, ""]) + "\n"


def _rows(output: Output) -> list[str]:
    """What the rows of an alignment stand for: the units of the output, and its end if it has one."""
    return [*output.units, *["<eos>"] * output.ended]


def _short(unit: str) -> str:
    """A unit in a table."""
    unit = visible(unit.strip()) or repr(unit)
    return unit if len(unit) <= WIDEST else unit[: WIDEST - 1] + "…"

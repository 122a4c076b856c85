"""`charrnn score` of a translator: how probable the output of each record is given its input, and figures over all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.predict_texts import warn_of_cut
from charrnn.cli.record_lines import columns_of, hint_of, read_records
from charrnn.cli.score_output import json_text
from charrnn.cli.score_writer import json_line, note_empty, tsv, write_scores
from charrnn.config import TextConfig
from charrnn.tasks.score_records import Line, perplexity
from charrnn.tasks.trained_translator import TrainedTranslator, as_read
from charrnn.tasks.translate_figures import corpus_figures, output_errors
from charrnn.tasks.translate_results import PairScore
from charrnn.text.fields import LineStream
from charrnn.text.pairs import PairReader
from charrnn.text.reader import BYTES_AS_TEXT


class Scored(NamedTuple):
    """A record: its line, both sides, its score, which is None for an unknown label, and its tokens."""

    line: Line
    source: bytes
    target: bytes
    score: PairScore | None
    tokens: int


class ScoredPairReader(PairReader):
    """The pairs to score; an empty output, which beam search may have found, has a probability as well."""

    needs_output = False


class PairSummary:
    """The figures of many scores. All records are kept in memory: those of one source are references of one another."""

    def __init__(self, model: TrainedTranslator) -> None:
        self.records = self.tokens = self.oov = self.unknown = 0
        self.logprob = 0.0
        self._model = model
        self._references: dict[bytes, list[bytes]] = {}

    def add(self, scores: list[Scored]) -> None:
        """Add the scores of a chunk."""
        known = [one.score for one in scores if one.score is not None]
        self.records += len(scores)
        self.unknown += len(scores) - len(known)
        self.tokens += sum(score.tokens for score in known)
        self.oov += sum(score.oov for score in known)
        self.logprob = math.fsum([self.logprob, *(score.logprob for score in known)])
        for one in scores:
            self._references.setdefault(one.source, []).append(one.target)

    def as_dict(self, log_unit: float) -> dict[str, Any]:
        """A JSON object: probabilities are over the records whose label, if it is one, is known; exact match and errors
        over the different sources, each with its references. These are null for labels, of which no output is right."""
        sources = list(self._references)
        figures: dict[str, Any] = {"exact_match": None, "token_error_rate": None, **corpus_figures([], [])}
        if sources and not self._model.labels:
            figures = self._figures(sources)
        return {
            "records": self.records,
            "sources": len(sources),
            "logprob": self.logprob / log_unit + 0.0,
            "tokens": self.tokens,
            "oov": self.oov,
            "perplexity": perplexity(self.logprob, self.tokens) if self.tokens else None,
            **figures,
            "unknown_labels": self.unknown,
        }

    def _figures(self, sources: list[bytes]) -> dict[str, Any]:
        """The figures of the outputs that the model writes."""
        model = self._model
        found = [best[0] for best in model.predict(sources)]
        warn_of_cut((len(output.units), output.ended) for output in found)
        references = [self._references[source] for source in sources]
        errors = output_errors(
            (_units(model, output.data), [_units(model, text) for text in texts])
            for output, texts in zip(found, references, strict=True)
        )
        written = [[text.decode("utf-8", "replace") for text in texts] for texts in references]
        return {**errors, **corpus_figures([output.text for output in found], written)}


def write(model: TrainedTranslator, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each record, or with --summary one JSON object; warn of unknown labels.

    Raises CharrnnError at a line that is no record, after the lines before it have been written.
    """
    total = PairSummary(model)
    draw = _json_line if asked.format == "jsonl" else _tsv
    records = unknown = 0

    def lines() -> Iterator[Iterable[bytes | str]]:
        nonlocal records, unknown
        for scores in _scored(model, chunks, asked):
            records += len(scores)
            unknown += sum(one.score is None for one in scores)
            if asked.summary:
                total.add(scores)
            yield (draw(one, asked.log_unit) for one in scores)

    write_scores(lines(), lambda: total.as_dict(asked.log_unit), asked)
    note_empty(asked, records)
    if unknown:
        streams.warn(f"records whose label the model does not know: {unknown:,}")


def pairs(
    model: TrainedTranslator, chunks: Iterable[list[Line]], asked: Asked
) -> Iterator[list[tuple[Line, tuple[bytes, bytes]]]]:
    """Line, and source and target, of the records that each chunk ends, see `read_records`."""
    columns = columns_of(asked, model.sides.records.columns)
    hint = hint_of(
        asked, columns, "charrnn predict needs no output", "--columns 1,2 reads an input, a TAB and an output"
    )  # fmt: skip
    unit = "byte" if "byte" in (model.unit, model.vocabulary.unit) else "char"

    def reader(lines: LineStream) -> PairReader:
        return ScoredPairReader(lines, TextConfig(), columns)

    for found in read_records(reader, chunks, asked.name, unit=unit, hint=hint):
        yield [(line, (pair.source.encode(BYTES_AS_TEXT), pair.target.encode(BYTES_AS_TEXT))) for line, pair in found]


def _scored(model: TrainedTranslator, chunks: Iterable[list[Line]], asked: Asked) -> Iterator[list[Scored]]:
    """The scores of the records that each chunk ends."""
    for found in pairs(model, chunks, asked):
        known = [model.knows(source) for _, (source, _) in found]
        scores = iter(model.score([pair for (_, pair), is_known in zip(found, known, strict=True) if is_known]))
        yield [
            Scored(line, *pair, next(scores) if is_known else None, len(_units(model, pair[1])) + 1)
            for (line, pair), is_known in zip(found, known, strict=True)
        ]


def _units(model: TrainedTranslator, target: bytes) -> list[Any]:
    """The units of an output."""
    return list(model.vocabulary.split(as_read(target, model.sides.target)))


def _tsv(one: Scored, log_unit: float) -> bytes:
    """One line of fields, the record last."""
    whole = one.line.data if one.line.whole is None else one.line.whole
    return tsv(one.score.logprob if one.score else None, one.tokens, whole, log_unit)


def _json_line(one: Scored, log_unit: float) -> bytes:
    """One JSON object on a line."""
    score = one.score
    more = {"oov": score.oov if score else None, "perplexity": score.perplexity if score else None}
    members = json_line(score.logprob if score else None, one.tokens, log_unit, **more)
    pieces = (b', "text": ', *json_text(one.source), b', "output": ', *json_text(one.target), b"}\n")
    return b"".join(chain((streams.encode(members[:-2]),), pieces))

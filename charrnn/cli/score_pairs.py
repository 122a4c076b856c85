"""`charrnn score` of a translator: how probable the output of each record is given its input, and figures over all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.predict_texts import AT_ONCE, warn_of_cut
from charrnn.cli.score_output import json_text, number
from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line, perplexity
from charrnn.tasks.trained_translator import PairScore, TrainedTranslator, as_read
from charrnn.tasks.translate_figures import corpus_figures, unit_errors
from charrnn.text.fields import SPACES, TAB, shown

HEADER = b"logprob\ttokens\trecord\n"


class Scored(NamedTuple):
    """A record: its line, both sides, and its score."""

    line: Line
    source: bytes
    target: bytes
    score: PairScore


class PairSummary:
    """The figures of many scores. All records are kept in memory: those of one source are references of one another."""

    def __init__(self, model: TrainedTranslator) -> None:
        self.records = self.tokens = self.oov = 0
        self.logprob = 0.0
        self._model = model
        self._references: dict[bytes, list[bytes]] = {}

    def add(self, scores: list[Scored]) -> None:
        """Add the scores of a chunk."""
        self.records += len(scores)
        self.tokens += sum(one.score.tokens for one in scores)
        self.oov += sum(one.score.oov for one in scores)
        self.logprob = math.fsum([self.logprob, *(one.score.logprob for one in scores)])
        for one in scores:
            self._references.setdefault(one.source, []).append(one.target)

    def as_dict(self, log_unit: float) -> dict[str, Any]:
        """A JSON object: exact match and errors are over the different sources, each with its references; null where
        there are none."""
        model, side, warned = self._model, self._model.sides.target, False
        sources = list(self._references)
        outputs: list[str] = []
        exact = errors = units = 0
        for start in range(0, len(sources), AT_ONCE):
            some = sources[start : start + AT_ONCE]
            found = [best[0] for best in model.predict(some)]
            warned = warned or warn_of_cut((len(output.units), output.ended) for output in found)
            for source, output in zip(some, found, strict=True):
                references = [model.vocabulary.split(as_read(text, side)) for text in self._references[source]]
                made = model.vocabulary.split(as_read(output.data, side))
                wrong, length = unit_errors(made, references)
                exact, errors, units = exact + (made in references), errors + wrong, units + length
                outputs.append(output.text)
        texts = [[text.decode("utf-8", "replace") for text in self._references[source]] for source in sources]
        return {
            "records": self.records,
            "sources": len(sources),
            "logprob": self.logprob / log_unit + 0.0,
            "tokens": self.tokens,
            "oov": self.oov,
            "perplexity": perplexity(self.logprob, self.tokens),
            "exact_match": exact / len(sources) if sources else None,
            "token_error_rate": errors / max(1, units) if sources else None,
            **corpus_figures(outputs, texts),
        }


def write(model: TrainedTranslator, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each record, or with --summary one JSON object.

    Raises CharrnnError at a line that is no record, after the lines before it have been written.
    """
    total = PairSummary(model)
    with streams.Output() as out:
        if asked.header:
            out.write(HEADER)
        for scores in _scored(model, chunks):
            if asked.summary:
                total.add(scores)
                continue
            for one in scores:
                piece = _json_line(one, asked.log_unit) if asked.format == "jsonl" else _tsv(one, asked.log_unit)
                out.write(visible(piece.decode("utf-8", "replace"), keep="\t\n") if out.terminal else piece)
            out.flush()
        if asked.summary:
            text = json.dumps(total.as_dict(asked.log_unit), ensure_ascii=False, allow_nan=False)
            out.write((visible(text) if out.terminal else text) + "\n")
    if asked.summary and not total.records:
        streams.note("the input is empty: nothing was scored, and the zeros say nothing")


def _scored(model: TrainedTranslator, chunks: Iterable[list[Line]]) -> Iterator[list[Scored]]:
    """The scores of each chunk of records."""
    for found in _parsed(chunks):
        scores = model.score([(source, target) for _, source, target in found])
        yield [Scored(*record, score) for record, score in zip(found, scores, strict=True)]


def _parsed(chunks: Iterable[list[Line]]) -> Iterator[list[tuple[Line, bytes, bytes]]]:
    """Line, source and target of each record. Blank lines are skipped, as in training; an output may be empty."""
    count = blank = 0
    for chunk in chunks:
        found: list[tuple[Line, bytes, bytes]] = []
        for line in chunk:
            count += 1
            if not line.data.strip(SPACES.encode()):
                blank += 1
                continue
            fields = line.data.split(TAB.encode())
            if len(fields) != 2:
                if found:
                    yield found
                what = "has no TAB" if len(fields) == 1 else f"has {len(fields)} columns"
                raise CharrnnError(
                    f"line {count} {what}: {shown(line.data.decode('utf-8', 'replace'))}; a record is an input, a TAB "
                    "and an output (charrnn predict needs no output)"
                )
            found.append((line, fields[0], fields[1]))
        if found:
            yield found
    if blank:
        streams.note(f"blank lines were skipped: {blank:,}")


def _tsv(one: Scored, log_unit: float) -> bytes:
    """One line of fields, the record last."""
    whole = one.line.data if one.line.whole is None else one.line.whole
    return f"{number(one.score.logprob / log_unit)}\t{one.score.tokens}\t".encode() + whole + b"\n"


def _json_line(one: Scored, log_unit: float) -> bytes:
    """One JSON object on a line."""
    score = one.score
    values = {
        "logprob": score.logprob / log_unit + 0.0, "tokens": score.tokens, "oov": score.oov,
        "perplexity": score.perplexity,
    }  # fmt: skip
    members = streams.encode(json.dumps(values, allow_nan=False)[:-1])
    return b"".join(
        (members, b', "text": ', *json_text(one.source), b', "output": ', *json_text(one.target), b"}\n")
    )  # fmt: skip

"""`charrnn score` of a tagger: how probable the tags of each sentence are, and figures over all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator

import numpy as np

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.conll_lines import Block, Blocks
from charrnn.cli.predict_tags import columns_of
from charrnn.cli.score_output import number
from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line
from charrnn.tasks.tag_figures import TagFigures
from charrnn.tasks.trained_tagger import Analysis, TrainedTagger
from charrnn.text.fields import shown
from charrnn.text.tagged import split_spaces

HEADER = b"logprob\ttokens\trecord\n"


def write(model: TrainedTagger, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each sentence, or with --summary one JSON object; warn of unknown tags.

    Raises CharrnnError at a line that is no record, after the sentences before it have been written.
    """
    figures, unknown = TagFigures(model.tagset), 0
    source = _slashed(chunks) if asked.from_text else Blocks(chunks, asked.name, columns_of(model, asked), tagged=True)
    with streams.Output() as out:
        if asked.header:
            out.write(HEADER)
        for read in source:
            blocks = [block for block in read if block.tokens]
            tags = [model.as_read(block.tags) for block in blocks]
            scores = model.analyse([block.tokens for block in blocks], tags)
            unknown += sum(score.logprob is None for score in scores)
            if asked.summary:
                _add(model, figures, tags, scores)
                continue
            for block, own, score in zip(blocks, tags, scores, strict=True):
                piece = (_json_line if asked.format == "jsonl" else _tsv)(model, block, own, score, asked.log_unit)
                out.write(visible(piece, keep="\t\n") if out.terminal else streams.encode(piece))
            out.flush()
        if asked.summary:
            text = json.dumps(figures.as_dict(), ensure_ascii=False, allow_nan=False)
            out.write((visible(text) if out.terminal else text) + "\n")
    if asked.summary and not figures.sentences:
        streams.note("the input is empty: nothing was scored, and the zeros say nothing")
    if unknown:
        streams.warn(f"sentences with a tag that the model does not know: {unknown:,}")


def _add(model: TrainedTagger, figures: TagFigures, tags: list[list[str]], scores: list[Analysis]) -> None:
    """Add sentences to the figures."""
    if not scores:
        return
    numbers = {label: place for place, label in enumerate(model.labels)}
    others = {tag: -1 - place for place, tag in enumerate(figures.others)}
    true = []
    for tag in (tag for sentence in tags for tag in sentence):
        found = numbers.get(tag)
        true.append(others.setdefault(tag, -1 - len(others)) if found is None else found)
    figures.others = list(others)
    figures.add(
        np.array(true, np.int32), np.concatenate([score.best for score in scores]),
        np.concatenate([score.ids for score in scores]), np.array([len(sentence) for sentence in tags], np.int64),
    )  # fmt: skip


def _slashed(chunks: Iterable[list[Line]]) -> Iterator[list[Block]]:
    """A block for each line of `token/TAG` that white space separates."""
    count = 0
    for chunk in chunks:
        for line in chunk:
            count += 1
            block = Block()
            for part in split_spaces(line.data.decode("utf-8", "replace")):
                token, slash, tag = part.rpartition("/")
                if not slash or not token or not tag:
                    raise CharrnnError(
                        f"TEXT {count}: {shown(part)} is no token/TAG; write the tag of each word after a slash, or "
                        "give CoNLL columns with -i FILE (charrnn predict needs no tags)"
                    )
                block.tokens.append(token)
                block.tags.append(tag)
            yield [block]


def _record(block: Block, tags: list[str]) -> str:
    return " ".join(f"{token}/{tag}" for token, tag in zip(block.tokens, tags, strict=True))


def _tsv(model: TrainedTagger, block: Block, tags: list[str], score: Analysis, log_unit: float) -> str:
    """One line of fields, the sentence last; without a logprob the first is empty."""
    logprob = "" if score.logprob is None else number(score.logprob / log_unit)
    return f"{logprob}\t{len(block.tokens)}\t{_record(block, tags)}\n"


def _json_line(model: TrainedTagger, block: Block, tags: list[str], score: Analysis, log_unit: float) -> str:
    """One JSON object on a line; the logprob of a sentence with an unknown tag is null."""
    logprob = None if score.logprob is None else score.logprob / log_unit + 0.0
    assert logprob is None or math.isfinite(logprob)
    predicted = [model.labels[tag] for tag in score.best.tolist()]
    values = {
        "logprob": logprob, "tokens": len(block.tokens), "words": block.tokens, "tags": tags, "predicted": predicted
    }  # fmt: skip
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"

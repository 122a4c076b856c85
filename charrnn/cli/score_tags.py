"""`charrnn score` of a tagger: how probable the tags of each sentence are, and figures over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.conll_lines import Block, Blocks
from charrnn.cli.predict_tags import columns_of
from charrnn.cli.score_writer import json_line, note_empty, tsv, write_scores
from charrnn.errors import CharrnnError
from charrnn.tasks.score_records import Line
from charrnn.tasks.tag_figures import TagFigures
from charrnn.tasks.trained_tagger import Analysis, TrainedTagger
from charrnn.text.fields import shown
from charrnn.text.tagged import split_spaces


def write(model: TrainedTagger, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each sentence, or with --summary one JSON object; warn of unknown tags.

    Raises CharrnnError at a line that is no record, after the sentences before it have been written.
    """
    figures, unknown = TagFigures(model.tagset), 0
    source = _slashed(chunks) if asked.from_text else Blocks(chunks, asked.name, columns_of(model, asked), tagged=True)
    draw = _json_line if asked.format == "jsonl" else _tsv

    def lines() -> Iterator[Iterable[bytes | str]]:
        nonlocal unknown
        for read in source:
            blocks = [block for block in read if block.tokens]
            tags = [model.as_read(block.tags) for block in blocks]
            scores = model.analyse([block.tokens for block in blocks], tags)
            unknown += sum(score.logprob is None for score in scores)
            if asked.summary:
                _add(model, figures, tags, scores)
            yield (draw(model, *one, asked.log_unit) for one in zip(blocks, tags, scores, strict=True))

    write_scores(lines(), figures.as_dict, asked)
    note_empty(asked, figures.sentences)
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


def _tsv(model: TrainedTagger, block: Block, tags: list[str], score: Analysis, log_unit: float) -> bytes:
    """One line of fields, the sentence last."""
    return tsv(score.logprob, len(block.tokens), _record(block, tags), log_unit)


def _json_line(model: TrainedTagger, block: Block, tags: list[str], score: Analysis, log_unit: float) -> str:
    """One JSON object on a line."""
    predicted = [model.labels[tag] for tag in score.best.tolist()]
    return json_line(
        score.logprob, len(block.tokens), log_unit, words=block.tokens, tags=tags, predicted=predicted
    )  # fmt: skip

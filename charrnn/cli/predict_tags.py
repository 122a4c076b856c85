"""`charrnn predict` of a tagger: the most probable tags of each sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.conll_lines import DOCUMENT, ECHO, Block, Blocks
from charrnn.errors import UsageError
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_tagger import TrainedTagger
from charrnn.text.tag_schemes import OUTSIDE
from charrnn.text.tagged import split_spaces

NO_TAG = b"_"


def write(model: TrainedTagger, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the tags of each sentence as soon as it is read: CoNLL columns, or sentences a line where these are
    read.
    """
    if asked.header:
        raise UsageError("--header is for columns of tsv, and tags have none; leave it out")
    format = asked.format or ("tsv" if asked.from_text else "conll")
    sentences = asked.from_text or format == "tsv"
    if sentences and asked.columns:
        raise UsageError("--columns is for CoNLL columns, and sentences a line are read; leave it out")
    with streams.Output() as out:
        source = _plain(chunks) if sentences else Blocks(chunks, asked.name, columns_of(model, asked), tagged=False)
        for blocks in source:
            tags = [[model.labels[tag] for tag in found.best.tolist()] for found in
                    model.analyse([block.tokens for block in blocks])]  # fmt: skip
            for block, found in zip(blocks, tags, strict=True):
                if isinstance(source, Blocks) and format == "conll":
                    data = _columns(block, found, source.form.separator, OUTSIDE in model.labels)
                elif block.tokens or sentences:
                    data = streams.encode(_sentence(block.tokens, found, format))
                else:
                    continue
                out.show(data)
            out.flush()


def _sentence(words: list[str], tags: list[str], format: str) -> str:
    """A sentence that was read as a line, or any as JSON."""
    if format == "jsonl":
        return json.dumps({"words": words, "tags": tags}, ensure_ascii=False) + "\n"
    pairs = zip(words, tags, strict=True)
    if format == "tsv":
        return " ".join(f"{word}/{tag}" for word, tag in pairs) + "\n"
    return "".join(f"{word} {tag}\n" for word, tag in pairs) + "\n"


def columns_of(model: TrainedTagger, asked: Asked) -> Sequence[str]:
    """The columns that were given, else those that the model was trained with."""
    return asked.columns.split(",") if asked.columns else model.sides.records.columns


def _plain(chunks: Iterable[list[Line]]) -> Iterator[list[Block]]:
    """A block for each line, whose tokens white space separates."""
    for chunk in chunks:
        yield [Block(tokens=split_spaces(line.data.decode("utf-8", "replace"))) for line in chunk]


def _columns(block: Block, tags: list[str], separator: str, outside: bool) -> bytes:
    """The lines of a block as they were read, with a tag at the end of those with a token."""
    between, pieces = separator.encode(), []
    for data, number in block.lines:
        pieces.append(data)
        if number >= 0:
            pieces += (between, streams.encode(tags[number]))
        elif number != ECHO:
            pieces += (between, OUTSIDE.encode() if number == DOCUMENT and outside else NO_TAG)
        pieces.append(b"\n")
    return b"".join(pieces)

"""`charrnn predict` of a tagger: the most probable tags of each sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.conll_lines import DOCUMENT, ECHO, EMPTY, Block, Blocks
from charrnn.errors import UsageError
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_tagger import TrainedTagger
from charrnn.text.tag_schemes import OUTSIDE
from charrnn.text.tagged import split_spaces

NO_TAG = "_"


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
            ends = _line_ends(model, source.form.separator) if isinstance(source, Blocks) else {}
            analyses = model.analyse([block.tokens for block in blocks])
            for block, analysis in zip(blocks, analyses, strict=True):
                best = analysis.best.tolist()
                if ends and format == "conll":
                    data = _columns(block, best, ends)
                elif block.tokens or sentences:
                    data = streams.encode(_sentence(block.tokens, [model.labels[tag] for tag in best], format))
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


def _line_ends(model: TrainedTagger, separator: str) -> dict[int, bytes]:
    """What comes after a line: for each tag by its number, and for what is no token."""
    last = {**dict(enumerate(model.labels)), EMPTY: NO_TAG, DOCUMENT: OUTSIDE if OUTSIDE in model.labels else NO_TAG}
    return {number: streams.encode(f"{separator}{tag}\n") for number, tag in last.items()} | {ECHO: b"\n"}


def _columns(block: Block, tags: list[int], ends: dict[int, bytes]) -> bytes:
    """The lines of a block as they were read, with a tag at the end of those with a token."""
    return b"".join(
        piece
        for data, number in block.lines
        for piece in (data, ends[tags[number] if number >= 0 else number])
    )  # fmt: skip

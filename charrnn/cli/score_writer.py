"""Writes what `charrnn score` says of records: a line each, as soon as there is one, or with --summary one object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.score_output import number

HEADER = b"logprob\ttokens\trecord\n"


def write_scores(lines: Iterable[Iterable[bytes | str]], summary: Callable[[], dict[str, Any]], asked: Asked) -> None:
    """Write the lines of each chunk as soon as they are there; with --summary only what `summary` says at the end."""
    with streams.Output() as out:
        if asked.header:
            out.write(HEADER)
        for chunk in lines:
            if not asked.summary:
                for line in chunk:
                    out.show(line)
                out.flush()
        if asked.summary:
            out.show_json(summary())


def note_empty(asked: Asked, records: int) -> None:
    """Say that a summary is one of nothing, if it is."""
    if asked.summary and not records:
        streams.note("the input is empty: nothing was scored")


def tsv(logprob: float | None, tokens: int, record: str | bytes, log_unit: float) -> bytes:
    """One line of fields, the record last; without a logprob (in nats) the first is empty."""
    value = "" if logprob is None else number(logprob / log_unit)
    return f"{value}\t{tokens}\t".encode() + (streams.encode(record) if isinstance(record, str) else record) + b"\n"


def json_line(logprob: float | None, tokens: int, log_unit: float, **values: Any) -> str:
    """One JSON object on a line; without a logprob (in nats) that is null."""
    value = None if logprob is None else logprob / log_unit + 0.0
    found = {"logprob": value, "tokens": tokens, **values}
    return json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n"

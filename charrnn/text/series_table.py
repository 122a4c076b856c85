"""A table of numbers in memory, cut into a part to learn from and the part after it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.settings import listed
from charrnn.text.corpus import combined_digest, require_readable_once
from charrnn.text.encoding import Digest, hashed
from charrnn.text.reader import Findings, Source, read_text, whole_lines
from charrnn.text.series import SHOWN_NAMES, Columns, Row, TableReader

LEAST_ROWS = 16
MANY_SEQUENCES = 10  # from so many on, whole sequences are held out

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Table:
    """Rows of numbers, values (R, C), in sequences one after the other: sequence n is rows starts[n] to starts[n + 1].

    dates: of the rows, if they have any.
    """

    values: Floats
    starts: Ints
    dates: list[datetime] | None = None

    def rows(self, begin: int, end: int) -> Table:
        """Some rows, from the beginning of a sequence or from within one."""
        inside = self.starts[(self.starts > begin) & (self.starts < end)] - begin
        chosen = None if self.dates is None else self.dates[begin:end]
        return Table(self.values[begin:end], np.concatenate([[0], inside, [end - begin]]), chosen)

    @property
    def lengths(self) -> Ints:
        """The rows of each sequence."""
        return np.diff(self.starts)


@dataclass
class Loaded:
    """What was read: the table, its columns, remarks for the user, the digest."""

    table: Table
    columns: Columns
    digest: str
    notes: list[str] = field(default_factory=list)


def load_table(
    paths: Sequence[str], config: TextConfig, *, columns: Sequence[str] = (), group: str = "",
    known: Columns | None = None,
) -> Loaded:  # fmt: skip
    """Read the files, one after the other, each a history of its own; see `TableReader`.

    Raises CharrnnError for files that cannot be read, are too short, or have other columns than the first.
    """
    require_readable_once(paths)
    rows: list[Row] = []
    starts, notes, digests = [0], list[str](), []
    found = known
    for path in paths:
        with contextlib.closing(Source(path, Path(tempfile.gettempdir()))) as source:
            digest, findings = Digest(), Findings()
            reader = TableReader(
                _lines(source, config, digest, findings), source.name, chosen=columns, group=group,
                replace=config.errors == "replace", known=found,
            )  # fmt: skip
            before = None
            for row in reader:
                if before is not None and row.group != before:
                    starts.append(len(rows))
                rows.append(row._replace(text=""))
                before = row.group
            if reader.columns is None:
                raise CharrnnError(f"{source.name} is empty; give a table of numbers, a row a step of time")
            found = found or reader.columns
            starts.append(len(rows))
            notes += [f"{source.name}: {remark}" for remark in findings.remarks()]
            if reader.unused:
                notes.append(f"{source.name}: columns that are not read: {listed(reader.unused, SHOWN_NAMES)}")
            if reader.replaced:
                notes.append(f"{source.name}: missing numbers are those of the row before: {reader.replaced:,}")
            digests.append(digest.sha256.hexdigest())
    if len(rows) < LEAST_ROWS:
        have = f"there {'is 1 row' if len(rows) == 1 else f'are {len(rows)} rows'}"
        raise CharrnnError(
            f"{', '.join(paths)}: {have}, too little history to forecast from; give {LEAST_ROWS} or more"
        )
    assert found is not None
    values = np.array([row.values for row in rows], np.float64)
    times = [row.date for row in rows if row.date is not None]
    table = Table(values, np.array(starts, np.int64), times if len(times) == len(rows) else None)
    return Loaded(table, found, combined_digest(digests), notes)


def _lines(source: Source, config: TextConfig, digest: Digest, findings: Findings) -> Iterator[tuple[int, str]]:
    blocks = hashed(source.blocks(), digest)
    number = 0
    for piece in whole_lines(read_text(blocks, source.name, config.encoding, config.errors, findings, units=False)):
        for line in piece[:-1].split("\n"):
            number += 1
            yield number, line


def split(table: Table, fraction: float) -> int:
    """The first row that is held out: the last sequences where there are many, else the last rows."""
    count = len(table.lengths)
    rows = len(table.values)
    if count >= MANY_SEQUENCES:
        return int(table.starts[count - max(1, round(fraction * count))]) if fraction else rows
    return rows - round(fraction * rows)


def sizes(rows: int, sequences: int) -> dict[str, Any]:
    """The sizes of a part, for logs and checkpoints."""
    return {"rows": rows, "sequences": sequences}


def joined(table: Table, later: Table) -> Table:
    """The rows of two tables; where both are one sequence, the second goes on with it."""
    values = np.concatenate([table.values, later.values])
    single = len(table.lengths) == len(later.lengths) == 1
    after = later.starts[1:] + len(table.values)
    starts = np.array([0, len(values)]) if single else np.concatenate([table.starts, after])
    dates = None if table.dates is None or later.dates is None else table.dates + later.dates
    return Table(values, starts, dates)

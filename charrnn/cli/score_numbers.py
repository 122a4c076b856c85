"""`charrnn score` of a forecaster: the log density of each row given those before it, and figures over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from charrnn.cli import streams
from charrnn.cli.by_task import Asked
from charrnn.cli.numbers import Piece, Table
from charrnn.cli.score_writer import json_line, note_empty, tsv, write_scores
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import counted
from charrnn.tasks.forecast_figures import SHOWN, Sums, normal
from charrnn.tasks.forecast_format import BASELINES
from charrnn.tasks.forecast_words import compared
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_forecaster import Rolled, Rolling, TrainedForecaster

MODEL = "model"  # beside the names of baselines


def write(model: TrainedForecaster, chunks: Iterable[list[Line]], asked: Asked) -> None:
    """Write the score of each row as it comes, or with --summary one JSON object."""
    horizon = asked.horizon or model.sides.config.horizon
    if horizon > model.sides.config.horizon:
        raise UsageError(
            f"--horizon is {horizon}, and the model was trained with {model.sides.config.horizon}, for which it knows "
            "the errors of baselines; train it with a longer one"
        )
    table = Table(model, chunks, asked.name)
    total = NumberSummary(model, horizon)
    pieces = table.pieces() if asked.last is None else _whole(table)
    written = missing = 0

    def lines() -> Iterator[Iterable[bytes | str]]:
        nonlocal written, missing
        for piece, rolled in _scored(model, pieces, horizon if asked.summary else 1, asked.seed or 0):
            start = 0 if asked.last is None else max(0, len(piece.rows) - asked.last)
            missing += total.add(piece, rolled, start)
            written += len(piece.rows) - start
            yield _lines(model, piece, rolled, start, asked)

    write_scores(lines(), lambda: total.as_dict(asked.log_unit), asked)
    note_empty(asked, written)
    if not written and not asked.summary:
        raise CharrnnError(f"{asked.name} has no rows; give a table like the one the model was trained on")
    if missing:
        streams.note(f"rows without a forecast: {missing:,} (a forecast reads the {model.rows} rows before)")
    for line in total.comparisons() if asked.summary else ():
        streams.note(line)


def _whole(table: Table) -> Iterator[Piece]:
    """Whole sequences."""
    rows: list[Any] = []
    for piece in table.pieces():
        rows = ([] if piece.first else rows) + piece.rows
        if piece.last:
            yield Piece(rows, first=True, last=True)


def _scored(
    model: TrainedForecaster, pieces: Iterable[Piece], horizon: int, seed: int
) -> Iterator[tuple[Piece, Rolled]]:  # fmt: skip
    rolling = Rolling(model, horizon, seed)
    for piece in pieces:
        if piece.first:
            rolling = Rolling(model, horizon, seed)
        if piece.rows:
            yield piece, rolling.add(piece.values, piece.dates)


def _lines(
    model: TrainedForecaster, piece: Piece, rolled: Rolled, start: int, asked: Asked
) -> Iterator[bytes | str]:  # fmt: skip
    """Each row from `start` on: its log density, how many numbers that is of, and the row; no density where it has no
    forecast."""
    densities = rolled.steps[0].log_density(piece.values)
    for n in range(start, len(piece.rows)):
        row, density = piece.rows[n], float(densities[n]) if rolled.known[0][n] else None
        if density is not None and not np.isfinite(density):
            raise CharrnnError(
                f"{asked.name}, line {row.line} has a number that the model says is impossible: it is not positive"
            )
        tokens = 0 if density is None else len(model.names)
        if asked.format == "jsonl":
            yield json_line(density, tokens, asked.log_unit, record=row.text)
        else:
            yield tsv(density, tokens, row.text, asked.log_unit)


class NumberSummary:
    """The figures of each series and horizon, and of the baselines."""

    def __init__(self, model: TrainedForecaster, horizon: int) -> None:
        self._model, self._horizon, self._rows = model, horizon, 0
        self._sums = {
            (name, step, series): Sums()
            for name in (MODEL, *BASELINES)
            for step in range(horizon)
            for series in range(len(model.names))
        }

    def add(self, piece: Piece, rolled: Rolled, start: int) -> int:
        """Add the rows from `start` on; returns how many of them have no forecast."""
        values = piece.values
        chosen = np.arange(len(values)) >= start
        self._rows += int(chosen.sum())
        for step, (known, found) in enumerate(zip(rolled.known, rolled.steps, strict=True)):
            rows = known & chosen
            true = values[rows]
            part = replace(found, location=found.location[rows], scale=found.scale[rows])
            density, central = part.log_densities(true), part.central(true)
            for n in range(len(self._model.names)):
                self._sums[MODEL, step, n].add(true[:, n], part.point[:, n], density[:, n], central[:, n])
                for b, name in enumerate(BASELINES):
                    point = rolled.baselines[step][b][rows][:, n]
                    noise = self._model.baseline_noise[b, step, n]
                    self._sums[name, step, n].add(true[:, n], point, *normal(true[:, n], point, noise))
        return int((chosen & ~rolled.known[0]).sum())

    def as_dict(self, log_unit: float) -> dict[str, Any]:
        """The object of --summary: `rows`, and for each series and horizon its figures, the baselines' beside them."""
        series: dict[str, Any] = {}
        for n, name in enumerate(self._model.names):
            mase = self._model.sides.errors.mase[n]
            series[name] = {}
            for step in range(self._horizon):
                found = {who: self._sums[who, step, n].as_dict(mase) for who in (MODEL, *BASELINES)}
                for figures in found.values():
                    if figures["log_density"] is not None:
                        density = figures["log_density"] / log_unit
                        figures["log_density"] = density if np.isfinite(density) else None
                series[name][str(step + 1)] = {**found.pop(MODEL), "baselines": found}
        first = self._sums[MODEL, 0, 0]
        logprob = sum(self._sums[MODEL, 0, n].density for n in range(len(self._model.names))) / log_unit
        return {
            "rows": self._rows, "forecasts": first.count, "logprob": logprob if np.isfinite(logprob) else None,
            "season": self._model.sides.season, "series": series,
        }  # fmt: skip

    def comparisons(self) -> Iterator[str]:
        """A sentence for each of the first series: whether the model or a baseline is better one row ahead."""
        for n, name in enumerate(self._model.names[:SHOWN]):
            own = self._sums[MODEL, 0, n]
            if own.count:
                others = {who: self._sums[who, 0, n].rmse for who in BASELINES}
                yield f"{name}, on {counted(own.count, 'row')}: {compared(own.rmse, others)}"

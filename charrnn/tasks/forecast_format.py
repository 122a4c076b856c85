"""The format of forecasters in a checkpoint: input and output are the columns in the entry `columns`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.formats import record_from_json, require_table
from charrnn.models.forecaster import parameter_layout, tensor_shapes
from charrnn.runtime.safefile import Shape
from charrnn.task_config import MAX_WINDOW, ForecasterConfig, SeriesConfig
from charrnn.tasks.forecast_windows import Scales, product_count
from charrnn.text.dates import CYCLES, KINDS, Spacing
from charrnn.text.series import Columns

SIDE = {"kind": "columns", "entry": "columns"}
BASELINES = ("naive", "seasonal_naive", "drift", "linear")
MOST_HARMONICS = 10
SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e110  # of numbers that can be read


@dataclass(frozen=True)
class Errors:
    """Errors of baselines in the training part, for intervals and scaled errors.

    `noise`: root mean squares, for each of `BASELINES`, horizon and series in turn; `mase`: of each series the mean
    absolute difference from the value a season ago, or the last one.
    """

    noise: tuple[float, ...]
    mase: tuple[float, ...]


@dataclass(frozen=True)
class ForecastSides:
    """The columns, how they were asked for, their scales, the rows of a season (0: none), the time between rows."""

    columns: Columns
    config: SeriesConfig
    scales: Scales
    errors: Errors
    spacing: Spacing
    season: int

    @property
    def rows(self) -> int:
        """The rows of history that a forecast reads, those that the seasonal value is among included."""
        return max(self.scales.rows, self.season)


_PARTS = {"columns": Columns, "config": SeriesConfig, "scales": Scales, "errors": Errors, "spacing": Spacing}


class ForecastFormat:
    """See `formats.TaskFormat`."""

    task = "forecast"

    def parse(self, metadata: Mapping[str, Any]) -> tuple[ForecasterConfig, ForecastSides]:
        """See `TaskFormat`."""
        for name in ("input", "output"):
            if metadata.get(name) != SIDE:
                raise ValueError(f"{name} is {str(metadata.get(name))[:80]}; of a forecaster it is {SIDE}")
        model = record_from_json(ForecasterConfig, require_table(metadata.get("model"), "model"), "model")
        table = require_table(metadata.get("columns"), "columns")
        parts: dict[str, Any] = {
            name: record_from_json(kind, require_table(table.get(name), f"columns.{name}"), f"columns.{name}")
            for name, kind in _PARTS.items()
        }
        season = table.get("season")
        if type(season) is not int or not 0 <= season <= MAX_WINDOW:
            raise ValueError(f"columns.season is {str(season)[:40]!r}")
        sides = ForecastSides(**parts, season=season)
        _check(model, sides)
        return model, sides

    def describe(self, model: ForecasterConfig, data: ForecastSides) -> dict[str, Any]:
        """See `TaskFormat`."""
        columns = {name: dataclasses.asdict(getattr(data, name)) for name in _PARTS}
        return {
            "model": dataclasses.asdict(model), "columns": {**columns, "season": data.season}, "input": SIDE,
            "output": SIDE,
        }  # fmt: skip

    def tensor_shapes(self, model: ForecasterConfig, most: int) -> Mapping[str, Shape]:
        """See `TaskFormat`."""
        if model.num_layers + len(model.dense) > most:
            raise ValueError(f"its model has {model.num_layers} layers, and the file only {most} tensors")
        return tensor_shapes(model)

    def parameter_count(self, model: ForecasterConfig) -> int:
        """See `TaskFormat`."""
        return parameter_layout(model).size


def _check(model: ForecasterConfig, sides: ForecastSides) -> None:
    """Raise ValueError unless the parts of the metadata belong together and can be computed with."""
    columns, scales, C = sides.columns, sides.scales, model.series
    if len(set(columns.names)) != len(columns.names) or not all(columns.names):
        raise ValueError("its columns have not different names")
    if any(not -1 <= place < 2**31 for place in (columns.time, columns.group)):
        raise ValueError("a column has a place that is out of range")
    if any(not 0 <= place < 2**31 for place in columns.places):
        raise ValueError("a column has a place that is out of range")
    if columns.kind not in (*KINDS, "") or (columns.time >= 0) != bool(columns.kind):
        raise ValueError(f"its dates are of the kind {columns.kind[:40]!r}")
    if sides.spacing.months < 0 or not 0 <= sides.spacing.seconds < 1e12:
        raise ValueError("the time between its rows is out of range")
    if not 0 <= scales.curved <= scales.lags or scales.lags != model.lags:
        raise ValueError(f"its windows have {scales.lags} changes and its model is made for {model.lags}")
    if len(scales.cycles) != len(scales.harmonics) or any(name not in CYCLES for name in scales.cycles):
        raise ValueError("its cycles of dates are unknown")
    if any(not 1 <= count <= MOST_HARMONICS for count in scales.harmonics):
        raise ValueError("its cycles of dates have harmonics that are out of range")
    lengths = {
        "names": (len(columns.names), C), "places": (len(columns.places), C), "centres": (len(scales.centres), C),
        "spreads": (len(scales.spreads), C), "changes": (len(scales.changes), C), "noise": (len(scales.noise), C),
        "widening": (len(scales.widening), C),
        "products": (len(scales.products), product_count(C) if scales.curved else 0),
        "errors": (len(sides.errors.noise), len(BASELINES) * sides.config.horizon * C),
        "mase": (len(sides.errors.mase), C), "features": (scales.width, model.features),
    }  # fmt: skip
    for name, (found, needed) in lengths.items():
        if found != needed:
            raise ValueError(f"it has {found} {name} and its model is made for {needed}")
    positive = (
        *scales.spreads,
        *scales.changes,
        *scales.noise,
        *scales.widening,
        *scales.products,
        *sides.errors.noise,
        *sides.errors.mase,
    )
    if not all(SMALLEST_SCALE <= value <= LARGEST_SCALE for value in positive):
        raise ValueError("a scale of its columns is not a positive number of a usual size")
    if not all(abs(value) <= LARGEST_SCALE for value in scales.centres):
        raise ValueError("a centre of its columns is out of range")


FORECAST = ForecastFormat()

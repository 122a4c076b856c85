"""A trained forecaster: distributions of the next rows of a history, sample paths, predictions row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.errors import CharrnnError
from charrnn.settings import counted
from charrnn.tasks.arguments import all_histories, require_dates
from charrnn.tasks.forecast_distribution import Distribution
from charrnn.tasks.forecast_figures import Baselines
from charrnn.tasks.forecast_format import BASELINES, ForecastSides
from charrnn.tasks.forecast_windows import Floats, batch_of

if TYPE_CHECKING:
    from charrnn.models.forecaster import Forecaster

AT_ONCE = 1024  # windows of a batch
PATHS = 200  # whose spread is that of a forecast of several rows
KNOWN_BEFORE = 1e300  # numbers beyond it are taken for an error of a model that grows without bounds

Dates = Sequence[datetime] | None


class TrainedForecaster:
    """A trained forecaster. It is immutable, and several threads may use it at once: calls wait for each other.

    Results do not depend on the number of threads, nor on the other histories of a call.
    """

    task = "forecast"
    unit = "number"

    def __init__(self, network: Forecaster, sides: ForecastSides) -> None:
        self.network, self.sides, self.names = network, sides, sides.columns.names
        self.rows = sides.rows
        weight, bias = (array.astype(np.float64) for array in (network.baseline_weight, network.baseline_bias))
        self.baselines = Baselines(weight, bias, sides.season)
        shape = (len(BASELINES), sides.config.horizon, len(self.names))
        self.baseline_noise = np.array(sides.errors.noise).reshape(shape)

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, threads: int = 1, precision: str = "float32") -> TrainedForecaster:
        """The forecaster of a checkpoint; `precision` is checked only: numbers are forecast in float32.

        Raises UsageError for `threads` out of range or an unknown `precision`.
        """
        from charrnn.models.forecaster import Forecaster
        from charrnn.runtime.precision import uses_bfloat16

        uses_bfloat16(threads, precision)
        network = Forecaster(checkpoint.model, threads=threads)
        network.load(checkpoint.weights)
        return cls(network, checkpoint.data)

    def __repr__(self) -> str:
        """What the model is made of, in short."""
        config = self.network.config
        made = f"{','.join(config.cells)} of {config.hidden_size}, {counted(self.rows, 'row')} of history"
        return f"<TrainedForecaster: {made}, {counted(len(self.names), 'column')}>"

    def next_rows(self, histories: Floats, dates: Dates = None) -> Distribution:
        """The distributions (N, C) of the rows that follow histories (N, rows, C), which have the dates (N).

        Raises UsageError for another shape or type, and for no dates where the model uses the calendar; CharrnnError
        for a number that has no logarithm where the model takes them.
        """
        scales = self.sides.scales
        histories = all_histories("`histories`", histories, scales.rows, len(self.names))
        require_dates("`dates`", dates, len(histories), needed=bool(scales.cycles))
        z = scales.transform(histories[:, -scales.rows :])
        if not np.isfinite(z).all():
            raise CharrnnError("a number of the history is not positive, and the model takes logarithms")
        return self._next(z, dates)

    def _next(self, z: Floats, dates: Dates) -> Distribution:
        scales, noise = self.sides.scales, np.array(self.sides.scales.noise)
        widened = noise * np.array(scales.widening)
        locations, widths = np.empty((len(z), len(noise))), np.empty((len(z), len(noise)))
        for start in range(0, len(z), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            when = None if dates is None else dates[part]
            some = z[part]
            batch = batch_of(*scales.read(some, scales.places(when, len(some))), None)
            location, log_scale = self.network.distribution(batch)
            locations[part] = some[:, -1] + location * noise
            widths[part] = np.exp(np.clip(log_scale, -50, 50)) * widened
        return Distribution(locations, widths, self.network.config.degrees, scales.log)

    def forecast(
        self, histories: Floats, dates: Dates, horizon: int, seeds: Sequence[Sequence[int]]
    ) -> list[Distribution]:  # fmt: skip
        """The distributions (N, C) of the next rows, one a horizon from 1 on; `dates` (N) are those of the first.

        The first is exact. Of others the location is that of the path of locations, and the scale the spread of sample
        paths around it (Salinas et al. 2020, "DeepAR", doi:10.1016/j.ijforecast.2019.07.001), drawn with `seeds` (N).
        """
        first = self.next_rows(histories, dates)
        if horizon == 1:
            return [first]
        scales = self.sides.scales
        z = scales.transform(histories[:, -scales.rows :])
        locations, window = [first.location], np.concatenate([z[:, 1:], first.location[:, np.newaxis]], axis=1)
        for step in range(1, horizon):
            found = self._next(window, self._later(dates, step))
            locations.append(found.location)
            window = np.concatenate([window[:, 1:], found.location[:, np.newaxis]], axis=1)
        paths = np.stack([
            self.transformed_paths(z[n], None if dates is None else dates[n], horizon, PATHS, seeds[n])
            for n in range(len(z))
        ])  # fmt: skip
        n = first.degrees
        shrink = np.sqrt((n - 2) / n) if n else 1.0  # of a standard deviation, to the scale of Student's t
        distributions = [first]
        for step in range(1, horizon):
            spread = np.sqrt(np.mean((paths[:, :, step] - locations[step][:, np.newaxis]) ** 2, axis=1)) * shrink
            distributions.append(Distribution(locations[step], np.maximum(spread, first.scale * 1e-6), n, first.log))
        return distributions

    def paths(self, history: Floats, date: datetime | None, horizon: int, count: int, seed: Sequence[int]) -> Floats:
        """Possible futures (count, horizon, C) after a history (rows, C); the first row has the date `date`.

        A path depends on `seed`, the history and its number only, not on `count`.
        """
        scales = self.sides.scales
        z = scales.transform(history[-scales.rows :])
        if not np.isfinite(z).all():
            raise CharrnnError("a number of the history is not positive, and the model takes logarithms")
        return scales.back(self.transformed_paths(z, date, horizon, count, seed))

    def transformed_paths(
        self, z: Floats, date: datetime | None, horizon: int, count: int, seed: Sequence[int]
    ) -> Floats:  # fmt: skip
        """`paths` in units of the distribution, after z (rows, C)."""
        generators = [np.random.Generator(np.random.Philox(np.random.SeedSequence([*seed, n]))) for n in range(count)]
        window = np.repeat(z[np.newaxis], count, axis=0)
        steps = []
        for step in range(horizon):
            later = None if date is None else self._later([date] * count, step)
            found = self._next(window, later)
            drawn = np.stack([
                Distribution(found.location[n], found.scale[n], found.degrees, found.log).draw(rng)
                for n, rng in enumerate(generators)
            ])  # fmt: skip
            if not np.abs(drawn).max() < KNOWN_BEFORE:
                raise CharrnnError("a sample path grows beyond all bounds; give a shorter `horizon`")
            steps.append(drawn)
            window = np.concatenate([window[:, 1:], drawn[:, np.newaxis]], axis=1)
        return np.stack(steps, axis=1)

    def _later(self, dates: Dates, step: int) -> Dates:
        """The dates `step` rows later."""
        if dates is None or not step:
            return dates
        try:
            return [self.sides.spacing.after(date, step) for date in dates]
        except OverflowError:
            raise CharrnnError("a date to forecast is beyond the year 9999; give a shorter `horizon`") from None


@dataclass
class Rolled:
    """Rows of one sequence, predicted from those before them.

    For each horizon: `known` (N), whether a row has a forecast; `steps`, the distributions (N, C), of rows without a
    forecast meaningless; `baselines` (baselines, N, C).
    """

    known: list[np.ndarray]
    steps: list[Distribution]
    baselines: list[Floats]


class Rolling:
    """Predicts the rows of one sequence as they come, each from those before it, in bounded memory."""

    def __init__(self, model: TrainedForecaster, horizon: int = 1, seed: int = 0) -> None:
        self.model, self.horizon, self.seed = model, horizon, seed
        C = len(model.names)
        self.count = 0
        self._tail = np.zeros((0, C))
        self._first = np.zeros(C)
        self._before: tuple[np.ndarray, Floats, Floats, Floats] | None = None  # of the last origins

    def add(self, values: Floats, dates: Dates) -> Rolled:
        """The forecasts of rows values (N, C), of the dates (N)."""
        model, H, (N, C) = self.model, self.horizon, values.shape
        rows = model.rows
        if not self.count and N:
            self._first = values[0]
        everything = np.concatenate([self._tail, values])
        begin = len(self._tail)
        ready = np.flatnonzero(self.count + np.arange(N) >= rows)
        location, scale = np.zeros((N, H, C)), np.ones((N, H, C))
        others = np.zeros((len(BASELINES), N, H, C))
        if len(ready):
            histories = everything[begin + ready[:, np.newaxis] - np.arange(rows, 0, -1)]
            when = None if dates is None else [dates[n] for n in ready.tolist()]
            seeds = [(self.seed, self.count + int(n)) for n in ready]
            for step, found in enumerate(model.forecast(histories, when, H, seeds)):
                location[ready, step], scale[ready, step] = found.location, found.scale
            steps = self.count + ready - 1
            first = np.repeat(self._first[np.newaxis], len(ready), axis=0)
            others[:, ready] = model.baselines.all(histories, first, steps, H)
        known = np.zeros(N, np.bool_)
        known[ready] = True
        return self._by_target(known, location, scale, others, everything, N)

    def _by_target(
        self, known: np.ndarray, location: Floats, scale: Floats, others: Floats, everything: Floats, N: int
    ) -> Rolled:  # fmt: skip
        """Forecasts by origin, those of the last origins before them included, as forecasts by the row they are of."""
        H, before = self.horizon, 0
        if self._before is not None:
            before = len(self._before[0])
            known = np.concatenate([self._before[0], known])
            location, scale = np.concatenate([self._before[1], location]), np.concatenate([self._before[2], scale])
            others = np.concatenate([self._before[3], others], axis=1)
        degrees, log = self.model.network.config.degrees, self.model.sides.scales.log
        result = Rolled([], [], [])
        for step in range(H):
            origins = before + np.arange(N) - step
            there = origins >= 0
            origins = np.maximum(origins, 0)
            result.known.append(known[origins] & there)
            result.steps.append(Distribution(location[origins, step], scale[origins, step], degrees, log))
            result.baselines.append(others[:, origins, step])
        keep = H - 1
        if keep:
            self._before = known[-keep:], location[-keep:], scale[-keep:], others[:, -keep:]
        self.count += N
        self._tail = everything[-self.model.rows :]
        return result

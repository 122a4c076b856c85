"""The task `forecast`: P(next row | rows so far), numbers, many to one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError, NotFiniteError, UsageError
from charrnn.models.forecaster import BASELINE_BIAS, BASELINE_WEIGHT, Start, parameter_layout
from charrnn.runtime.processes import ALONE, Processes
from charrnn.task_config import ForecasterConfig, SeriesConfig
from charrnn.tasks import forecast_defaults
from charrnn.tasks.forecast_defaults import Prepared
from charrnn.tasks.forecast_figures import errors_by_name
from charrnn.tasks.forecast_format import BASELINES, FORECAST, ForecastFormat, ForecastSides
from charrnn.tasks.forecast_windows import Floats, Ints, batch_of
from charrnn.tasks.training_memory import PYTHON, require_memory_to_train
from charrnn.text import series_table
from charrnn.text.batch import Batch
from charrnn.text.corpus import combined_digest
from charrnn.text.packing import spread
from charrnn.text.series_table import Table
from charrnn.text.shuffle import keyed_generator
from charrnn.training.metrics import Metrics
from charrnn.training.options import Options
from charrnn.training.task import Advice, Description, Request, RunSpec, Task

if TYPE_CHECKING:
    from charrnn.models.forecaster import Forecaster
    from charrnn.tasks.trained_forecaster import TrainedForecaster

EVALUATED = 1024  # windows computed at once


@dataclass
class SeriesPart:
    """A table whose rows `targets` (N) are predicted from those before them in their sequence; `sides` of the model."""

    table: Table
    targets: Ints
    sides: ForecastSides

    def __len__(self) -> int:
        """The number of rows that are predicted."""
        return len(self.targets)

    @functools.cached_property
    def place(self) -> Ints:
        """The place of each row in its sequence."""
        return forecast_defaults.places(self.table)

    def windows(self, targets: Ints, rows: int) -> Floats:
        """The histories (N, rows, C) of targets (N)."""
        values: Floats = self.table.values[targets[:, np.newaxis] - np.arange(rows, 0, -1)]
        return values

    def batch(self, targets: Ints) -> Batch:
        """The batch that predicts the rows targets (N)."""
        scales = self.sides.scales
        z = scales.transform(self.windows(targets, scales.rows))
        dates = self.table.dates
        when = None if dates is None else [dates[n] for n in targets.tolist()]
        after = (scales.transform(self.table.values[targets]) - z[:, -1]) / np.array(scales.noise)
        return batch_of(*scales.read(z, scales.places(when, len(targets))), after)


@dataclass
class SeriesDataset:
    """The training part, what comes after it, and what the training part showed; see `training.task.Dataset`."""

    train: SeriesPart
    validation: SeriesPart | None
    digest: str
    prepared: Prepared
    notes: list[str] = field(default_factory=list)

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of each part."""
        parts = {"training": self.train, "validation": self.validation}
        found = {name: {"rows": len(part)} for name, part in parts.items() if part is not None}
        return {"digest": self.digest, **found}


class WindowBatches:
    """The rows to predict in batches of `batch_size`, in an order keyed by seed and epoch."""

    def __init__(self, part: SeriesPart, batch_size: int, seed: int) -> None:
        if not len(part):
            raise CharrnnError("no row has enough history to be predicted; give more rows, or a smaller `window`")
        self.batch_size, self.seq_length = min(batch_size, len(part)), part.sides.scales.lags
        self.steps_per_epoch = -(-len(part) // self.batch_size)
        self.note: str | None = None
        self._part, self._seed = part, seed
        self._orders = functools.lru_cache(2)(self._order)

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`: a function of the step alone."""
        epoch, position = divmod(step, self.steps_per_epoch)
        rows = self._orders(epoch)[position * self.batch_size : (position + 1) * self.batch_size]
        return self._part.batch(self._part.targets[rows])

    def _order(self, epoch: int) -> Ints:
        return keyed_generator("rows", self._seed, epoch).permutation(len(self._part))


class Forecast(Task[SeriesDataset, "Forecaster"]):
    """The task of forecasting; its dataset is a table of numbers. For the methods see `Task`."""

    format: ForecastFormat = FORECAST
    figures = ("mae", "rmse", *(f"{name}_{figure}" for name in BASELINES for figure in ("mae", "rmse")))
    verbs = ("predict", "score", "sample")
    fitted_at_start = True  # by least squares
    settings = (SeriesConfig, ForecasterConfig, TrainingConfig)

    def read(self, request: Request, initial: Checkpoint | None) -> SeriesDataset:
        """Read the tables; the last part is held out. With `initial`, columns and scales are its own."""
        config = initial.data.config if initial else forecast_defaults.series(request.given)
        known = initial.data.columns if initial else None
        reading = forecast_defaults.reading(config)
        loaded = series_table.load_table(
            request.corpora, reading, columns=config.columns, group=config.group, known=known
        )
        table, digests, notes = loaded.table, [loaded.digest], list(loaded.notes)
        if request.val is not None:
            later = series_table.load_table([request.val], reading, known=loaded.columns)
            digests.append(later.digest)
            notes += later.notes
            first, table = len(table.values), series_table.joined(table, later.table)
        else:
            first = series_table.split(table, forecast_defaults.val_fraction(request.given, len(table.values)))
        train = table.rows(0, first)
        prepared = forecast_defaults.prepare(train, loaded.columns, config) if initial is None else _started(initial)
        notes += _reduced(prepared, int(train.lengths.max()))
        rows = prepared.sides.rows
        place = forecast_defaults.places(table)
        ready = np.flatnonzero(place >= rows)
        held = SeriesPart(table, ready[ready >= first], prepared.sides) if first < len(place) else None
        learned = SeriesPart(train, ready[ready < first], prepared.sides)
        held = held if held is not None and len(held) else None
        for part in (learned, held):
            if part is not None and not np.isfinite(prepared.sides.scales.transform(part.table.values)).all():
                raise CharrnnError("a number is not positive, and the model takes logarithms; train a new model")
        return SeriesDataset(learned, held, combined_digest(digests), prepared, notes)

    def configure(
        self, request: Request, dataset: SeriesDataset, model: ForecasterConfig | None
    ) -> tuple[ForecasterConfig, TrainingConfig]:
        """The given options, and the defaults of `forecast_defaults` for the rest."""
        if "seq_length" in request.given:
            raise UsageError("`seq_length` is for language models; `window` is the rows that a forecast reads")
        if model is None:
            model = forecast_defaults.resolve_model(request.given, dataset.prepared)
        targets = len(dataset.train) + len(dataset.validation or ())
        rows = len((dataset.validation or dataset.train).table.values)
        return model, forecast_defaults.resolve_training(request.given, targets, rows)

    def network(
        self, model: ForecasterConfig, config: TrainingConfig, dataset: SeriesDataset, threads: int
    ) -> Forecaster:
        """A forecaster, all zeros. Raises CharrnnError when there is too little memory to train it."""
        options = "`hidden_size`, `layers`, `batch_size` or `window`"
        require_memory_to_train(self.memory(model, config, dataset), parameter_layout(model).size, options)

        from charrnn.models.forecaster import Forecaster

        return Forecaster(
            model, dataset.prepared.start, threads=threads, unit=dataset.prepared.sides.scales.unit
        )  # fmt: skip

    def memory(self, model: ForecasterConfig, config: TrainingConfig, dataset: SeriesDataset) -> int:
        """Weights with all copies, the activations of a batch, the table, and Python itself."""
        weights = parameter_layout(model).training_size
        steps = max(config.batch_size, EVALUATED) * (model.lags + 1)
        activations = steps * (18 * model.hidden_size * model.num_layers + 4 * model.series)
        return 4 * (weights + activations) + 3 * dataset.train.table.values.nbytes + PYTHON

    def batches(self, dataset: SeriesDataset, config: TrainingConfig) -> WindowBatches:
        """Rows to predict, in an order keyed by seed and epoch."""
        return WindowBatches(dataset.train, config.batch_size, config.seed)

    def evaluate(
        self, network: Forecaster, part: SeriesPart, *, limit: int | None = None, processes: Processes = ALONE
    ) -> Metrics:  # fmt: skip
        """Errors and those of baselines; the loss is -log density of a row, in nats.

        Of several series the errors are means over them, each in units of its mean change, see
        `forecast_format.Errors`; beside them are those of the first series in their own units. Where the network's
        numbers are not finite, neither is the loss.
        """
        from charrnn.tasks.trained_forecaster import TrainedForecaster

        targets = part.targets
        targets = targets[spread(len(targets), len(targets), limit)]
        model = TrainedForecaster(network, part.sides)
        shape = 1 + len(BASELINES), len(model.names)
        absolute, squared, density = np.zeros(shape), np.zeros(shape), 0.0

        def compute(start: int) -> tuple[float, Any]:
            """log density of some rows, in nats, and the errors of the network and of the baselines."""
            some = targets[start : start + EVALUATED]
            true = part.table.values[some]
            found = model.next_rows(part.windows(some, model.sides.rows), _dates(part.table, some))
            first = part.table.values[some - part.place[some]]
            others = model.baselines.all(part.windows(some, model.sides.rows), first, part.place[some] - 1, 1)[:, :, 0]
            return float(found.log_density(true).sum()), np.concatenate([found.point[np.newaxis], others]) - true

        try:
            for log_density, error in processes.map(compute, range(0, len(targets), EVALUATED)):
                density += log_density
                absolute += np.abs(error).sum(axis=1)
                squared += (error**2).sum(axis=1)
        except NotFiniteError:
            return Metrics(np.inf, len(targets))
        figures = errors_by_name(absolute / len(targets), squared / len(targets), model.names, part.sides.errors.mase)
        return Metrics(-density / len(targets), len(targets), figures)

    def record(self, dataset: SeriesDataset) -> ForecastSides:
        """Columns and scales."""
        return dataset.prepared.sides

    def describe(self, dataset: SeriesDataset, network: Forecaster) -> Description:
        """Sizes, and what was chosen by the training part."""
        from charrnn.tasks.forecast_words import start_lines

        config = network.config
        counts = {"series": config.series}
        lines = start_lines(
            dataset.prepared, len(dataset.train), len(dataset.validation or ()), config, network.parameters.size
        )
        options = {"series": dataclasses.asdict(dataset.prepared.sides.config)}
        return Description(counts, options, lines, "rows to predict")

    def trained(self, run: Checkpoint, *, threads: int, precision: str) -> TrainedForecaster:
        """The forecaster of a checkpoint; see `Task.trained`."""
        from charrnn.tasks.trained_forecaster import TrainedForecaster

        return TrainedForecaster.of(run, threads=threads, precision=precision)

    def options(self, run: Checkpoint) -> Options:
        """The recorded fields of SeriesConfig."""
        return dataclasses.asdict(run.data.config)

    def advise_at_end(self, spec: RunSpec, final: Metrics | None) -> Iterator[Advice]:
        """Whether the network beats the baselines."""
        from charrnn.tasks.forecast_words import verdicts

        dataset = spec.dataset
        assert isinstance(dataset, SeriesDataset)
        for line in verdicts(final, dataset.prepared):
            yield "baselines", line


def _dates(table: Table, rows: Ints) -> list[Any] | None:
    return None if table.dates is None else [table.dates[n] for n in rows.tolist()]


def _reduced(prepared: Prepared, longest: int) -> list[str]:
    """A remark where sequences, of which the longest has so many rows, allow less than `window` asks for."""
    asked, most = prepared.sides.config.window, prepared.most
    if not 0 < most < asked:
        return []
    return [f"`window` is {asked:,}, and sequences of up to {longest:,} rows to learn from allow {most:,}"]


def _started(run: Checkpoint) -> Prepared:
    """The columns and scales of a model to start from or to resume; its weights are loaded later."""
    C, F, weights = run.model.series, run.model.features, run.weights
    start = Start(np.zeros((F, C)), np.zeros(C), weights[BASELINE_WEIGHT], weights[BASELINE_BIAS])
    return Prepared(run.data, start, run.model.degrees, None, {})


TASK = Forecast()

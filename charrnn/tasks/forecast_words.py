"""What is said of a forecaster at the start and the end of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from charrnn.settings import counted, listed
from charrnn.task_config import ForecasterConfig
from charrnn.tasks.forecast_defaults import Prepared
from charrnn.tasks.forecast_format import BASELINES

NAMES = {"naive": "the last value", "seasonal_naive": "the value a season ago", "drift": "drift",
         "linear": "linear autoregression"}  # fmt: skip
SHOWN = 6  # names of series


def start_lines(
    prepared: Prepared, rows: int, held: int, config: ForecasterConfig, size: int
) -> tuple[tuple[str, str], ...]:
    """Sizes, and what was chosen by the training part."""
    sides, scales = prepared.sides, prepared.sides.scales
    names = listed(sides.columns.names, SHOWN)
    time = f", dates in {sides.columns.time_name}" if sides.columns.time >= 0 else ""
    most = f", chosen among windows of up to {prepared.most}" if prepared.most else ""
    curved = ", and products of changes" if scales.curved else ""
    return (
        ("rows", f"{rows:,} to learn from, {held:,} held out, {config.series:,} series: {names}{time}"),
        ("forecasts", f"of {counted(sides.config.horizon, 'row')}, from {counted(sides.rows, 'row')} before{most}"),
        ("numbers", numbers(scales.log, sides.season, scales.cycles, config.degrees)),
        (
            "model",
            f"{', '.join(config.cells)} of {config.hidden_size} over {counted(sides.rows, 'row')}, beside "
            f"least squares over them{curved}, {size:,} parameters",
        ),
    )  # fmt: skip


def numbers(log: bool, season: int, cycles: Sequence[str], degrees: float) -> str:
    """How numbers are read, and their distribution."""
    seasons = f"a season of {season} rows" if season else "no season"
    dates = f", cycles of dates: {', '.join(cycles)}" if cycles else ""
    kind = f"Student's t, {degrees:g} degrees of freedom" if degrees else "Gaussian"
    return f"{'logarithms, ' if log else ''}changes from row to row, {seasons}{dates}, {kind}"


def baseline_errors(names: Sequence[str], noise: Sequence[float], horizon: int) -> Iterator[tuple[str, str]]:
    """The errors of all baselines one row ahead, in words, for each of the first series; noise as in `Errors`."""
    errors = [noise[b * horizon * len(names) :][: len(names)] for b in range(len(BASELINES))]
    for n, name in enumerate(names[:SHOWN]):
        yield name, ", ".join(f"{NAMES[who]} {error[n]:.4g}" for who, error in zip(BASELINES, errors, strict=True))


def verdict(figures: Mapping[str, float] | None, rolling: Mapping[str, float]) -> str:
    """Whether the network beats the baselines on the held-out part."""
    if figures is None:
        if not rolling:
            return "no row was held out: whether the network beats the baselines is not known; `val` or score says it"
        beaten = "" if rolling["rmse"] < rolling["naive_rmse"] else ", which they do not beat"
        return (
            f"no row was held out; where least squares start from, over the last {rolling['rows']:.0f} rows, each from "
            f"those before: rmse {rolling['rmse']:.4g}, of the last value {rolling['naive_rmse']:.4g}{beaten}"
        )
    others = {name: figures[f"{name}_rmse"] for name in NAMES}
    best = min(others, key=lambda name: others[name])
    said = ", ".join(f"{NAMES[name]} {value:.4g}" for name, value in others.items())
    if figures["rmse"] < others[best]:
        gain = 100 * (1 - figures["rmse"] / others[best]) if others[best] else 0.0
        return f"rmse {figures['rmse']:.4g}, {gain:.1f} % below the best baseline ({said})"
    return f"the network does not beat {NAMES[best]}: rmse {figures['rmse']:.4g} ({said}); use that, or give more rows"

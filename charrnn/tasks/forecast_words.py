"""What is said of a forecaster at the start and the end of training."""

from __future__ import annotations

from collections.abc import Mapping

from charrnn.settings import counted
from charrnn.task_config import ForecasterConfig
from charrnn.tasks.forecast_defaults import Prepared

NAMES = {"naive": "the last value", "seasonal_naive": "the value a season ago", "drift": "drift",
         "linear": "linear autoregression"}  # fmt: skip
SHOWN = 6  # names of series


def start_lines(
    prepared: Prepared, rows: int, held: int, config: ForecasterConfig, size: int
) -> tuple[tuple[str, str], ...]:
    """Sizes, and what was chosen by the training part."""
    sides, scales = prepared.sides, prepared.sides.scales
    names = ", ".join(sides.columns.names[:SHOWN]) + ", …" * (len(sides.columns.names) > SHOWN)
    time = f", dates in {sides.columns.time_name}" if sides.columns.time >= 0 else ""
    season = f"a season of {sides.season} rows" if sides.season else "no season"
    cycles = f", cycles of dates: {', '.join(scales.cycles)}" if scales.cycles else ""
    kind = f"Student's t, {config.degrees:g} degrees of freedom" if config.degrees else "Gaussian"
    curved = ", and products of changes" if scales.curved else ""
    return (
        ("rows", f"{rows:,} to learn from, {held:,} held out, {config.series:,} series: {names}{time}"),
        ("numbers", f"{'logarithms, ' if scales.log else ''}changes from row to row, {season}{cycles}, {kind}"),
        (
            "model",
            f"{', '.join(config.cells)} of {config.hidden_size} over {counted(sides.rows, 'row')}, beside "
            f"least squares over them{curved}, {size:,} parameters",
        ),
    )  # fmt: skip


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

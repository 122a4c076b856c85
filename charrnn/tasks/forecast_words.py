"""What is said of a forecaster at the start and the end of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from charrnn.settings import counted, listed
from charrnn.task_config import ForecasterConfig
from charrnn.tasks.forecast_defaults import Prepared
from charrnn.tasks.forecast_figures import SHOWN
from charrnn.tasks.forecast_format import BASELINES
from charrnn.training.metrics import Metrics

NAMES = {"naive": "the last value", "seasonal_naive": "the value a season ago", "drift": "drift",
         "linear": "linear autoregression"}  # fmt: skip


def start_lines(
    prepared: Prepared, rows: int, held: int, config: ForecasterConfig, size: int
) -> tuple[tuple[str, str], ...]:
    """Sizes, and what was chosen by the training part."""
    sides, scales = prepared.sides, prepared.sides.scales
    names = listed(sides.columns.names, SHOWN)
    time = f", dates in {sides.columns.time_name}" if sides.columns.time >= 0 else ""
    most = f", chosen among windows of up to {prepared.most}" if prepared.most else ""
    units = "; errors in units of each column's mean change" if config.series > 1 else ""
    curved = ", and products of changes" if scales.curved else ""
    return (
        ("rows", f"{rows:,} to learn from, {held:,} held out, {config.series:,} series: {names}{time}"),
        (
            "forecasts",
            f"of {counted(sides.config.horizon, 'row')}, from {counted(sides.rows, 'row')} before{most}{units}",
        ),
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


def verdicts(final: Metrics | None, prepared: Prepared) -> Iterator[str]:
    """Whether the model is better than the baselines on the held-out part, by how much, and on how many rows: of each
    of the first series in its own units."""
    names, rolling = prepared.sides.columns.names, prepared.rolling
    if final is not None:
        for name in names[:SHOWN]:
            column = f" {name}" if len(names) > 1 else ""
            own, *errors = (final.figures.get(f"{who}rmse{column}") for who in ("", *(f"{name}_" for name in NAMES)))
            others = {who: error for who, error in zip(NAMES, errors, strict=True) if error is not None}
            if own is None or not others:  # recorded by an older version
                continue
            found = compared(own, others)
            yield f"on {counted(final.tokens, 'held-out row')}{' of' * bool(column)}{column}, {found}"
    elif not rolling:
        yield "no row was held out: whether the model is better than the baselines is not known; `val` or score tells"
    else:
        found = compared(rolling["rmse"], {"naive": rolling["naive_rmse"]}, "least squares, where the model starts,")
        yield f"no row was held out; on the last {rolling['rows']:.0f} rows, each predicted from those before, {found}"


def compared(own: float, others: Mapping[str, float], who: str = "the model") -> str:
    """Which is better, the model or the best of the baselines, and by how much; by their root mean square errors."""
    best = min(others, key=lambda name: others[name])
    other, name = others[best], NAMES[best] + ", the best baseline" * (len(others) > 1)
    rest = [f"{NAMES[one]} {value:.4g}" for one, value in others.items() if one != best]
    more = f" ({', '.join(rest)})" if rest else ""
    if own == other:
        return f"{who} is as good as {name}: rmse {own:.4g}{more}"
    share = f", {100 * abs(1 - own / other):.1f} % {'lower' if own < other else 'higher'}" if other else ""
    word = "better" if own < other else "worse"
    return f"{who} is {word} than {name}: rmse {own:.4g} against {other:.4g}{share}{more}"

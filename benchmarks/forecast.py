"""Forecasts one row ahead, beside the baselines that every forecast has to beat.

    python -m benchmarks.forecast [--quick] [--airline FILE] [--temperatures FILE]

Throws of a ball come from corpora/ball.py, with the best estimate possible. Two public series are read from files where
they are given: airline passengers (Box and Jenkins 1970; trained on the first 96 of 144 months) and daily minimum
temperatures of Melbourne (trained on the first 67 %). Seasonal ARIMA runs where statsmodels is installed. The commands
are those of a user: `train`, then `score --last N --summary`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments, describe_machine, print_table

SEEDS, QUICK_SEEDS = (0, 1, 2), (0,)
BALL = Path(__file__).resolve().parent.parent / "corpora" / "ball.py"
COLUMNS = ("data", "rmse", "80 %", "seconds", "last value", "season ago", "drift", "linear", "best / SARIMA")


def run(*command: str | Path) -> str:
    """What a command prints; its error is ours."""
    result = subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True)
    return result.stdout


def measure(
    train: Path, whole: Path, last: int, seeds: Sequence[int], options: Sequence[str]
) -> tuple[list[dict[str, Any]], list[float]]:
    """The figures of each series of the last rows, and the seconds of training, for each seed."""
    figures, seconds = [], []
    for seed in seeds:
        model = train.with_name(f"{train.stem}{seed}.safetensors")
        start = time.perf_counter()
        run("-m", "charrnn", "train", train, "--task", "forecast", *options, "--seed", str(seed), "-q", "-o", model)
        seconds.append(time.perf_counter() - start)
        scored = run("-m", "charrnn", "score", "-q", "-c", model, "-i", whole, "--last", str(last), "--summary")
        figures.append(combined(json.loads(scored)["series"]))
    return figures, seconds


def combined(series: dict[str, Any]) -> dict[str, Any]:
    """The figures one row ahead, over all series: of root mean squares the root of the mean square."""
    ahead = [one["1"] for one in series.values()]

    def mean(parts: Sequence[dict[str, Any]]) -> dict[str, float]:
        squares = float(np.sqrt(np.mean([part["rmse"] ** 2 for part in parts])))
        return {"rmse": squares, "coverage_80": float(np.mean([part["coverage_80"] for part in parts]))}

    names = ahead[0]["baselines"]
    return {**mean(ahead), "baselines": {name: mean([one["baselines"][name] for one in ahead]) for name in names}}


def row(name: str, figures: Sequence[dict[str, Any]], seconds: Sequence[float], rival: str) -> list[str]:
    """A row of the table: medians, and the range over the seeds."""
    errors, covered = ([one[key] for one in figures] for key in ("rmse", "coverage_80"))
    others = [f"{one['rmse']:.4g}" for one in figures[0]["baselines"].values()]
    spread = f" ({min(errors):.4g} to {max(errors):.4g})" if len(errors) > 1 else ""
    return [
        name, f"{np.median(errors):.4g}{spread}", f"{100 * np.median(covered):.0f} %", f"{np.median(seconds):.0f}",
        *others, rival,
    ]  # fmt: skip


def first_rows(whole: Path, share: float, folder: Path) -> tuple[Path, int]:
    """A table with the first rows of another, and how many are left."""
    lines = [line for line in whole.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = round(share * (len(lines) - 1))
    path = folder / f"{whole.stem}-first.csv"
    path.write_text("\n".join(lines[: rows + 1]) + "\n", encoding="utf-8")
    return path, len(lines) - 1 - rows


def sarima(whole: Path, last: int, season: int) -> str:
    """The error of a seasonal ARIMA with the coefficients of the first rows, where statsmodels is installed."""
    if importlib.util.find_spec("statsmodels") is None:
        return "-"
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    text = whole.read_text(encoding="utf-8").splitlines()[1:]
    x = np.log([float(line.rpartition(",")[2].strip()) for line in text if line.strip()])
    orders = {"order": (0, 1, 1), "seasonal_order": (0, 1, 1, season)}
    fitted = SARIMAX(x[:-last], **orders).fit(disp=False)
    ahead = SARIMAX(x, **orders).filter(fitted.params).predict()[-last:]
    return f"{np.sqrt(np.mean((np.exp(x[-last:]) - np.exp(ahead)) ** 2)):.4g}"


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--airline", type=Path, metavar="FILE", help="a table of months and passengers")
    parser.add_argument("--temperatures", type=Path, metavar="FILE", help="a table of days and temperatures")
    options = parser.parse_args()
    seeds = QUICK_SEEDS if options.quick else SEEDS
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        learned, later = folder / "ball.csv", folder / "later.csv"
        run(BALL, "--throws", "2000", "--seed", "1", "-o", learned)
        run(BALL, "--throws", "500", "--seed", "2", "-o", later)
        best = run(BALL, "--best", later).split()[2]
        rows.append(row("ball", *measure(learned, later, 1, seeds, ["--group", "throw"]), best))
        for title, file, share, season in (
            ("airline passengers", options.airline, 2 / 3, 12), ("temperatures", options.temperatures, 0.67, 0)
        ):  # fmt: skip
            if file is not None:
                train, last = first_rows(file, share, folder)
                rival = sarima(file, last, season) if season else "-"
                rows.append(row(title, *measure(train, file, last, seeds, []), rival))
    print_table(f"Root mean square errors one row ahead ({describe_machine()})", COLUMNS, rows)


if __name__ == "__main__":
    main()

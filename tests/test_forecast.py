"""The task forecast: training, resuming, scoring and predicting through the command line, and the checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint, tasks
from charrnn.checkpoint import Checkpoint
from charrnn.errors import CharrnnError
from charrnn.tasks.forecast import TASK
from charrnn.tasks.trained_forecaster import Rolling, TrainedForecaster
from charrnn.training import setup
from charrnn.training.loop import train
from charrnn.training.task import Request
from tests.conftest import run_command
from tests.task_runs import assert_interruption_changes_no_bit, assert_threads_change_no_bit

SMALL: dict[str, Any] = {"hidden_size": 8, "batch_size": 16, "steps": 40, "eval_every": 10, "val_fraction": 0.2}
OPTIONS = ("--task", "forecast", "--hidden-size", "8", "--steps", "20", "--threads", "1", "-q")
MONTHS = 120


def monthly(rows: int = MONTHS, seed: int = 0) -> list[str]:
    """A table with dates: growth, a season that grows with the level, a little noise; and a wave beside it."""
    rng = np.random.default_rng(seed)
    level = np.cumsum(0.01 + 0.01 * rng.standard_normal(rows))
    sold = 100 * np.exp(level + 0.3 * np.sin(np.arange(rows) * math.pi / 6) + 0.02 * rng.standard_normal(rows))
    wave = 10 + np.sin(np.arange(rows) / 3) + 0.1 * rng.standard_normal(rows)
    lines = [
        f"{2000 + n // 12}-{n % 12 + 1:02d},{a:.2f},{b:.3f}" for n, (a, b) in enumerate(zip(sold, wave, strict=True))
    ]
    return ["month,sold,wave", *lines]


def throws(count: int = 80, rows: int = 6) -> list[str]:
    """A table of falling things, a sequence each."""
    rng = np.random.default_rng(1)
    lines = ["throw,height"]
    for n in range(count):
        speed = rng.uniform(5, 15)
        lines += [f"t{n},{speed * t - 5 * t * t + 0.01 * rng.standard_normal():.4f}" for t in np.arange(rows) / 4]
    return lines


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("forecast") / "sales.csv", monthly())


@pytest.fixture(scope="module")
def model(data: Path) -> Path:
    """Trained on the first 96 months."""
    first = write(data.with_name("first.csv"), data.read_text().splitlines()[:97])
    path = data.with_name("m.safetensors")
    result = run_command("train", first, *OPTIONS, "--horizon", "3", "--columns", "sold", "-o", path)
    assert (result.status, result.err) == (0, "")
    return path


def load(path: Path) -> TrainedForecaster:
    return TASK.trained(checkpoint.load(path, TASK.format), threads=1, precision="float32")


def test_it_beats_the_last_value_and_a_season(data: Path, model: Path) -> None:
    result = run_command("score", "-c", model, "-i", data, "--last", "24", "--summary")
    assert "sold, on 24 rows: the model is better than " in result.err
    found = json.loads(result.out)
    assert (found["rows"], found["forecasts"], found["season"]) == (24, 24, 12)
    for horizon in ("1", "3"):
        figures = found["series"]["sold"][horizon]
        assert set(figures["baselines"]) == {"naive", "seasonal_naive", "drift", "linear"}
        assert figures["rmse"] < 0.5 * figures["baselines"]["naive"]["rmse"]
        assert figures["rmse"] < figures["baselines"]["seasonal_naive"]["rmse"]
        assert 0.4 <= figures["coverage_80"] <= figures["coverage_95"] <= 1
        assert figures["mae"] <= figures["rmse"]
        assert figures["log_density"] > figures["baselines"]["naive"]["log_density"]
    assert found["logprob"] == pytest.approx(24 * found["series"]["sold"]["1"]["log_density"])


def test_every_row_has_a_score(data: Path, model: Path) -> None:
    result = run_command("score", "-c", model, "-i", data)
    rows = [line.split("\t") for line in result.out.decode().splitlines()]
    assert [row[2] for row in rows] == data.read_text().splitlines()[1:]
    known = [row for row in rows if row[0]]
    before = load(model).rows
    assert (len(rows) - len(known), {row[1] for row in known}) == (before, {"1"})
    assert f"rows without a forecast: {before}" in result.err
    total = json.loads(run_command("score", "-q", "-c", model, "-i", data, "--summary").out)["logprob"]
    assert sum(float(row[0]) for row in known) == pytest.approx(total, abs=1e-4)


def test_the_rows_after_a_history(data: Path, model: Path) -> None:
    lines = run_command("predict", "-q", "-c", model, "-i", data).out.decode().splitlines()
    assert lines[0] == "month,sold,sold.low,sold.high"
    assert [line.split(",")[0] for line in lines[1:]] == ["2010-01", "2010-02", "2010-03"]
    for line in lines[1:]:
        point, low, high = map(float, line.split(",")[1:])
        assert low < point < high
    assert lines[1].split(",")[1:] == pytest.approx(lines[1].split(",")[1:])
    wide = run_command("predict", "-q", "-c", model, "-i", data, "--interval", "0.99").out.decode().splitlines()
    assert float(wide[1].split(",")[2]) < float(lines[1].split(",")[2])
    again = run_command("predict", "-q", "-c", model, "--threads", "2", stdin=data.read_bytes()).out.decode()
    assert again.splitlines() == lines
    found = [json.loads(line) for line in run_command(
        "predict", "-q", "-c", model, "-i", data, "--horizon", "1", "--format", "jsonl"
    ).out.splitlines()]  # fmt: skip
    assert found == [{"month": "2010-01", **dict(zip(
        ("sold", "sold.low", "sold.high"), map(float, lines[1].split(",")[1:]), strict=True
    ))}]  # fmt: skip


def test_rolling_is_the_next_row_of_each_history(data: Path, model: Path) -> None:
    lines = data.read_text().splitlines()
    rolled = run_command("predict", "-q", "-c", model, "-i", data, "--rolling").out.decode().splitlines()
    assert len(rolled) == len(lines)
    assert rolled[5] == "2000-05,,,"
    history = "\n".join(lines[:101]) + "\n"
    after = run_command("predict", "-q", "-c", model, "--horizon", "1", stdin=history.encode()).out.decode()
    assert after.splitlines()[1] == rolled[101]


def test_possible_futures(data: Path, model: Path) -> None:
    def draw(*options: str) -> list[str]:
        return run_command("sample", "-q", "-c", model, "--prompt-file", data, *options).out.decode().splitlines()

    found = draw("-n", "4", "--count", "3", "--seed", "5")
    assert (found[0], len(found)) == ("sample,month,sold", 13)
    assert found[1].startswith("1,2010-01,")
    assert len({line.split(",")[2] for line in found[1:]}) == 12
    assert draw("-n", "4", "--count", "2", "--seed", "5") == found[:9]
    for option, value in (("--stop", "x"), ("--temperature", "0.5"), ("--delimiter", ",")):
        result = run_command("sample", "-q", "-c", model, "--prompt-file", data, option, value)
        assert result.status == 2
        assert f"{option} is not for models of the task forecast, and the checkpoint is one; leave" in result.err
    assert run_command("sample", "-q", "-c", model, "-p", "x").status == 2


def test_chunks_and_other_sequences_change_no_bit(data: Path, model: Path) -> None:
    forecaster = load(model)
    values = np.array([[float(line.split(",")[1])] for line in data.read_text().splitlines()[1:]])
    whole = Rolling(forecaster, 3).add(values, None if not forecaster.sides.scales.cycles else _dates())
    parts = Rolling(forecaster, 3)
    pieces = [parts.add(values[a:b], _dates()[a:b]) for a, b in ((0, 1), (1, 50), (50, 53), (53, MONTHS))]
    for step in range(3):
        known = np.concatenate([piece.known[step] for piece in pieces])
        np.testing.assert_array_equal(known, whole.known[step])
        for name in ("location", "scale"):
            found = np.concatenate([getattr(piece.steps[step], name) for piece in pieces])
            np.testing.assert_array_equal(found[known], getattr(whole.steps[step], name)[known])


def _dates() -> list[Any]:
    from datetime import datetime

    return [datetime(2000 + n // 12, n % 12 + 1, 1) for n in range(MONTHS)]


@pytest.mark.parametrize(
    "given",
    [{}, pytest.param({"cell": ("gru",), "dense": (5,), "dropout": 0.1}, marks=pytest.mark.slow)],
)
def test_interrupted_and_resumed_ends_with_the_same_bits(data: Path, tmp_path: Path, given: dict[str, Any]) -> None:
    whole, parts = (
        Request([str(data)], tmp_path / f"{name}.safetensors", SMALL | given) for name in ("whole", "parts")
    )
    end = assert_interruption_changes_no_bit(TASK, whole, parts, 6)
    assert end.result()["val_linear_rmse"] > 0


def test_threads_change_no_bit(data: Path, tmp_path: Path) -> None:
    assert_threads_change_no_bit(TASK, Request([str(data)], tmp_path / "m", SMALL | {"steps": 8}))


@pytest.mark.parametrize(
    "option",
    [
        {"distribution": "student"},
        *(pytest.param(option, marks=pytest.mark.slow) for option in ({"season": 6}, {"window": 5}, {"horizon": 4})),
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_option_changes_what_is_learned(data: Path, tmp_path: Path, option: dict[str, Any]) -> None:
    found: list[Checkpoint] = []
    for given in ({}, option):
        asked = Request([str(data)], tmp_path / f"{len(found)}", {**SMALL, "columns": ("sold",), "steps": 2, **given})
        list(train(*setup.prepare(TASK, asked, lambda: 0.0)))
        found.append(checkpoint.load(asked.output, TASK.format))
    model, data_side = found[1].model, found[1].data
    before = found[0].model, found[0].data
    assert (model, data_side) != before


def test_sequences_of_a_table(tmp_path: Path) -> None:
    table, path = write(tmp_path / "throws.csv", throws()), tmp_path / "m.safetensors"
    result = run_command("train", table, *OPTIONS, "--group", "throw", "--json", "-o", path)
    assert (result.status, result.err) == (0, "")
    assert json.loads(result.out)["series"] == 1
    assert run_command("train", "--resume", "-o", path, "--steps", "25", "-q").status == 0
    shown = run_command("info", path)
    lines = shown.out.decode().splitlines()
    assert (shown.status, lines[2]) == (0, "task        forecast: the next row of 1 column, from 5 rows before")
    assert lines[3] == "columns     height; sequences by throw"
    assert lines[4].startswith("numbers     changes from row to row, no season, ")
    assert lines[5].startswith("baselines   height, rmse of the next row in the training part: the last value ")
    found = json.loads(run_command("score", "-q", "-c", path, "-i", table, "--summary").out)
    assert (found["rows"], found["forecasts"]) == (480, 80)
    figures = found["series"]["height"]["1"]
    assert figures["rmse"] < 0.1 * figures["baselines"]["naive"]["rmse"]
    lines = run_command("predict", "-q", "-c", path, "-i", table).out.decode().splitlines()
    assert lines[0] == "throw,height,height.low,height.high"
    assert [line.split(",")[0] for line in lines[1:]] == [f"t{n}" for n in range(80)]
    short = b"throw,height\nt1,1.0\nt1,1.5\n"
    result = run_command("predict", "-c", path, stdin=short)
    assert (result.status, result.err.splitlines()[-1]) == (
        1, "charrnn: error: the sequence 't1' has 2 rows, and a forecast reads 5; give a longer history"
    )  # fmt: skip


def test_training_starts_from_another_model(data: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    result = run_command("train", data, "--task", "forecast", "--init-from", model, "--steps", "5", "-q", "-o", path)
    assert (result.status, result.err) == (0, "")
    ours, theirs = (tasks.load_checkpoint(one) for one in (path, model))
    assert ours.data == theirs.data
    np.testing.assert_array_equal(ours.weights["baseline.weight"], theirs.weights["baseline.weight"])


def test_numbers_and_dates_that_are_too_large_are_one_error(data: Path, model: Path, tmp_path: Path) -> None:
    lines = data.read_text().splitlines()
    month = lines[20].partition(",")[0]
    for changed, says in (
        (f"{month},1e200,1", "line 21: the column 'sold' has '1e200'"), (f"{month},-5,1", "is not positive")
    ):  # fmt: skip
        table = "\n".join([*lines[:20], changed, *lines[21:]]).encode()
        result = run_command("score", "-q", "-c", model, "--summary", stdin=table)
        assert result.status == 1
        assert says in result.err.splitlines()[-1], result.err
    last = "\n".join(line.replace("20", "99", 1) for line in lines).encode()
    ahead = str(12 * 100)
    for command in (("predict", "--horizon", ahead), ("sample", "-n", ahead, "--prompt-file", "-", "--count", "1")):
        result = run_command(command[0], "-q", "-c", model, *command[1:], stdin=last)
        assert (result.status, len(result.err.splitlines())) == (1, 1), result.err
        assert "beyond the year 9999" in result.err
    at_the_end = last.replace(b"9909-", b"9999-")
    result = run_command("sample", "-q", "-c", model, "-n", "1", "--prompt-file", "-", stdin=at_the_end)
    assert (result.status, result.err.count("beyond the year 9999")) == (1, 1), result.err
    wide = write(tmp_path / "wide.csv", [*throws(), "t80,1e90"] + [f"t80,{n}" for n in range(6)])
    result = run_command("train", wide, *OPTIONS, "--group", "throw", "-o", tmp_path / "m.safetensors")
    assert (result.status, len(result.err.splitlines())) == (1, 1), result.err
    assert "orders of magnitude" in result.err or "far too large" in result.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table["columns"]["scales"].update(noise=[0.0]), "positive number"),
        (lambda table: table["columns"]["scales"].update(changes=[1.0, 2.0]), "2 changes"),
        (lambda table: table["columns"]["columns"].update(names=[7]), "names"),
        (lambda table: table["columns"]["scales"].update(lags=9999), "9999 changes"),
        (lambda table: table["columns"].update(season=-3), "season"),
        (lambda table: table["columns"]["errors"].update(noise=[]), "0 errors"),
        (lambda table: table["columns"]["scales"].update(cycles=["moon"]), "cycles"),
        (lambda table: table.update(input={"kind": "labels"}), "input"),
        (lambda table: table["model"].update(features=5), "features"),
        (lambda table: table["model"].update(degrees=2.5), "degrees"),
        (lambda table: table["model"].update(degrees=1e15), "degrees"),
        (lambda table: table["columns"]["scales"].update(widening=[-1.0]), "positive number"),
        (lambda table: table["columns"]["scales"].update(changes=[1e-300]), "positive number"),
        (lambda table: table["columns"]["scales"].update(centres=[1e300]), "centre"),
    ],
)  # fmt: skip
def test_hostile_metadata_is_refused(model: Path, change: Any, says: str) -> None:
    loaded = checkpoint.load(model, TASK.format)
    table = json.loads(json.dumps(TASK.format.describe(loaded.model, loaded.data)))
    assert TASK.format.parse(table) == (loaded.model, loaded.data)
    change(table)
    with pytest.raises((ValueError, CharrnnError), match=says):
        TASK.format.parse(table)


def test_numbers_that_are_not_finite_have_no_finite_loss(data: Path, tmp_path: Path) -> None:
    spec, network = setup.prepare(TASK, Request([str(data)], tmp_path / "m", SMALL), lambda: 0.0)
    assert np.isfinite(TASK.evaluate(network, spec.dataset.train, limit=10).loss)  # type: ignore[arg-type]
    network.parameters[:] = np.nan
    network.invalidate()
    assert not np.isfinite(TASK.evaluate(network, spec.dataset.train, limit=10).loss)  # type: ignore[arg-type]

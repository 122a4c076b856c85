"""What is said of forecasts while they are trained: what is read, errors and baselines, who is better."""

from __future__ import annotations

from pathlib import Path

import pytest

from charrnn import checkpoint, tasks
from charrnn.tasks import forecast_words
from charrnn.tasks.forecast import TASK
from charrnn.training import events, setup
from charrnn.training.loop import train
from charrnn.training.task import Request
from tests.conftest import run_command
from tests.test_forecast import SMALL, monthly, write


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("forecast") / "sales.csv", monthly())


def test_what_is_read_is_said(data: Path, tmp_path: Path) -> None:
    lines = data.read_text().splitlines()
    table = write(tmp_path / "t.csv", [f"{line},{'note' if n == 0 else 'x'}" for n, line in enumerate(lines)])
    given = ("--task", "forecast", "--window", "500", "--horizon", "3", "--steps", "1", "-o", tmp_path / "m")
    said = run_command("train", table, *given).err
    assert f"{table}: columns that are not read: 'note' (text: 'x')" in said
    assert "--window is 500, and sequences of up to 120 rows to learn from allow 60" in said
    rows = tasks.load_checkpoint(tmp_path / "m").data.rows
    assert f"forecasts of 3 rows, from {rows} rows before, chosen among windows of up to 60" in said
    again = run_command("train", data, *given[:2], "--window", "20", "--steps", "1", "-o", tmp_path / "n").err
    assert "--window is" not in again


def test_the_linear_start_is_validated_and_may_be_the_best(data: Path, tmp_path: Path) -> None:
    asked = Request([str(data)], tmp_path / "m", {**SMALL, "learning_rate": 10.0, "clip_norm": 0.0})
    found = list(train(*setup.prepare(TASK, asked, lambda: 0.0)))
    validations = [event for event in found if isinstance(event, events.Validation)]
    assert [event.step for event in validations] == [0, 10, 20, 30, 40]
    end = found[-1]
    assert isinstance(end, events.End)
    assert (end.best_step, end.val_loss) == (0, validations[0].loss)
    weights = checkpoint.load(asked.output, TASK.format).weights
    assert not weights["output.weight"].any()


def test_errors_of_several_columns_do_not_depend_on_their_units(data: Path, tmp_path: Path) -> None:
    """Means over columns are in units of each one's mean change; those of a column are its own."""
    head, *rows = data.read_text().splitlines()
    wide = write(tmp_path / "wide.csv", [head, *(f"{row}0".replace(".", "") for row in rows)])
    found = []
    for n, table in enumerate((data, wide)):
        asked = Request([str(table)], tmp_path / str(n), SMALL | {"steps": 1, "distribution": "gaussian"})
        seen = [
            event for event in train(*setup.prepare(TASK, asked, lambda: 0.0)) if isinstance(event, events.Validation)
        ]
        found.append(seen[-1].figures)
    small, large = found
    for name in ("mae", "rmse", "naive_mae", "linear_rmse"):
        assert small[name] == pytest.approx(large[name], rel=1e-3)
        assert 100 * small[f"{name} sold"] == pytest.approx(large[f"{name} sold"], rel=1e-3)
        assert 10000 * small[f"{name} wave"] == pytest.approx(large[f"{name} wave"], rel=1e-3)


@pytest.mark.parametrize(
    ("own", "others", "says"),
    [
        (1.0, {"naive": 2.0, "linear": 1.25}, "the model is better than linear autoregression, the best baseline: "
         "rmse 1 against 1.25, 20.0 % lower (the last value 2)"),
        (1.5, {"naive": 1.2}, "the model is worse than the last value: rmse 1.5 against 1.2, 25.0 % higher"),
        (1.5, {"naive": 1.5}, "the model is as good as the last value: rmse 1.5"),
        (1.5, {"naive": 0.0}, "the model is worse than the last value: rmse 1.5 against 0"),
    ],
)  # fmt: skip
def test_which_is_better_and_by_how_much(own: float, others: dict[str, float], says: str) -> None:
    assert forecast_words.compared(own, others) == says


def test_the_verdict_names_the_rows(data: Path, tmp_path: Path) -> None:
    given = ("--task", "forecast", "--steps", "1", "--val-fraction", "0.2", "-o", tmp_path / "m")
    said = run_command("train", data, *given).err
    assert "batch of 32 rows to predict, dropout" in said
    for name in ("sold", "wave"):
        assert f"on 24 held-out rows of {name}, the model is " in said

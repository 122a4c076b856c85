"""The throws of corpora/ball.py, and the best estimate of where a ball is next."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parent.parent / "corpora" / "ball.py"


@pytest.fixture(scope="module")
def ball() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ball", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_air_a_path_is_a_parabola(ball: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ball, "DRAG", 0.0)
    rows = ball.path([0, 1, 2, 3, -4, 12], 6)
    for n, (x, y, z) in enumerate(rows):
        t = n * ball.INTERVAL
        assert (x, y, z) == pytest.approx((3 * t, 1 - 4 * t, 2 + 12 * t - ball.GRAVITY * t * t / 2), abs=1e-12)


def test_smaller_steps_change_nothing(ball: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    state = [0, 0, 1, 15, 5, 18]
    coarse = ball.path(state, 6)[-1]
    monkeypatch.setattr(ball, "SUBSTEPS", 50)
    assert coarse == pytest.approx(ball.path(state, 6)[-1], abs=1e-5)


def test_the_best_estimate_is_exact_without_noise(ball: ModuleType) -> None:
    rows = ball.path([0.3, -0.2, 1.5, 11, -6, 14], 6)
    assert ball.best_estimate(rows[:5]) == pytest.approx(rows[5], abs=1e-6)


def test_the_table_and_its_best_error(ball: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ball.csv"
    assert ball.main(["--throws", "40", "--seed", "3", "-o", str(path)]) == 0
    found = ball.read(str(path))
    assert [len(throw) for throw in found] == [6] * 40
    assert ball.main(["--best", str(path)]) == 0
    error = float(capsys.readouterr().out.split()[2])
    assert ball.NOISE < error < 2 * ball.NOISE
    assert math.isfinite(error)
    assert ball.main(["-o", str(tmp_path / "no" / "folder.csv")]) == 1

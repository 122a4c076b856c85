"""Options as a command receives them, from the command line and from `--config FILE.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stand_in import one_line_error
from tests.stand_in import run as run


def test_options_arrive_parsed(run: Any) -> None:
    result = run(
        *("train", "a", "-", "--max-time", "1.5m", "--cell", "gru,lstm", "--lines", "--seed", "7"),
        *("--stop", r"\n\t\0\\x\q", "--stop", "b", "--num-layers", "2"),
    )
    assert result.status == 0
    assert result.arguments == {
        "corpus": ["a", "-"],
        "steps": None,
        "max_time": 90.0,
        "dropout": 0.25,
        "layers": 2,
        "cell": ("gru", "lstm"),
        "unit": None,
        "lines": True,
        "stop": ["\n\t\0\\x\\q", "b"],
        "config": None,
        "seed": 7,
    }


def test_nothing_given_is_none(run: Any) -> None:
    arguments = run("train").arguments
    assert arguments.pop("dropout") == 0.25
    assert set(arguments.values()) == {None}


def test_config_file_gives_defaults(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'steps = 20\nmax-time = "2h"\ndropout = 0.5\ncell = ["lstm", "gru"]\nlines = true\nnum-layers = 3\nseed = 4\n'
    )
    arguments = run("train", "--steps", "30", "--config", str(path)).arguments
    assert (arguments["steps"], arguments["max_time"], arguments["dropout"]) == (30, 7200.0, 0.5)
    assert (arguments["cell"], arguments["lines"], arguments["layers"]) == (("lstm", "gru"), True, 3)
    assert (arguments["seed"], arguments["config"]) == (4, str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stesp = 3", "no such option stesp; did you mean steps?"),
        ("max_time = 3", "no such option max_time; did you mean max-time?"),
        ("config = 'x'", "no such option config"),
        ("corpus = 'x'", "no such option corpus"),
        ("steps = ", "is not a TOML file"),
        ("steps = true", "steps is True; it must be a value"),
        ("lines = 1", "lines is 1; it must be true or false"),
        ("steps = 1979-05-27", "it must be a text or a number"),
        ("[steps]\na = 1", "it must be a text or a number"),
        ("steps = 0", "--steps: 0 is out of range"),
        ("dropout = nan", "--dropout: nan is not a finite number"),
        ("layers = 1\nnum-layers = 2", "is given twice"),
    ],
)
def test_wrong_config_files(run: Any, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content)
    found = one_line_error(run("train", "--config", str(path)), 2)
    assert message in found
    assert found.startswith(str(path))


def test_a_wrong_flag_beside_a_config_file_is_not_blamed_on_it(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("dropout = 0.5\nsteps = 3\n")
    found = one_line_error(run("train", "--config", str(path), "--steps", "0"), 2)
    assert found.startswith("--steps: 0 is out of range")


def test_missing_config_file(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    assert f"cannot read {path}: No such file" in one_line_error(run("train", "--config", path), 1)

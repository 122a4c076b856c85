"""`charrnn info`: everything from the header, nothing that a terminal would obey."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn import checkpoint as ckpt
from charrnn.cli.curve import HEIGHT, curve
from charrnn.cli.main import main
from charrnn.config import ModelConfig, TextConfig
from charrnn.models.language import parameter_layout
from charrnn.runtime import safefile
from tests.test_checkpoint import GOLDEN, make_checkpoint

PATH = str(GOLDEN / "version-1.safetensors")


@pytest.fixture(autouse=True)
def _no_checkpoint_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_CHECKPOINT", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def test_for_a_reader(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", PATH]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    size = Path(PATH).stat().st_size
    assert lines[0] == f"{PATH}: {size / 1000:.1f} kB, format 1"
    assert "model       lstm, 1 layer of 3" in lines
    assert "input       embedding of 2" in lines
    assert "text        char, lines; 6 units" in lines
    assert 'frequent    a é \\x1b "' in lines
    assert "training    32 bytes of state: --resume can go on" in lines
    assert any(line.split() == ["rnn.weight_ih_l0", "12", "x", "2", "24"] for line in lines)
    assert not any("learning_rate" in line for line in lines)  # raw entries are for --json
    assert all(line.isprintable() for line in lines)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", PATH, "--json"]) == 0
    out, _ = capsys.readouterr()
    assert out.count("\n") == 1
    found = json.loads(out)
    wanted = make_checkpoint()
    assert found["checkpoint"] == PATH
    assert found["file_size"] == Path(PATH).stat().st_size
    assert found["model"]["cells"] == ["lstm"]
    assert found["parameters"] == parameter_layout(wanted.model).size
    assert found["tensors"] == {name: list(tensor.shape) for name, tensor in wanted.weights.items()}
    assert found["text"]["lines"] is True
    assert found["vocabulary"] == {"size": 6, "most_frequent": ["a", "é", "\x1b", '"']}
    assert found["training"] == wanted.training
    assert found["training_state_bytes"] == 32


def test_stripped_word_model_with_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_checkpoint(text=TextConfig(unit="word"), counts={" the": 9, "odd": 2, "\n": 2})
    made.training_tensors = {}
    made.training = {
        "source": {"corpora": ["a.txt", "-"]},
        "options": {"optimizer": "muon", "schedule": 3, "learning_rate": 0.018, "dropout": 0.1, "seed": 12_345_678},
        "corpus": {"training": {"tokens": 1234, "bytes": 5678}, "validation": {"tokens": 99, "bytes": 345}},
        "progress": {
            "step": 990, "best_step": 980, "best": {"loss": 1.25, "bits_per_byte": 2.0},
            "history": [[10 * s, None, 1 / s] for s in range(1, 100)],
        },
        "epoch": 3.0,
    }  # fmt: skip
    made.timings = {"seconds": 83.2}
    ckpt.save(tmp_path / "a.safetensors", made)
    assert main(["info", "-c", "a.safetensors"]) == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert "frequent    ' the' odd" in lines
    assert "training    finished, no state kept" in lines
    assert lines[lines.index("corpus      a.txt, standard input") :][1:6] == [
        "learned     1,234 tokens, 5.7 kB",
        "held out    99 tokens, 345 bytes",
        "method      muon, learning rate 0.018, dropout 0.1, seed 12345678",
        "best        validation loss 1.2500, 2.000 bits per byte, at step 980",
        "length      990 steps, 3 epochs, 1m 23s",
    ]
    start = lines.index("validation loss by step")
    picture = lines[start + 1 : lines.index("", start)]
    assert len(picture) == HEIGHT + 1
    assert max(map(len, picture)) <= 80
    assert picture[0].startswith("     1 │█")
    assert picture[-2].startswith("0.0101 │█")
    assert picture[-2].endswith("▁▁▁")
    assert picture[-1].split() == ["10", "990"]


def test_the_result_comes_before_validations_on_a_part_of_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_checkpoint()
    progress = {"best_step": 980, "best": {"loss": 1.25, "bits_per_byte": 2.0}}
    made.training = {"progress": progress, "result": {"val_loss": 1.5, "val_bits_per_byte": 2.5, "best_step": 980}}
    ckpt.save(tmp_path / "a", made)
    assert main(["info", "a"]) == 0
    assert "best        validation loss 1.5000, 2.500 bits per byte, at step 980" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "kept", "shown"),
    [
        (None, True, "interrupted at step 150 of 4,000, 32 bytes of state: --resume goes on"),
        (None, False, "interrupted at step 150 of 4,000, no state kept"),
        ("steps", True, "finished (all steps done), 32 bytes of state: --resume with a larger budget goes on"),
        ("patience", False, "finished (no improvement), no state kept"),
    ],
)
def test_whether_a_run_has_ended_and_can_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], result: str | None, kept: bool, shown: str
) -> None:
    made = make_checkpoint()
    made.training = {
        "progress": {"step": 150, "plans": [[0, 400], [100, 4000]]},
        "result": result and {"stopped_by": result},
    }
    made.training_tensors = made.training_tensors if kept else {}
    ckpt.save(tmp_path / "a", made)
    assert main(["info", "a"]) == 0
    assert f"training    {shown}" in capsys.readouterr().out.splitlines()


def test_one_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_checkpoint()
    made.training = {
        "corpus": {"training": {"tokens": 1, "bytes": 1}, "validation": {"tokens": 2, "bytes": 1200}},
        "progress": {"step": 1},
        "epoch": 1.0,
    }
    ckpt.save(tmp_path / "a", made)
    assert main(["info", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "learned     1 token, 1 byte" in lines
    assert "held out    2 tokens, 1.2 kB" in lines
    assert "length      1 step, 1 epoch, 2s" in lines


@given(st.lists(st.tuples(st.floats(), st.floats())), st.integers(1, 300))
def test_a_curve_fits_in_its_width(points: list[tuple[float, float]], width: int) -> None:
    lines = list(curve(points, width))
    assert all(len(line) <= width for line in lines)
    assert len(lines) in (0, HEIGHT + 1)


@pytest.mark.parametrize("count", [2, 30, 77, 500])
def test_a_curve_has_its_values(count: int) -> None:
    drawn = list(curve([(step, count - step) for step in range(count)], 80))[:-1]
    columns = [sum(" ▁▂▃▄▅▆▇█".index(cell) for cell in column) for column in zip_longest(*(
        line.partition("│")[2] for line in drawn), fillvalue=" ")]  # fmt: skip
    assert columns == sorted(columns, reverse=True)
    assert (columns[0], columns[-1]) == (8 * HEIGHT, 1)
    assert len(columns) <= 80
    # A curve that does not move is a line at the bottom.
    flat = list(curve([(1, 2.0), (2, 2.0)], 40))
    assert [line.partition("│")[2].strip() for line in flat[:-1]] == ["", "", "", "", "", "▁▁▁▁▁▁▁▁"]


def test_without_held_out_text_the_training_loss_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_checkpoint()
    made.training = {"progress": {"train_loss": 1.5, "history": [[5, 3.0, None], [9, 1.5, None]]}}
    ckpt.save(tmp_path / "a", made)
    assert main(["info", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "best        training loss 1.5000; nothing was held out" in lines
    assert "training loss by step" in lines


def test_adaptive_softmax(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ModelConfig(vocabulary_size=6, cells=("lstm",), hidden_size=16, cutoffs=(2, 4))
    ckpt.save(tmp_path / "a", make_checkpoint(config))
    assert main(["info", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "output      adaptive softmax, clusters from unit 2, 4" in lines
    assert any(line.split() == ["output.tail.1.1.weight", "2", "x", "1", "2"] for line in lines)
    assert main(["info", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["cutoffs"] == [2, 4]


def test_history_of_any_kind_is_shown_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_checkpoint()
    for strange in (None, [], [1], [["a"]], {"history": 3}, {"history": [[1, 2]]}, "x\x1b[2J", [[["deep"]]]):
        made.training = {"progress": strange, "other": strange}
        ckpt.save(tmp_path / "a", made)
        assert main(["info", "a"]) == 0
        assert "\x1b" not in capsys.readouterr().out


def test_which_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 1
    assert "charrnn train corpus.txt" in capsys.readouterr().err
    assert main(["info", "gone"]) == 1
    assert capsys.readouterr().err.startswith("charrnn: error: there is no checkpoint gone")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "lost")
    assert main(["info"]) == 1
    assert capsys.readouterr().err.startswith("charrnn: error: there is no checkpoint lost ($CHARRNN_CHECKPOINT);")
    assert main(["info", "gone"]) == 1
    assert capsys.readouterr().err.startswith("charrnn: error: there is no checkpoint gone;")
    monkeypatch.delenv("CHARRNN_CHECKPOINT")
    assert main(["info", PATH, "-c", PATH]) == 2
    assert "leave one out" in capsys.readouterr().err
    ckpt.save(tmp_path / "checkpoints" / "mine.safetensors", make_checkpoint())
    assert main(["info"]) == 0
    assert capsys.readouterr().err == f"checkpoint {Path('checkpoints/mine.safetensors')}\n"
    assert main(["info", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_tensors_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(safefile, "read_tensors", refuse)
    assert main(["info", PATH]) == 0


def test_no_compiler_and_no_safetensors_are_imported() -> None:
    script = (
        "import sys; from charrnn.cli.main import main; status = main(['info', sys.argv[1]]);"
        "assert not {'numba', 'llvmlite', 'safetensors'} & sys.modules.keys(); sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", script, PATH], capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")


def test_numbers_in_training_are_json_numbers(tmp_path: Path) -> None:
    made = make_checkpoint()
    made.training = {"loss": float(np.inf)}
    with pytest.raises(ValueError, match="not JSON compliant"):
        ckpt.save(tmp_path / "a", made)
    assert list(tmp_path.iterdir()) == []

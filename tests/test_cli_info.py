"""`charrnn info`: everything from the header, nothing that a terminal would obey."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn import checkpoint as ckpt
from charrnn.cli.main import main
from charrnn.config import ModelConfig, TextConfig
from charrnn.nn.layout import parameter_count
from charrnn.runtime import safefile
from tests.test_checkpoint import GOLDEN, make_checkpoint

PATH = str(GOLDEN / "version-1.safetensors")


@pytest.fixture(autouse=True)
def _no_checkpoint_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_CHECKPOINT", raising=False)


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
    assert any(line.split() == ["options.learning_rate", "0.002"] for line in lines)
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
    assert found["parameters"] == parameter_count(wanted.model)
    assert found["tensors"] == {name: list(tensor.shape) for name, tensor in wanted.weights.items()}
    assert found["text"]["lines"] is True
    assert found["vocabulary"] == {"size": 6, "most_frequent": ["a", "é", "\x1b", '"']}
    assert found["training"] == wanted.training
    assert found["training_state_bytes"] == 32


def test_stripped_word_model_with_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_checkpoint(text=TextConfig(unit="word"), counts={" the": 9, "odd": 2, "\n": 2})
    made.training_tensors = {}
    made.training = {
        "progress": {"step": 99, "best": {"loss": 1.25}, "history": [[s, None, 1 / s] for s in range(1, 100)]}
    }
    ckpt.save(tmp_path / "a.safetensors", made)
    assert main(["info", "-c", "a.safetensors"]) == 0
    out, _ = capsys.readouterr()
    lines = out.splitlines()
    assert "frequent    ' the' odd" in lines
    assert "training    finished, no state kept" in lines
    assert any(line.split() == ["progress.best.loss", "1.25"] for line in lines)
    start = lines.index("    step  training loss  validation loss")
    rows = [line.split() for line in lines[start + 1 : lines.index("", start)]]
    assert len(rows) == 12
    assert rows[-1] == ["99", "-", "0.010101"]


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


def test_which_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 1
    assert "charrnn train corpus.txt" in capsys.readouterr().err
    assert main(["info", "gone"]) == 1
    assert capsys.readouterr().err.startswith("charrnn: error: there is no checkpoint gone")
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

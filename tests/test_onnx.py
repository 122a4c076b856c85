"""The recipe of docs/python.md: PyTorch takes a checkpoint to ONNX, and onnxruntime gets the same numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.text.vocabulary import EOS
from tests.conftest import run_command, sentences

torch = pytest.importorskip("torch", reason="needs PyTorch")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnx", reason="needs onnx")
# What the exporter says of itself and of PyTorch's modules.
SAID = ("ignore:.*:DeprecationWarning", "ignore:Exporting a model", "ignore:Converting a tensor")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings(*SAID)]

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)
(EXPORT,) = (block for block in BLOCKS if "onnx.export" in block)
(RUN,) = (block for block in BLOCKS if "onnxruntime" in block)
LINE = 'checkpoint, target = "checkpoints/demo.safetensors", "demo.onnx"\n'


def export(checkpoint: Path, target: Path) -> Any:
    """The page's recipe for another checkpoint: a function from ids to log-probabilities, by onnxruntime."""
    assert EXPORT.count(LINE) == 1
    exec(EXPORT.replace(LINE, f"checkpoint, target = {str(checkpoint)!r}, {str(target)!r}\n"), {})
    session = onnxruntime.InferenceSession(target)
    return lambda ids: session.run(None, {"ids": np.array(ids, np.int64)[:, np.newaxis]})[0]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_language_model(cell: str, tmp_path: Path) -> None:
    corpus, model = tmp_path / "corpus.txt", tmp_path / "m.safetensors"
    corpus.write_text(sentences(100), encoding="utf-8")
    options = ("--cell", cell, "--layers", "2", "--hidden-size", "24", "--steps", "60", "-q", "-o", model)
    assert run_command("train", corpus, *options).status == 0
    log_probs, trained = export(model, tmp_path / "m.onnx"), charrnn.load(model)
    for text in ("the cat sits here.", "", "a", "one hen runs, too! our dog naps at 7."):
        ids = [EOS, *trained.vocabulary.encode(text), EOS]
        found = log_probs(ids[:-1])[np.arange(len(ids) - 1), 0, ids[1:]]
        [score] = trained.score([text], per_token=True)
        np.testing.assert_allclose(found, score.unit_logprobs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_classifier_in_both_directions(cell: str, tmp_path: Path) -> None:
    records, model = tmp_path / "records.tsv", tmp_path / "m.safetensors"
    lines = sentences(100).splitlines()
    records.write_text("".join(f"{line.split()[1]}\t{line}\n" for line in lines), encoding="utf-8")
    options = ("--cell", cell, "--ngrams", "0", "--hidden-size", "16", "--steps", "30", "-q", "-o", model)
    assert run_command("train", records, "--task", "classify", *options).status == 0
    log_probs, trained = export(model, tmp_path / "m.onnx"), charrnn.load(model)
    assert trained.network.config.bidirectional
    texts = [*lines[:5], "cat", "a dog"]
    found = np.stack([log_probs(trained.vocabulary.encode(text))[0] for text in texts])
    np.testing.assert_allclose(found, trained.log_probs(texts), rtol=0, atol=1e-5)


def test_the_page_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    exec(EXPORT, {})
    exec(RUN, {})
    first, second = map(float, capsys.readouterr().out.split())
    assert first == pytest.approx(second, abs=1e-5)
    assert second == pytest.approx(-14.839, abs=1e-3)

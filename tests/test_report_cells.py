"""Cells that follow a feature are found in networks that learned, and in none with random weights."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from charrnn.report import features
from charrnn.report.calibration import curve
from charrnn.report.cells import THRESHOLD, best_cells, correlations, learned
from charrnn.report.language import _kind, _words, read
from charrnn.report.page import heat, runs
from charrnn.report.states import reach, trace
from charrnn.report.text import visible
from charrnn.tasks.score_records import Line
from tests.conftest import run_command, sentences
from tests.test_corpora import agreement

pytestmark = pytest.mark.slow


def source_code(lines: int, seed: int = 0) -> str:
    """Lines of calls with quoted words, lists in brackets, comments and blocks, as a program has."""
    choose = random.Random(seed)
    words = [*"alpha beta gamma delta rows width height name value total".split(), "Table", "Error"]  # noqa: SIM905
    found, depth = [], 0
    for _ in range(lines):
        some = [choose.choice(words) for _ in range(choose.randint(1, 6))]
        kind = choose.random()
        if kind < 0.2:
            line = f"if {some[0]} > {len(some)}:"
        elif kind < 0.6:
            line = f'{some[0]} = "{" ".join(some)}"'
        elif kind < 0.8:
            line = f"{some[0]}({', '.join(some)})"
        else:
            line = f"{some[0]} = {len(some)}  # {' '.join(some)}"
        found.append(" " * 4 * depth + line)
        depth = min(depth + 1, 3) if line.endswith(":") else max(0, depth - choose.randint(0, 1))
    return "\n".join(found) + "\n"


def best_of(network: LanguageModel, ids: np.ndarray, units: list[str]) -> list[float]:
    """The correlations of the best cell for each feature, the largest first."""
    cells = trace(network, ids).cells
    return [abs(one.correlation) for one in best_cells(cells, features.at_units(units))]


def test_features_of_a_text() -> None:
    def shown(name: str, text: str) -> str:
        values = features.FEATURES[name](text)
        return "".join(one.upper() if value else one for one, value in zip(text, values, strict=True))

    assert shown("inside quotes", 'a "b c" d "e\nf') == 'a "B C" d "E\nf'
    assert shown("inside quotes over lines", 'a "b\nc" d "e\n\nf') == 'a "B\nC" d "E\n\nf'
    assert shown("inside quotes", '"""a\n"b" c"""d') == '"""A\n"B" C"""d'
    assert shown("inside brackets", "a (b [c] d) e) f") == "a (B [C] D) e) f"
    assert shown("in a comment", "a # b\nc // d\ne") == "a # B\nc // D\ne"
    assert list(features.position("ab\nc")) == [1, 2, 0, 1]
    assert list(features.after_capital("Ab ac")) == [1, 1, 0, 0, 0]
    assert list(features.indentation("  a b\n c")) == [1, 1, 0, 0, 0, 0, 1, 0]
    assert "inside quotes" not in features.at_units(list("no quotes here"))
    assert list(features.at_units(["ab", " cde"])["position in the word"]) == [2, 3]


def test_a_cell_is_chosen_on_one_half_and_measured_on_the_other() -> None:
    rng = np.random.default_rng(0)
    follows = (rng.random(2000) < 0.3).astype(np.float64)
    cells = rng.normal(size=(2, 2000, 50)).astype(np.float32)
    cells[1, :, 7] = 0.2 * cells[1, :, 7] - follows
    [found] = learned(best_cells(cells, {"it": follows}))
    assert (found.layer, found.unit) == (1, 7)
    assert found.correlation == pytest.approx(np.corrcoef(cells[1, 1000:, 7], follows[1000:])[0, 1], abs=1e-6)
    assert found.correlation < -0.9
    cells[1, 1000:, 7] *= -1  # it goes with the feature in one half, and against it in the other
    assert learned(best_cells(cells, {"it": follows})) == []
    assert best_cells(cells, {"rare": np.arange(2000) == 5.0}) == []
    assert list(correlations(np.ones((9, 2), np.float32), np.arange(9.0))) == [0, 0]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_random_weights_follow_nothing(cell: str) -> None:
    text, grammar, generator = source_code(300), agreement.build(), random.Random(3)
    grammatical = "\n".join(" ".join(agreement.sample(grammar, generator)[0]) for _ in range(300))
    for seed in range(2):
        for some in (text, grammatical):
            units = list(some[:6000])
            known = sorted(set(units))
            ids = np.array([known.index(unit) for unit in units], np.int32)
            network = LanguageModel(ModelConfig(len(known), cells=(cell,) * 2, hidden_size=96, embedding_size=32))
            network.initialise(seed)
            assert max(best_of(network, ids, units)) < THRESHOLD


@pytest.mark.slow
def test_a_cell_that_learned_is_found(tmp_path: Path) -> None:
    corpus = tmp_path / "source.txt"
    corpus.write_text(source_code(20_000))
    model = tmp_path / "source.safetensors"
    options = ("--hidden-size", "64", "--steps", "800", "--batch-size", "32", "--seq-length", "64", "--seed", "0")
    adamw = ("--optimizer", "adamw")  # one cell for one thing, more often than with Muon
    assert run_command("train", corpus, *options, *adamw, "--precision", "float32", "-q", "-o", model).status == 0
    loaded = charrnn.load(model, threads=1)
    text = source_code(600, seed=1)
    ids = loaded.vocabulary.encode(text)
    assert max(best_of(loaded.network, ids, list(text))) > 0.8
    loaded.network.initialise(0)
    assert max(best_of(loaded.network, ids, list(text))) < THRESHOLD


def test_states_are_those_of_the_network() -> None:
    network = LanguageModel(ModelConfig(9, cells=("lstm", "gru"), hidden_size=16, embedding_size=4))
    network.initialise(1)
    ids = np.random.default_rng(0).integers(0, 9, 1300).astype(np.int32)
    found = trace(network, ids)
    hidden = network.forward(ids[:, np.newaxis], network.zero_state(1))[:, 0]
    np.testing.assert_allclose(found.cells[1], hidden, atol=1e-6)
    assert [(layer, name) for layer, name, _, _ in found.gates] == [
        (0, "input"), (0, "forget"), (0, "output"), (1, "reset"), (1, "update")
    ]  # fmt: skip
    for _, _, shut, opened in found.gates:
        assert shut.shape == opened.shape == (16,)
        assert ((shut >= 0) & (opened >= 0) & (shut + opened <= 1)).all()
    long = np.resize(ids, 4003).astype(np.int32)  # rows beside each other begin with some context
    hidden = network.forward(long[:, np.newaxis], network.zero_state(1))[:, 0]
    np.testing.assert_allclose(trace(network, long).cells[1], hidden, atol=5e-3)
    resets = np.zeros(1300, np.bool_)
    resets[700] = True
    np.testing.assert_array_equal(trace(network, ids, resets).cells[:, 700:], trace(network, ids[700:]).cells)


def test_the_gradient_that_reaches_back_is_that_of_differences() -> None:
    """A plain network with one unit: each step back multiplies by u (1 - h²)."""
    network = LanguageModel(ModelConfig(5, cells=("rnn",), hidden_size=1, embedding_size=0), dtype=np.float64)
    network.initialise(0)
    ids = np.arange(40, dtype=np.int32) % 5
    shares = reach(network, ids, 6, rows=1)
    h = network.forward(ids[:6, np.newaxis], network.zero_state(1))[:, 0, 0]
    u = float(network.tensors()["rnn.weight_hh_l0"][0, 0])
    gradients = [1 - h[5] ** 2]
    for step in range(4, -1, -1):
        gradients.append(gradients[-1] * u * (1 - h[step] ** 2))
    np.testing.assert_allclose(shares, np.abs(gradients) / abs(gradients[0]), rtol=1e-9)


def test_surprisal_is_that_of_score(models: dict[str, Path]) -> None:
    for name in ("char", "byte", "word", "lines"):
        model = charrnn.load(models[name], threads=1)
        lines = sentences(20, seed=4).encode().splitlines()
        seen = read(model, b"\n".join(lines) + b"\n")
        [scores] = model.score_chunks([[Line(line) for line in lines]], stream=True)
        assert len(seen.ids) == sum(score.tokens for score in scores)
        assert seen.logprobs.sum() == pytest.approx(sum(score.logprob_unk for score in scores), rel=1e-5)
        assert 0 < seen.right.mean() < 1
        assert (np.exp(seen.logprobs) <= seen.sure + 1e-6).all()
        np.testing.assert_allclose(np.exp(seen.logprobs)[seen.right], seen.sure[seen.right], rtol=1e-5)


def test_calibration_of_bins() -> None:
    sure = np.array([0.95] * 10 + [0.55] * 10)
    right = np.array([True] * 9 + [False] + [True] * 5 + [False] * 5)
    mean, share, error = curve(sure, right)
    np.testing.assert_allclose((mean, share), ([0.55, 0.95], [0.5, 0.9]))
    assert error == pytest.approx(0.05)


def test_text_is_bounded_and_made_visible() -> None:
    assert visible("a\x00\x1b\x7f\x85\u202e\ud800b") == "a␀␛␡\ufffd[U+202E]\ufffdb"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert visible("שלום \u200d 日本") == "שלום \u200d 日本"
    assert len(visible("x" * 10_000_000, 50)) == 52
    assert runs("abcd", [0.0, 0.01, 1.0, -2.0]) == [("ab", 0), ("c", 8), ("d", -8)]
    assert heat(0.5) == 4
    kinds = [_kind("\n", "a"), _kind("a", "b"), _kind("a", " b"), _kind("a", "B"), _kind(" ", "b")]
    assert kinds == ["first letter", "in a word", "first letter", "capital", "first letter"]
    assert _words("a bc,d", np.arange(6.0)) == (["a", "bc", "d"], [0, 5, 5])

"""The benchmark of memory: its questions, and its gradients against differences of the model's own losses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from benchmarks import long_range, long_range_labels
from charrnn.config import ModelConfig
from charrnn.text import EOS
from tests.networks import Bounded

V, H, T, B = 7, 5, 9, 3


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_that_reach_back(cell: str) -> None:
    model = Bounded(ModelConfig(V, (cell,), H, 4), boundary=EOS, dtype=np.float64)
    rng = np.random.default_rng(0)
    model.parameters[:] = rng.normal(0, 0.7, model.parameters.size)
    model.invalidate()
    ids = rng.integers(2, V, (T, B)).astype(np.int32)
    ids[:2, 1] = EOS  # a shorter row
    targets = rng.integers(2, V, B).astype(np.int32)
    gradients = long_range.gradients_back(model, ids, targets, 6)
    assert gradients.shape == (7, 2, B, H)

    def losses(state: np.ndarray, k: int) -> np.ndarray:
        all_targets = np.broadcast_to(targets, (k, B)).copy()
        found: np.ndarray = -model.log_probs(ids[T - k :], all_targets, state)[-1]
        return found

    for k in (1, 2, 4, 6):
        state = model.zero_state(B)
        model.forward(ids[: T - k], state)
        direction = rng.normal(0, 1, state.shape)
        up, down = losses(state + 1e-5 * direction, k), losses(state - 1e-5 * direction, k)
        slope = (gradients[k, : len(state)] * direction).sum(axis=(0, 2))
        assert np.abs(slope).min() > 1e-8
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-5, atol=1e-9)


def test_questions() -> None:
    grammar = long_range.load_grammar()
    near, far = long_range.ask(grammar, "the old king that the dogs follow sleeps\n")
    assert (near.right, near.wrong) == ("the old king that the dogs follow ", "the old king that the dogs follows ")
    assert (far.right[-7:], far.wrong[-6:]) == ("sleeps\n", "sleep\n")
    assert (near.words, near.nearest, far.words, far.nearest) == (1, True, 5, False)
    assert far.right[: far.decided] == "the old king that the dogs follow sleep"


def test_longest_sentences_are_those_with_the_farthest_subject() -> None:
    """The shortened grammar gives no other, and each as often, among themselves, as the whole one."""
    grammar = long_range.load_grammar()
    rules = grammar.build()
    far = long_range_labels.longest(rules)
    texts = list(itertools.islice(long_range_labels.sentences(grammar, far, 0), 300))
    assert {grammar.agreements(text)[-1].distance for text in texts} == {long_range_labels.FARTHEST}
    assert {grammar.labelled(text).partition("\t")[0] for text in texts} == {"singular", "plural"}
    assert [len(far[f"noun {number}"]) for number in grammar.NUMBERS] == [10, 10]
    tested = long_range_labels.tested(grammar, rules, 50)
    assert sum(map(len, tested.values())) == 250
    assert len(tested[long_range_labels.FARTHEST]) >= 50


@pytest.mark.slow
def test_many_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has a column for each network, and a network that was trained is right where the subject is near."""
    monkeypatch.setattr(long_range_labels, "CELLS", ("gru",))
    monkeypatch.setattr(long_range_labels, "HIDDEN", 16)
    columns, rows = long_range_labels.many_to_one(long_range.load_grammar(), tmp_path, 200, 1, quick=True)
    assert columns == ["words", "sentences", "gru", "gru, both"]
    assert [row[0] for row in rows] == ["1", "2-5", "6-9", "10-13", "14-17", "18-19", "20"]
    assert float(rows[0][2].rstrip("%")) > 90

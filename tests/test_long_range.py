"""The benchmark of memory: its questions, and its gradients against differences of the model's own losses."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import long_range
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

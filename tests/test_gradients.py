"""Backward passes: against finite differences, and the shipped number types against float64."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.config import ModelConfig
from tests import gradcheck
from tests.networks import OPTIONS, Bounded, names

CASES = {case.name: case for case in gradcheck.cases()}


@pytest.mark.parametrize("name", names(CASES))
def test_gradient_is_the_slope_of_the_loss(name: str) -> None:
    for result in gradcheck.check(CASES[name]):
        assert abs(result.slope) > 1e-6, f"{result.parameter}: the gradient vanished"
        assert result.relative_error < 1e-6, result.parameter


@pytest.mark.parametrize("hidden_size", [64, 71])
@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_shipped_number_types_agree_with_float64(name: str, hidden_size: int) -> None:
    cell, options = OPTIONS[name]
    config = ModelConfig(61, cell * 2, hidden_size, 21, **options)
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 61, (2, 21, 9)).astype(np.int32)
    exact = Bounded(config, boundary=1, dtype=np.float64)
    exact.initialise(0)
    expected = exact.loss_and_gradient(ids, targets, exact.zero_state(9), dropout=0.2)[1]
    # A unit whose sum rounds to the other side of zero has the other slope of ReLU: rounding is amplified there.
    for bfloat16, tolerance in ((False, 1e-4), (True, 1e-1 if name == "rnn relu" else 2e-2)):
        model = Bounded(config, boundary=1, threads=2, bfloat16=bfloat16)
        model.parameters[:] = exact.parameters
        model.invalidate()
        gradient = model.loss_and_gradient(ids, targets, model.zero_state(9), dropout=0.2)[1].astype(np.float64)
        assert 0 < np.linalg.norm(gradient - expected) / np.linalg.norm(expected) < tolerance

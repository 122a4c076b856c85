"""Backward passes: against finite differences, and the shipped number types against float64."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from tests import gradcheck


@pytest.mark.parametrize("case", list(gradcheck.cases()), ids=lambda case: case.name)
def test_gradient_is_the_slope_of_the_loss(case: gradcheck.Case) -> None:
    for result in gradcheck.check(case):
        assert abs(result.slope) > 1e-6, f"{result.parameter}: the gradient vanished"
        assert result.relative_error < 1e-6, result.parameter


@pytest.mark.parametrize("name", gradcheck.OPTIONS)
def test_float32_gradient_agrees_with_float64(name: str) -> None:
    cell, options = gradcheck.OPTIONS[name]
    config = ModelConfig(60, cell * 2, 70, 20, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 60, (2, 20, 9)).astype(np.int32)
    gradients = []
    exact = LanguageModel(config, dtype=np.float64)
    exact.initialise(0)
    for dtype in (np.float64, np.float32):
        model = LanguageModel(config, dtype=dtype)
        model.parameters[:] = exact.parameters
        model.refresh()
        gradients.append(model.gradient(ids, targets, model.zero_state(9), dropout=0.2)[1].astype(np.float64))
    error = np.linalg.norm(gradients[1] - gradients[0]) / np.linalg.norm(gradients[0])
    assert 0 < error < 1e-4

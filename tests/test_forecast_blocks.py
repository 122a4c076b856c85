"""Blocks for numbers: their gradients, their densities, and that rows do not depend on each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from charrnn.errors import CharrnnError
from charrnn.models.forecaster import Forecaster
from charrnn.nn.dropout import DropoutKey
from charrnn.task_config import ForecasterConfig
from charrnn.tasks.forecast_distribution import Distribution, central_probability, standard_quantile
from charrnn.text.batch import Batch
from tests.test_sequence_blocks import check_gradient

T, B, C, F = 5, 4, 2, 7


def config(**options: Any) -> ForecasterConfig:
    values: dict[str, Any] = {
        "vocabulary_size": 2,
        "cells": ("lstm",),
        "hidden_size": 6,
        "series": C,
        "lags": T,
        "features": F,
    }
    return ForecasterConfig(**(values | options))


def network(dtype: Any = np.float64, threads: int = 2, **options: Any) -> Forecaster:
    """A forecaster with random weights."""
    made = Forecaster(config(**options), threads=threads, dtype=dtype)
    made.initialise(1)
    made.parameters += 0.3 * np.random.default_rng(0).standard_normal(made.parameters.size).astype(dtype)
    made.invalidate()
    return made


def batch(rows: int = B, *, weighted: bool = True, dtype: Any = np.float64) -> Batch:
    rng = np.random.default_rng(3)
    reset, ends = np.zeros((T, rows), np.bool_), np.zeros((T, rows), np.bool_)
    reset[0] = ends[-1] = True
    weights = np.array([1.0 + np.arange(rows) % 3]) if weighted else None
    return Batch(
        rng.standard_normal((T, rows, C)).astype(dtype), rng.standard_normal((1, rows, C)).astype(dtype), reset, ends,
        weights, beside=rng.standard_normal((1, rows, F)).astype(dtype),
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{}, {"degrees": 4.0}, {"cells": ("gru", "rnn"), "dense": (5,)}, {"degrees": 3.0, "dense": (5, 4)}],
    ids=["gaussian", "student", "dense", "student, dense"],
)
def test_gradients(options: dict[str, Any]) -> None:
    check_gradient(network(**options), batch())


def test_the_gradient_with_dropout() -> None:
    check_gradient(network(dense=(5,)), batch(), DropoutKey(0.4, 3, 5))


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_the_loss_is_the_density(degrees: float) -> None:
    made, data = network(degrees=degrees), batch(weighted=False)
    location, log_scale = made.distribution(data)
    expected = Distribution(location, np.exp(log_scale), degrees, log=False).log_density(data.targets[0])
    summed, count = made.loss(data)
    assert count == B
    assert -summed == pytest.approx(float(expected.sum()), rel=1e-12)


def test_a_density_is_normalised() -> None:
    grid = np.linspace(-400, 400, 400_001)[:, np.newaxis]
    for degrees in (0.0, 3.0):
        found = Distribution(np.full_like(grid, 1.5), np.full_like(grid, 0.7), degrees, log=False)
        assert np.exp(found.log_density(grid)).sum() * 0.002 == pytest.approx(1, abs=1e-5)
    positive = np.linspace(1e-4, 200, 400_001)[:, np.newaxis]
    found = Distribution(np.full_like(positive, 1.5), np.full_like(positive, 0.5), 0.0, log=True)
    assert np.exp(found.log_density(positive)).sum() * 200 / 400_000 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 1.959964), (3, 3.182446), (4, 2.776445), (10, 2.228139)])
def test_quantiles_are_those_of_tables(degrees: int, expected: float) -> None:
    assert standard_quantile(0.975, float(degrees)) == pytest.approx(expected, abs=1e-6)
    assert standard_quantile(0.025, float(degrees)) == pytest.approx(-expected, abs=1e-6)
    assert central_probability(np.array([expected]), float(degrees))[0] == pytest.approx(0.95, abs=1e-6)


def test_training_starts_from_the_direct_path() -> None:
    made, data = Forecaster(config(), dtype=np.float64), batch()
    made.initialise(3)
    made.views["direct.weight"][:] = np.random.default_rng(2).standard_normal((F, C))
    made.invalidate()
    location, log_scale = made.distribution(data)
    assert data.beside is not None
    np.testing.assert_allclose(location, data.beside[0] @ made.views["direct.weight"], rtol=1e-12)
    assert not log_scale.any()


def test_rows_and_threads_change_no_bit() -> None:
    data = batch(9, dtype=np.float32)
    expected = network(np.float32, threads=1).distribution(data)
    for threads in (2, 3):
        found = network(np.float32, threads=threads).distribution(data)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    some = network(np.float32).distribution(data.rows(slice(3, 5)))
    assert all(np.array_equal(a, b[3:5]) for a, b in zip(some, expected, strict=True))


def test_a_batch_that_does_not_fit_is_refused() -> None:
    made, data = network(), batch()
    broken = data.inputs.copy()
    broken[0, 0, 0] = math.nan
    for changed in (
        replace(data, inputs=broken), replace(data, inputs=data.inputs[:, :, :1]), replace(data, beside=None),
        replace(data, targets=data.targets[:, :, :1]),
    ):  # fmt: skip
        with pytest.raises(CharrnnError):
            made.loss(changed)

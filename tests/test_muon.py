"""Muon's update against plain NumPy; what it leaves to AdamW; the same bits for any number of threads; resuming."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.config import TrainingConfig
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import ThreadPool
from charrnn.training import muon
from charrnn.training.optimizer import Optimizer, without

RATE, DECAY = 0.01, 0.1


def config(optimizer: str = "muon") -> TrainingConfig:
    return TrainingConfig(1, 1, RATE, optimizer=optimizer, weight_decay=DECAY)


def gradients(shape: tuple[int, ...], count: int = 20) -> list[Array]:
    random = np.random.default_rng(1)
    return [random.normal(size=shape) for _ in range(count)]


def inverse_root(U: Array) -> Array:
    """A multiple of about (U U')^(-1/2): the product of all factors of the iterations for U itself."""
    identity, X = np.eye(len(U)), U / np.linalg.norm(U)
    root = identity
    for _ in range(5):
        A = X @ X.T
        Z = 3.4445 * identity - 4.7750 * A + 2.0315 * A @ A
        X, root = Z @ X, Z @ root
    return root


def reference(W: Array, steps: list[Array]) -> Array:
    """The equations of `muon.py` for a wide matrix, with new arrays for everything."""
    M, beta = np.zeros_like(W), muon.MOMENTUM
    for t, G in enumerate(steps, 1):
        M = beta * M + (1 - beta) * G
        U = beta * M + (1 - beta) * G
        if t % muon.RENEWAL == 1:
            root = inverse_root(U)
        equal = root @ U
        W = (1 - RATE * DECAY) * W - RATE * muon.UPDATE_SIZE * equal / np.sqrt((equal**2).mean(axis=0))
    return W


def updated(W: Array, steps: list[Array], threads: int = 1) -> Optimizer:
    flat = W.reshape(-1).copy()
    optimizer = Optimizer(
        config(), flat, [(0, flat.size, True)], matrices=[(0, W.shape)], pool=ThreadPool(threads)
    )  # fmt: skip
    for gradient in steps:
        optimizer.update(gradient.reshape(-1), 1.0, RATE)
    return optimizer


@pytest.mark.parametrize("shape", [(20, 80), (30, 12), (16, 16), (1, 5)])
def test_it_follows_the_equations(shape: tuple[int, int]) -> None:
    W, steps = np.random.default_rng(0).normal(size=shape), gradients(shape)
    expected = reference(W.T, [step.T for step in steps]).T if shape[0] > shape[1] else reference(W, steps)
    assert np.abs(expected - W).max() > 0.02
    np.testing.assert_allclose(updated(W, steps).parameters.reshape(shape), expected, rtol=1e-7, atol=1e-9)
    single = updated(W.astype(np.float32), [step.astype(np.float32) for step in steps])
    np.testing.assert_allclose(single.parameters.reshape(shape), expected, rtol=1e-3, atol=2e-5)


def test_singular_values_become_equal() -> None:
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(n, 16)))[0] for n in (16, 64))
    U = left @ np.diag(np.logspace(0, -1.5, 16)) @ right.T
    learner = muon.Muon(np.zeros(U.size), np.zeros(U.size), [(0, U.shape)], ThreadPool(1))
    learner.update(U.reshape(-1), 1.0, np.inf, RATE, DECAY, 1)
    values = np.linalg.svd(learner.matrices[0].root @ U, compute_uv=False)
    assert values.max() / values.min() < 2 < np.linalg.cond(U) / 10


def test_no_gradient_is_no_step() -> None:
    W = np.random.default_rng(0).normal(size=(6, 8))
    after = updated(W, [np.zeros_like(W)]).parameters
    np.testing.assert_allclose(after, (1 - RATE * DECAY) * W.reshape(-1), rtol=1e-12)


def test_same_bits_at_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.training.muon.WORTH_THREADS", 0)
    shape = (70, 333)
    W, steps = np.random.default_rng(0).normal(size=shape).astype(np.float32), gradients(shape, 10)
    one, *others = (updated(W, [step.astype(np.float32) for step in steps], threads) for threads in (1, 2, 3))
    for other in others:
        for name, array in one.arrays().items():
            assert array.any() or name == "moment.second"
            assert np.array_equal(array, other.arrays()[name]), name
        assert np.array_equal(one.parameters, other.parameters)


def test_what_is_no_matrix_is_left_to_adamw() -> None:
    """And is cut out of the segments wherever it lies."""
    whole = [(0, 10, True), (10, 12, False)]
    assert list(without(whole, [(0, (2, 2)), (6, (1, 4))])) == [(4, 6, True), (10, 12, False)]
    results = []
    for chosen in ("muon", "adamw"):
        flat = np.random.default_rng(0).normal(size=40)
        learner = Optimizer(config(chosen), flat, [(0, 30, True), (30, 40, False)], matrices=[(10, (4, 5))])
        for gradient in gradients((40,), 3):
            learner.update(gradient, 1.0, RATE)
        results.append(flat)
    own = np.r_[10:30]
    assert np.array_equal(np.delete(results[0], own), np.delete(results[1], own))
    assert not np.isclose(results[0][own], results[1][own]).any()

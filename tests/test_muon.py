"""Muon's update against plain NumPy; what it leaves to AdamW; the same bits for any number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

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
    """About (U U')^(-1/2): the product of all factors of the iterations for U itself."""
    identity, norm = np.eye(len(U)), np.linalg.norm(U)
    root, X = identity / norm, U / norm
    for _ in range(5):
        A = X @ X.T
        Z = 3.4445 * identity - 4.7750 * A + 2.0315 * A @ A
        X, root = Z @ X, Z @ root
    return root


def reference(W: Array, steps: list[Array]) -> Array:
    """The equations of `muon.py`, with new arrays for everything."""
    M, beta = np.zeros_like(W), muon.MOMENTUM
    for t, G in enumerate(steps, 1):
        M = beta * M + (1 - beta) * G
        U = beta * M + (1 - beta) * G
        if t % muon.RENEWAL == 1:
            root = inverse_root(U)
        equal = root @ U
        rms = np.maximum(np.sqrt((equal**2).mean(axis=0)), muon.LEAST / np.sqrt(W.shape[1]))
        W = (1 - RATE * DECAY) * W - RATE * muon.UPDATE_SIZE * equal / rms
    return W


def updated(
    weights: Sequence[Array], steps: Sequence[Sequence[Array]], threads: int = 1, clip: tuple[float, float] = (0.0, 0.0)
) -> Optimizer:  # fmt: skip
    """An optimiser of the weights, one after the other in its vector, after some steps with gradients of each."""
    flat = np.concatenate([W.reshape(-1) for W in weights])
    starts = np.cumsum([0, *(W.size for W in weights)]).tolist()
    matrices = [(start, (W.shape[0], W.shape[1])) for start, W in zip(starts, weights, strict=False)]
    chosen = dataclasses.replace(config(), clip_norm=clip[0], clip_value=clip[1])
    optimizer = Optimizer(chosen, flat, [(0, flat.size, True)], matrices=matrices, pool=ThreadPool(threads))
    for gradients in zip(*steps, strict=True):
        gradient = np.concatenate([gradient.reshape(-1) for gradient in gradients])
        optimizer.update(gradient, float(np.linalg.norm(gradient)), RATE)
    return optimizer


@pytest.mark.parametrize("shape", [(20, 80), (16, 16), (1, 5)])
def test_it_follows_the_equations(shape: tuple[int, int]) -> None:
    W, steps = np.random.default_rng(0).normal(size=shape), gradients(shape)
    expected = reference(W, steps)
    assert np.abs(expected - W).max() > 0.02
    np.testing.assert_allclose(updated([W], [steps]).parameters.reshape(shape), expected, rtol=1e-7, atol=1e-9)
    single = updated([W.astype(np.float32)], [[step.astype(np.float32) for step in steps]])
    np.testing.assert_allclose(single.parameters.reshape(shape), expected, rtol=1e-3, atol=2e-5)


def test_two_weights_and_clipping() -> None:
    """Each as if it were alone, with the gradient clipped by the norm of both, then by value."""
    shapes = [(4, 9), (6, 6)]
    weights = [np.random.default_rng(n).normal(size=shape) for n, shape in enumerate(shapes)]
    steps = [gradients(shape, 10) for shape in shapes]
    together = updated(weights, steps, clip=(2.0, 0.3)).parameters
    norms = [np.sqrt(sum((G**2).sum() for G in pair)) for pair in zip(*steps, strict=True)]
    clipped = [[np.clip(G * 2 / norm, -0.3, 0.3) for G, norm in zip(own, norms, strict=True)] for own in steps]
    alone = [reference(W, own).reshape(-1) for W, own in zip(weights, clipped, strict=True)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-7, atol=1e-9)
    assert not np.allclose(together[:36], reference(weights[0], steps[0]).reshape(-1))


def test_a_column_without_a_gradient_comes_to_rest() -> None:
    W, steps = np.zeros((16, 64)), gradients((16, 64), 120)
    for step in steps[20:]:
        step[:, 7] = 0
    early, late = (updated([W], [steps[:count]]).parameters.reshape(16, 64) for count in (90, 120))
    moved = np.sqrt(((late - early) ** 2).mean(axis=0))
    assert moved[7] < 0.2 * np.delete(moved, 7).min()  # what weight decay does


def test_singular_values_become_equal() -> None:
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(n, 16)))[0] for n in (16, 64))
    U = left @ np.diag(np.logspace(0, -1.5, 16)) @ right.T
    root = updated([np.zeros_like(U)], [[U]]).moments["second"][: 16 * 16].reshape(16, 16)
    values = np.linalg.svd(root @ U, compute_uv=False)
    assert values.max() / values.min() < 2 < np.linalg.cond(U) / 10


def test_no_gradient_is_no_step() -> None:
    W = np.random.default_rng(0).normal(size=(6, 8))
    after = updated([W], [[np.zeros_like(W)]]).parameters
    np.testing.assert_allclose(after, (1 - RATE * DECAY) * W.reshape(-1), rtol=1e-12)


def test_same_bits_at_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.training.muon.WORTH_THREADS", 0)
    shape = (70, 333)
    W, steps = np.random.default_rng(0).normal(size=shape).astype(np.float32), gradients(shape, 10)
    single = [step.astype(np.float32) for step in steps]
    one, *others = (updated([W], [single], threads) for threads in (1, 2, 3))
    for other in others:
        for name, array in one.moments.items():
            assert array.any()
            assert np.array_equal(array, other.moments[name]), name
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

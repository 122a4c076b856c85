"""Each update rule against plain NumPy and against PyTorch; clipping; the same bits for any split."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import OPTIMIZERS as ALL
from charrnn.config import TrainingConfig
from charrnn.kernels import optimizers as kernels
from charrnn.nn.init import zeros
from charrnn.nn.parameters import Layout, Parameter
from charrnn.runtime.threads import ThreadPool
from charrnn.training.optimizer import MOMENTS, Optimizer

Views = dict[str, np.ndarray]
OPTIMIZERS = [name for name in ALL if name != "muon"]  # of which test_muon.py is


def make_parameters(dtype: Any = np.float64, rows: int = 37, seed: int = 0) -> tuple[np.ndarray, Views]:
    """A flat vector with a matrix, a bias and another matrix in it."""
    flat = np.random.default_rng(seed).normal(size=rows * 20 + 20 + 300).astype(dtype)
    a = rows * 20
    return flat, {"w": flat[:a].reshape(rows, 20), "b": flat[a : a + 20], "u": flat[a + 20 :].reshape(15, 20)}


def layout() -> Layout:
    """That of `make_parameters`."""
    shapes = {"w": (37, 20), "b": (20,), "u": (15, 20)}
    return Layout([Parameter(n, s, zeros, len(s) == 2, n) for n, s in shapes.items()])


def segments(views: Views) -> list[tuple[int, int, bool]]:
    """The parts of the vector, decayed where they are matrices."""
    ends = np.cumsum([view.size for view in views.values()]).tolist()
    return [(end - view.size, end, view.ndim == 2) for end, view in zip(ends, views.values(), strict=True)]


def config(optimizer: str, **options: Any) -> TrainingConfig:
    return TrainingConfig(batch_size=1, seq_length=1, learning_rate=0.01, optimizer=optimizer, **options)


def run(
    settings_: TrainingConfig, gradients: list[np.ndarray], dtype: Any = np.float64, threads: int = 1
) -> np.ndarray:
    flat, views = make_parameters(dtype)
    optimizer = Optimizer(settings_, flat, segments(views), pool=ThreadPool(threads))
    for n, gradient in enumerate(gradients):
        optimizer.update(gradient, optimizer.gradient_norm(gradient), 0.01 / (1 + n))
    return flat


def make_gradients(count: int = 5, dtype: Any = np.float64) -> list[np.ndarray]:
    size = make_parameters()[0].size
    return [np.random.default_rng(n + 1).normal(size=size).astype(dtype) for n in range(count)]


def reference(settings_: TrainingConfig, gradients: list[np.ndarray]) -> np.ndarray:
    """The update rules as their papers and PyTorch's documentation write them."""
    p, views = make_parameters()
    decay = np.zeros_like(p)
    for start, stop, matrix in segments(views):
        decay[start:stop] = settings_.weight_decay * matrix
    m, v = np.zeros_like(p), np.zeros_like(p)
    for n, gradient in enumerate(gradients):
        lr, g = 0.01 / (1 + n), gradient.copy()
        if settings_.clip_norm:
            g *= min(1.0, settings_.clip_norm / float(np.linalg.norm(g)))
        if settings_.clip_value:
            g = np.clip(g, -settings_.clip_value, settings_.clip_value)
        if settings_.optimizer == "adamw":
            p -= lr * decay * p
        else:
            g = g + decay * p
        if settings_.optimizer in ("adam", "adamw"):
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g**2
            p -= lr * (m / (1 - 0.9 ** (n + 1))) / (np.sqrt(v / (1 - 0.999 ** (n + 1))) + 1e-8)
        elif settings_.optimizer == "rmsprop":
            v = 0.99 * v + 0.01 * g**2
            p -= lr * g / (np.sqrt(v) + 1e-8)
        elif settings_.optimizer == "adagrad":
            v = v + g**2
            p -= lr * g / (np.sqrt(v) + 1e-10)
        else:
            m = settings_.momentum * m + g
            p -= lr * m
    return p


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"clip_norm": 2.0, "clip_value": 0.1}])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_update_rules(optimizer: str, options: dict[str, float]) -> None:
    gradients = make_gradients()
    chosen = config(optimizer, **options)
    expected = reference(chosen, gradients)
    np.testing.assert_allclose(run(chosen, gradients), expected, rtol=1e-10, atol=1e-12)
    single = [g.astype(np.float32) for g in gradients]
    np.testing.assert_allclose(run(chosen, single, np.float32), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_gradient_keeps_vectors_and_shrinks_decayed_matrices(optimizer: str) -> None:
    before, views = make_parameters()
    zero = [np.zeros_like(before)]
    assert np.array_equal(run(config(optimizer), zero), before)
    after = run(config(optimizer, weight_decay=0.1), zero)
    bias = slice(views["w"].size, views["w"].size + views["b"].size)
    assert np.array_equal(after[bias], before[bias])
    matrices = np.delete(np.abs(after) < np.abs(before), np.r_[bias])
    assert matrices.mean() > 0.95  # RMSprop and Adagrad may step over zero


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits_at_any_number_of_threads(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.training.optimizer.THREADED", 1)
    results = []
    for threads in (1, 2, 3):
        flat, views = make_parameters(np.float32, rows=11_000)  # several chunks, the last one odd
        chosen = config(optimizer, weight_decay=0.01, clip_norm=1.0)
        learner = Optimizer(chosen, flat, segments(views), pool=ThreadPool(threads))
        for n in range(3):
            gradient = np.random.default_rng(n).normal(size=flat.size).astype(np.float32)
            learner.update(gradient, learner.gradient_norm(gradient), 0.01)
        results.append([flat, *learner.moments.values()])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rows_without_a_gradient_are_left_alone(optimizer: str) -> None:
    chosen = config(optimizer, weight_decay=0.1, clip_norm=2.0)
    flat, views = make_parameters()
    by_row = Optimizer(chosen, flat, segments(views), table=(37, 20))
    start = flat.copy()
    # To each row that is ever touched, and to the rest, the rule is applied as if there were nothing else.
    schedule = [[3, 36, 0], [36, 5], [0, 3, 1]]
    alone = {row: make_parameters() for row in range(38)}
    solo = {row: Optimizer(chosen, flat, segments(views)) for row, (flat, views) in alone.items()}
    for n, rows in enumerate(schedule):
        gradient = make_gradients()[n]
        gradient[: 37 * 20].reshape(37, 20)[np.setdiff1d(np.arange(37), rows)] = 0
        norm = by_row.gradient_norm(gradient, np.array(rows, np.int32))
        assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
        by_row.update(gradient, norm, 0.01, np.array(rows, np.int32))
        for row in [*rows, 37]:
            solo[row].updates = n  # the correction of the moments counts all steps
            solo[row].update(gradient, norm, 0.01)
    places = np.arange(flat.size) // 20
    places[37 * 20 :] = 37
    for row in range(38):
        here = places == row
        expected = alone[row][0] if row in {37, *itertools.chain(*schedule)} else start
        np.testing.assert_allclose(flat[here], expected[here], rtol=1e-12)
        for name, moment in by_row.moments.items():
            np.testing.assert_allclose(moment[here], solo[row].moments[name][here], rtol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_rows_are_the_whole(optimizer: str) -> None:
    chosen = config(optimizer, weight_decay=0.1, clip_value=0.5)
    results = []
    for table, rows in ((None, None), ((37, 20), None), ((37, 20), np.random.default_rng(0).permutation(37))):
        flat, views = make_parameters()
        learner = Optimizer(chosen, flat, segments(views), table=table)
        for gradient in make_gradients():
            chosen_rows = None if rows is None else rows.astype(np.int32)
            learner.update(gradient, learner.gradient_norm(gradient, chosen_rows), 0.01, chosen_rows)
        results.append(flat)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 9), max_size=4), tail=st.integers(1, 4095), seed=st.integers(0, 99))
def test_same_bits_wherever_the_vector_is_cut(cuts: list[int], tail: int, seed: int) -> None:
    size = 10 * kernels.BLOCK + tail
    random = np.random.default_rng(seed)
    start: list[Any] = [random.random(size, dtype=np.float32) for _ in range(4)]
    scalars: list[Any] = [np.float32(x) for x in (0.5, np.inf, 0.01, 0.999, 0.002, 0.1, 0.001, 3.0, 1e-8)]
    whole = [a.copy() for a in start]
    kernels.adam(*whole, *scalars)
    edges = [0, *sorted({cut * kernels.BLOCK for cut in cuts}), size]
    parts = [a.copy() for a in start]
    for low, high in itertools.pairwise(edges):
        kernels.adam(*(a[low:high] for a in parts), *scalars)
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a, b)


def test_gradient_norm() -> None:
    flat, views = make_parameters(np.float32, rows=1000)
    optimizer = Optimizer(config("sgd"), flat, segments(views))
    gradient = np.full(flat.size, 1e25, np.float32)  # whose squares float32 cannot hold
    assert optimizer.gradient_norm(gradient) == pytest.approx(1e25 * np.sqrt(flat.size), rel=1e-6)
    for bad in (np.nan, np.inf, -np.inf):
        gradient[flat.size // 2] = bad
        assert not np.isfinite(optimizer.gradient_norm(gradient))


def test_the_segments_of_a_layout_cover_the_vector() -> None:
    assert layout().segments == segments(make_parameters()[1]) == [(0, 740, True), (740, 760, False), (760, 1060, True)]
    two = [Parameter(name, (4, 5), zeros, decay=True, torch_name=name, by_row=name == "a") for name in "ab"]
    assert Layout(two).segments == [(0, 20, True), (20, 40, True)]  # what is learned by row is apart
    assert Layout([two[1], Parameter("c", (2, 2), zeros, decay=True, torch_name="c")]).segments == [(0, 24, True)]
    views = layout().views(np.zeros(1060))
    assert [view.shape for view in views.values()] == [(37, 20), (20,), (15, 20)]


@pytest.mark.peers
@pytest.mark.parametrize("clip", [0.0, 2.0])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_against_pytorch(optimizer: str, decay: float, clip: float) -> None:
    torch = pytest.importorskip("torch")
    flat, views = make_parameters()
    tensors = {name: torch.nn.Parameter(torch.tensor(view.copy())) for name, view in views.items()}
    groups = [
        {"params": [t for t in tensors.values() if t.ndim == 2], "weight_decay": decay},
        {"params": [t for t in tensors.values() if t.ndim == 1], "weight_decay": 0.0},
    ]
    peer = {
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.01),
        "adam": lambda: torch.optim.Adam(groups, lr=0.01),
        "rmsprop": lambda: torch.optim.RMSprop(groups, lr=0.01),
        "adagrad": lambda: torch.optim.Adagrad(groups, lr=0.01),
        "sgd": lambda: torch.optim.SGD(groups, lr=0.01, momentum=0.9),
    }[optimizer]()
    ours = Optimizer(config(optimizer, weight_decay=decay, clip_norm=clip), flat, segments(views))
    assert set(ours.moments) == set(MOMENTS[optimizer])
    for gradient in make_gradients(20):
        gradient = gradient.copy()
        offset = 0
        for tensor in tensors.values():
            tensor.grad = torch.tensor(gradient[offset : offset + tensor.numel()].reshape(tensor.shape))
            offset += tensor.numel()
        if clip:
            torch.nn.utils.clip_grad_norm_(tensors.values(), clip)
        peer.step()
        ours.update(gradient, ours.gradient_norm(gradient), 0.01)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(views[name], tensor.detach().numpy(), rtol=2e-6, atol=1e-9)

"""Matrix products against NumPy, the vectorised functions against the exact ones, the bookkeeping of inputs."""

from __future__ import annotations

import re
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.kernels import dropout, functions, inputs, matmul, packing, rounding, softmax
from charrnn.nn.packed import Packed
from charrnn.runtime.arrays import Array, zeros
from charrnn.runtime.compile import OPTIONS, kernel
from charrnn.runtime.threads import do


def packed(b: Array) -> Array:
    panels = np.full(matmul.panels_shape(b.shape[0], b.shape[1], b.dtype), np.nan, b.dtype)
    packing.pack(b, 0, b.shape[1], panels, 0, len(panels))
    other = np.full_like(panels, np.nan)
    packing.pack_transposed(np.ascontiguousarray(b.T), 0, len(b), other, 0, len(panels))
    np.testing.assert_array_equal(panels, other)
    return panels


def test_a_product_does_not_depend_on_how_its_rows_are_divided() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((40, 130)).astype(np.float32), rng.standard_normal((130, 90)).astype(np.float32)
    panels = packed(b)
    whole, parts = np.zeros((2, 40, 90), np.float32)
    matmul.add_product(a, 0, panels, matmul.OWN, whole, 0, 90, matmul.NOTHING)
    for begin, end in ((0, 1), (1, 8), (8, 27), (27, 40)):
        matmul.add_product(a[begin:end], 0, panels, matmul.OWN, parts[begin:end], 0, 90, matmul.NOTHING)
    np.testing.assert_array_equal(whole, parts)


def test_products_of_steps_touch_their_own_rows_only() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((4, 9, 20)).astype(np.float32), rng.standard_normal((20, 70)).astype(np.float32)
    c = np.zeros((4, 9, 70), np.float32)
    matmul.add_products(a, packed(b), c, 2, 7)
    np.testing.assert_allclose(c[:, 2:7], a[:, 2:7] @ b, rtol=1e-4, atol=1e-5)
    assert not c[:, :2].any()
    assert not c[:, 7:].any()


@pytest.mark.parametrize("shape", [(1,), (3, 5), (700, 1001), (0, 4)])
def test_arrays_start_at_a_cache_line(shape: tuple[int, ...]) -> None:
    array = zeros(shape, np.float32)
    assert array.shape == shape
    assert array.ctypes.data % 64 == 0 or array.size == 0
    assert not array.any()
    array[...] = 1  # all of it is there to be written


@pytest.mark.parametrize("operand", [np.float32, np.uint16])
@pytest.mark.parametrize("transposed", [False, True])
def test_numpy_and_the_kernels_pack_a_weight_alike(operand: type[np.generic], transposed: bool) -> None:
    weight = np.random.default_rng(4).standard_normal((133, 181)).astype(np.float32)
    kernel_made, numpy_made = (Packed(weight, 3, 177, np.dtype(operand), transposed=transposed) for _ in range(2))
    for made, often in ((kernel_made, True), (numpy_made, False)):
        made.panels.view(np.uint32)[...] = 0xFFFFFFFF
        job = made.job(often=often)
        do([(job, 0, 1)], 0)
        do([(job, 1, job.count)], 0)
    np.testing.assert_array_equal(kernel_made.panels, numpy_made.panels)
    assert kernel_made.panels.any()


def test_transposed_product_in_blocks() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((1200, 301)), rng.standard_normal((1200, 75))
    c = np.zeros((301, 80))
    tiles, panel = matmul.empty_scratch(np.float64)
    matmul.add_transposed_product(a, 301, b, 5, c, 3, 70, 0, matmul.panels_shape(1, 70, np.float64)[0], tiles, panel)
    np.testing.assert_allclose(c[:, 3:73], a.T @ b[:, 5:], atol=1e-11)
    assert not c[:, :3].any()
    assert not c[:, 73:].any()


@kernel
def apply(which: int, x: Array, y: Array) -> None:
    for n in range(x.size):
        if which == 0:
            y[n] = functions.tanh(x[n])
        elif which == 1:
            y[n] = functions.sigmoid(x[n])
        else:
            y[n] = functions.exp(x[n])


def test_functions_are_close_in_float32_and_exact_in_float64() -> None:
    x = np.concatenate([np.linspace(-30, 30, 100_001), [0.0, 1e-8, -1e-30]])
    exact = (np.tanh(x), 1 / (1 + np.exp(-x)), np.exp(x))
    for which, expected in enumerate(exact):
        y = np.empty_like(x)
        apply(which, x, y)
        np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)
        single = x.astype(np.float32)
        y32 = np.empty_like(single)
        apply(which, single, y32)
        wide = single.astype(np.float64)
        if which == 0:
            np.testing.assert_allclose(y32, expected, rtol=0, atol=3e-7)
        elif which == 1:
            np.testing.assert_allclose(y32, 1 / (1 + np.exp(-wide)), rtol=0, atol=1.2e-7)
            near = wide > -5
            np.testing.assert_allclose(y32[near], 1 / (1 + np.exp(-wide[near])), rtol=6e-7)
            assert y32[single == 0] == 0.5
        else:
            np.testing.assert_allclose(y32, np.exp(wide), rtol=4e-7)


def test_functions_of_large_numbers_and_of_none() -> None:
    x = np.array([1e30, -1e30, np.inf, -np.inf, 200, -200, np.nan, -np.nan], np.float32)
    y = np.empty((3, x.size), np.float32)
    for which in range(3):
        apply(which, x, y[which])
    np.testing.assert_allclose(y[0, :6], [1, -1, 1, -1, 1, -1], atol=3e-7)
    np.testing.assert_allclose(y[1, :6], [1, 0, 1, 0, 1, 0], atol=3e-7)
    assert (y[2, 0:6:2] > 1e38).all()
    assert (y[2, 1:6:2] < 2e-38).all()
    assert np.isnan(y[:, 6:]).all()  # stays visible
    vectors = np.empty((3, 40 * x.size), np.float32)  # as many as are computed side by side, and more
    for which in range(3):
        apply(which, np.tile(x, 40), vectors[which])
    np.testing.assert_allclose(vectors, np.tile(y, 40), rtol=1e-6)


@pytest.mark.parametrize("vocabulary", [2, 3, 65, 1000])
def test_softmax(vocabulary: int) -> None:
    rng = np.random.default_rng(4)
    logits = (5 * rng.standard_normal((6, vocabulary))).astype(np.float32)
    targets = rng.integers(0, vocabulary, 6).astype(np.int32)
    exact = logits.astype(np.float64)
    exact -= np.log(np.exp(exact).sum(1, keepdims=True))
    log_probs = np.zeros(6)
    gradient = logits.copy()
    rows = gradient[:, None]
    softmax.cross_entropy(rows, targets[:, None], np.full((6, 1), 0.5), log_probs[:, None], rows, 0, 1)
    np.testing.assert_allclose(log_probs, exact[np.arange(6), targets], atol=3e-6)
    expected = 0.5 * np.exp(exact)
    expected[np.arange(6), targets] -= 0.5
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    again = np.zeros(6)
    bias, scratch = np.zeros(vocabulary, np.float32), np.full((4, vocabulary), np.nan, np.float32)
    identity = packed(np.eye(vocabulary, dtype=np.float32))
    softmax.target_log_probs(logits[None], identity, bias, targets[None], scratch, again[None], 0, 6)
    np.testing.assert_array_equal(again, log_probs)


def test_numbering_units() -> None:
    ids = np.array([4, 2, 4, 7, 2, 0], np.int32)
    seen, distinct, local = np.full(8, -1, np.int32), np.zeros(6, np.int32), np.zeros(6, np.int32)
    count = inputs.number_units(ids, seen, distinct, local)
    assert distinct[:count].tolist() == [4, 2, 7, 0]
    assert local.tolist() == [0, 1, 0, 2, 1, 3]
    assert (seen == -1).all()


def test_dropout_keeps_the_mean_and_depends_on_its_key_alone() -> None:
    values = np.ones((20, 30, 50), np.float32)
    whole, parts, other = values.copy(), values.copy(), values.copy()
    dropout.apply_dropout(whole, 0.3, np.uint32(5), 0, 30)
    for begin in range(0, 30, 10):
        dropout.apply_dropout(parts, 0.3, np.uint32(5), begin, begin + 10)
    dropout.apply_dropout(other, 0.3, np.uint32(6), 0, 30)
    np.testing.assert_array_equal(whole, parts)
    assert set(np.unique(whole)) == {np.float32(0), np.float32(1 / 0.7)}
    for axes in ((1, 2), (0, 2), (0, 1)):
        assert np.abs((whole == 0).mean(axis=axes) - 0.3).max() < 0.08
    assert abs((whole == 0).mean() - 0.3) < 0.01
    assert abs(((whole == 0) & (other == 0)).mean() - 0.09) < 0.01


@pytest.mark.parametrize("key", [0, 5, 0xFFFFFFFF])
def test_dropout_masks_are_the_hash_of_32_bits_that_they_claim_to_be(key: int) -> None:
    """The mixer once more in NumPy, whose arithmetic on uint32 stays in 32 bits."""

    def mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
        return x ^ (x >> np.uint32(15))

    T, B, H = 20, 30, 50
    places = np.arange(T * B, dtype=np.uint32) * np.uint32(0x9E3779B9)
    rows = mix(np.array([key], np.uint32) + mix(places))
    hashes = mix(rows[:, np.newaxis] ^ np.arange(H, dtype=np.uint32))
    assert hashes.dtype == np.uint32
    values = np.ones((T, B, H), np.float32)
    dropout.apply_dropout(values, 0.25, np.uint32(key), 0, B)
    np.testing.assert_array_equal(values != 0, (hashes >= 2**30).reshape(T, B, H))


def test_no_nan_is_converted_to_an_integer() -> None:
    """LLVM's conversion is undefined for one: each must be told what to do, and the loops stay vectorised."""
    uncached: Any = numba.njit(**OPTIONS)(apply.py_func)  # type: ignore[attr-defined]
    uncached(0, np.ones(4, np.float32), np.ones(4, np.float32))  # code from the cache cannot be looked at
    (code,) = uncached.inspect_llvm().values()
    values = re.findall(r"= fptosi (?:<[^>]*>|float) (%[\w.]+)", code)
    assert values
    for value in values:
        assert re.search(rf"{re.escape(value)} = select\b", code), value
    assert re.search(r"= fptosi <\d+ x float>", code)


NANS = (0x7F800001, 0xFF800001, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F80FFFF)


@pytest.mark.parametrize("columns", [1, 40, 133])
def test_a_nan_rounded_to_bfloat16_stays_one(columns: int) -> None:
    def wide(halves: NDArray[np.unsignedinteger[Any]]) -> Array:
        return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)

    bits = np.resize(np.array([*NANS, 0x7F800000, 0xFF800000, 0x3F80FFFF], np.uint32), (70, columns))
    weight = bits.view(np.float32)
    nan = np.isnan(weight)
    row: NDArray[Any] = np.zeros((1, 70, columns + columns % 2), np.uint16)
    rounding.store_operands(weight[np.newaxis], row, 0, 70)
    stored = wide(row[0, :, :columns])
    np.testing.assert_array_equal(np.isnan(stored), nan)
    assert np.isinf(stored[np.isinf(weight)]).all()
    assert (stored[bits == 0x3F80FFFF] == np.float32(1.0078125)).all()
    for transposed in (False, True):
        for often in (True, False):
            of_weight = np.ascontiguousarray(weight.T) if transposed else weight
            made = Packed(of_weight, 0, 70 if transposed else columns, np.dtype(np.uint16), transposed=transposed)
            job = made.job(often=often)
            do([(job, 0, job.count)], 0)
            pairs = np.concatenate(list(made.panels), axis=1)[:, :columns]
            halves = np.stack([pairs & 0xFFFF, pairs >> np.uint32(16)], axis=1).reshape(70, columns)
            np.testing.assert_array_equal(wide(halves), stored)

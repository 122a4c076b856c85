"""The cells' kernels on small arrays: gradients in float64 against finite differences, and time in reverse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from charrnn.kernels import matmul, packing
from charrnn.kernels.gru import AFTER, BEFORE, NONE, gru_backward, gru_forward
from charrnn.kernels.lstm import lstm_backward, lstm_forward, lstm_peephole_gradient
from charrnn.kernels.rnn import rnn_backward, rnn_forward
from charrnn.runtime.arrays import Array
from tests.networks import names

T, B, H, E = 6, 3, 5, 4
STEP = 1e-5  # of the four-point difference
ROWS = (0, B)


class Case(NamedTuple):
    """A cell and its option."""

    cell: str
    gates: int  # per hidden unit
    option: Any = None


CASES = {
    "lstm": Case("lstm", 4, ""),
    "lstm peepholes": Case("lstm", 4, "peepholes"),
    "lstm rms norm": Case("lstm", 4, "rms_norm"),
    "gru reset after": Case("gru", 3, AFTER),
    "gru reset before": Case("gru", 3, BEFORE),
    "gru reset none": Case("gru", 2, NONE),
    "rnn tanh": Case("rnn", 1, False),
    "rnn relu": Case("rnn", 1, True),
}


def packed(weight: Array, *, transposed: bool = False) -> Array:
    """A weight (K, N) packed as a right operand; `transposed`: its transpose (N, K)."""
    K, N = weight.shape[::-1] if transposed else weight.shape
    panels = matmul.empty_panels(K, N, weight.dtype)
    if transposed:
        packing.pack_transposed(weight, 0, K, panels, 0, len(panels))
    else:
        packing.pack(weight, 0, N, panels, 0, len(panels))
    return panels


def values(case: Case, dtype: npt.DTypeLike = np.float64) -> dict[str, Array]:
    """What the hidden states are a function of: inputs, initial state and weights."""
    rng = np.random.default_rng(5)
    G = case.gates * H
    shapes = {
        "x": (T, B, E), "h": (B, H), "W": (E, G), "U": (H, G), "bias": (1, G), "c": (B, H), "bias_hn": (H,),
        "peepholes": (3, H),
    }  # fmt: skip
    return {name: (0.6 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def reset_mask(dtype: npt.DTypeLike = np.float64) -> Array:
    """Resets in the middle and before the first step of either direction."""
    mask = np.ones((T, B), dtype)
    mask[0, 2] = mask[3, 0] = mask[4, 0] = mask[2, 1] = mask[T - 1, 1] = 0
    return mask


class Run:
    """A cell's kernels over a window, with all arrays that they work on."""

    def __init__(
        self, case: Case, given: dict[str, Array], mask: Array, *, reverse: bool, slots: int = T, alias: bool = False
    ) -> None:  # fmt: skip
        self.case, self.given, self.mask, self.reverse = case, given, mask, reverse
        dtype = given["x"].dtype
        self.G = G = case.gates * H
        first = T if reverse else 0
        self.h = np.zeros((T + 1, B, H), dtype)
        self.h[first] = given["h"]
        self.out = (self.h[:-1] if reverse else self.h[1:]) if alias else np.full((T, B, H), np.nan, dtype)
        self.gates = np.full((slots, B, G + 3), np.nan, dtype)
        self.c = np.zeros((slots + 1, B, H), dtype)
        self.c[first % len(self.c)] = given["c"]
        self.side = np.full((slots, B, H), np.nan, dtype)
        self.peepholes = given["peepholes"] if case.option == "peepholes" else None
        self.factors = np.zeros((slots, B), dtype) if case.option == "rms_norm" else None
        U = given["U"]
        self.parts = [U] if case.cell != "gru" or case.option == NONE else [U[:, : G - H], U[:, G - H :]]
        recurrent = [packed(np.ascontiguousarray(part)) for part in self.parts]
        x = given["bias"], np.zeros((T, B), np.int32), given["x"], packed(given["W"])
        end = mask, reverse, *ROWS
        if case.cell == "lstm":
            lstm_forward(
                *x, self.gates, recurrent[0], self.peepholes, self.factors, self.h, self.h, self.c, self.out, *end
            )
        elif case.cell == "gru":
            gru_forward(
                *x, self.gates, recurrent[0], recurrent[-1], given["bias_hn"], case.option, self.h, self.h, self.side,
                self.side, self.out, *end,
            )  # fmt: skip
        else:
            rnn_forward(*x, self.gates, recurrent[0], case.option, self.h, self.h, self.out, *end)

    def backward(self, dout: Array, *, dx: Array, overwrite: bool, first_state: bool = True) -> dict[str, Array]:
        """The gradients of `values` where dout is that of `out`."""
        dtype = dout.dtype
        row, dh, dc, drh = (np.full((B, n), np.nan, dtype) for n in (self.G, H, H, H))
        dgates, weight, scratch = self.gates, packed(self.given["W"], transposed=True), dout.copy()
        recurrent = [packed(np.ascontiguousarray(part), transposed=True) for part in self.parts]
        end = self.mask, self.reverse, first_state, *ROWS
        dpeepholes = np.zeros((3, H), dtype)
        if self.case.cell == "lstm":
            lstm_backward(
                self.gates, dgates, recurrent[0], self.peepholes, self.factors, self.c, scratch, weight, dx, overwrite,
                row, dh, dc, *end,
            )  # fmt: skip
            for first, last in ((0, 2), (2, H)):
                lstm_peephole_gradient(dgates, self.c, self.mask, dpeepholes, self.reverse, first, last)
        elif self.case.cell == "gru":
            gru_backward(
                self.gates, dgates, recurrent[0], recurrent[-1], self.case.option, self.h, self.side, self.side,
                scratch, weight, dx, overwrite, row, dh, drh, *end,
            )  # fmt: skip
        else:
            rnn_backward(
                self.gates, dgates, recurrent[0], self.case.option, scratch, weight, dx, overwrite, row, dh, *end
            )
        if self.factors is None:
            np.testing.assert_array_equal(scratch, dout)  # read only
        d = dgates[:, :, : self.G].reshape(-1, self.G)
        h = (self.h[1:] if self.reverse else self.h[:-1]).reshape(-1, H)
        gradients = {
            "x": dx, "h": dh, "W": self.given["x"].reshape(-1, E).T @ d, "bias": d.sum(0)[np.newaxis], "U": h.T @ d
        }  # fmt: skip
        if self.case.cell == "lstm":
            gradients |= {"c": dc, "peepholes": dpeepholes} if self.peepholes is not None else {"c": dc}
        if self.case.cell == "gru" and self.case.option != NONE:
            side, n = self.side.reshape(-1, H), slice(self.G - H, self.G)
            if self.case.option == AFTER:
                gradients["U"][:, n] = h.T @ side
                gradients["bias_hn"] = side.sum(0)
            else:
                gradients["U"][:, n] = side.T @ d[:, n]
        return gradients


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", names(CASES))
def test_gradients_against_finite_differences(name: str, reverse: bool) -> None:
    case, mask = CASES[name], reset_mask()
    given = values(case)
    rng = np.random.default_rng(6)
    dout, before = rng.standard_normal((T, B, H)), rng.standard_normal((T, B, E))

    def loss(given: dict[str, Array]) -> float:
        return float((dout * Run(case, given, mask, reverse=reverse).out).sum())

    run = Run(case, given, mask, reverse=reverse)
    gradients = run.backward(dout, dx=np.full((T, B, E), np.nan), overwrite=True)
    for key, gradient in gradients.items():
        direction = rng.standard_normal(given[key].shape)
        direction += gradient / np.linalg.norm(gradient) * np.sqrt(gradient.size)
        direction /= np.linalg.norm(direction)
        one, two = (
            loss({**given, key: given[key] + n * STEP * direction})
            - loss({**given, key: given[key] - n * STEP * direction})
            for n in (1, 2)
        )
        difference = (8 * one - two) / (12 * STEP)
        np.testing.assert_allclose(float((gradient * direction).sum()), difference, rtol=1e-8, err_msg=key)
    first = T - 1 if reverse else 0
    for key in ("h", "c"):
        if key in gradients:
            reset = mask[first] == 0
            assert reset.any()
            assert not gradients[key][reset].any()
            assert gradients[key][~reset].all()
    added = before.copy()
    Run(case, given, mask, reverse=reverse).backward(dout, dx=added, overwrite=False)
    np.testing.assert_allclose(added, before + gradients["x"], rtol=1e-12)
    in_place = np.full((T, B, E), np.nan)
    again = Run(case, given, mask, reverse=reverse).backward(dout, dx=in_place, overwrite=True, first_state=False)
    for key in gradients.keys() - {"h", "c"}:
        np.testing.assert_array_equal(again[key], gradients[key], err_msg=key)


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
@pytest.mark.parametrize("name", names(CASES))
def test_reverse_is_forward_on_inputs_in_reverse(name: str, dtype: type[np.generic]) -> None:
    case, mask = CASES[name], reset_mask(dtype)
    given = values(case, dtype)
    dout = np.random.default_rng(7).standard_normal((T, B, H)).astype(dtype)
    turned = {**given, "x": np.ascontiguousarray(given["x"][::-1])}
    runs = Run(case, given, mask, reverse=True), Run(case, turned, np.ascontiguousarray(mask[::-1]), reverse=False)
    np.testing.assert_array_equal(runs[0].out, runs[1].out[::-1])
    np.testing.assert_array_equal(runs[0].h, runs[1].h[::-1])
    assert np.isfinite(runs[0].out).all()
    dx = np.zeros((2, T, B, E), dtype)
    gradients = [
        run.backward(np.ascontiguousarray(d), dx=into, overwrite=True)
        for run, d, into in zip(runs, (dout, dout[::-1]), dx, strict=True)
    ]
    np.testing.assert_array_equal(runs[0].gates[:, :, : runs[0].G], runs[1].gates[::-1, :, : runs[0].G])
    np.testing.assert_array_equal(dx[0], dx[1, ::-1])
    for key in gradients[0].keys() & {"h", "c", "peepholes"}:
        np.testing.assert_array_equal(gradients[0][key], gradients[1][key], err_msg=key)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", names(CASES))
def test_few_slots_and_an_output_that_is_the_state_change_nothing(name: str, reverse: bool) -> None:
    case = CASES[name]
    given, never = values(case), np.ones((T, B))
    whole = Run(case, given, never, reverse=reverse)
    few = Run(case, given, never, reverse=reverse, slots=1, alias=True)
    np.testing.assert_array_equal(whole.out, few.out)
    np.testing.assert_array_equal(whole.h, few.h)
    if case.cell == "lstm":
        last = 0 if reverse else T
        np.testing.assert_array_equal(whole.c[last], few.c[last % 2])


@pytest.mark.parametrize("name", names(CASES))
def test_without_panels_the_gradient_of_the_input_is_not_written(name: str) -> None:
    case, given = CASES[name], values(CASES[name])
    run = Run(case, given, reset_mask(), reverse=False)
    run.given = {**given, "W": np.zeros((0, run.G))}
    dx = np.full((T, B, E), 3.0)
    run.backward(np.ones((T, B, H)), dx=dx, overwrite=True)
    assert (dx == 3).all()

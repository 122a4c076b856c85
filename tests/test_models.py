"""Networks: against the equations, and what rows, threads, windows and chunks must not change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.kernels import dropout
from charrnn.models import LanguageModel
from charrnn.models import language as language_model
from charrnn.models.generation import step_by_step
from charrnn.nn import adaptive_softmax as adaptive
from charrnn.nn import layout
from charrnn.nn import softmax as output
from charrnn.runtime.arrays import Ids
from tests import reference
from tests.gradcheck import OPTIONS

CONFIGS = {
    **{name: ModelConfig(11, cell * 2, 9, 4, **options) for name, (cell, options) in OPTIONS.items()},  # type: ignore[arg-type]
    "one-hot": ModelConfig(11, ("lstm",), 9),
    "mixed": ModelConfig(11, ("rnn", "lstm", "gru"), 9, 4, peepholes=True, reset_gate="before"),
    "mixed, both": ModelConfig(11, ("gru", "lstm"), 9, 4, peepholes=True, rms_norm=True),
    "tied": ModelConfig(11, ("gru",), 9, 9, tie_weights=True),
    "adaptive": ModelConfig(11, ("lstm", "lstm"), 9, 4, cutoffs=(4,)),
    "adaptive, two tails": ModelConfig(11, ("gru",), 16, cutoffs=(2, 5)),
}


def make(config: ModelConfig, *, threads: int = 1, boundary: int = -1) -> LanguageModel:
    model = LanguageModel(config, threads=threads, boundary=boundary)
    model.initialise(4)
    model.parameters += 0.2 * np.random.default_rng(0).standard_normal(model.parameters.size).astype(np.float32)
    model.refresh()
    return model


def text(T: int, B: int, seed: int = 0, vocabulary: int = 11) -> Ids:
    return np.random.default_rng(seed).integers(0, vocabulary, (T, B)).astype(np.int32)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("boundary", [-1, 1])
def test_probabilities_follow_the_equations(name: str, boundary: int) -> None:
    model = make(CONFIGS[name], boundary=boundary)
    ids, targets = text(12, 3), text(12, 3, seed=1)
    hidden = model.forward(ids, model.zero_state(3)).copy()
    log_probs = model.log_probs(ids, targets, model.zero_state(3))
    logits = model.logits(hidden.reshape(-1, hidden.shape[2])).reshape(12, 3, 11).astype(np.float64)
    for b in range(3):
        expected = reference.log_probs(model.config, model.views, ids[:, b].tolist(), boundary)
        np.testing.assert_allclose(log_probs[:, b], expected[np.arange(12), targets[:, b]], atol=2e-5)
        normalised = logits[:, b] - np.log(np.exp(logits[:, b]).sum(1, keepdims=True))
        np.testing.assert_allclose(normalised, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["lstm", "one-hot", "gru reset after", "adaptive"])
def test_what_was_looked_up_is_not_kept_too_long(name: str) -> None:
    def scores(model: LanguageModel, T: int) -> bytes:
        ids, targets = text(T, 2, seed=T), text(T, 2, seed=T + 1)
        return model.log_probs(ids, targets, model.zero_state(2)).tobytes()

    used, fresh = make(CONFIGS[name]), [make(CONFIGS[name]) for _ in range(2)]
    short, long = 3, 12  # fewer units than the vocabulary has, and more
    expected = {T: scores(model, T) for T, model in zip((short, long), fresh, strict=True)}
    for T in (short, long, short, long):  # the window's own table, that of all units, the latter again
        assert scores(used, T) == expected[T]
    used.gradient(text(1, 2), text(1, 2), used.zero_state(2))  # a table of few units
    assert scores(used, short) == expected[short]
    used.parameters *= 0.9
    used.refresh()
    changed = scores(used, long)
    assert changed != expected[long]
    other = make(CONFIGS[name])
    other.parameters *= 0.9
    other.refresh()
    assert scores(other, long) == changed


@pytest.mark.parametrize("name", CONFIGS)
def test_windows_continue_each_other(name: str) -> None:
    model = make(CONFIGS[name], boundary=1)
    ids = text(20, 4)
    whole = model.forward(ids, model.zero_state(4)).copy()
    state = model.zero_state(4)
    parts = [model.forward(ids[start : start + 7], state).copy() for start in range(0, 20, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_does_not_depend_on_its_neighbours(name: str) -> None:
    model = make(CONFIGS[name])
    ids = text(6, 13)
    together = model.forward(ids, model.zero_state(13)).copy()
    for b in (0, 5, 12):
        alone = model.forward(np.ascontiguousarray(ids[:, b : b + 1]), model.zero_state(1))
        np.testing.assert_array_equal(alone[:, 0], together[:, b])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_comes_next_has_the_bits_of_windows(name: str, threads: int) -> None:
    model = make(CONFIGS[name], threads=threads, boundary=1)
    B, V = 70, 11  # more rows than logits at a time
    ids, state = text(4, B), model.zero_state(B)
    before = model.log_probs(ids[:3], text(3, B, seed=1), state)
    assert np.isfinite(before).all()
    counts = 1 + np.arange(B) % 3
    rows = np.repeat(np.arange(B, dtype=np.int32), counts)
    targets = ((np.arange(rows.size) * 7) % V).astype(np.int32)
    after = state.copy()
    found = model.next_log_probs(ids[3], after, rows, targets)
    for target in range(V):
        going = state.copy()
        window = model.log_probs(ids[3:], np.full((1, B), target, np.int32), going)[0]
        np.testing.assert_array_equal(found[targets == target], window[rows[targets == target]])
        np.testing.assert_array_equal(after, going)


@pytest.mark.parametrize("name", CONFIGS)
def test_threads_change_no_bit(name: str) -> None:
    gradients = []
    for threads in (1, 2, 3):
        model = make(CONFIGS[name], threads=threads, boundary=1)
        state = model.zero_state(7)
        for step in range(2):
            loss, gradient = model.gradient(text(9, 7), text(9, 7, seed=1), state, dropout=0.2, step=step)
        gradients.append((loss, gradient.copy(), state))
    for loss, gradient, state in gradients[1:]:
        assert loss == gradients[0][0]
        np.testing.assert_array_equal(gradient, gradients[0][1])
        np.testing.assert_array_equal(state, gradients[0][2])


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_are_taken_in_groups_where_memory_is_short(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, targets = text(9, 13), text(9, 13, seed=1)

    def compute(threads: int) -> tuple[float, Any, Any]:
        model = make(CONFIGS[name], threads=threads, boundary=1)
        state = model.zero_state(13)
        loss, gradient = model.gradient(ids, targets, state)
        return loss, gradient.copy(), state

    whole = compute(1)
    monkeypatch.setattr(language_model, "GATES_AT_ONCE", 1)
    monkeypatch.setattr(language_model, "LEAST_ROWS", 4)
    grouped, again = compute(1), compute(2)
    assert grouped[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(grouped[1], whole[1], atol=1e-6)
    np.testing.assert_array_equal(grouped[2], whole[2])
    np.testing.assert_array_equal(grouped[1], again[1])


def test_groups_of_rows_have_dropout_masks_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "GATES_AT_ONCE", 1)
    monkeypatch.setattr(language_model, "LEAST_ROWS", 2)
    model = make(CONFIGS["lstm"])
    masks: list[Any] = []
    apply_dropout = dropout.apply_dropout

    def record(values: Any, rate: float, key: Any, begin: int, end: int) -> None:
        apply_dropout(values, rate, key, begin, end)
        masks.append((key, (values[:, begin:end] == 0).tobytes()))

    monkeypatch.setattr(dropout, "apply_dropout", record)
    ids = np.full((5, 4), 3, np.int32)  # two groups of equal rows
    model.gradient(ids, ids, model.zero_state(4), dropout=0.5)
    assert len(masks) == 8  # two layers there and back
    assert len(set(masks)) == 4


def test_a_large_vocabulary_is_computed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(CONFIGS["lstm"])
    ids, targets = text(9, 7), text(9, 7, seed=1)
    loss, gradient = model.gradient(ids, targets, model.zero_state(7))
    whole = gradient.copy()
    log_probs = model.log_probs(ids, targets, model.zero_state(7))
    monkeypatch.setattr(output, "LOGITS_AT_ONCE", 11 * 15)
    assert model.gradient(ids, targets, model.zero_state(7))[0] == loss
    np.testing.assert_array_equal(gradient, whole)
    np.testing.assert_array_equal(model.log_probs(ids, targets, model.zero_state(7)), log_probs)


def test_the_chunks_of_an_adaptive_softmax_hold_few_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(CONFIGS["adaptive, two tails"])
    ids, targets = text(9, 7), text(9, 7, seed=1)
    loss, gradient = model.gradient(ids, targets, model.zero_state(7))
    whole, log_probs = gradient.copy(), model.log_probs(ids, targets, model.zero_state(7))
    monkeypatch.setattr(output, "LOGITS_AT_ONCE", 150)
    monkeypatch.setattr(adaptive, "LOGITS_IN_CACHE", 15)
    assert isinstance(model.output, adaptive.AdaptiveOutput)
    chunks = model.output.chunks(targets)
    assert np.concatenate([np.arange(9)[chunk] for chunk in chunks]).tolist() == list(range(9))
    assert 1 < len(chunks) < 9
    for chunk in chunks:
        here = targets[chunk]
        assert here.size * 4 + 3 * ((here >= 2) & (here < 5)).sum() + 6 * (here >= 5).sum() <= 150
    model.refresh()
    assert model.gradient(ids, targets, model.zero_state(7))[0] == loss
    np.testing.assert_allclose(gradient, whole, rtol=1e-4, atol=1e-7)  # sums over a tail's places in another order
    np.testing.assert_array_equal(model.log_probs(ids, targets, model.zero_state(7)), log_probs)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_an_adaptive_softmax_adds_up_to_one(bfloat16: bool) -> None:
    config = ModelConfig(700, ("gru",), 33, 8, cutoffs=(50, 301))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-6)):
        model = LanguageModel(config, dtype=dtype, bfloat16=bfloat16 and dtype == np.float32)
        model.initialise(0)
        model.parameters *= 2
        model.refresh()
        hidden = model.forward(text(5, 3, vocabulary=700), model.zero_state(3)).copy()
        log_probs = model.logits(hidden.reshape(-1, 33)).astype(np.float64)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=0, atol=tolerance)
        # What is drawn from is what is scored.
        targets = np.arange(700, dtype=np.int32)[:, np.newaxis].repeat(3, axis=1)
        scored = model.log_probs(np.zeros_like(targets), targets, model.zero_state(3))
        states = model.forward(np.zeros_like(targets), model.zero_state(3)).copy()
        drawn = model.logits(states.reshape(-1, 33)).reshape(700, 3, 700)
        expected = np.take_along_axis(drawn, targets[:, :, np.newaxis], axis=2)[:, :, 0]
        np.testing.assert_allclose(scored, expected, atol=5e-6)


@pytest.mark.parametrize("embedding_size", [0, 4])
def test_by_row_the_gradient_is_the_same(embedding_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(40, ("lstm",), 9, embedding_size)
    whole = make(config, threads=2)
    monkeypatch.setattr(layout, "BY_ROW_FROM", 40)
    by_row = make(config, threads=2)
    assert (whole.table, whole.touched) == (None, None)
    assert by_row.table == (40, embedding_size or 36)
    for seed in range(3):
        ids, targets = text(5, 3, seed, 40), text(5, 3, seed + 9, 40)
        _, expected = whole.gradient(ids, targets, whole.zero_state(3))
        _, found = by_row.gradient(ids, targets, by_row.zero_state(3))
        np.testing.assert_array_equal(found, expected)
        assert by_row.touched is not None
        assert sorted(by_row.touched.tolist()) == np.unique(ids).tolist()
        by_row.forward(text(5, 3, seed + 20, 40), by_row.zero_state(3))  # other units, but no gradient


@pytest.mark.parametrize("name", CONFIGS)
def test_tensors_have_the_announced_shapes_and_load_back(name: str) -> None:
    model = make(CONFIGS[name])
    tensors = model.tensors()
    assert {key: value.shape for key, value in tensors.items()} == layout.tensor_shapes(model.config)
    other = LanguageModel(model.config)
    other.load(tensors)
    np.testing.assert_array_equal(other.parameters, model.parameters)
    assert layout.torch_computes(model.config) == any(key.startswith("rnn.") for key in tensors)
    missing = dict(tensors)
    last = next(reversed(missing))
    del missing[last]
    with pytest.raises(CharrnnError, match=re.escape(last)):
        other.load(missing)
    with pytest.raises(CharrnnError, match="shape"):
        other.load({**tensors, last: np.zeros(3, np.float32)})


def test_initial_weights() -> None:
    model = LanguageModel(ModelConfig(30, ("lstm", "lstm"), 16, 8))
    model.initialise(0)
    first = model.parameters.copy()
    for gate in range(4):
        u = model.views["layers.1.weight_hh"][:, 16 * gate : 16 * gate + 16]
        np.testing.assert_allclose(u @ u.T, np.eye(16), atol=1e-5)
    assert (model.views["layers.0.bias"][16:32] == 1).all()
    assert model.views["layers.0.bias"].sum() == 16
    model.initialise(0)
    np.testing.assert_array_equal(model.parameters, first)
    model.initialise(1)
    assert (model.parameters != first).any()


def test_initial_weights_of_a_normalised_state() -> None:
    model = LanguageModel(ModelConfig(30, ("gru", "lstm", "rnn"), 16, 8, rms_norm=True))
    model.initialise(0)
    for layer, scale in enumerate((1.0, 0.5, 1.0)):  # only LSTM layers normalise theirs
        u = model.views[f"layers.{layer}.weight_hh"][:, :16]
        np.testing.assert_allclose(u @ u.T, scale**2 * np.eye(16), atol=1e-5)


def test_normalised_states_have_a_mean_square_of_one() -> None:
    model = make(ModelConfig(11, ("lstm", "lstm"), 9, 4, rms_norm=True), boundary=1)
    hidden = model.forward(text(12, 3), model.zero_state(3))
    np.testing.assert_allclose(np.mean(hidden.astype(np.float64) ** 2, axis=2), 1, atol=1e-2)
    plain = make(ModelConfig(11, ("lstm", "lstm"), 9, 4), boundary=1)
    assert np.mean(plain.forward(text(12, 3), plain.zero_state(3)) ** 2) < 0.5


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hidden_size": 0}, "--hidden-size is 0; it must be at least 1"),
        ({"cells": ()}, "--layers"),
        ({"cells": ("lstm", "mlp")}, "'mlp'"),
        ({"tie_weights": True}, "make them equal"),
        ({"peepholes": True, "cells": ("gru",)}, "--peepholes"),
        ({"rms_norm": True, "cells": ("rnn",)}, "--rms-norm"),
        ({"reset_gate": "none"}, "GRU"),
        ({"activation": "relu"}, "RNN"),
        ({"embedding_size": -1}, "--embedding-size"),
        ({"cutoffs": (2,), "tie_weights": True, "embedding_size": 4}, "--tie-weights exclude each other"),
        ({"cutoffs": (3, 2)}, "--cutoffs is 3,2; it must be numbers that rise, from 1 to less than the 5 units"),
        ({"cutoffs": (0, 2)}, "must be numbers that rise"),
        ({"cutoffs": (2, 2)}, "must be numbers that rise"),
        ({"cutoffs": (5,)}, "must be numbers that rise"),
        ({"cutoffs": (2, 3)}, "names 2 clusters, .* nothing is left of --hidden-size 4 for the last"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, object], complaint: str) -> None:
    options: dict[str, object] = {"vocabulary_size": 5, "cells": ("lstm",), "hidden_size": 4, **changes}
    with pytest.raises(UsageError, match=complaint):
        ModelConfig(**options)  # type: ignore[arg-type]


def test_the_layout_can_be_read_without_numba(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, charrnn.nn.layout, charrnn.models; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("boundary", [-1, 1])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_generated_does_not_depend_on_how(name: str, boundary: int, bfloat16: bool) -> None:
    config = CONFIGS[name]
    options: dict[str, Any] = {"temperature": 0.9, "top_k": 9, "top_p": 0.95}
    uniforms = np.random.default_rng(0).random((12, 4))
    results = []
    for threads, cuts in ((1, [12]), (2, [5, 6, 12]), (0, [])):
        model = LanguageModel(config, threads=max(threads, 1), boundary=boundary, bfloat16=bfloat16)
        model.initialise(4)
        previous, state = np.ones(4, np.int32), model.zero_state(4)
        if cuts:
            starts = [0, *cuts[:-1]]
            parts = [
                model.generate(previous, state, uniforms[a:b], **options) for a, b in zip(starts, cuts, strict=True)
            ]
            units = np.concatenate(parts)
        else:
            units = step_by_step(model, previous, state, uniforms, 0.9, 9, 0.95, -1)
        results.append((units, previous, state))
    assert len(np.unique(results[0][0])) > 3
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["lstm", "mixed"])
def test_generation_ends_when_every_line_has(name: str) -> None:
    model = make(CONFIGS[name])
    uniforms = np.random.default_rng(0).random((200, 3))
    units = model.generate(np.ones(3, np.int32), model.zero_state(3), uniforms, line_end=1)
    first_ends = [int(np.argmax(column == 1)) for column in units.T]
    assert (units == 1).any(axis=0).all()
    assert len(units) == max(first_ends) + 1 < 200

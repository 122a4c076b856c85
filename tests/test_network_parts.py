"""Parts of networks: the softmax in chunks, weights by row, tensors of a checkpoint, first values, what is refused."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest

from charrnn import kernels
from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.models import language
from charrnn.nn import adaptive_softmax, softmax
from charrnn.nn.cells import torch_computes
from charrnn.text.batch import Batch
from tests.networks import CONFIGS, PRECISIONS, Bounded, make, names, text


def test_a_large_vocabulary_is_computed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(CONFIGS["lstm"])
    ids, targets = text(9, 7), text(9, 7, seed=1)
    loss, gradient = model.loss_and_gradient(ids, targets, model.zero_state(7))
    whole = gradient.copy()
    log_probs = model.log_probs(ids, targets, model.zero_state(7))
    monkeypatch.setattr(softmax, "MOST_LOGITS", 11 * 15)
    assert model.loss_and_gradient(ids, targets, model.zero_state(7))[0] == loss
    np.testing.assert_array_equal(gradient, whole)
    np.testing.assert_array_equal(model.log_probs(ids, targets, model.zero_state(7)), log_probs)


def test_the_chunks_of_an_adaptive_softmax_hold_few_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(CONFIGS["adaptive, two tails"])
    ids, targets = text(9, 7), text(9, 7, seed=1)
    loss, gradient = model.loss_and_gradient(ids, targets, model.zero_state(7))
    whole, log_probs = gradient.copy(), model.log_probs(ids, targets, model.zero_state(7))
    monkeypatch.setattr(softmax, "MOST_LOGITS", 150)
    monkeypatch.setattr(adaptive_softmax, "CACHED_LOGITS", 15)
    assert isinstance(model.output, adaptive_softmax.AdaptiveSoftmax)
    chunks = model.output.chunks(targets)
    assert np.concatenate([np.arange(9)[chunk] for chunk in chunks]).tolist() == list(range(9))
    assert 1 < len(chunks) < 9
    for chunk in chunks:
        here = targets[chunk]
        assert here.size * 4 + 3 * ((here >= 2) & (here < 5)).sum() + 6 * (here >= 5).sum() <= 150
    model.invalidate()
    assert model.loss_and_gradient(ids, targets, model.zero_state(7))[0] == loss
    np.testing.assert_allclose(gradient, whole, rtol=1e-4, atol=1e-7)  # sums over a tail's places in another order
    np.testing.assert_array_equal(model.log_probs(ids, targets, model.zero_state(7)), log_probs)


def test_an_interrupted_look_up_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (ModelConfig(11, ("lstm",), 9, 4), ModelConfig(11, ("lstm",), 9)):
        model, ids = make(config), text(12, 3)
        expected = make(config).log_probs(ids, ids, model.zero_state(3))
        for name in ("look_up_rows", "gather_rows", "fill_rows"):

            def interrupt(*arguments: object) -> None:
                raise KeyboardInterrupt

            with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
                patch.setattr(kernels.inputs, name, interrupt)
                model.invalidate()
                model.log_probs(ids, ids, model.zero_state(3))
            np.testing.assert_array_equal(model.log_probs(ids, ids, model.zero_state(3)), expected)


def test_a_refused_batch_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "BY_ROW_FROM", 11)
    model, ids = make(ModelConfig(11, ("lstm",), 9, 4)), text(5, 3)
    expected = model.loss_and_gradient(ids, ids, model.zero_state(3))[0]
    bad = ids.copy()
    bad[2, 1] = 11
    state = model.zero_state(3)
    wrong: list[tuple[Batch, str]] = [
        (Batch(bad, ids), "id 11"),
        (Batch(ids, ids[:4]), "targets have the shape"),
        (Batch(ids, ids, reset=np.ones((5, 2), np.bool_)), "reset have the shape"),
        (Batch(ids, ids, weights=np.zeros((5, 3))), "add up to nothing"),
        (Batch(ids, ids, state=state[:, :1]), "state has the shape"),
        (Batch(ids[:0], ids[:0]), "0 steps"),
    ]
    for batch, complaint in wrong:
        with pytest.raises(CharrnnError, match=complaint):
            model.loss(batch)
        assert model.loss_and_gradient(ids, ids, model.zero_state(3))[0] == expected


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_an_adaptive_softmax_adds_up_to_one(bfloat16: bool) -> None:
    config = ModelConfig(700, ("gru",), 33, 8, cutoffs=(50, 301))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-6)):
        model = Bounded(config, dtype=dtype, bfloat16=bfloat16 and dtype == np.float32)
        model.initialise(0)
        model.parameters *= 2
        model.invalidate()
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
    monkeypatch.setattr(language, "BY_ROW_FROM", 40)
    by_row = make(config, threads=2)
    assert (whole.layout.row_table, whole.touched) == (None, None)
    assert by_row.layout.row_table == (40, embedding_size or 36)
    for seed in range(3):
        ids, targets = text(5, 3, seed, 40), text(5, 3, seed + 9, 40)
        _, expected = whole.loss_and_gradient(ids, targets, whole.zero_state(3))
        _, found = by_row.loss_and_gradient(ids, targets, by_row.zero_state(3))
        np.testing.assert_array_equal(found, expected)
        assert by_row.touched is not None
        assert sorted(by_row.touched.tolist()) == np.unique(ids).tolist()
        by_row.forward(text(5, 3, seed + 20, 40), by_row.zero_state(3))  # other units, but no gradient


@pytest.mark.parametrize("name", names(CONFIGS))
def test_tensors_have_the_announced_shapes_and_load_back(name: str) -> None:
    model = make(CONFIGS[name])
    tensors = model.tensors()
    assert {key: value.shape for key, value in tensors.items()} == language.parameter_layout(
        model.config
    ).tensor_shapes()
    other = Bounded(model.config)
    other.load(tensors)
    np.testing.assert_array_equal(other.parameters, model.parameters)
    assert torch_computes(model.config) == any(key.startswith("rnn.") for key in tensors)
    missing = dict(tensors)
    last = next(reversed(missing))
    del missing[last]
    with pytest.raises(CharrnnError, match=re.escape(last)):
        other.load(missing)
    with pytest.raises(CharrnnError, match="shape"):
        other.load({**tensors, last: np.zeros(3, np.float32)})


def test_initial_weights() -> None:
    model = Bounded(ModelConfig(30, ("lstm", "lstm"), 16, 8))
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
    model = Bounded(ModelConfig(30, ("gru", "lstm", "rnn"), 16, 8, rms_norm=True))
    model.initialise(0)
    for layer, scale in enumerate((1.0, 0.5, 1.0)):  # only LSTM layers normalise theirs
        u = model.views[f"layers.{layer}.weight_hh"][:, :16]
        np.testing.assert_allclose(u @ u.T, scale**2 * np.eye(16), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hidden_size": 0}, "`hidden_size` is 0; it must be at least 1"),
        ({"cells": ()}, "`layers`"),
        ({"cells": ("lstm", "mlp")}, "'mlp'"),
        ({"tie_weights": True}, "to be equal"),
        ({"peepholes": True, "cells": ("gru",)}, "`peepholes`"),
        ({"rms_norm": True, "cells": ("rnn",)}, "`rms_norm`"),
        ({"reset_gate": "none"}, "GRU"),
        ({"activation": "relu"}, "RNN"),
        ({"embedding_size": -1}, "`embedding_size`"),
        ({"cutoffs": (2,), "tie_weights": True, "embedding_size": 4}, "`tie_weights` exclude each other"),
        ({"cutoffs": (3, 2)}, "`cutoffs` is 3,2; it must be numbers that rise, from 1 to less than the 5 units"),
        ({"cutoffs": (0, 2)}, "must be numbers that rise"),
        ({"cutoffs": (2, 2)}, "must be numbers that rise"),
        ({"cutoffs": (5,)}, "must be numbers that rise"),
        ({"cutoffs": (2, 3)}, "names 2 clusters, .* nothing is left of `hidden_size` 4 for the last"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, object], complaint: str) -> None:
    options: dict[str, object] = {"vocabulary_size": 5, "cells": ("lstm",), "hidden_size": 4, **changes}
    with pytest.raises(UsageError, match=complaint):
        ModelConfig(**options)  # type: ignore[arg-type]


def test_the_layout_can_be_read_without_numba(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom charrnn.config import ModelConfig\nfrom charrnn.models.language import parameter_layout\n"
        "parameter_layout(ModelConfig(9, ('lstm', 'gru'), 4, 3)).tensor_shapes()\nsys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0

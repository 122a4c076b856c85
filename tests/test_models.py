"""Networks: against the equations, and what rows, threads, windows and generation must not change."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from charrnn.config import ModelConfig
from charrnn.errors import CharrnnError
from charrnn.kernels import dropout
from charrnn.models import network
from charrnn.models.generation import drawn, step_by_step
from tests import reference
from tests.networks import CONFIGS, PRECISIONS, Bounded, make, names, text


@pytest.mark.parametrize("name", names(CONFIGS))
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
    def scores(model: Bounded, T: int) -> bytes:
        ids, targets = text(T, 2, seed=T), text(T, 2, seed=T + 1)
        return model.log_probs(ids, targets, model.zero_state(2)).tobytes()

    used, fresh = make(CONFIGS[name]), [make(CONFIGS[name]) for _ in range(2)]
    short, long = 3, 12  # fewer units than the vocabulary has, and more
    expected = {T: scores(model, T) for T, model in zip((short, long), fresh, strict=True)}
    for T in (short, long, short, long):  # the window's own table, that of all units, the latter again
        assert scores(used, T) == expected[T]
    used.loss_and_gradient(text(1, 2), text(1, 2), used.zero_state(2))  # a table of few units
    assert scores(used, short) == expected[short]
    used.parameters *= 0.9
    used.invalidate()
    changed = scores(used, long)
    assert changed != expected[long]
    other = make(CONFIGS[name])
    other.parameters *= 0.9
    other.invalidate()
    assert scores(other, long) == changed


@pytest.mark.parametrize("name", names(CONFIGS))
def test_windows_continue_each_other(name: str) -> None:
    model = make(CONFIGS[name], boundary=1)
    ids = text(20, 4)
    whole = model.forward(ids, model.zero_state(4)).copy()
    state = model.zero_state(4)
    parts = [model.forward(ids[start : start + 7], state).copy() for start in range(0, 20, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", names(CONFIGS))
def test_a_row_does_not_depend_on_its_neighbours(name: str) -> None:
    model = make(CONFIGS[name])
    ids = text(6, 13)
    together = model.forward(ids, model.zero_state(13)).copy()
    for b in (0, 5, 12):
        alone = model.forward(np.ascontiguousarray(ids[:, b : b + 1]), model.zero_state(1))
        np.testing.assert_array_equal(alone[:, 0], together[:, b])


@pytest.mark.parametrize("name", names(CONFIGS))
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


@pytest.mark.parametrize("name", names(CONFIGS))
def test_threads_change_no_bit(name: str) -> None:
    gradients = []
    for threads in (1, 2, 3):
        model = make(CONFIGS[name], threads=threads, boundary=1)
        state = model.zero_state(7)
        for step in range(2):
            loss, gradient = model.loss_and_gradient(text(9, 7), text(9, 7, seed=1), state, dropout=0.2, step=step)
        gradients.append((loss, gradient.copy(), state))
    for loss, gradient, state in gradients[1:]:
        assert loss == gradients[0][0]
        np.testing.assert_array_equal(gradient, gradients[0][1])
        np.testing.assert_array_equal(state, gradients[0][2])


@pytest.mark.parametrize("name", names(CONFIGS))
def test_rows_are_taken_in_groups_where_memory_is_short(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, targets = text(9, 13), text(9, 13, seed=1)

    def compute(threads: int) -> tuple[float, Any, Any]:
        model = make(CONFIGS[name], threads=threads, boundary=1)
        state = model.zero_state(13)
        loss, gradient = model.loss_and_gradient(ids, targets, state)
        return loss, gradient.copy(), state

    whole = compute(1)
    monkeypatch.setattr(network, "MOST_GATES", 1)
    monkeypatch.setattr(network, "LEAST_ROWS", 4)
    grouped, again = compute(1), compute(2)
    assert grouped[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(grouped[1], whole[1], atol=1e-6)
    np.testing.assert_array_equal(grouped[2], whole[2])
    np.testing.assert_array_equal(grouped[1], again[1])


def test_groups_of_rows_have_dropout_masks_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MOST_GATES", 1)
    monkeypatch.setattr(network, "LEAST_ROWS", 2)
    model = make(CONFIGS["lstm"])
    masks: list[Any] = []
    apply_dropout = dropout.apply_dropout

    def record(values: Any, rate: float, key: Any, begin: int, end: int) -> None:
        apply_dropout(values, rate, key, begin, end)
        masks.append((key, (values[:, begin:end] == 0).tobytes()))

    monkeypatch.setattr(dropout, "apply_dropout", record)
    ids = np.full((5, 4), 3, np.int32)  # two groups of equal rows
    model.loss_and_gradient(ids, ids, model.zero_state(4), dropout=0.5)
    assert len(masks) == 8  # two layers there and back
    assert len(set(masks)) == 4


@pytest.mark.slow
def test_normalised_states_have_a_mean_square_of_one() -> None:
    model = make(ModelConfig(11, ("lstm", "lstm"), 9, 4, peepholes=True, rms_norm=True), boundary=1)
    hidden = model.forward(text(12, 3), model.zero_state(3))
    np.testing.assert_allclose(np.mean(hidden.astype(np.float64) ** 2, axis=2), 1, atol=1e-2)
    plain = make(ModelConfig(11, ("lstm", "lstm"), 9, 4, peepholes=True), boundary=1)
    assert np.mean(plain.forward(text(12, 3), plain.zero_state(3)) ** 2) < 0.5


@pytest.mark.parametrize("bfloat16", PRECISIONS)
@pytest.mark.parametrize("boundary", [-1, 1])
@pytest.mark.parametrize("name", names(CONFIGS, generated=True))
def test_what_is_generated_does_not_depend_on_how(name: str, boundary: int, bfloat16: bool) -> None:
    config = CONFIGS[name]
    options: dict[str, Any] = {"temperature": 0.9, "top_k": 9, "top_p": 0.95}
    uniforms = np.random.default_rng(0).random((12, 4))
    results = []
    for threads, cuts in ((1, [12]), (2, [5, 6, 12]), (0, [])):
        model = Bounded(config, threads=max(threads, 1), boundary=boundary, bfloat16=bfloat16)
        model.initialise(4)
        previous, state = np.ones(4, np.int32), model.zero_state(4)
        if cuts:
            starts = [0, *cuts[:-1]]
            parts = [
                model.generate(previous, state, uniforms[a:b], **options) for a, b in zip(starts, cuts, strict=True)
            ]
            units = np.concatenate(parts)
        else:
            units = step_by_step(model, previous, state, uniforms, drawn(0.9, 9, 0.95), -1, boundary)
        results.append((units, previous, state))
    assert len(np.unique(results[0][0])) > 3
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", names(["lstm", "mixed", "mixed, peepholes"]))
def test_generation_ends_when_every_line_has(name: str) -> None:
    model = make(CONFIGS[name])
    uniforms = np.random.default_rng(0).random((200, 3))
    units = model.generate(np.ones(3, np.int32), model.zero_state(3), uniforms, line_end=1)
    first_ends = [int(np.argmax(column == 1)) for column in units.T]
    assert (units == 1).any(axis=0).all()
    assert len(units) == max(first_ends) + 1 < 200


SIZES = {  # where whole tiles run, beside edges of them
    f"{cell} {size}": ModelConfig(41, (cell,) * 2, size, 17) for cell in ("lstm", "gru", "rnn") for size in (71, 160)
}


@pytest.mark.parametrize("bfloat16", PRECISIONS)
@pytest.mark.parametrize("name", SIZES)
def test_threads_and_neighbours_change_no_bit_of_whole_tiles(name: str, bfloat16: bool) -> None:
    ids, targets = text(6, 25, vocabulary=41), text(6, 25, seed=1, vocabulary=41)
    results = []
    for threads in (1, 2, 3):
        model = Bounded(SIZES[name], threads=threads, boundary=1, bfloat16=bfloat16)
        model.initialise(4)
        state = model.zero_state(25)
        loss, gradient = model.loss_and_gradient(ids, targets, state, dropout=0.2)
        scored = model.log_probs(ids, targets, model.zero_state(25))
        results.append((loss, gradient.copy(), state, scored))
        for b in (0, 11, 24):
            alone = (np.ascontiguousarray(ids[:, b : b + 1]), np.ascontiguousarray(targets[:, b : b + 1]))
            np.testing.assert_array_equal(model.log_probs(*alone, model.zero_state(1))[:, 0], scored[:, b])
    assert np.linalg.norm(results[0][1]) > 0
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    model = make(ModelConfig(11, ("lstm",), 9, 4))
    good, state = text(3, 2), model.zero_state(2)
    for wrong, found in ((11, "id 11"), (5000, "id 5000"), (-1, "id -1")):
        bad = good.copy()
        bad[1, 1] = wrong
        for call in (
            lambda bad=bad: model.log_probs(bad, good, state),
            lambda bad=bad: model.log_probs(good, bad, state),
            lambda bad=bad: model.forward(bad, state),
            lambda bad=bad: model.loss_and_gradient(bad, good, state),
            lambda bad=bad: model.loss_and_gradient(good, bad, state),
            lambda bad=bad: model.next_log_probs(bad[1], state, np.arange(2, dtype=np.int32), good[0]),
            lambda bad=bad: model.next_log_probs(good[1], state, np.arange(2, dtype=np.int32), bad[1]),
            lambda bad=bad: model.generate(bad[1], state, np.zeros((1, 2))),
        ):
            with pytest.raises(CharrnnError, match=f"{found}, and the vocabulary has 11 units"):
                call()


@pytest.mark.parametrize("name", names(["lstm", "mixed", "mixed, peepholes", "adaptive"]))
def test_a_model_may_be_used_from_several_threads(name: str) -> None:
    model = make(CONFIGS[name])
    texts = [(text(40, 3, seed), text(40, 3, seed + 50)) for seed in range(8)]
    uniforms = np.random.default_rng(0).random((20, 3))

    def use(seed: int) -> tuple[bytes, bytes]:
        scored = model.log_probs(*texts[seed], model.zero_state(3))
        drawn = model.generate(np.full(3, seed, np.int32), model.zero_state(3), uniforms)
        return scored.tobytes(), drawn.tobytes()

    expected = [use(seed) for seed in range(8)]
    found: list[list[tuple[bytes, bytes]]] = [[] for _ in range(8)]

    def work(seed: int) -> None:
        for _ in range(6):
            found[seed].append(use(seed))

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [[expected[seed]] * 6 for seed in range(8)]

"""Words as sums of vectors, and the conditional random field: gradients, all paths of a small case, independence."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.models.tagger import Tagger
from charrnn.nn.crf import CRF
from charrnn.nn.dropout import DropoutKey
from charrnn.runtime.arrays import Array, Ids
from charrnn.task_config import TaggerConfig
from charrnn.text.batch import Bags, Batch
from charrnn.text.tag_schemes import ill_formed

L, V, BUCKETS, T = 3, 5, 8, 8
STEP = 1e-5  # of the four-point difference, as in `gradcheck`
# Lengths of the sentences of each row: of the whole row, of one token, with padding at the end.
LENGTHS = ((3, 1, 2), (8,), (2, 3), (1, 1, 1))
BAGS = Bags(np.array([1, 4, 7, 12, 2, 5, 5, 0, 9, 3, 12, 8, 6], np.int32), np.array([0, 1, 4, 6, 10, 11, 13], np.int32))


def make(head: str, *, threads: int = 2, dtype: Any = np.float64, bfloat16: bool = False, **options: Any) -> Tagger:
    """A tagger with random weights."""
    sizes: dict[str, Any] = {"cells": ("gru",), "hidden_size": 4, "embedding_size": 3, **options}
    config = TaggerConfig(vocabulary_size=V, labels=L, buckets=BUCKETS, head=head, **sizes)
    network = Tagger(config, threads=threads, dtype=dtype, bfloat16=bfloat16)
    network.initialise(1)
    network.parameters += 0.3 * np.random.default_rng(0).standard_normal(network.parameters.size).astype(dtype)
    network.invalidate()
    return network


def pack(lengths: Sequence[Sequence[int]] = LENGTHS, seed: int = 0) -> Batch:
    """A batch (T, B) of sentences of random words and tags, one after the other in each row."""
    rng, shape = np.random.default_rng(seed), (T, len(lengths))
    reset, ends, weights = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape)
    for b, row in enumerate(lengths):
        t = 0
        for length in row:
            reset[t, b] = ends[t + length - 1, b] = True
            weights[t : t + length, b] = 1
            t += length
    words, tags = (rng.integers(0, count, shape).astype(np.int32) for count in (len(BAGS.bounds) - 1, L))
    return Batch(words, tags, reset, ends, weights, bags=BAGS)


@pytest.mark.parametrize("head", ["softmax", "crf"])
@pytest.mark.parametrize("options", [{}, {"dense": (5,)}, {"bidirectional": False}], ids=str)
def test_gradients(head: str, options: dict[str, Any]) -> None:
    network, batch = make(head, **options), pack()
    centre = network.parameters.copy()

    def loss(point: Array) -> float:
        network.parameters[:] = point
        network.invalidate()
        summed, count = network.loss(batch, DropoutKey(0.3, 3, 5))
        return summed / count

    loss(centre)
    gradient, rng = network.gradient.copy(), np.random.default_rng(7)
    places = network.layout.views(np.arange(centre.size, dtype=np.float64))
    assert head == "softmax" or "crf.transitions" in places
    for name, indices in places.items():
        part, direction = indices.ravel().astype(np.int64), np.zeros_like(centre)
        direction[part] = rng.standard_normal(part.size)
        direction[part] += gradient[part] / np.linalg.norm(gradient[part]) * np.sqrt(part.size)
        direction /= np.linalg.norm(direction)
        near, far = (loss(centre + d * direction) - loss(centre - d * direction) for d in (STEP, 2 * STEP))
        slope, difference = float(gradient @ direction), (8 * near - far) / (12 * STEP)
        assert abs(slope) > 1e-4, name
        assert difference == pytest.approx(slope, rel=1e-6), name


def score_of(crf: CRF, logits: Array, path: Sequence[int]) -> float:
    """The score of a path, as it is defined."""
    links = sum(crf.transitions[a, b] for a, b in itertools.pairwise(path))
    return float(sum(logits[t, y] for t, y in enumerate(path)) + links + crf.start[path[0]] + crf.end[path[-1]])


def test_all_paths_of_a_small_case() -> None:
    """Log-probabilities, marginals (the gradient of the logits) and the best path, by trying all paths."""
    network, n = make("crf"), 5
    crf = network.output
    assert isinstance(crf, CRF)
    logits = 2 * np.random.default_rng(2).standard_normal((n, L))
    paths = list(itertools.product(range(L), repeat=n))
    scores = np.array([score_of(crf, logits, path) for path in paths])
    chances = np.exp(scores - np.log(np.exp(scores).sum()))
    lengths = np.array([n], np.int64)
    for path, chance in zip(paths[::17], chances[::17], strict=True):
        assert network.log_probs(logits, np.array(path, np.int32), lengths)[0] == pytest.approx(
            np.log(chance), rel=1e-12
        )
    assert tuple(network.best_tags(logits, lengths)) == paths[int(chances.argmax())]
    marginals = np.zeros((n, L))
    pairs = np.zeros((L, L))
    for path, chance in zip(paths, chances, strict=True):
        marginals[range(n), path] += chance
        for a, b in itertools.pairwise(path):
            pairs[a, b] += chance
    gold = paths[100]
    dlogits, log_probs = logits.reshape(n, 1, L).copy(), np.empty((n, 1))
    mask, reverse_mask = np.ones((n, 1)), np.ones((n, 1))
    mask[0] = reverse_mask[-1] = 0
    dlinks, dstart, dend = np.empty((1, L, L)), np.empty((1, L)), np.empty((1, L))
    kernels.crf.sequence_gradient(
        dlogits, np.array(gold, np.int32).reshape(n, 1), np.ones((n, 1)), mask, reverse_mask, crf.transitions,
        crf.start, crf.end, np.empty((n, 1, L)), np.empty((n, 1, L)), log_probs, dlogits, dlinks, dstart, dend,
        np.empty((1, 2, L)), 0, 1,
    )  # fmt: skip
    marginals[range(n), gold] -= 1
    for a, b in itertools.pairwise(gold):
        pairs[a, b] -= 1
    np.testing.assert_allclose(dlogits[:, 0], marginals, atol=1e-12)
    np.testing.assert_allclose(dlinks[0], pairs, atol=1e-12)
    np.testing.assert_allclose(dstart[0], marginals[0], atol=1e-12)
    np.testing.assert_allclose(dend[0], marginals[-1], atol=1e-12)


@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_the_best_path_is_well_formed(head: str) -> None:
    labels = ("O", "B-X", "I-X")
    network, wrong = make(head), ill_formed(labels, "iob2")
    logits = np.random.default_rng(3).standard_normal((400, L)) * 4
    lengths = np.array([1, 99, 300], np.int64)
    free, found = network.best_tags(logits, lengths), network.best_tags(logits, lengths, wrong)
    begins = (0, 1, 100)

    def ill(tags: Ids) -> int:
        return sum(tag == 2 and (t in begins or tags[t - 1] == 0) for t, tag in enumerate(tags.tolist()))

    assert ill(free) > 0 == ill(found)
    values = network.log_probs(logits, found, lengths)
    assert (values <= network.log_probs(logits, free, lengths) + 1e-12).all()
    # No other well-formed path of a few tokens is better.
    few, size = logits[:4], np.array([4], np.int64)
    allowed = [path for path in itertools.product(range(L), repeat=4) if not ill_path(path)]
    best = max(network.log_probs(few, np.array(path, np.int32), size)[0] for path in allowed)
    assert network.log_probs(few, network.best_tags(few, size, wrong), size)[0] == pytest.approx(best)


def ill_path(path: Sequence[int]) -> bool:
    return any(tag == 2 and before == 0 for before, tag in zip((0, *path), path, strict=False))


@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_threads_and_neighbours_change_no_bit(head: str) -> None:
    batch, found = pack(), []
    for threads in (1, 2, 3):
        network = make(head, threads=threads, dtype=np.float32)
        network.loss(batch, DropoutKey(0.3, 3, 5))
        found.append((network.gradient.copy(), network.logits(batch)))
    for gradient, logits in found[1:]:
        np.testing.assert_array_equal(gradient, found[0][0])
        np.testing.assert_array_equal(logits, found[0][1])
    alone = make(head, dtype=np.float32).logits(batch.rows(slice(1, 2)))
    np.testing.assert_array_equal(alone[:, 0], found[0][1][:, 1])


def test_only_rows_of_the_batch_have_a_gradient() -> None:
    network = make("crf")
    network.loss(pack())
    assert network.touched is not None
    np.testing.assert_array_equal(network.touched, np.unique(BAGS.rows))
    moved = np.abs(network.layout.views(network.gradient)["embedding.weight"]).sum(axis=1) > 0
    assert set(np.flatnonzero(moved)) <= set(BAGS.rows.tolist())


@pytest.mark.parametrize(
    "bags",
    [
        None,
        Bags(BAGS.rows + 20, BAGS.bounds),
        Bags(BAGS.rows, BAGS.bounds[:-1]),
        Bags(BAGS.rows, np.array([0, 4, 1, 6, 10, 11, 13], np.int32)),
    ],
)
def test_bags_that_do_not_fit_are_refused(bags: Bags | None) -> None:
    batch = pack()
    with pytest.raises(CharrnnError):
        make("softmax").loss(Batch(batch.inputs, batch.targets, batch.reset, batch.ends, batch.weights, bags=bags))

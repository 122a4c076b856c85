"""The regression on n-grams beside the recurrent layers of a classifier."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from charrnn.errors import CharrnnError
from charrnn.models.classifier import Classifier
from charrnn.models.ngram_regression import Bags, fit
from charrnn.runtime.threads import ThreadPool
from charrnn.task_config import ClassifierConfig
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.packing import pack as pack_sequences
from tests.test_sequence_blocks import CLASSES, D, E, H, V, check_gradient, pack, texts


def test_gradients_with_offsets_agree_with_differences() -> None:
    batch = pack(texts())
    offsets = np.random.default_rng(0).standard_normal((*batch.targets.shape, CLASSES))
    network = Classifier(ClassifierConfig(V, ("gru",), H, E, labels=CLASSES, dense=(D,)), threads=2, dtype=np.float64)
    network.initialise(1)
    network.parameters += 0.3 * np.random.default_rng(0).standard_normal(network.parameters.size)
    network.invalidate()
    before = network.loss(batch)[0]
    check_gradient(network, replace(batch, offsets=offsets))
    assert network.loss(replace(batch, offsets=offsets))[0] != before


def test_a_bag_has_every_ngram_and_the_edges_of_its_sequence() -> None:
    def rows(*sequences: list[int]) -> set[int]:
        inputs = np.concatenate([np.array(ids, np.int32) for ids in sequences])[:, None]
        ends = np.cumsum([len(ids) for ids in sequences]).astype(np.int32)
        first = np.append(0, ends[:-1]).astype(np.int32)[:, None]
        return set(Bags(inputs, first, ends[:, None] - 1, 2, 1 << 17).rows.tolist())

    assert len(rows([2, 3, 4])) == 3 + 2 + 2
    assert rows([2], [3]) == rows([2]) | rows([3])
    assert rows([2, 3]) - rows([2]) - rows([3])  # the pair
    assert rows([2, 3]) != rows([3, 2])
    assert rows([2, 2, 2]) == rows([2, 2])


def labelled(count: int = 300) -> LabelledPart:
    """Sequences whose label is 1 where the id 5 occurs, else 0."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, count)
    ids = rng.integers(2, V, lengths.sum()).astype(np.uint8)
    offsets = np.append(0, np.cumsum(lengths))
    labels = np.array([(ids[start:stop] == 5).any() for start, stop in pairwise(offsets)]).astype(np.int32)
    return LabelledPart(ids, offsets, labels)


def test_the_regression_on_ngrams_learns_and_its_logits_are_cross_fitted() -> None:
    part = labelled()
    regression, logits = fit(part, 2, 2, 0, ThreadPool(1))
    assert np.mean(logits.argmax(axis=1) == part.labels) > 0.97 > np.mean(part.labels == 0)
    again, same = fit(part, 2, 2, 0, ThreadPool(3))
    np.testing.assert_array_equal(logits, same)
    np.testing.assert_array_equal(regression.weight, again.weight)
    # The logits of a record do not depend on its label, and those of the records of other folds do.
    flipped = LabelledPart(part.ids, part.offsets, part.labels.copy())
    flipped.labels[0] ^= 1
    _, others = fit(flipped, 2, 2, 0, ThreadPool(1))
    np.testing.assert_array_equal(others[0], logits[0])
    assert (others != logits).any()


def test_records_of_unknown_label_get_logits_and_teach_nothing() -> None:
    part = labelled()
    more = part.followed_by(LabelledPart(part.ids[:9], np.array([0, 4, 9]), np.full(2, -1, np.int32)))
    regression, logits = fit(part, 2, 2, 0, ThreadPool(1))
    again, others = fit(more, 2, 2, 0, ThreadPool(1))
    assert others.shape == (len(part) + 2, 2)
    np.testing.assert_array_equal(others[: len(part)], logits)
    np.testing.assert_allclose(again.weight, regression.weight, rtol=1e-6)
    assert np.all(others[len(part) :] != 0)


def test_a_classifier_adds_the_logits_of_its_regression() -> None:
    part = labelled()
    regression, _ = fit(part, 2, 2, 0, ThreadPool(1))
    network = Classifier(ClassifierConfig(V, ("gru",), H, E, labels=2, ngrams=2))
    batch, places = pack_sequences([part.ids[start:stop] for start, stop in pairwise(part.offsets)], None)
    np.testing.assert_allclose(network.log_probs(batch), np.log(0.5))  # all weights are zero
    network.regression = regression
    found = network.log_probs(batch)[places[:, 0], places[:, 1]].argmax(axis=1)
    assert np.mean(found == part.labels) > 0.97
    other = Classifier(network.config)
    other.load(network.tensors())
    np.testing.assert_array_equal(other.log_probs(batch), network.log_probs(batch))
    with pytest.raises(CharrnnError, match=r"ngrams\.weight is missing"):
        Classifier(network.config).load({n: t for n, t in network.tensors().items() if n != "ngrams.weight"})

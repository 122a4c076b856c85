"""Packing of records into rows: nothing is lost, the order depends on seed and step only, little padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.text import EOS, Batch
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.packing import MULTIPLE, PackedBatches, evaluation_batches, pack, pack_records

Record = tuple[list[int], int]

records = st.lists(
    st.tuples(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.integers(-1, 4)), min_size=1, max_size=60
)


def unpacked(batch: Batch) -> dict[tuple[int, int], Record]:
    """The ids and the label of each sequence (k, b), read as a network reads them; -1 for a label of weight 0."""
    assert batch.reset is not None
    assert batch.ends is not None
    assert batch.weights is not None
    found = {}
    for b in range(batch.inputs.shape[1]):
        begins, ends = (np.flatnonzero(flags[:, b]) for flags in (batch.reset, batch.ends))
        assert len(begins) == len(ends) <= len(batch.targets)
        inside = np.zeros(len(batch.inputs), np.bool_)
        for k, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
            assert not inside[begin : end + 1].any()
            inside[begin : end + 1] = True
            label = int(batch.targets[k, b]) if batch.weights[k, b] else -1
            found[k, b] = batch.inputs[begin : end + 1, b].tolist(), label
        assert (batch.inputs[~inside, b] == EOS).all()
        assert not batch.weights[len(begins) :, b].any()
    assert not batch.targets[batch.weights == 0].any()
    return found


def part_of(lengths: NDArray[np.int64], seed: int = 0) -> LabelledPart:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 200, int(lengths.sum())).astype(np.uint8)
    return LabelledPart(ids, np.append(0, np.cumsum(lengths)), rng.integers(0, 5, len(lengths)).astype(np.int32))


def record(part: LabelledPart, number: int) -> Record:
    return part.ids[part.offsets[number] : part.offsets[number + 1]].tolist(), int(part.labels[number])


def ragged(count: int = 1000) -> NDArray[np.int64]:
    return 1 + np.random.default_rng(1).geometric(1 / 60, count)


@given(records)
def test_packing_loses_nothing(given_records: list[Record]) -> None:
    batch, places = pack([np.array(ids, np.uint16) for ids, _ in given_records], [label for _, label in given_records])
    found = unpacked(batch)
    assert [found[k, b] for k, b in places.tolist()] == given_records
    assert len(found) == len(given_records)
    T, B = batch.inputs.shape
    K = len(batch.targets)
    assert T % MULTIPLE == 0
    assert max(k for k, _ in found) == K - 1
    assert batch.targets.shape == (K, B)
    types = [batch.inputs.dtype, batch.targets.dtype]
    assert types == [np.int32, np.int32]
    for array in (batch.inputs, batch.reset, batch.ends, batch.weights):
        assert array is not None
        assert array.flags.c_contiguous
    assert batch.weights is not None
    assert batch.weights.dtype == np.float64
    again, same = pack([np.array(ids) for ids, _ in given_records], np.array([label for _, label in given_records]))
    assert np.array_equal(again.inputs, batch.inputs)
    assert np.array_equal(same, places)


def test_a_small_batch() -> None:
    batch, places = pack([np.array([7, 8, 9]), np.arange(20, 36), np.array([5])], [2, 1, 0])
    assert batch.inputs.T.tolist() == [[*range(20, 36)], [7, 8, 9, 5, *[EOS] * 12]]
    assert places.tolist() == [[0, 1], [0, 0], [1, 1]]
    assert batch.targets.tolist() == [[1, 2], [0, 0]]
    assert batch.weights is not None
    assert batch.weights.tolist() == [[1, 1], [0, 1]]


def test_without_labels_all_weights_are_0() -> None:
    batch, _ = pack([np.array([3])], None)
    assert batch.weights is not None
    assert batch.weights.tolist() == [[0]]


@pytest.mark.parametrize("sequences", [[], [np.array([1]), np.array([], np.int32)]])
def test_nothing_to_pack(sequences: list[Any]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        pack(sequences, None)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=50), st.integers(1, 20), st.integers(0, 5))
def test_an_epoch_has_every_record_once(lengths: list[int], batch_size: int, seed: int) -> None:
    part = part_of(np.array(lengths))
    batches = PackedBatches(part, batch_size, seed)
    assert batches.batch_size == min(batch_size, len(part))
    for epoch in (0, 3):
        steps = [epoch * batches.steps_per_epoch + step for step in range(batches.steps_per_epoch)]
        numbers = [batches.records(step) for step in steps]
        assert sorted(np.concatenate(numbers).tolist()) == list(range(len(part)))
        for step, chosen in zip(steps, numbers, strict=True):
            assert len(chosen) == batches.batch_size or step == steps[-1]
            assert sorted(unpacked(batches.batch(step)).values()) == sorted(record(part, n) for n in chosen.tolist())


def test_the_order_is_a_function_of_seed_and_step() -> None:
    part = part_of(ragged())
    batches = PackedBatches(part, 32, 7)
    first = [batches.batch(step).inputs for step in range(70)]
    other = PackedBatches(part, 32, 7)
    for step in (69, 3, 40, 0):
        assert np.array_equal(other.batch(step).inputs, first[step])
    assert batches.records(0).tolist() != PackedBatches(part, 32, 8).records(0).tolist()
    assert batches.records(0).tolist() != batches.records(batches.steps_per_epoch).tolist()
    assert batches.seq_length == -(-len(part.ids) // len(part))
    assert batches.note is None


def test_few_records_make_a_smaller_batch() -> None:
    batches = PackedBatches(part_of(np.array([3, 4])), 32, 0)
    assert (batches.batch_size, batches.steps_per_epoch) == (2, 1)
    assert batches.note is not None
    assert "2 records are too few for batches of 32" in batches.note
    with pytest.raises(CharrnnError, match="no records"):
        PackedBatches(part_of(np.zeros(0, np.int64)), 32, 0)


@pytest.mark.parametrize(("batch_size", "share"), [(32, 0.15), (128, 0.08), (1000, 0.05)])
@pytest.mark.parametrize("kind", ["geometric", "uniform", "equal"])
def test_little_is_padding(kind: str, batch_size: int, share: float) -> None:
    lengths = {"geometric": ragged(), "uniform": np.arange(1, 1001) % 500 + 1, "equal": np.full(1000, 80)}[kind]
    batches = PackedBatches(part_of(lengths), batch_size, 0)
    positions = sum(batches.batch(step).inputs.size for step in range(batches.steps_per_epoch))
    assert lengths.sum() / positions > 1 - share


def test_evaluation_has_every_record_once_in_batches_of_similar_length() -> None:
    part = part_of(np.append(ragged(), 5000))
    seen, padded = [], 0
    for numbers, batch, places in evaluation_batches(part, positions=2000):
        found = unpacked(batch)
        assert [found[k, b] for k, b in places.tolist()] == [record(part, number) for number in numbers.tolist()]
        assert batch.inputs.size < 3000 or len(numbers) == 1
        seen += numbers.tolist()
        padded += batch.inputs.size
    assert sorted(seen) == list(range(len(part)))
    assert padded < 1.2 * len(part.ids)
    some = np.array([7, 3, 11])
    assert sorted(np.concatenate([found for found, _, _ in evaluation_batches(part, some)]).tolist()) == [3, 7, 11]


def test_unknown_labels_have_no_weight() -> None:
    part = part_of(np.array([3, 4]))
    part.labels[1] = -1
    batch, places = pack_records(part, np.arange(2))
    assert batch.weights is not None
    assert [batch.weights[k, b] for k, b in places] == [1, 0]

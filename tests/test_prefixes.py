"""Sequences that share prefixes: the same bits as each by itself, for fewer steps."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from charrnn.models import prefix_tree as prefixes
from tests.networks import OPTIONS, PRECISIONS, names
from tests.toy_model import ToyModel

Sequences = list[list[int]]
END = 1


def score(model: Any, sequences: Sequences) -> list[list[float]]:
    """The log-probabilities of each sequence, which ends with END as all do."""
    lengths = np.array([len(sequence) for sequence in sequences], np.intp)
    units = np.array([END, *(unit for sequence in sequences for unit in sequence)], np.int32)
    values = prefixes.log_probs(model, units, lengths)
    return [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])]


def score_alone(model: LanguageModel, sequence: list[int]) -> list[float]:
    """The same in one call of the network."""
    ids = np.array([END, *sequence], np.int32)[:, np.newaxis]
    values: list[float] = model.log_probs(ids[:-1], ids[1:], model.zero_state(1))[:, 0].tolist()
    return values


def some_sequences() -> Sequences:
    """Short ones with common beginnings, one that is the beginning of another, long ones that part late, empty ones."""
    draw = random.Random(0)
    short = [[draw.choice((2, 3, 4)) for _ in range(draw.randrange(9))] + [END] for _ in range(60)]
    long = [draw.randrange(2, 11) for _ in range(700)]
    return [*short, [*long, END], [*long[:600], 5, 6, END], [*long[:600], 5, END], [END], []]


@pytest.mark.parametrize("bfloat16", PRECISIONS)
@pytest.mark.parametrize("name", names([*OPTIONS, "one-hot"], generated=True))
def test_sharing_changes_no_bit(name: str, bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, options = OPTIONS.get(name, (("lstm",), {}))
    config = ModelConfig(11, cell * 2, 9, 0 if name == "one-hot" else 4, **options)
    sequences = some_sequences()
    expected: list[list[float]] = []
    for threads in (1, 2):
        model = LanguageModel(config, threads=threads, bfloat16=bfloat16)
        model.initialise(4)
        expected = expected or [score_alone(model, sequence) for sequence in sequences]
        assert len({value for values in expected for value in values}) > 700
        for shared in (0, 8, 10**9):  # to the very end, as it is, never
            monkeypatch.setattr(prefixes, "_SHARED", shared)
            assert score(model, sequences) == expected
            order = sorted(range(len(sequences)), key=sequences.__getitem__)
            found = score(model, [sequences[place] for place in order])
            assert found == [expected[place] for place in order]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 5), max_size=12).map(lambda units: [*units, END]), min_size=1, max_size=40),
    st.booleans(),
    st.integers(0, 9),
    st.tuples(st.integers(1, 99), st.integers(1, 5), st.integers(1, 20), st.integers(1, 9)),
)
def test_limits_change_no_bit(sequences: Sequences, ordered: bool, shared: int, limits: tuple[int, ...]) -> None:
    model = ToyModel(6)
    if ordered:
        sequences.sort()
    alone = [score_alone(cast("LanguageModel", model), sequence) for sequence in sequences]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefixes, "_SHARED", shared)
        for name, limit in zip(("_STATE", "_WINDOW", "_POSITIONS", "_ROWS"), limits, strict=True):
            patch.setattr(prefixes, name, limit)
        assert score(model, sequences) == alone


def rows(model: ToyModel) -> int:
    """How many steps of one row were computed."""
    return sum(steps * batch for steps, batch in model.calls)


def test_each_prefix_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = sorted(sequence for sequence in some_sequences() if sequence)
    distinct = {tuple(sequence[:length]) for sequence in sequences for length in range(len(sequence))}
    monkeypatch.setattr(prefixes, "_SHARED", 0)
    model = ToyModel(11)
    score(model, sequences)
    assert rows(model) == len(distinct) < sum(map(len, sequences)) / 2


def test_what_shares_little_goes_on_in_windows() -> None:
    draw = random.Random(0)
    sequences = sorted([draw.randrange(2, 11) for _ in range(300)] + [END] for _ in range(100))
    model = ToyModel(11)
    score(model, sequences)
    assert len(model.calls) < 40
    assert rows(model) < sum(map(len, sequences))


def test_the_state_held_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "_STATE", 100)  # 20 rows of 5
    model = ToyModel(11)
    sequences = sorted([first, second, END] for first in range(2, 11) for second in range(2, 11))
    score(model, sequences)
    assert max(batch for _, batch in model.calls) <= 20


def test_nothing_to_score() -> None:
    empty: NDArray[np.float64] = prefixes.log_probs(
        cast("LanguageModel", ToyModel(11)), np.array([END], np.int32), np.array([0, 0], np.intp)
    )
    assert empty.shape == (0,)

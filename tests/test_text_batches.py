"""Windows go on where the last one ended, cover the text, and depend on the step alone."""

from __future__ import annotations

import itertools
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.text import EOS, Batches, batches
from charrnn.text.batches import line_starts
from charrnn.text.mapped import folder_of


def numbered(length: int) -> NDArray[np.uint16]:
    """Ids that are all different, and no end of line."""
    return np.arange(2, length + 2, dtype=np.uint16)


def random_lines(count: int, seed: int = 0) -> NDArray[np.uint16]:
    """Lines of 0 to 6 ids; the first id of a line that has some is its number plus 10."""
    rng = np.random.default_rng(seed)
    lines = [[number + 10, *rng.integers(2, 10, rng.integers(0, 6)), EOS] for number in range(count)]
    lines[::7] = [[EOS] for _ in lines[::7]]
    return np.array([number for line in lines for number in line], np.uint16)


def as_lines(ids: NDArray[np.integer]) -> list[tuple[int, ...]]:
    starts = line_starts(ids)
    return [tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(starts)]


@given(
    length=st.integers(1, 400),
    batch_size=st.integers(1, 9),
    seq_length=st.integers(1, 30),
    seed=st.integers(0, 2**70),
    lines=st.booleans(),
)
@settings(deadline=None)
def test_an_epoch(length: int, batch_size: int, seq_length: int, seed: int, lines: bool) -> None:
    ids = numbered(length)
    data = Batches(ids, batch_size, seq_length, lines=lines, seed=seed)
    steps, T, B = data.steps_per_epoch, data.seq_length, data.batch_size
    assert steps >= 1
    assert seq_length >= T
    assert batch_size >= B
    assert (data.note is None) == ((batch_size, seq_length) == (B, T))
    for epoch in (0, 1, 5):
        windows = [data.window(epoch * steps + i) for i in range(steps)]
        assert [window.fresh for window in windows] == [True] + [False] * (steps - 1)
        for window in windows:
            assert window.inputs.shape == window.targets.shape == (T, B)
            assert window.inputs.dtype == window.targets.dtype == np.int32
            np.testing.assert_array_equal(window.inputs[1:], window.targets[:-1])
        for before, after in itertools.pairwise(windows):
            np.testing.assert_array_equal(after.inputs[0], before.targets[-1])
        targets = np.concatenate([window.targets for window in windows]).T.ravel()
        first = int(targets[0])
        # In order, each token once, and fewer than one window's worth left out.
        np.testing.assert_array_equal(targets, np.arange(first, first + len(targets)))
        assert length - len(targets) < B * T
        inputs = np.concatenate([window.inputs for window in windows]).T.ravel()
        expected = targets - 1
        expected[0] = EOS if first == 2 else first - 1
        np.testing.assert_array_equal(inputs, expected)


def test_a_window_depends_on_the_step_alone() -> None:
    for lines in (False, True):
        ids = random_lines(300)
        data = Batches(ids, 4, 5, lines=lines, seed=3)
        order = np.random.default_rng(0).permutation(4 * data.steps_per_epoch)
        for step in order.tolist():
            again = Batches(ids, 4, 5, lines=lines, seed=3).window(step)
            window = data.window(step)
            np.testing.assert_array_equal(window.inputs, again.inputs)
            np.testing.assert_array_equal(window.targets, again.targets)
            assert window.fresh == again.fresh


def test_epochs_and_seeds_leave_out_different_ends() -> None:
    ids = numbered(1099)
    starts = {
        (seed, epoch): int(data.window(epoch * data.steps_per_epoch).targets[0, 0])
        for seed in (0, 1)
        for data in [Batches(ids, 10, 10, lines=False, seed=seed)]
        for epoch in range(20)
    }
    assert len(set(starts.values())) > 15
    assert [starts[0, e] for e in range(20)] != [starts[1, e] for e in range(20)]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("chunk", [1 << 20, 5, 1])
def test_lines_are_shuffled_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk: int, large: bool) -> None:
    monkeypatch.setattr(batches, "CHUNK", chunk)
    source = random_lines(100)
    if large:  # as an encoded corpus is: mapped from a file, the copy goes beside it
        monkeypatch.setattr(batches, "IN_MEMORY_BYTES", 10)
        monkeypatch.setattr(batches, "PAGES_BYTES", 10)
        (tmp_path / "ids").write_bytes(source.tobytes())
        ids = np.asarray(np.memmap(tmp_path / "ids", source.dtype, mode="r"))
    else:
        ids = source
    data = Batches(ids, 1, 1, lines=True, seed=1)
    epochs = []
    for epoch in range(3):
        first = epoch * data.steps_per_epoch
        assert data.window(first).inputs[0, 0] == EOS
        targets = [int(data.window(first + i).targets[0, 0]) for i in range(len(ids))]
        epochs.append(targets)
        assert sorted(as_lines(np.array(targets))) == sorted(as_lines(source))
        assert targets != source.tolist()
    assert epochs[0] != epochs[1] != epochs[2]
    if large:
        assert [path.name for path in tmp_path.iterdir()] == ["ids"]
        assert folder_of(ids) == tmp_path


def test_a_long_line_takes_no_more_memory_to_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CHUNK", 1000)
    short, long = np.tile(np.array([2, EOS], np.uint8), 200_000), np.full(400_000, 3, np.uint8)
    ids = np.concatenate([short, long, short])
    shuffle = batches.LineShuffle(ids, 0)
    copy, order = np.empty_like(ids), np.arange(len(line_starts(ids)) - 1)
    tracemalloc.start()
    try:
        shuffle._fill(copy, order)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()
    assert copy.tobytes() == ids.tobytes()


def test_no_room_for_shuffled_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batches, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(CharrnnError, match=r"cannot write the shuffled lines .*No space left on device"):
        Batches(random_lines(50), 1, 1, lines=True, seed=0).window(0)


def test_the_order_of_lines_depends_on_the_seed() -> None:
    ids = random_lines(50)
    first, second = (Batches(ids, 1, len(ids), lines=True, seed=seed).window(0).targets for seed in (0, 1))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, (1, 1)), (2, (1, 2)), (49, (1, 49)), (50, (1, 50)), (120, (2, 50)), (2499, (49, 50)), (2500, (50, 50))],
)
def test_a_small_text_shrinks_the_batch_first(length: int, expected: tuple[int, int]) -> None:
    data = Batches(numbered(length), 50, 50, lines=False, seed=0)
    assert (data.batch_size, data.seq_length) == expected
    if expected == (50, 50):
        assert data.note is None
    else:
        assert data.note is not None
        assert f"batch size {expected[0]}" in data.note
        assert f"sequence length {expected[1]}" in data.note


@pytest.mark.parametrize("lines", [False, True])
def test_two_tokens_are_enough(lines: bool) -> None:
    data = Batches(np.array([7, EOS], np.uint8), 50, 50, lines=lines, seed=0)
    window = data.window(12)
    assert window.inputs.tolist() == [[EOS], [7]]
    assert window.targets.tolist() == [[7], [EOS]]
    assert window.fresh


def test_arrays_in_memory_are_in_no_folder() -> None:
    assert folder_of(numbered(3)) is None
    with tempfile.TemporaryFile() as file:
        assert folder_of(np.memmap(file, np.uint8, mode="w+", shape=3)) is None


def test_no_tokens_are_an_error() -> None:
    with pytest.raises(CharrnnError, match="no tokens"):
        Batches(np.zeros(0, np.uint8), 1, 1, lines=False, seed=0)

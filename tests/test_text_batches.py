"""Windows go on where the last one ended, cover the text, and depend on the step alone."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.text import EOS, Batches, batches, shuffle
from charrnn.text.batches import IdBound, bound_of, random_resets
from charrnn.text.shuffle import LineShuffle, run_starts


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
    bounds = [0, *(np.flatnonzero(ids == EOS) + 1).tolist(), len(ids)]
    return [tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(bounds) if a < b]


def mapped(path: Path, ids: NDArray[np.integer]) -> NDArray[np.integer]:
    """The same ids as an encoded corpus has them."""
    path.write_bytes(ids.tobytes())
    return np.asarray(np.memmap(path, ids.dtype, mode="r"))


def shrink(monkeypatch: pytest.MonkeyPatch, run: int, group: int) -> None:
    """Treat a text as if it were large: runs of `run` tokens, groups of `group`."""
    monkeypatch.setattr(shuffle, "RUN", run)
    monkeypatch.setattr(shuffle, "GROUP", group)
    monkeypatch.setattr(shuffle, "CHUNK", 1 << 9)


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
        windows = [data.batch(epoch * steps + i) for i in range(steps)]
        for place, window in enumerate(windows):
            fresh = np.ones(B, np.bool_) if place == 0 else random_resets(seed, epoch * steps + place, B)
            np.testing.assert_array_equal(window.fresh, fresh)
            if lines:
                np.testing.assert_array_equal(window.reset, window.inputs == EOS)
            else:
                assert window.reset is None
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
            again = Batches(ids, 4, 5, lines=lines, seed=3).batch(step)
            window = data.batch(step)
            np.testing.assert_array_equal(window.inputs, again.inputs)
            np.testing.assert_array_equal(window.targets, again.targets)
            np.testing.assert_array_equal(window.fresh, again.fresh)


def test_epochs_and_seeds_leave_out_different_ends() -> None:
    ids = numbered(1099)
    starts = {
        (seed, epoch): int(data.batch(epoch * data.steps_per_epoch).targets[0, 0])
        for seed in (0, 1)
        for data in [Batches(ids, 10, 10, lines=False, seed=seed)]
        for epoch in range(20)
    }
    assert len(set(starts.values())) > 15
    assert [starts[0, e] for e in range(20)] != [starts[1, e] for e in range(20)]


SIZES = [(1 << 16, 1 << 21), (40, 150), (5, 5), (1, 1)]  # of runs and groups


@pytest.mark.parametrize(("run", "group"), SIZES)
@pytest.mark.parametrize("ended", [False, True])
def test_lines_are_shuffled_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: int, group: int, ended: bool
) -> None:
    shrink(monkeypatch, run, group)
    monkeypatch.setattr(batches, "PAGES_BYTES", 10)
    source = random_lines(100)
    ids = mapped(tmp_path / "ids", source if ended else source[:-1])
    data = Batches(ids, 1, 1, lines=True, seed=1)
    epochs = []
    for epoch in range(3):
        first = epoch * data.steps_per_epoch
        assert data.batch(first).inputs[0, 0] == EOS
        targets = [int(data.batch(first + i).targets[0, 0]) for i in range(len(ids))]
        epochs.append(targets)
        if ended:
            assert sorted(as_lines(np.array(targets))) == sorted(as_lines(source))
        else:  # the last line goes on in the one that now follows it
            assert sorted(targets) == sorted(ids.tolist())
        assert targets != ids.tolist()
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(("run", "group"), SIZES)
def test_all_streams_read_one_shuffled_text(monkeypatch: pytest.MonkeyPatch, run: int, group: int) -> None:
    """However many there are, in windows of any length: an epoch's windows are the text that one long one has."""
    shrink(monkeypatch, run, group)
    ids = random_lines(200)
    for streams, length in ((1, 40), (4, 5), (7, 31)):
        monkeypatch.setattr(shuffle, "GROUPS_BYTES", group * streams * ids.itemsize)  # the same groups for all
        data = Batches(ids, streams, length, lines=True, seed=3)
        windows = [data.batch(step) for step in range(data.steps_per_epoch)]
        targets = np.concatenate([window.targets for window in windows]).T.ravel()
        inputs = np.concatenate([window.inputs for window in windows]).T.ravel()
        whole = LineShuffle(ids, 3, streams).read(0, np.zeros(1, np.int64), len(ids))[:, 0]
        np.testing.assert_array_equal(targets, whole[: len(targets)])
        np.testing.assert_array_equal(inputs, [EOS, *targets[:-1]])


def test_all_orders_of_few_lines_are_equally_likely() -> None:
    ids = np.array([2, 3, EOS, 4, EOS, EOS], np.uint8)
    whole = np.zeros(1, np.int64)
    orders = Counter(
        tuple(as_lines(LineShuffle(ids, seed, 1).read(epoch, whole, len(ids))[:, 0]))
        for seed in range(30)
        for epoch in range(40)
    )
    assert len(orders) == 6
    assert min(orders.values()) > 150  # of 200; the standard deviation is 13


def test_lines_from_all_over_a_large_text_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, 20, 1000)
    ids = np.repeat(np.arange(2, 20_002, dtype=np.uint16), 2)
    ids[1::2] = EOS
    order = LineShuffle(ids, 0, 1).read(0, np.zeros(1, np.int64), len(ids))[::2, 0].astype(float)
    assert sorted(order) == list(range(2, 20_002))
    for part in order.reshape(20, 1000):  # the place of a line says little about where it was
        assert abs(part.mean() - 10_000) < 2700
        assert part.std() > 4000
        assert abs(np.corrcoef(part[1:], part[:-1])[0, 1]) < 0.2


def test_runs_are_whole_lines_and_long_lines_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "CHUNK", 1 << 9)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, 500)
    lengths[[0, 7, 8, 100, 499]] = 900
    ids = np.full(lengths.sum(), 2, np.uint8)
    ends = np.cumsum(lengths)
    ids[ends - 1] = EOS
    starts = run_starts(ids, 50)
    assert (starts[0], starts[-1]) == (0, len(ids))
    assert set(starts[1:].tolist()) <= set(ends.tolist())
    runs = np.diff(starts)
    assert set(runs[runs > 100].tolist()) == {900}
    assert (runs >= 50).sum() > len(runs) - 6
    assert run_starts(ids[:-1], 50).tolist() == [*starts[:-1].tolist(), len(ids) - 1]
    assert run_starts(np.full(3, 5, np.uint8), 1).tolist() == [0, 3]


def peak_memory(ids: NDArray[np.integer]) -> int:
    """The most bytes that are in use while an epoch of `ids` is read."""
    tracemalloc.start()
    try:
        data = Batches(ids, 2, 100, lines=True, seed=0)
        for step in range(0, data.steps_per_epoch, 7):
            data.batch(step)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shrink(monkeypatch, 1000, 5000)
    monkeypatch.setattr(shuffle, "MOST_RUNS", 400)
    ids = mapped(tmp_path / "ids", np.tile(np.array([2, EOS], np.uint8), 500_000))
    peak_memory(ids[:10_000])  # compiles
    assert peak_memory(ids) < 300_000


def test_a_long_line_takes_no_more_memory_to_shuffle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shrink(monkeypatch, 1000, 5000)
    short, long = np.tile(np.array([2, EOS], np.uint8), 50_000), np.full(400_000, 3, np.uint8)
    ids = mapped(tmp_path / "ids", np.concatenate([short, long, short]))
    peak_memory(ids[:10_000])
    assert peak_memory(ids) < 300_000
    order = LineShuffle(ids, 0, 1).read(0, np.zeros(1, np.int64), len(ids))[:, 0]
    assert Counter(as_lines(order)) == Counter(as_lines(ids))


def test_the_order_of_lines_depends_on_the_seed() -> None:
    ids = random_lines(50)
    first, second = (Batches(ids, 1, len(ids), lines=True, seed=seed).batch(0).targets for seed in (0, 1))
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
    window = data.batch(12)
    assert window.inputs.tolist() == [[EOS], [7]]
    assert window.targets.tolist() == [[7], [EOS]]
    assert window.fresh is not None
    assert window.fresh.all()


def test_no_tokens_are_an_error() -> None:
    with pytest.raises(CharrnnError, match="no tokens"):
        Batches(np.zeros(0, np.uint8), 1, 1, lines=False, seed=0)


@pytest.mark.parametrize("lines", [False, True])
def test_an_id_that_no_unit_has_is_found_where_it_is_read(lines: bool) -> None:
    ids = random_lines(40)
    bound = IdBound(int(ids.max()) + 1, Path("cache/entry"))
    whole = Batches(ids, 2, 8, lines=lines, seed=0, bound=bound)
    for step in range(whole.steps_per_epoch):
        whole.batch(step)
    damaged = ids.copy()
    damaged[len(ids) // 2] = 60_000
    data = Batches(damaged, 2, 8, lines=lines, seed=0, bound=bound)

    def read_all() -> None:
        for step in range(2 * data.steps_per_epoch):
            data.batch(step)

    with pytest.raises(CharrnnError, match=r"corpus in cache.entry is damaged: it has the id 60000, .* remove that"):
        read_all()


def test_ids_of_a_type_that_holds_none_too_many_are_not_looked_at() -> None:
    assert bound_of(np.uint8, 256, Path()) is None
    assert bound_of("uint16", 65_536, Path()) is None
    assert bound_of(np.uint8, 255, Path("x")) == IdBound(255, Path("x"))

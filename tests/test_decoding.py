"""Beam search, greedy search and sampling with translators, against searches in Python over `log_probs`."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from charrnn.errors import CharrnnError, UsageError
from charrnn.models import decoding
from charrnn.models.decoding import Hypothesis, decode, sample
from charrnn.models.translator import Translator
from charrnn.runtime.arrays import Array, Ids
from tests import translators
from tests.translators import V_SOURCE, V, pack

END = 1
CHOICES = range(1, V)  # all units but that for unknown ones


def make(**options: Any) -> Translator:
    """A translator in float32, whose outputs are a few units long and differ."""
    network = translators.make(**{"cells": ("lstm",), "hidden_size": 12, "dtype": np.float32, "noise": 1.3, **options})
    network.views["output.weight"][:] *= 3
    network.views["output.bias"][:] = [0, -5, 0, 0, 0, 0]
    network.invalidate()
    return network


def some_sources(count: int = 20, longest: int = 9, seed: int = 0) -> list[Ids]:
    """Random sources."""
    rng = np.random.default_rng(seed)
    return [rng.integers(2, V_SOURCE, length).astype(np.int32) for length in rng.integers(1, longest + 1, count)]


def log_probs(network: Translator, source: Ids, texts: list[tuple[int, ...]]) -> Array:
    """log P of each of the texts (units, which may be any) given the source."""
    lengths = {len(text) for text in texts}
    values = dict.fromkeys(texts, 0.0)
    for length in lengths - {0}:
        same = [text for text in texts if len(text) == length]
        batch = pack([[(source, np.array(text, np.int32))] for text in same], length)
        values.update(zip(same, network.log_probs(batch).sum(axis=0).tolist(), strict=True))
    return np.array([values[text] for text in texts])


def search(network: Translator, source: Ids, beam: int, best: int, limit: int) -> list[tuple[tuple[int, ...], float]]:
    """The search as `kernels/decode.py` describes it: the ended texts, with their ends."""
    opened: list[tuple[int, ...]] = [()]
    done: list[tuple[float, tuple[int, ...]]] = []
    for step in range(limit + 1):
        texts = [(*text, unit) for text in opened for unit in CHOICES]
        values = log_probs(network, source, texts)
        opened = []
        for rank, n in enumerate(np.argsort(-values, kind="stable")):
            if len(done) >= best and values[n] <= done[best - 1][0]:
                break
            if texts[n][-1] == END:
                if rank < beam:
                    done = sorted([*done, (float(values[n]), texts[n])], key=lambda item: -item[0])
            elif len(opened) < beam and step < limit:
                opened.append(texts[n])
        if not opened:
            break
    return [(text, value) for value, text in done[:best]]


def check_against_python(network: Translator, sources: list[Ids], beam: int, best: int, limit: int) -> int:
    """The texts, and log P of each to 1e-4. Returns how many sources have several that ended."""
    found = decode(network, sources, beam=beam, best=best, limits=np.full(len(sources), limit))
    several = 0
    for source, hypotheses in zip(sources, found, strict=True):
        expected = search(network, source, beam, best, limit)
        ended = [one for one in hypotheses if one.ended]
        assert [(*one.ids.tolist(), END) for one in ended] == [text for text, _ in expected]
        assert [one.log_prob for one in ended] == pytest.approx([value for _, value in expected], abs=1e-4)
        for one in hypotheses[len(ended) :]:
            assert len(one.ids) == limit
            assert one.log_prob == pytest.approx(log_probs(network, source, [tuple(one.ids.tolist())])[0], abs=1e-4)
        several += len(ended) > 1
    return several


CELLS = [("lstm",), *(pytest.param(cells, marks=pytest.mark.slow) for cells in (("gru",), ("rnn",), ("lstm",) * 2))]


@pytest.mark.parametrize("cells", CELLS)
def test_it_finds_what_a_search_in_python_finds(cells: tuple[str, ...]) -> None:
    several = 0
    for attention in ("dot", "none"):
        network = make(cells=cells, attention=attention)
        for beam, best in ((1, 1), (2, 1), (3, 3), (5, 2)):
            several += check_against_python(network, some_sources(8), beam, best, 6)
    assert several > 0


OTHER_FORMS: tuple[dict[str, Any], ...] = (
    {"peepholes": True},
    {"rms_norm": True},
    {"cells": ("rnn",), "activation": "relu"},
    {"cells": ("gru",), "reset_gate": "before"},
    {"cells": ("gru",), "reset_gate": "none"},
)


@pytest.mark.slow
@pytest.mark.parametrize("options", OTHER_FORMS, ids=str)
def test_it_finds_the_same_with_other_forms_of_cells(options: dict[str, Any]) -> None:
    assert check_against_python(make(**options), some_sources(8), 3, 3, 6) > 0


def test_a_wide_beam_finds_the_best_of_all() -> None:
    network, limit = make(), 3
    texts = [(*units, END) for length in range(limit + 1) for units in product(CHOICES[1:], repeat=length)]
    for source in some_sources(4):
        values = log_probs(network, source, texts)
        best = np.argsort(-values)[:5]
        [found] = decode(network, [source], beam=70, best=5, limits=np.array([limit]))
        assert [(*one.ids.tolist(), END) for one in found] == [texts[n] for n in best]
        assert [one.log_prob for one in found] == pytest.approx(values[best].tolist(), abs=1e-4)


def same(some: list[list[Hypothesis]], others: list[list[Hypothesis]]) -> bool:
    """Whether texts and log P are the same bits."""
    return [[(*one.ids.tolist(), one.log_prob) for one in found] for found in some] == [
        [(*one.ids.tolist(), one.log_prob) for one in found] for found in others
    ]


@pytest.mark.parametrize(
    ("cell", "bfloat16"),
    [("lstm", False), *(pytest.param("gru", bfloat16, marks=pytest.mark.slow) for bfloat16 in (False, True))],
)
def test_neighbours_threads_and_chunks_change_nothing(
    cell: str, bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"cells": (cell,), "bfloat16": bfloat16}
    sources = some_sources(60)
    limits = np.array([2 * len(source) for source in sources])
    network = make(**options, threads=1)
    found = decode(network, sources, beam=3, best=2, limits=limits)
    assert len({tuple(one[0].ids.tolist()) for one in found}) > 10
    assert any(not one[0].ended for one in found) or any(not one[1].ended for one in found)
    for n in (0, 7, 33):
        assert same(decode(network, sources[n : n + 1], beam=3, best=2, limits=limits[n : n + 1]), found[n : n + 1])
    assert same(decode(make(**options, threads=3), sources, beam=3, best=2, limits=limits), found)
    monkeypatch.setattr(decoding, "ROWS", 7)
    monkeypatch.setattr(decoding, "POSITIONS", 40)
    assert same(decode(network, sources, beam=3, best=2, limits=limits), found)
    for source, hypotheses in zip(sources[:10], found, strict=False):
        texts = [(*one.ids.tolist(), *[END] * one.ended) for one in hypotheses]
        expected = log_probs(network, source, texts).tolist()
        # In bfloat16, scoring rounds a context before the layer over it, and decoding meets none.
        close = pytest.approx(expected, rel=0.02) if bfloat16 else pytest.approx(expected, abs=1e-4)
        assert [one.log_prob for one in hypotheses] == close
    # Without a table the first layer multiplies embeddings: other sums of the same numbers.
    monkeypatch.setattr(decoding, "MOST_TABLE", 0)
    embedded = decode(make(**options), sources, beam=3, best=2, limits=limits)
    for some, others in zip(embedded, found, strict=True):
        assert [one.ids.tolist() for one in some] == [one.ids.tolist() for one in others]
        assert [one.log_prob for one in some] == pytest.approx([one.log_prob for one in others], abs=1e-4)


def test_weights_that_change_are_used() -> None:
    network, other, sources = make(), make(noise=1.0), some_sources()
    limits = np.full(len(sources), 6)
    first = decode(network, sources, limits=limits)
    network.load(other.tensors())
    assert same(decode(network, sources, limits=limits), decode(other, sources, limits=limits))
    assert not same(decode(network, sources, limits=limits), first)


def test_samples_have_the_probabilities_of_the_network() -> None:
    network, source, count = make(), some_sources(1)[0], 4000
    drawn = sample(
        network, [source] * count, temperature=1.0, top_k=0, top_p=1.0, keys=range(count), limits=np.full(count, 1)
    )  # fmt: skip
    values = np.exp(log_probs(network, source, [(unit,) for unit in CHOICES]))
    values /= values.sum()  # the unit for unknown ones is not drawn
    first = np.array([int(one.ids[0]) if one.ids.size else END for one in drawn])
    for unit, value in zip(CHOICES, values.tolist(), strict=True):
        assert np.mean(first == unit) == pytest.approx(value, abs=0.03)


def test_samples_depend_on_their_keys_alone() -> None:
    network, sources = make(threads=2), some_sources()
    limits, keys = np.full(len(sources), 9), list(range(len(sources)))
    options: dict[str, Any] = {"temperature": 1.3, "top_k": 4, "top_p": 0.95}
    drawn = [one.ids.tolist() for one in sample(network, sources, keys=keys, limits=limits, **options)]
    alone = sample(network, sources[3:5], keys=keys[3:5], limits=limits[3:5], **options)
    assert [one.ids.tolist() for one in alone] == drawn[3:5]
    others = sample(network, sources, keys=[key + 100 for key in keys], limits=limits, **options)
    assert [one.ids.tolist() for one in others] != drawn
    coldest = sample(network, sources, keys=keys, limits=limits, temperature=0)
    greedy = decode(network, sources, limits=limits)
    assert [one.ids.tolist() for one in coldest] == [one[0].ids.tolist() for one in greedy]


def test_attention_is_that_of_each_unit() -> None:
    network, sources = make(), some_sources(12)
    limits = np.array([3] * 6 + [9] * 6)
    found = decode(network, sources, beam=3, best=3, limits=limits, attention=True)
    plain = decode(network, sources, beam=3, best=3, limits=limits)
    assert same(found, plain)
    assert plain[0][0].attention is None
    for source, hypotheses in zip(sources, found, strict=True):
        for one in hypotheses:
            assert one.attention is not None
            assert one.attention.shape == (len(one.ids) + one.ended, len(source))
            np.testing.assert_allclose(one.attention.sum(axis=1), 1, rtol=1e-5)
    alone = decode(network, sources[4:5], beam=3, best=3, limits=limits[4:5], attention=True)[0]
    for one, other in zip(alone, found[4], strict=True):
        assert one.attention is not None
        assert other.attention is not None
        np.testing.assert_array_equal(one.attention, other.attention)
    without = make(attention="none")
    assert decode(without, sources, limits=limits, attention=True)[0][0].attention is None


def test_limits_and_unknown_units() -> None:
    network, sources = make(), some_sources(6)
    for [one] in decode(network, sources, limits=np.zeros(6, np.int64)):
        assert one.ids.size == 0
        assert one.log_prob <= 0
    network.views["output.bias"][:] = [99, -99, 0, 0, 0, 0]  # the unit for unknown ones, the end, others
    network.invalidate()
    limits = np.full(6, 4)
    for [one] in decode(network, sources, limits=limits):
        assert not one.ended
        assert one.ids.size == 4
        assert 0 not in one.ids
    assert all(0 in one.ids for [one] in decode(network, sources, limits=limits, unknown=True))


def test_what_cannot_be_written_is_refused() -> None:
    network, sources = make(), some_sources(3)
    limits = np.full(3, 4)
    assert decode(network, [], limits=np.empty(0, np.int64)) == []
    for beam, best in ((0, 1), (2, 3), (2, 0)):
        with pytest.raises(UsageError, match="`best` at most `beam`"):
            decode(network, sources, beam=beam, best=best, limits=limits)
    with pytest.raises(CharrnnError, match="a source is empty"):
        decode(network, [*sources[:2], np.empty(0, np.int32)], limits=limits)
    with pytest.raises(CharrnnError, match="has 7 units"):
        decode(network, [*sources[:2], np.array([7], np.int32)], limits=limits)
    with pytest.raises(CharrnnError, match="float32"):
        decode(translators.make(), sources, limits=limits)
    network.parameters[:] = np.nan
    network.invalidate()
    with pytest.raises(CharrnnError, match="not finite"):
        decode(network, sources, limits=limits)


def test_nothing_is_drawn_from_numbers_that_are_not_finite() -> None:
    network, sources = make(), some_sources(3)
    network.parameters[:] = np.nan
    network.invalidate()
    for temperature in (0.0, 1.0):
        with pytest.raises(CharrnnError, match="not finite"):
            sample(network, sources, temperature=temperature, keys=range(3), limits=np.full(3, 4))


def test_long_limits_are_searched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network, sources = make(threads=1), some_sources(20)
    limits = np.array([4, 50] * 10)
    found = decode(network, sources, beam=3, limits=limits)
    monkeypatch.setattr(decoding, "POSITIONS", 100)
    monkeypatch.setattr(decoding, "HISTORY", 2)
    sizes = [len(some) for some, _ in decoding.chunks_of(network, sources, limits, 3)]
    assert sum(sizes) == 20
    assert sizes[-1] == 1
    assert same(decode(network, sources, beam=3, limits=limits), found)

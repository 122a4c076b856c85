"""`score --adapt` without a memory: dynamic evaluation, and the cache of hidden states."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charrnn.config import ModelConfig, TextConfig
from charrnn.formats import TextSide
from charrnn.models import LanguageModel, cache
from charrnn.models.cache import StateCache
from charrnn.tasks import dynamic_evaluation
from charrnn.tasks.dynamic_evaluation import SEGMENT, DynamicEvaluation
from charrnn.tasks.line_scoring import score_lines
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_language import TrainedLanguageModel
from charrnn.text.vocabulary import EOS
from tests.conftest import run_command
from tests.networks import text
from tests.toy_model import learn

V = 11
PLAIN = ModelConfig(vocabulary_size=V, cells=("lstm",), hidden_size=8)
BY_ROW = ModelConfig(
    vocabulary_size=6000, cells=("lstm", "lstm"), hidden_size=8, embedding_size=8, cutoffs=(1000,)
)  # fmt: skip
WORDS = learn("the cat sat on the mat\nthe dog ran and the cat ran\n", "word", pretokenized=True, min_count=1)
TEXT = b"the cat ran\nthe dog sat on the mat and\nthe mat\n" * 12


def network(config: ModelConfig = PLAIN, *, threads: int = 1) -> LanguageModel:
    model = LanguageModel(config, threads=threads)
    model.initialise(4)
    return model


def units(count: int, vocabulary: int = V, seed: int = 0) -> NDArray[np.int32]:
    """An end-of-line, and `count` units after it."""
    return np.concatenate([[EOS], text(count, 1, seed, vocabulary)[:, 0]]).astype(np.int32)


def read(ids: NDArray[np.int32], config: ModelConfig = PLAIN, *, pieces: Sequence[int] = (), **options: Any) -> Any:
    """log P (N) of ids (N + 1) after the first, read in pieces that end after so many units."""
    reader = DynamicEvaluation(network(config, **options), reset=False)
    bounds = [0, *pieces, len(ids) - 1]
    return np.concatenate(
        [reader.log_probs(ids[begin : end + 1]) for begin, end in itertools.pairwise(bounds)]
    )  # fmt: skip


@pytest.mark.parametrize("config", [PLAIN, BY_ROW], ids=["plain", "by row"])
def test_a_text_that_repeats_itself_is_learned(monkeypatch: pytest.MonkeyPatch, config: ModelConfig) -> None:
    ids = np.concatenate([[EOS], np.tile(units(40, config.vocabulary_size), 10)]).astype(np.int32)
    both = read(ids, config)
    assert both[-100:].mean() > both[:100].mean() + 0.2
    monkeypatch.setattr(cache, "SHARE", 1e-300)
    weights = read(ids, config)
    assert weights[-100:].mean() > weights[:100].mean() + 0.02
    monkeypatch.setattr(dynamic_evaluation, "RATE", 0.0)
    plain = network(config).log_probs(ids[:-1, None], ids[1:, None], network(config).zero_state(1))[:, 0]
    np.testing.assert_array_equal(read(ids, config), plain)


def test_a_step_is_that_of_the_equation() -> None:
    """Two segments; for the rows of an embedding, one mean of squares, over all elements of the rows that were read."""
    model, ids = network(BY_ROW), units(2 * SEGMENT, BY_ROW.vocabulary_size)
    reader = DynamicEvaluation(model, reset=False)
    size = 6000 * 8
    expected, squares, table_squares = model.parameters.astype(np.float64), np.zeros(model.parameters.size - size), 0.0
    for n in (1, 2):
        reader.log_probs(ids[(n - 1) * SEGMENT : n * SEGMENT + 1])
        g = reader.model.gradient.astype(np.float64)
        read_rows = np.zeros((6000, 8), np.bool_)
        read_rows[ids[(n - 1) * SEGMENT : n * SEGMENT]] = True
        squares += g[size:] ** 2
        table_squares += (g[:size][read_rows.ravel()] ** 2).mean()
        rate, epsilon = dynamic_evaluation.RATE, dynamic_evaluation.EPSILON
        expected[size:] -= rate * g[size:] / (np.sqrt(squares / n) + epsilon)
        expected[:size] -= rate * g[:size] / (np.sqrt(table_squares / n) + epsilon)
        np.testing.assert_allclose(reader.model.parameters, expected, rtol=1e-5, atol=1e-7)
        assert np.abs(expected - model.parameters).max() > 1e-4


@pytest.mark.parametrize("config", [PLAIN, BY_ROW], ids=["plain", "by row"])
def test_all_units_together_have_the_probability_1(config: ModelConfig) -> None:
    ids, total = units(3 * SEGMENT + 7, config.vocabulary_size), 0.0
    reader = DynamicEvaluation(network(config), reset=False)
    reader.log_probs(ids)
    hidden = np.zeros((1, 1, config.hidden_size), np.float32)
    last = ids[-1:, None]
    state = reader.state.copy()
    reader.model.log_probs(last, last, state.copy(), hidden=hidden)
    everything = np.arange(config.vocabulary_size, dtype=np.int32)
    alone = reader.model.next_log_probs(last[0], state, np.zeros_like(everything), everything)
    for unit in everything:
        total += np.exp(reader.cache.mix(hidden[0], everything[unit : unit + 1], alone[unit : unit + 1])[0])
    assert total == pytest.approx(1, abs=1e-6)


def test_the_cache_is_that_of_the_equation() -> None:
    """Also when it is full and the oldest units have made room."""
    random, H = np.random.default_rng(0), 6
    hidden = random.normal(size=(cache.SIZE + 3 * SEGMENT, H)).astype(np.float32)
    followed = random.integers(0, V, len(hidden)).astype(np.int32)
    found = StateCache(H)
    network_log_probs = np.full(V, -np.log(V))
    np.testing.assert_array_equal(found.mix(hidden[:V], followed[:V], network_log_probs), network_log_probs)
    for begin in range(0, len(hidden), SEGMENT):
        found.add(hidden[begin : begin + SEGMENT], followed[begin : begin + SEGMENT])
        if begin not in (0, len(hidden) - SEGMENT):
            continue
        seen = slice(max(0, begin + SEGMENT - cache.SIZE), begin + SEGMENT)
        h = random.normal(size=H).astype(np.float32)
        cosines = hidden[seen] @ h / np.linalg.norm(hidden[seen], axis=1) / np.linalg.norm(h)
        weights = np.exp(cache.SHARPNESS * cosines.astype(np.float64))
        p = np.bincount(followed[seen], weights, V) / weights.sum()
        mixed = found.mix(np.tile(h, (V, 1)), np.arange(V, dtype=np.int32), network_log_probs)
        np.testing.assert_allclose(np.exp(mixed), (1 - cache.SHARE) / V + cache.SHARE * p, rtol=1e-4)


@pytest.mark.parametrize("at", [5, SEGMENT, 2 * SEGMENT + 3])
def test_what_comes_later_changes_no_score(at: int) -> None:
    ids, other = units(4 * SEGMENT), units(4 * SEGMENT)
    other[at + 1 :] = (other[at + 1 :] + 1) % V
    one, two = read(ids), read(other)
    np.testing.assert_array_equal(one[:at], two[:at])
    assert one[-1] != two[-1]


@pytest.mark.parametrize("config", [PLAIN, BY_ROW], ids=["plain", "by row"])
def test_threads_and_pieces_change_no_bit(config: ModelConfig) -> None:
    ids = units(4 * SEGMENT + 9, config.vocabulary_size)
    whole = read(ids, config)
    assert len(whole) == 4 * SEGMENT + 9
    for pieces in ((1, 2, 3, 25, 26, 70), tuple(range(1, len(whole))), (SEGMENT, 2 * SEGMENT)):
        np.testing.assert_array_equal(read(ids, config, pieces=pieces), whole)
    for threads in (2, 3):
        np.testing.assert_array_equal(read(ids, config, threads=threads), whole)


@pytest.mark.parametrize(("stream", "lines"), [(True, False), (True, True), (False, False)])
def test_lines(stream: bool, lines: bool) -> None:
    """One by one, in chunks or together; the model stays as it is."""
    model = network(ModelConfig(vocabulary_size=len(WORDS), cells=("lstm",), hidden_size=8))
    before = model.parameters.copy()
    records = [Line(line) for line in TEXT.split(b"\n")[:-1]]

    def scores(*cuts: int) -> list[float]:
        bounds = [0, *cuts, len(records)]
        chunks = (records[begin:end] for begin, end in itertools.pairwise(bounds))
        found = score_lines(model, WORDS, chunks, stream=stream, lines=lines, adapt=True)
        return [score.logprob for chunk in found for score in chunk]

    whole = scores()
    assert scores(1, 2, 3, 20) == whole
    assert scores() == whole  # nothing is left of the first time
    np.testing.assert_array_equal(model.parameters, before)
    assert sum(whole[-9:]) > sum(whole[:9])
    trained = TrainedLanguageModel(model, TextSide(WORDS, TextConfig(unit="word", pretokenized=True, lines=lines)))
    chunks = trained.score_chunks([records], stream=stream, adapt=True)
    assert [score.logprob for chunk in chunks for score in chunk] == whole
    if not stream:  # the first segment is scored as without learning
        (frozen,) = trained.score_chunks([records[:3]])
        assert [score.logprob for score in frozen] == pytest.approx(whole[:3], rel=1e-6)


@pytest.mark.parametrize("options", [(), ("--stream",)], ids=["lines", "stream"])
def test_the_command(models: dict[str, Path], options: tuple[str, ...]) -> None:
    plain, adapted = (
        run_command("score", "-c", models["word"], "-q", "--summary", *options, *more, stdin=b"a b a c a b\n" * 200)
        for more in ((), ("--adapt",))
    )  # fmt: skip
    assert (plain.status, adapted.status) == (0, 0), adapted.err
    one, two = json.loads(plain.out), json.loads(adapted.out)
    assert (one.get("adapted"), two["adapted"]) == (None, True)
    assert one["tokens"] == two["tokens"]
    assert two["perplexity"] < 0.7 * one["perplexity"]
    result = run_command("score", "-c", models["word"], "--adapt", "--format", "jsonl", stdin=b"a b\n\na b")
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [record["text"] for record in records] == ["a b", "", "a b"]
    assert all(record["adapted"] for record in records)

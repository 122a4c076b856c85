"""The memory of a corpus: a code of bits, distributions that add up to 1, learning, and the same bits everywhere."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from charrnn.config import ModelConfig, TextConfig
from charrnn.errors import CharrnnError
from charrnn.models.language import LanguageModel
from charrnn.models.memory import Memory
from charrnn.tasks.language_memory import MemoryReader
from charrnn.text.huffman import code_lengths, huffman_tree
from charrnn.text.vocabulary import EOS, Vocabulary
from tests.conftest import sentences

TEXT = sentences(400)


def vocabulary_of(text: str) -> Vocabulary:
    """The characters of a text."""
    return Vocabulary.learn({unit: text.count(unit) for unit in set(text)}, TextConfig("char"))


def logits_of(memory: Memory, count: int, seed: int = 0) -> Any:
    """Random logits of a network at the nodes of `count` paths."""
    return np.random.default_rng(seed).normal(0, 1, (count, memory.code.nodes.shape[1])).astype(np.float32)


def made(text: str = TEXT, *, lines: bool = False, size: int = 4_000_000) -> tuple[Memory, Vocabulary, Any]:
    """A memory that has read a text, without a network; its vocabulary and the text's ids."""
    vocabulary = vocabulary_of(text)
    ids = vocabulary.encode(text)
    memory = Memory.empty(vocabulary, ids, size, lines=lines)
    nothing = np.zeros((len(ids), memory.code.nodes.shape[1]), np.float32)
    memory.read(ids, nothing, memory.start.copy(), memory.kept, here=0, rate=0.01)
    memory.adaptive = type(memory.kept)(*(array.copy() for array in memory.kept))
    return memory, vocabulary, ids


@pytest.fixture(scope="module")
def fitted() -> tuple[Memory, Vocabulary, Any]:
    """For tests that change nothing."""
    return made()


def test_a_huffman_code_is_as_short_as_can_be() -> None:
    counts = np.array([45, 13, 12, 16, 9, 5])
    assert sum(counts * code_lengths(counts)) == 224  # the example of Cormen et al., "Introduction to Algorithms"
    rng = np.random.default_rng(0)
    for V in (2, 3, 64, 300):
        counts = rng.zipf(1.3, V).clip(0, 10**6)
        tree = huffman_tree(counts)
        assert sum(0.5 ** tree.lengths.astype(float)) == 1
        paths = {tuple(tree.bits[unit, : tree.lengths[unit]]) for unit in range(V)}
        assert len(paths) == V
        for unit in range(V):
            for depth, node in enumerate(tree.nodes[unit, : tree.lengths[unit]]):
                below = tree.order[tree.low[node] : tree.high[node]]
                assert unit in below
                assert (unit in tree.order[tree.middle[node] : tree.high[node]]) == tree.bits[unit, depth]
                assert tree.depths[node] == depth


def test_probabilities_of_all_units_add_up_to_one(fitted: tuple[Memory, Vocabulary, Any]) -> None:
    memory, vocabulary, ids = fitted
    state, network = memory.start.copy(), np.random.default_rng(0).normal(0, 3, len(vocabulary)).astype(np.float32)
    for unit in ids[:200].tolist():
        log_probs = memory.next_log_probs(network, state)
        assert np.isfinite(log_probs).all()
        assert abs(np.exp(log_probs.astype(np.float64)).sum() - 1) < 1e-6
        memory.note(state, unit)


def test_the_distribution_is_that_of_the_paths(fitted: tuple[Memory, Vocabulary, Any]) -> None:
    """What is drawn from is what is scored."""
    memory, vocabulary, ids = fitted
    network = LanguageModel(ModelConfig(len(vocabulary), ("lstm",), 8, 4))
    network.initialise(0)
    hidden = network.forward(ids[:50, None], network.zero_state(1))[:, 0]
    targets = ids[1:51]
    scored = memory.read(targets, memory.path_logits(network, hidden, targets), memory.start.copy(), memory.kept)
    state = memory.start.copy()
    for n, unit in enumerate(targets.tolist()):
        np.testing.assert_allclose(memory.next_log_probs(network.logits(hidden)[n], state)[unit], scored[n], atol=1e-5)
        memory.note(state, unit)


def test_a_network_alone_has_its_own_probabilities_as_bits(fitted: tuple[Memory, Vocabulary, Any]) -> None:
    memory, vocabulary, _ = fitted
    network = LanguageModel(ModelConfig(len(vocabulary), ("lstm",), 8, 4))
    network.initialise(0)
    hidden = np.random.default_rng(0).normal(0, 2, (len(vocabulary), 8)).astype(np.float32)
    targets = np.arange(len(vocabulary), dtype=np.int32)
    logits = memory.path_logits(network, hidden, targets).astype(np.float64)
    exact = network.logits(hidden).astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    for unit in targets:
        length = memory.code.lengths[unit]
        signs = np.where(memory.code.bits[unit, :length], 1, -1)
        found = -np.log1p(np.exp(-signs * logits[unit, :length])).sum()
        assert found == pytest.approx(exact[unit, unit], abs=1e-4)


def test_it_knows_what_it_has_read_and_learns_what_it_reads() -> None:
    memory, vocabulary, ids = made()
    part = ids[1000:1600]
    nothing = np.zeros((len(part), memory.code.nodes.shape[1]), np.float32)
    known = memory.read(part, nothing, memory.start.copy(), memory.kept).mean()
    fresh = Memory.empty(vocabulary, ids, 4_000_000, lines=False)
    unknown = fresh.read(part, nothing, fresh.start.copy(), fresh.kept).mean()
    assert known > unknown + 1
    other = vocabulary.encode("zyx wvu tsr qpo nml kji " * 40)
    adapted, logits = memory.copy(), logits_of(memory, len(other)) * 0
    first = adapted.adapt(other, logits, adapted.start.copy())
    assert first[-200:].mean() > first[:48].mean() + 1
    assert memory.size == len(ids)
    np.testing.assert_array_equal(memory.text, ids)
    np.testing.assert_array_equal(adapted.text, np.concatenate([ids, other]))


def test_a_match_ends_with_the_text(fitted: tuple[Memory, Vocabulary, Any]) -> None:
    memory, vocabulary, ids = fitted
    beyond = np.concatenate([ids[-200:], ids[:50]])
    found = memory.read(beyond, logits_of(memory, 250), memory.start.copy(), memory.kept)
    assert np.isfinite(found).all()
    state = memory.start.copy()
    for unit in ids[-200:].tolist():
        memory.note(state, unit)
    assert np.isfinite(memory.next_log_probs(np.zeros(len(vocabulary), np.float32), state)).all()


def test_reading_changes_nothing(fitted: tuple[Memory, Vocabulary, Any]) -> None:
    memory, _, ids = fitted
    before = {name: array.copy() for name, array in memory.tensors().items()}
    memory.read(ids[:500], logits_of(memory, 500), memory.start.copy(), memory.kept)
    for name, array in memory.tensors().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("lines", [False, True])
def test_pieces_neighbours_and_threads_change_no_bit(lines: bool) -> None:
    memory, vocabulary, ids = made(lines=lines)
    logits = logits_of(memory, 900)
    whole = memory.read(ids[:900], logits, memory.start.copy(), memory.kept)
    state, found = memory.start.copy(), []
    for begin, end in ((0, 1), (1, 300), (300, 900)):
        found.append(memory.read(ids[begin:end], logits[begin:end], state, memory.kept))
    np.testing.assert_array_equal(np.concatenate(found), whole)
    units = np.concatenate([[EOS], ids]).astype(np.int32)
    lengths = np.diff(np.flatnonzero(ids == EOS), prepend=-1)[:60]
    results = []
    for threads in (1, 2, 3):
        network = LanguageModel(ModelConfig(len(vocabulary), ("gru",), 9, 4), threads=threads)
        network.initialise(0)
        reader = MemoryReader(memory, network, adapt=False)
        results.append(reader.line_log_probs(units[: lengths.sum() + 1], lengths))
        alone = reader.line_log_probs(units[: lengths[0] + 1], lengths[:1])
        np.testing.assert_array_equal(alone, results[-1][: lengths[0]])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_tensors_are_loaded_as_they_were(fitted: tuple[Memory, Vocabulary, Any]) -> None:
    memory, vocabulary, ids = fitted
    again = Memory.load(memory.tensors(), vocabulary, lines=False)
    logits = logits_of(memory, 300)
    for part in ("kept", "adaptive"):
        one, other = (
            each.read(ids[:300], logits, each.start.copy(), getattr(each, part)) for each in (memory, again)
        )  # fmt: skip
        np.testing.assert_array_equal(one, other)
    assert again.tensors().keys() == memory.tensors().keys()


DAMAGES = {
    "text": lambda array: array + np.array(200, array.dtype),
    "slots": lambda array: array[:, :-1],
    "places": lambda array: array - np.int32(2**30),
    "kept.mixers": lambda array: array * np.nan,
    "adaptive.maps": lambda array: array + np.float32(3),
    "adaptive.estimates": lambda array: array[:1],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_tensors_are_refused(fitted: tuple[Memory, Vocabulary, Any], name: str) -> None:
    memory, vocabulary, _ = fitted
    tensors = memory.tensors()
    for changed in ({name: DAMAGES[name](tensors[name])}, {name: np.empty(0, np.float32)}):
        with pytest.raises(CharrnnError, match="memory is damaged"):
            Memory.load(tensors | changed, vocabulary, lines=False)


CODE = """
import numpy as np
from tests.test_memory_model import logits_of, made
memory, _, ids = made()
if {first}:
    memory.next_log_probs(np.zeros(len(memory.code.lengths), np.float32), memory.start.copy())
print(memory.read(ids[:900], logits_of(memory, 900), memory.start.copy(), memory.kept).tobytes().hex())
"""


@pytest.mark.slow
def test_what_was_compiled_before_changes_no_bit(tmp_path: Any) -> None:
    """A process that compiles, one that loads, and one that has other functions too."""
    found = set()
    for first in (False, False, True):
        run = [sys.executable, "-c", CODE.format(first=first)]
        environment = {"CHARRNN_CACHE_DIR": str(tmp_path), "PATH": ""}
        found.add(subprocess.run(run, capture_output=True, check=True, env=environment).stdout)
    assert len(found) == 1


def test_its_size_is_bounded() -> None:
    vocabulary = vocabulary_of(TEXT)
    ids = np.tile(vocabulary.encode(TEXT), 20)
    for nbytes in (1_000_000, 20_000_000):
        memory = Memory.empty(vocabulary, ids, nbytes, lines=False)
        assert 0.5 * nbytes < memory.counts.slots.nbytes <= nbytes

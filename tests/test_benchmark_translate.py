"""The benchmarks of translation: parts and figures, and that PyTorch's translator is the one of this project."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import labels, peers, translate, translator
from charrnn.models.decoding import decode
from tests.translators import V_SOURCE, V, make, pack, pairs

PAIRS = [(f"{n}", " ".join("abcdefghij"[int(digit)] for digit in str(n))) for n in range(200)]


def test_parts_share_no_source() -> None:
    rest, test = labels.split(PAIRS + PAIRS)
    train, val = labels.split(rest, translate.HELD_OUT_KEY)
    parts = [{source for source, _ in part} for part in (train, val, test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(PAIRS)
    assert min(map(len, parts)) > 5


def test_figures_are_those_of_the_nearest_reference(tmp_path: Path) -> None:
    references = translate.references_of([("x", "a b c"), ("y", "a b"), ("x", "d e"), ("z", "a")])
    assert references == {"x": ["a b c", "d e"], "y": ["a b"], "z": ["a"]}
    found = translate.figures(["d e", "b b", "c"], references, tmp_path / "none", tmp_path)
    assert found == {"wrong": pytest.approx(100 * 2 / 3), "errors": pytest.approx(100 * 2 / 5)}
    file = translate.write(PAIRS, tmp_path / "pairs.tsv")
    assert translate.read(file) == PAIRS
    assert translator.read_lengths(file)[100] == (3, 3)


def test_drawn_lengths_are_like_those_of_texts() -> None:
    for shape in translator.SHAPES.values():
        lengths = np.array(translator.drawn_lengths(shape, 3000))
        assert lengths.min() == 1
        assert lengths.mean(axis=0) == pytest.approx(shape.mean, rel=0.05)
        assert np.corrcoef(lengths.T)[0, 1] > 0.8


def torch_translator(network: Any) -> tuple[Any, Any]:
    """The module, and PyTorch's translator with the weights of a network of this project."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks import torch_translator as module

    config = network.config
    found = module.Translator((V_SOURCE, V), config.hidden_size, config.embedding_size, config.num_layers).double()
    found.load(network.tensors())
    return module, found.eval()


@pytest.mark.peers
@pytest.mark.parametrize("depth", [1, 2])
def test_the_same_network(depth: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    network, rows = make(cells=("lstm",) * depth), pairs()
    _, other = torch_translator(network)
    flat = [(source, np.append(target[:-1], 1)) for row in rows for source, target in row]
    values = network.log_probs(pack([[pair] for pair in flat]))
    batch = [[torch.tensor(one.astype(np.int64)) for one in side] for side in zip(*flat, strict=True)]
    with torch.no_grad():
        loss = float(other.loss(*batch))
    count = sum(len(target) for _, target in flat)
    weighted = pack([[pair] for pair in flat]).weights
    assert weighted is not None
    assert loss == pytest.approx(-values[weighted > 0].sum() / count, rel=1e-9)


@pytest.mark.peers
def test_a_wide_beam_finds_the_most_probable_target() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module, other = torch_translator(make(cells=("lstm",), noise=0.6))
    sources = [torch.tensor(source.astype(np.int64)) for row in pairs() for source, _ in row]
    most = 4
    with torch.no_grad():
        found = module.translated(other, sources, [most] * len(sources), width=2 * (V - 2) ** most, size=3)
        greedy = module.translated(other, sources, [most] * len(sources), width=1, size=2)
        for source, best, near in zip(sources, found, greedy, strict=True):
            texts = [list(one) for n in range(most) for one in product(range(2, V), repeat=n)]
            values = [float(-other.loss([source], [torch.tensor([*one, 1])])) * (len(one) + 1) for one in texts]
            assert best == texts[int(np.argmax(values))]
            assert len(near) <= most
            alone = module.greedy(other, [source], [most])[0]
            assert near == alone


@pytest.mark.peers
@pytest.mark.parametrize("width", [1, 3])
def test_the_same_search(width: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    network = make(cells=("lstm",), noise=1.5, dtype=np.float32)
    network.output.b[1] += 2  # more of them end
    network.invalidate()
    module, other = torch_translator(network)
    rng, limits = np.random.default_rng(0), [40] * 60
    sources = [rng.integers(2, V_SOURCE, rng.integers(1, 9)).astype(np.int32) for _ in limits]
    found = [one[0] for one in decode(network, sources, beam=width, best=1, limits=np.array(limits))]
    tensors = [torch.tensor(source.astype(np.int64)) for source in sources]
    theirs = module.translated(other, tensors, limits, width=width, size=16)
    same = [one.ids.tolist() == ids for one, ids in zip(found, theirs, strict=True)]
    assert np.mean(same) > 0.95  # rounding may decide between two units
    assert sum(one.ended and len(one.ids) > 1 for one in found) > 3


@pytest.mark.peers
def test_pytorch_learns(tmp_path: Path) -> None:
    if not peers.PEERS.exists():
        pytest.skip("needs the environment that `make peers` sets up")
    rest, test = labels.split(PAIRS)

    def ids(pair: tuple[str, str]) -> tuple[list[int], list[int]]:
        source, target = pair
        return [*(2 + int(digit) for digit in source), 1], [2 + "abcdefghij".index(unit) for unit in target.split()]

    train, val = labels.split(rest, translate.HELD_OUT_KEY)
    sizes = {"source_units": 12, "target_units": 12, "hidden": 32, "embedding": 16, "layers": 1}
    request = {
        "train": [*map(ids, train)] * 10, "held_out": [*map(ids, val)], "test": [(ids(pair)[0], 9) for pair in test],
        "threads": 1, "seconds": 30.0, "seed": 0, "sizes": sizes,
    }  # fmt: skip
    answer = peers.rival("translate_rivals", "lstm", request, peers.PEERS, tmp_path)
    right = [found == ids(pair)[1] for found, pair in zip(answer.outputs, test, strict=True)]
    assert np.mean(right) > 0.7
    references = {"x": ["a b c d"], "y": ["b c d e", "a a a a"]}
    found = translate.figures(["a b c d", "a a a a"], references, peers.PEERS, tmp_path)
    assert found["bleu"] == pytest.approx(100)
    assert found["chrf"] == pytest.approx(100)

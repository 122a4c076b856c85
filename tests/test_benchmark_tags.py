"""The benchmark of tags: its split and figures, and that other programs answer what they are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import peers, tag_rivals, tags
from charrnn.tasks.tag_defaults import resolve_text
from charrnn.text.tagged_corpus import load_tagged

PLACES = ("Oslo", "Rome", "Lima", "Bonn")
SENTENCES = [
    (["we", "saw", PLACES[n % 4], *["again"] * (n % 3), f"{n}"], ["O", "O", "B-LOC", *["O"] * (n % 3), "O"])
    for n in range(120)
]


def test_the_split_is_that_of_training(tmp_path: Path) -> None:
    train, val = tags.split(SENTENCES)
    file = tags.write(SENTENCES, tmp_path / "all.conll")
    corpus = load_tagged([file], resolve_text({}), longest=0, val_path=None, val_fraction=tags.VAL_SHARE, seed=0)
    assert corpus.validation is not None
    assert corpus.train.lengths.tolist() == [len(words) for words, _ in train]
    assert corpus.validation.lengths.tolist() == [len(words) for words, _ in val]
    assert 0 < len(val) < 30
    assert tags.read(file, tmp_path) == SENTENCES


def test_figures() -> None:
    pairs = [(["a", "b", "new"], ["B-X", "I-X", "O"]), (["b"], ["B-Y"])]
    found = tag_rivals.figures(pairs, [["B-X", "O", "O"], ["B-Y"]], {"a", "b"})
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["f1"] == pytest.approx(1 / 2)
    assert (found["unknown_words"], found["accuracy_unknown"]) == (1, 1.0)
    assert tag_rivals.value(pairs, [tags for _, tags in pairs]) == 0
    parts = tag_rivals.figures([(["a", "b"], ["NOUN", "VERB"])], [["NOUN", "NOUN"]], {"a", "b"})
    assert (parts["accuracy"], "f1" in parts) == (0.5, False)


def test_features_of_a_word() -> None:
    first, second = tag_rivals.features(["Ab-12", "c"])
    assert {"w=ab-12", "shape=Xx-d", "prefix=ab", "digit", "hyphen", "1w=c", "-1none", "2none"} <= {*first}
    assert {"w=c", "shape=x", "-1w=ab-12", "-1shape=Xx-d", "-2none", "1none"} <= {*second}
    assert tag_rivals.shape("McDonald's") == "XxXx'x"


@pytest.mark.peers
@pytest.mark.parametrize("name", tag_rivals.RIVALS)
@pytest.mark.parametrize("spans", [False, True])
def test_other_programs_learn(name: str, spans: bool, tmp_path: Path) -> None:
    if not peers.PEERS.exists():
        pytest.skip("needs the environment that `make peers` sets up")
    pairs = SENTENCES if spans else [(words, [tag[-1] for tag in found]) for words, found in SENTENCES]
    train, val = tags.split(pairs)
    words = [["new", "Oslo"], *(words for words, _ in val)]
    request = {"train": train, "held_out": val, "test": words, "threads": 1, "seconds": 20.0, "seed": 0}
    answer = peers.rival("tag_rivals", name, request, peers.PEERS, tmp_path)
    assert answer.package.split()[-1][0].isdigit()
    assert [len(found) for found in answer.outputs] == [len(one) for one in words]
    assert tag_rivals.value(val, answer.outputs[1:]) < 0.1
    assert all(seconds > 0 for seconds in answer.seconds.values())


@pytest.mark.peers
def test_the_field_sums_over_all_tags() -> None:
    """Its probabilities are those of all sequences of tags, and the best is the most probable of them."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from itertools import product

    from benchmarks.torch_tagger import Field

    torch.manual_seed(0)
    field = Field(3).double()
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter)
    logits = torch.randn(2, 4, 3, dtype=torch.float64)
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    with torch.no_grad():
        best = field.best(logits, real)
        for n, length in enumerate((4, 2)):
            every = [*product(range(3), repeat=length)]
            rows = torch.tensor([[*one, *[0] * (4 - length)] for one in every])
            found = field.log_probs(logits[n].expand(len(every), -1, -1), real[n].expand(len(every), -1), rows)
            assert float(found.exp().sum()) == pytest.approx(1)
            assert best[n, :length].tolist() == list(every[int(found.argmax())])

"""Figures of outputs beside references: edit distance, and BLEU and chrF of sacrebleu."""

from __future__ import annotations

import random
import sys

import pytest

from charrnn.tasks.translate_figures import corpus_figures, edit_distance, unit_errors


def test_distances_and_their_references() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("abc", "abc") == 0
    assert unit_errors("abc", ["xbcd", "abd"]) == (1, 3)

    def plain(one: str, other: str) -> int:
        row = list(range(len(other) + 1))
        for n, a in enumerate(one, 1):
            new = [n]
            for m, b in enumerate(other, 1):
                new.append(min(row[m] + 1, new[-1] + 1, row[m - 1] + (a != b)))
            row = new
        return row[-1]

    choose = random.Random(0)
    for _ in range(50):
        one, other = ("".join(choose.choices("abc", k=choose.randint(0, 12))) for _ in range(2))
        assert edit_distance(one, other) == plain(one, other)


@pytest.mark.peers
def test_bleu_and_chrf_are_those_of_sacrebleu() -> None:
    metrics = pytest.importorskip("sacrebleu.metrics", reason="sacrebleu is not installed")
    outputs, references = ["the cat sat on the mat", "a dog"], [["the cat sat on a mat", "cats sit"], ["a dog"]]
    found = corpus_figures(outputs, references)
    columns = [["the cat sat on a mat", "a dog"], ["cats sit", None]]
    assert found["bleu"] == pytest.approx(metrics.BLEU().corpus_score(outputs, columns).score)
    assert found["chrf"] == pytest.approx(metrics.CHRF().corpus_score(outputs, columns).score)
    assert "version" in found["bleu_signature"]


def test_without_sacrebleu_its_figures_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    assert set(corpus_figures(["a"], [["a"]]).values()) == {None}

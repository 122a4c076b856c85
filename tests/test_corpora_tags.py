"""Tags of the agreement grammar: what they are, and the best accuracy possible."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.test_corpora import agreement


def test_tags_of_a_sentence() -> None:
    sentence = "the old and grey king near our horses that some dogs follow sleeps today"
    pairs = [tuple(line.split("\t")) for line in agreement.tagged(sentence).splitlines()]
    assert pairs == [
        ("the", "DET:singular"), ("old", "ADJ"), ("and", "CCONJ"), ("grey", "ADJ"), ("king", "NOUN:subject"),
        ("near", "ADP"), ("our", "DET:plural"), ("horses", "NOUN:object"), ("that", "SCONJ"), ("some", "DET:plural"),
        ("dogs", "NOUN:subject"), ("follow", "VERB"), ("sleeps", "VERB"), ("today", "ADV"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="is not a word of the grammar"):
        agreement.tagged("the cat sleeps")


@pytest.mark.slow
def test_the_best_accuracy_from_the_left_is_that_of_many_sentences() -> None:
    """The best guess of a determiner's number from what stands before it, counted over drawn sentences."""
    grammar, generator = agreement.build(), random.Random(1)
    tokens = wrong = 0
    contexts: dict[str, Counter[str]] = {}
    for _ in range(6_000):
        lines = agreement.tagged(" ".join(agreement.sample(grammar, generator)[0])).splitlines()
        pairs = [line.split("\t") for line in lines]
        tokens += len(pairs)
        subject = ""
        for place, (word, tag) in enumerate(pairs):
            if tag.startswith("DET"):
                before = pairs[place - 1][1] if place else ""
                contexts.setdefault(f"{subject} {before}", Counter())[tag] += 1
            if tag == "NOUN:subject" and not subject:
                subject = "plural" if word in agreement.LEXICON["noun plural"] else "singular"
    wrong = sum(sum(counts.values()) - max(counts.values()) for counts in contexts.values())
    assert 0.85 < agreement.best_from_the_left(grammar) < 0.95
    assert 1 - wrong / tokens == pytest.approx(agreement.best_from_the_left(grammar), abs=0.004)

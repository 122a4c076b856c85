"""The project's own texts: the list of names, the grammar of known entropy, the fetched texts."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import math
import os
import random
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest

Grammar = Mapping[str, Sequence[tuple[Fraction, tuple[str, ...]]]]

CORPORA = Path(__file__).resolve().parent.parent / "corpora"


def load(name: str) -> ModuleType:
    """A script of corpora/ as a module: the folder is not a package."""
    spec = importlib.util.spec_from_file_location(f"corpora_{name}", CORPORA / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


agreement = load("agreement")
get = load("get")

# One or two words a class: every sentence can be written out.
SMALL = {
    name: words[: 2 if name in ("noun singular", "copula plural") else 1] for name, words in agreement.LEXICON.items()
}


# --- dinosaurs.txt


def test_dinosaurs() -> None:
    data = (CORPORA / "dinosaurs.txt").read_bytes()
    assert data.endswith(b"\n")
    names = data.decode("ascii").split("\n")[:-1]
    assert len(names) >= 720
    assert names == sorted(set(names))
    assert [name for name in names if not re.fullmatch("[A-Z][a-z]+", name)] == []


# --- agreement.py


def sentences(grammar: Grammar, symbols: tuple[str, ...]) -> Iterator[tuple[str, Fraction]]:
    """Every derivation of a sequence of symbols, written out, with its probability."""
    if not symbols:
        yield "", Fraction(1)
        return
    head, rest = symbols[0], symbols[1:]
    if head not in grammar:
        for text, probability in sentences(grammar, rest):
            yield f"{head} {text}", probability
        return
    for chance, parts in grammar[head]:
        for text, probability in sentences(grammar, (*parts, *rest)):
            yield text, chance * probability


@pytest.mark.slow
def test_entropy_of_a_small_lexicon_equals_that_of_all_its_sentences() -> None:
    grammar = agreement.build(SMALL)
    # Fewer phrases, or the sentences would be millions.
    for number in agreement.NUMBERS:
        grammar[f"then {number}"] = agreement.weighted((1, ""), (2, f"relative {number}"))
    derivations = list(sentences(grammar, ("sentence",)))
    texts = dict(derivations)
    assert len(texts) == len(derivations) > 10_000  # no two derivations give one sentence
    assert sum(texts.values()) == 1
    figures = agreement.entropy(grammar)
    assert figures.words_per_sentence == sum(p * (len(text.split()) + 1) for text, p in texts.items())
    assert figures.characters_per_sentence == sum(p * (len(text.strip()) + 1) for text, p in texts.items())
    bits = math.fsum(-float(p) * math.log2(p) for p in texts.values())
    assert figures.bits_per_sentence == pytest.approx(bits, rel=1e-12)


def starts(grammar: Grammar) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """For each symbol the words it can start with ("" where it can be empty), and the words that can follow it."""
    first: dict[str, set[str]] = {symbol: set() for symbol in grammar}
    follow: dict[str, set[str]] = {symbol: set() for symbol in grammar}
    follow["sentence"] = {"\n"}

    def first_of(symbols: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        for symbol in symbols:
            begins = first.get(symbol, {symbol})
            found |= begins - {""}
            if "" not in begins:
                return found
        return found | {""}

    changed = True
    while changed:
        before = sum(map(len, first.values())) + sum(map(len, follow.values()))
        for symbol, productions in grammar.items():
            for _, parts in productions:
                first[symbol] |= first_of(parts)
                for place, part in enumerate(parts):
                    if part in grammar:
                        after = first_of(parts[place + 1 :])
                        follow[part] |= (after - {""}) | (follow[symbol] if "" in after else set())
        changed = sum(map(len, first.values())) + sum(map(len, follow.values())) != before
    return first, follow


def test_the_next_word_decides_every_choice_of_the_whole_grammar() -> None:
    """The grammar is LL(1), and so unambiguous, whatever its size."""
    grammar = agreement.build()
    first, follow = starts(grammar)
    for symbol, productions in grammar.items():
        assert sum(probability for probability, _ in productions) == 1
        deciding = []
        for _, parts in productions:
            words: set[str] = {""}
            for part in parts:
                words = (words - {""}) | first.get(part, {part})
                if "" not in words:
                    break
            deciding.append((words - {""}) | (follow[symbol] if "" in words else set()))
        for one, other in itertools.combinations(deciding, 2):
            assert not one & other, symbol


def test_entropy_agrees_with_the_mean_over_samples() -> None:
    grammar = agreement.build()
    generator = random.Random(7)
    drawn = [agreement.sample(grammar, generator) for _ in range(6000)]
    figures = agreement.entropy(grammar)
    for exact, seen in (
        (figures.bits_per_sentence, [bits for _, bits in drawn]),
        (figures.words_per_sentence, [len(words) + 1.0 for words, _ in drawn]),
        (figures.characters_per_sentence, [len(" ".join(words)) + 1.0 for words, _ in drawn]),
    ):
        error = statistics.stdev(seen) / math.sqrt(len(seen))
        assert abs(statistics.fmean(seen) - float(exact)) < 4 * error


def test_an_ambiguous_lexicon_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes"):
        agreement.build({**SMALL, "noun plural": SMALL["noun singular"]})


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the dog sleeps", [(1, 2)]),
        ("the old and red dog near our horses that their friends like is happy", [(10, 11), (4, 12)]),
        ("the dogs that see the bird help some king", [(1, 3), (1, 6)]),
        ("the dogs that the bird sees help some king", [(4, 5), (1, 6)]),
    ],
)
def test_agreements(sentence: str, expected: list[tuple[int, int]]) -> None:
    assert [(found.subject, found.verb) for found in agreement.agreements(sentence)] == expected


def test_a_label_is_the_number_of_the_main_verb() -> None:
    grammar, generator = agreement.build(), random.Random(0)
    for _ in range(300):
        sentence = " ".join(agreement.sample(grammar, generator)[0])
        label, _, start = agreement.labelled(sentence).partition("\t")
        verb = sentence.removeprefix(start).split()[0]
        assert any(verb in words for name, words in agreement.LEXICON.items() if name.endswith(label))
        assert agreement.agreements(sentence)[-1].verb == len(start.split())


@pytest.mark.slow
def test_every_verb_agrees_with_its_subject_up_to_20_words_before_it() -> None:
    number = {word: name.split()[-1] for name, words in agreement.LEXICON.items() for word in words}
    kinds = {word: name.split()[0] for name, words in agreement.LEXICON.items() for word in words}
    verbs = ("transitive", "intransitive", "copula")
    grammar = agreement.build()
    generator = random.Random(3)
    distances = set()
    for _ in range(20_000):
        words, _ = agreement.sample(grammar, generator)
        found = agreement.agreements(" ".join(words))
        assert [pair.verb for pair in found] == [place for place, word in enumerate(words) if kinds.get(word) in verbs]
        for pair in found:
            subject, verb = words[pair.subject], words[pair.verb]
            assert kinds[subject] == "noun"
            assert number[subject] == number[verb]
            assert number[agreement.other_number(verb)] != number[subject]
        main = found[-1]
        assert main.subject == next(place for place, word in enumerate(words) if kinds.get(word) == "noun")
        distances.add(main.distance)
    assert max(distances) == 20
    assert min(distances) == 1


@pytest.mark.parametrize("sentence", ["the dog xyzzy", "sleeps the dog"])
def test_what_is_not_a_sentence_is_refused(sentence: str) -> None:
    with pytest.raises(ValueError, match=r"xyzzy|without a subject"):
        agreement.agreements(sentence)
    with pytest.raises(ValueError, match="not a verb"):
        agreement.other_number("dog")


def test_agreement_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert agreement.main(["--sentences", "50", "--seed", "4", "-o", str(one)]) == 0
    assert agreement.main(["--sentences", "50", "--seed", "4", "-o", str(two)]) == 0
    assert agreement.main(["--sentences", "50", "--seed", "5", "-o", str(three)]) == 0
    assert one.read_bytes() == two.read_bytes() != three.read_bytes()
    assert one.read_bytes().count(b"\n") == 50
    written = capsys.readouterr()
    assert written.out == ""
    assert agreement.main(["--entropy"]) == 0
    entropy = capsys.readouterr()
    assert entropy.err == ""
    assert entropy.out in written.err
    assert f"{agreement.entropy(agreement.build()).bits_per_word:.6f} bits per word" in entropy.out


def test_agreement_command_says_what_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agreement.main(["--sentences", "1", "-o", str(tmp_path / "missing" / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


# --- get.py


def test_python_docs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pydoc_data.topics", reason="this Python was installed without its language reference")
    target = tmp_path / "folder" / "docs.txt"
    assert get.main(["python-docs", "-o", str(target)]) == 0
    text = target.read_text(encoding="utf-8")
    assert 350_000 < len(text) < 900_000
    assert text.endswith("\n")
    assert text.count('The "if" statement\n***') == 1
    assert not re.search(r"[ \t]\n", text)
    assert target.read_bytes() == get.python_docs()
    assert [path.name for path in target.parent.iterdir()] == ["docs.txt"]
    assert capsys.readouterr().out == ""


def test_python_docs_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert get.main(["python-docs", "-o", str(tmp_path / "docs.txt")]) == 1
    assert "another Python" in capsys.readouterr().err


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small file in the place of the one on the network."""
    source = tmp_path / "source.txt"
    source.write_bytes(b"Before we proceed any further, hear me speak.\n")
    monkeypatch.setattr(get, "SHAKESPEARE_URL", source.as_uri())
    monkeypatch.setattr(get, "SHAKESPEARE_BYTES", len(source.read_bytes()))
    monkeypatch.setattr(get, "SHAKESPEARE_SHA256", hashlib.sha256(source.read_bytes()).hexdigest())
    return source


def test_shakespeare(served: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "play.txt"
    assert get.main(["shakespeare", "-o", str(target)]) == 0
    assert target.read_bytes() == served.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["play.txt"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Before we proceed any further, hear me spea", "were expected"),
        (b"Before we proceed any further, hear me squeak and more.\n", "were expected"),
        (b"Before we proceed any further, hear me SPEAK.\n", "another SHA-256"),
        (None, "no download"),
    ],
)
def test_shakespeare_fails_in_one_line(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    if content is None:
        served.unlink()
    else:
        served.write_bytes(content)
    target = tmp_path / "play.txt"
    target.write_bytes(b"what was there")
    assert get.main(["shakespeare", "-o", str(target)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert reason in message
    assert get.SHAKESPEARE_URL in message
    assert str(target) in message
    assert target.read_bytes() == b"what was there"


def test_get_says_what_cannot_be_written(served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert get.main(["shakespeare", "-o", str(tmp_path / "file" / "play.txt")]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.peers
def test_the_expected_shakespeare_is_the_one_everybody_uses() -> None:
    folder = os.environ.get("CHARRNN_TEST_DATA")
    if not folder or not (Path(folder) / "tinyshakespeare.txt").is_file():
        pytest.skip("$CHARRNN_TEST_DATA names no folder with tinyshakespeare.txt")
    data = (Path(folder) / "tinyshakespeare.txt").read_bytes()
    assert len(data) == get.SHAKESPEARE_BYTES
    assert hashlib.sha256(data).hexdigest() == get.SHAKESPEARE_SHA256

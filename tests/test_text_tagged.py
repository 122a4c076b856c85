"""Reading tagged sentences: columns, CoNLL-U, schemes of spans, bad input; the corpus and its split."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import itertools
import lzma
from pathlib import Path

import numpy as np
import pytest

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.text.reader import Source
from charrnn.text.tag_schemes import as_iob2, ill_formed, looks_like_iob1, scheme_of
from charrnn.text.tagged import SentenceReader
from charrnn.text.tagged_batches import TaggedBatches, WordBags, evaluation_sentences
from charrnn.text.tagged_corpus import TaggedCorpus, load_tagged
from charrnn.text.word_parts import hash_words

WORDS = TextConfig("word", pretokenized=True)
CONLLU = """\
# sent_id = 1
# text = Vámonos # ya
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tv\t_\t0\troot\t_\t_
2\tnos\tnos\tPRON\tp\t_\t1\tobj\t_\t_
2.1\tnada\tnada\tPRON\tp\t_\t_\t_\t_\t_
3\t#\t#\tSYM\ts\t_\t1\tdep\t_\t_

# newdoc
1\tNueva York\tN\tPROPN\tn\t_\t0\troot\t_\t_

"""


def read(
    tmp_path: Path, text: str | bytes, name: str = "f.txt", columns: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    """`token/TAG …` and the number of the first line of each sentence."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with contextlib.closing(Source(str(path), tmp_path)) as source:
        return [
            (" ".join(f"{token}/{tag}" for token, tag in zip(one.tokens, one.tags, strict=True)), str(one.line))
            for one in SentenceReader(source, WORDS, columns or None)
        ]


def load(tmp_path: Path, text: str, **options: object) -> TaggedCorpus:
    path = tmp_path / "corpus.txt"
    path.write_text(text)
    settings = {"longest": 3, "val_path": None, "val_fraction": 0.0, "seed": 0} | options
    return load_tagged([str(path)], WORDS, **settings)  # type: ignore[arg-type]


def test_columns(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\n\nJohn NNP B-PER\nlives VB O\n \n# NN O\nhere  RB   O"
    assert read(tmp_path, text) == [("John/B-PER lives/O", "4"), ("#/O here/O", "7")]
    assert read(tmp_path, text.replace("\n", "\r\n"), columns=("1", "2"))[0][0] == "John/NNP lives/VB"
    tabs = "# a comment\nNew York\tB\nis  big\tO\n\n# another\nyes\tO\n"
    assert read(tmp_path, tabs.replace("# a comment\n", "")) == [("New York/B is  big/O", "1"), ("yes/O", "5")]


def test_conllu(tmp_path: Path) -> None:
    expected = ["Vamos/VERB nos/PRON #/SYM", "Nueva York/PROPN"]
    for name, data in (
        ("a.conllu", CONLLU.encode()), ("a.conllu.gz", gzip.compress(CONLLU.encode())), ("pipe", CONLLU.encode()),
        ("a.CONLLU.bz2", bz2.compress(CONLLU.encode())), ("a.conllu.xz", lzma.compress(CONLLU.encode())),
    ):  # fmt: skip
        assert [sentence for sentence, _ in read(tmp_path, data, name)] == expected, name
    assert read(tmp_path, CONLLU, columns=("LEMMA", "5"))[0][0] == "ir/v nos/p #/s"


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        ("", (), "is empty"),
        ("\n\n", (), "has no sentences"),
        ("a b O\n\nc O\n", (), "line 3: 'c O' has 2 columns, and the first token has 3"),
        ("John\nlives\n", (), "line 1: 'John' has no tag"),
        ("a\tO\nb\t\n", (), "line 2: 'b\\t' has no tag in column 2"),
        ("a O\n", ("1", "5"), "line 1: 'a O' has 2 columns, and `columns` names number 5"),
        (CONLLU.replace("VERB", "_"), (), "line 4: '1\\tVamos"),
    ],
)
def test_bad_input_names_the_line(tmp_path: Path, text: str, columns: tuple[str, ...], says: str) -> None:
    with pytest.raises(CharrnnError) as caught:
        read(tmp_path, text, columns=columns)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("columns", [("0", "1"), ("WORD", "TAG"), ("2", "2")])
def test_columns_that_cannot_be(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="`columns` is"):
        read(tmp_path, "a b O\n", columns=columns)


def test_schemes() -> None:
    iob1 = [["I-A", "I-A", "O", "I-A", "B-A", "I-B"]]
    iob2 = [["B-A", "I-A", "O", "B-A", "B-A", "B-B"]]
    assert looks_like_iob1(iob1)
    assert not looks_like_iob1(iob2)
    assert [as_iob2(tags) for tags in iob1] == iob2 == [as_iob2(tags) for tags in iob2]
    assert scheme_of(iob1[0], True) == "iob1"
    assert scheme_of(iob2[0], False) == "iob2"
    assert scheme_of(["B-A", "E-A", "S-A", "O"], False) == "iobes"
    assert scheme_of(["NOUN", "O", "B-A"], False) == scheme_of(["O"], False) == ""


def test_what_may_follow() -> None:
    labels = ("O", "B-A", "I-A", "B-B", "I-B")
    wrong = ill_formed(labels, "iob2")
    allowed = {(a, b) for a in range(6) for b in range(6) if not wrong[a, b]}
    assert {b for a, b in allowed if a == 5} == {0, 1, 3, 5}
    assert {b for a, b in allowed if a == 1} == {0, 1, 2, 3, 5} == {b for a, b in allowed if a == 2}
    wrong = ill_formed(("O", "B-A", "I-A", "E-A", "S-A"), "iobes")
    assert [b for b in range(6) if not wrong[1, b]] == [2, 3] == [b for b in range(6) if not wrong[2, b]]
    assert [b for b in range(6) if not wrong[3, b]] == [0, 1, 4, 5]
    assert not ill_formed(labels, "").any()


def test_a_corpus(tmp_path: Path) -> None:
    corpus = load(tmp_path, "the D\ncat N\nthe D\n\nfast A\nfast N\nfast N\n\n")
    assert corpus.tagset.labels == ("N", "D", "A")
    assert corpus.tagset.scheme == ""
    words, train = list(corpus.vocabulary.units), corpus.train
    assert words[2:] == ["fast", "the", "cat"]
    assert [words[n] for n in train.words.ids[train.ids]] == ["the", "cat", "the", "fast", "fast", "fast"]
    assert train.tags.tolist() == [1, 0, 1, 2, 0, 0]
    assert train.offsets.tolist() == [0, 3, 6]
    assert corpus.tagset.usual == (0, 0, 0, 1, 0)
    assert train.words.counts.tolist() == [2, 1, 3]


def test_iob1_becomes_iob2_and_is_said(tmp_path: Path) -> None:
    corpus = load(tmp_path, "a I-X\nb I-X\nc B-X\nd O\n\n")
    assert set(corpus.tagset.labels) == {"O", "B-X", "I-X"}
    assert [corpus.tagset.labels[tag] for tag in corpus.train.tags] == ["B-X", "I-X", "B-X", "O"]
    assert any("IOB1" in note for note in corpus.notes)


def test_the_split_keeps_duplicates_together(tmp_path: Path) -> None:
    text = "".join(f"w{n % 40} A\nx{n % 7} {'AB'[n % 2]}\n\n" for n in range(400))
    corpus = load(tmp_path, text, val_fraction=0.2)
    assert corpus.validation is not None

    def sentences(ids: np.ndarray, offsets: np.ndarray) -> set[tuple[int, ...]]:
        return {tuple(ids[a:b].tolist()) for a, b in itertools.pairwise(offsets.tolist())}

    held = sentences(corpus.validation.ids, corpus.validation.offsets)
    assert held
    assert not held & sentences(corpus.train.ids, corpus.train.offsets)
    assert len(corpus.train) + len(corpus.validation) == 800


def test_tags_of_the_validation_part_only(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("a N\nb Q\n\n")
    corpus = load(tmp_path, "a N\nb D\n\n", val_path=str(tmp_path / "val.txt"))
    assert corpus.validation is not None
    assert corpus.validation.tags.tolist() == [corpus.tagset.labels.index("N"), -1]
    assert corpus.tagset.others == ("Q",)
    with pytest.raises(CharrnnError, match="the tag 'Q' is not one of the 2 of the model"):
        load(tmp_path, "a Q\n\n", tagset=corpus.tagset, vocabulary=corpus.vocabulary)
    with pytest.raises(CharrnnError, match="all tokens to train on have the tag 'N'"):
        load(tmp_path, "a N\n\n")


def test_parts_of_words() -> None:
    words = ["Haus", "haus", "Hausboot", "x" * 500, "12", "", "ß\u0301", "İ"]
    found = hash_words(words, 3)
    parts = [set(found.hashes[a:b].tolist()) for a, b in itertools.pairwise(found.bounds.tolist())]
    # <h ha au us s> <ha hau aus us>, letters by themselves not; prefixes and suffixes of 3 to 5 letters; the shape
    assert len(parts[0]) == 5 + 4 + 2 + 2 + 1
    assert len(parts[0] & parts[1]) == len(parts[0]) - 1  # but for the shape
    assert len(parts[0] & parts[2]) > 6
    alone = [hash_words([word], 3).hashes for word in words]
    np.testing.assert_array_equal(np.concatenate(alone), found.hashes)
    assert len(hash_words(words, 0).hashes) == 0


def test_batches_have_every_token_once(tmp_path: Path) -> None:
    lines = "".join("".join(f"w{n * k % 50} {'AB'[k % 2]}\n" for k in range(n % 9 + 1)) + "\n" for n in range(100))
    corpus = load(tmp_path, lines)
    part, V = corpus.train, len(corpus.vocabulary)
    batches = TaggedBatches(part, V, corpus.buckets, 16, 1)
    tokens = []
    for step in range(batches.steps_per_epoch):
        batch = batches.batch(step)
        again = batches.batch(step)
        assert batch.bags is not None
        assert again.bags is not None
        np.testing.assert_array_equal(batch.bags.rows, again.bags.rows)
        assert batch.weights is not None
        own = batch.bags.rows[batch.bags.bounds[:-1]]
        assert set(own[own > 0].tolist()) <= set(range(2, V))
        assert (np.delete(batch.bags.rows, batch.bags.bounds[:-1]) >= V).all()
        tokens += batch.targets[batch.weights > 0].tolist()
        assert batch.reset is not None
        assert batch.reset.sum() == len(batches.records(step))
    assert len(tokens) == len(part)
    assert sum(tokens) == part.tags.sum()
    bags = WordBags(part.words.ids, part.words.parts, V, corpus.buckets)
    seen = np.zeros(len(part), np.int64)
    for sentences, batch, places in evaluation_sentences(part, np.arange(len(part.lengths)), bags, 40):
        assert batch.bags is not None
        flat = batch.bags.rows[batch.bags.bounds[:-1]][batch.inputs.reshape(-1)[places]]
        numbers = np.concatenate([np.arange(part.offsets[n], part.offsets[n + 1]) for n in sentences])
        np.testing.assert_array_equal(flat, part.words.ids[part.ids[numbers]])
        seen[numbers] += 1
    assert (seen == 1).all()


def test_rare_words_are_dropped_more_often(tmp_path: Path) -> None:
    """A word that occurs once is read as unknown in a fifth of the steps, a frequent one nearly never."""
    corpus = load(tmp_path, "".join(f"rare{n} A\n" + "often B\n" * 20 + "\n" for n in range(200)))
    batches = TaggedBatches(corpus.train, len(corpus.vocabulary), corpus.buckets, 20, 1)
    unknown = known = 0
    for step in range(100):
        bags = batches.batch(step).bags
        assert bags is not None
        own = bags.rows[bags.bounds[:-1]]
        unknown, known = unknown + int((own == 0).sum()), known + int((own > 0).sum())
    assert 0.15 < unknown / (unknown + known - 100) < 0.25

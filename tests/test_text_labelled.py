"""Records with labels: the formats, what is malformed, labels, vocabulary and the split."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import lzma
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.text import EOS, UNKNOWN, Vocabulary
from charrnn.text.labelled import Record, RecordReader
from charrnn.text.labelled_corpus import LabelledCorpus, load_labelled, load_part
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.reader import Source

CONFIGS = [
    TextConfig(),
    TextConfig(unit="byte"),
    TextConfig(unit="word"),
    TextConfig(unit="word", pretokenized=True),
]


def write(folder: Path, data: bytes | str, name: str = "data.txt") -> str:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def read(path: str, folder: Path, columns: Any = None, **options: Any) -> list[Record]:
    source = Source(path, folder)
    try:
        return list(RecordReader(source, TextConfig(**options), columns))
    finally:
        source.close()


def load(folder: Path, data: bytes | str, config: TextConfig | None = None, **options: Any) -> LabelledCorpus:
    settings: dict[str, Any] = {"val_path": None, "val_fraction": 0, "seed": 0, **options}
    return load_labelled([write(folder, data, "train.txt")], config or TextConfig(), **settings)


def failure(*arguments: Any, **options: Any) -> str:
    with pytest.raises(CharrnnError) as raised:
        load(*arguments, **options)
    assert "\n" not in str(raised.value)
    assert "--" not in str(raised.value)
    return str(raised.value)


def texts(corpus: LabelledCorpus, part: LabelledPart | None) -> list[tuple[str, str]]:
    """The records of a part: label and text, where an end of line stands for an empty text."""
    assert part is not None
    pieces = [part.ids[start:stop] for start, stop in zip(part.offsets[:-1], part.offsets[1:], strict=True)]
    names = [corpus.labels[label] if label >= 0 else "?" for label in part.labels]
    return list(zip(names, map(corpus.vocabulary.decode, pieces), strict=True))


def many(count: int = 400) -> str:
    rng = np.random.default_rng(0)
    words = ["a", "bee", "é", "naïve", "😀", "the", "end", "1.5"]
    lines = [" ".join(rng.choice(words, rng.integers(0, 6))) for _ in range(count)]
    return "".join(f"{'xyz'[len(line) % 3]}\t{line}\n" for line in lines)


def test_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "ham\tHi there\n\n spam \tfree\tmoney \n  \nham\t")
    assert read(path, tmp_path) == [
        ("Hi there", "ham", path, 1), ("free\tmoney ", "spam", path, 3), ("", "ham", path, 5)
    ]  # fmt: skip


def test_fasttext(tmp_path: Path) -> None:
    path = write(tmp_path, "\n__label__ham Hi there\n__label__spam\tfree  money\n__label__ham\n")
    assert read(path, tmp_path) == [
        ("Hi there", "ham", path, 2), ("free  money", "spam", path, 3), ("", "ham", path, 4)
    ]  # fmt: skip


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_and_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Any) -> None:
    class Stdin:
        closed = False
        buffer = io.BytesIO(compress(b"\xef\xbb\xbfx\ta\r\ny\tb\r\n"))

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Stdin())
    corpus = load_labelled(["-"], TextConfig(), val_path=None, val_fraction=0, seed=0)
    assert texts(corpus, corpus.train) == [("x", "a"), ("y", "b")]
    assert corpus.notes == [
        "stdin: the byte order mark at its start was left out",
        "stdin: Windows line ends (CR LF) were read as plain newlines: 2",
    ]
    with pytest.raises(UsageError, match="given twice"):
        load_labelled(["-"], TextConfig(), val_path="-", val_fraction=0, seed=0)


@pytest.mark.parametrize(
    ("data", "columns", "words"),
    [
        ("", None, ["train.txt is empty"]),
        ("\n \n", None, ["train.txt has no records"]),
        ("x\ta\nham Hi\n", None, ["train.txt, line 2: 'ham Hi' has no TAB", "label, a TAB and a text", "`columns`"]),
        ("x\ta\n" + "b" * 99, None, ["line 2: '" + "b" * 40 + "…' has no TAB"]),
        ("x\ta\n\n \ta\n", None, ["line 3: ' \\ta' has an empty label"]),
        ("__label__x a\n__label__ b", None, ["line 2: '__label__ b' has an empty label", "__label__x"]),
        ("__label__x a\nx b", None, ["line 2: 'x b' does not begin with __label__"]),
        ("__label__x __label__y a", None, ["line 1", "another label, __label__y", "several labels are not supported"]),
        ("x\ta\nx\tb\n", None, ["all records to train on have the label 'x'", "two different ones"]),
        ("", (1, 2), ["is empty"]),
        ("text,label\n", ("text", "label"), ["has no records"]),
        (
            "text,label\na,x\n",
            ("texts", "label"),
            ["line 1", "no column 'texts', it has 'text', 'label'", "numbers from 1"],
        ),
        ("text,text\na,x\n", ("text", 2), ["'text' twice"]),
        ("a,x\nb,y\n", (1, 3), ["there are 2 columns", "number 3", "from 1 to 2"]),
        ("a,x\nb, c,y\n", (1, 2), ["line 2: 'b, c,y' has 3 columns, and the first line has 2", "in quotes"]),
        ("a,x\nb, \n", (1, 2), ["line 2: 'b, ' has an empty label", "column 2 must have a label"]),
        (
            'a,x\n"b" c,y\n',
            (1, 2),
            ["line 2: not a row of a table", 'must end with one, and inside it " is written ""'],
        ),
        ('a,x\nb,y\n"b,y\n', (1, 2), ["line 3: not a row of a table"]),
        ("a,x\nb\rc,y\n", (1, 2), ["line 2: not a row of a table", "carriage return", "in quotes"]),
        ("a x\n", (1, 2), ["line 1: 'a x' has neither TAB nor comma"]),
        ("a,x\n", (1, 1), ["`columns` is 1,1", "two different columns"]),
        ("a,x\n", (0, 1), ["`columns` is 0,1"]),
        ("a,x\n", ("a",), ["`columns` is a;"]),
        (b"x\ta\xff\n", None, ["byte 0xff at offset 3", "`errors` replace"]),
        ("".join(f"{n / 7}\ta\n" for n in range(60)), None, ["look like numbers", "60 of 60", "task forecast?"]),
        ("x\t\ny\t\n", None, ["no character of the corpus"]),
    ],
)
def test_malformed_records(tmp_path: Path, data: bytes | str, columns: Any, words: list[str]) -> None:
    message = failure(tmp_path, data, columns=columns)
    for word in words:
        assert word in message


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.unit}{'-pre' * config.pretokenized}")
def test_the_parts_are_the_records(tmp_path: Path, config: TextConfig) -> None:
    data = many()
    corpus = load(tmp_path, data, config, val_fraction=0.2)
    assert corpus.validation is not None
    train, held_out = texts(corpus, corpus.train), texts(corpus, corpus.validation)
    lines = [tuple(line.split("\t")) for line in data.splitlines()]
    if config.unit != "byte":  # whose hashes are those of bytes
        assert held_out == texts(*with_part(load(tmp_path, data, val_fraction=0.2), "validation"))
    assert sorted(train + held_out) == sorted((label, text or "\n") for label, text in lines)
    assert not set(train) & set(held_out)  # duplicates stay together
    assert 0.05 < len(held_out) / len(lines) < 0.5
    assert corpus.digest == hashlib.sha256(data.encode()).hexdigest()
    assert corpus.notes == []
    sizes = corpus.sizes()["validation"]
    assert sizes == {"records": len(held_out), "tokens": len(corpus.validation.ids), "unknown_labels": 0}
    other = load(tmp_path, data, config, val_fraction=0.2, seed=1)
    assert texts(*with_part(other, "validation")) != held_out


def with_part(corpus: LabelledCorpus, name: str) -> tuple[LabelledCorpus, LabelledPart]:
    return corpus, getattr(corpus, name)


@given(
    rows=st.lists(st.tuples(st.sampled_from("xy"), st.text("ab \n\ré😀", max_size=8)), min_size=2, max_size=20),
    config=st.sampled_from(CONFIGS),
)
def test_units_are_those_of_each_text_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], config: TextConfig
) -> None:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([*rows, ("x", "a b"), ("y", "é")])
    folder = tmp_path_factory.mktemp("csv")
    corpus = load(folder, file.getvalue(), config, columns=(2, 1))
    part = corpus.train
    for number, (_, text) in enumerate(rows):
        ids = part.ids[part.offsets[number] : part.offsets[number + 1]].tolist()
        assert ids == (corpus.vocabulary.encode(text.replace("\r\n", "\n")).tolist() or [EOS])
    assert part.offsets[-1] == len(part.ids)
    assert (part.lengths >= 1).all()


def test_labels_are_ordered_by_frequency_then_code_point(tmp_path: Path) -> None:
    corpus = load(tmp_path, "z\ta\né\tb\nb\tc\nz\td\nB\te\n")
    assert corpus.labels == ("z", "B", "b", "é")
    assert corpus.train.labels.tolist() == [0, 3, 2, 0, 1]
    assert corpus.train.labels.dtype == np.int32
    assert corpus.train.ids.dtype == np.uint8
    as_bytes = load(tmp_path, "é\ta\n".encode() + b"\xff\tb\xff\n", TextConfig(unit="byte"))
    assert as_bytes.labels == ("\\xff", "é")
    assert as_bytes.vocabulary.decode_bytes(as_bytes.train.ids) == b"ab\xff"


def test_a_validation_file(tmp_path: Path) -> None:
    path = write(tmp_path, "x\tabq\n\nw\tb\n", "val.txt")
    corpus = load(tmp_path, "x\tab\ny\tb\n", val_path=path, max_length=2)
    assert texts(corpus, corpus.train) == [("x", "ab"), ("y", "b")]
    assert texts(corpus, corpus.validation) == [("x", "ab\ufffd"), ("?", "b")]
    assert corpus.validation is not None
    assert corpus.validation.labels.tolist() == [0, -1]
    assert corpus.sizes()["validation"]["unknown_labels"] == 1
    assert corpus.notes == [
        f"{path}: blank lines were skipped: 1",
        "records of the validation part whose label the training part has not: 1",
    ]
    write(tmp_path, "", "val.txt")
    assert "val.txt is empty" in failure(tmp_path, "x\tab\ny\tb\n", val_path=path)


def test_given_vocabulary_and_labels(tmp_path: Path) -> None:
    vocabulary = Vocabulary.learn({"a": 1, "z": 2}, TextConfig())
    corpus = load(tmp_path, "y\tab\ny\t\n", vocabulary=vocabulary, labels=["x", "y"])
    assert corpus.labels == ("x", "y")
    assert corpus.train.labels.tolist() == [1, 1]
    assert corpus.train.ids.tolist() == [vocabulary.id_of("a"), UNKNOWN, EOS]
    message = failure(tmp_path, "y\tab\nw\tb\n", vocabulary=vocabulary, labels=["x", "y"])
    assert "train.txt, line 2: the label 'w' is not one of the 2 of the model to start from ('x', 'y')" in message
    part, notes = load_part([write(tmp_path, "w\tz\n\ny\tb\n")], TextConfig(), vocabulary, ["x", "y"])
    assert (part.labels.tolist(), part.ids.tolist(), part.offsets.tolist()) == ([-1, 1], [2, UNKNOWN], [0, 1, 2])
    assert notes == [f"{tmp_path / 'data.txt'}: blank lines were skipped: 1"]
    with pytest.raises(UsageError, match="has the unit char, not word"):
        load(tmp_path, "y\tab\n", TextConfig(unit="word"), vocabulary=vocabulary)


def test_long_texts_are_cut(tmp_path: Path) -> None:
    corpus = load(tmp_path, "x\tabcdef\ny\tabc\nx\t\n", max_length=3)
    assert texts(corpus, corpus.train) == [("x", "abc"), ("y", "abc"), ("x", "\n")]
    assert corpus.vocabulary.units[2:] == ("a", "b", "c")
    assert corpus.notes == ["texts of the training part that are longer than `max_length` 3 were cut: 1"]


def test_rare_units_and_options_of_the_vocabulary(tmp_path: Path) -> None:
    corpus = load(tmp_path, "x\tb b b a\ny\ta c\n", TextConfig(unit="word", pretokenized=True, min_count=2))
    assert corpus.vocabulary.units[2:] == ("b", "a")
    assert corpus.train.ids.tolist() == [2, 2, 2, 3, 3, UNKNOWN]
    corpus = load(tmp_path, "x\tb b b a\ny\ta c\n", TextConfig(unit="word", pretokenized=True, max_vocab=3))
    assert corpus.vocabulary.units[2:] == ("b",)


def test_few_texts(tmp_path: Path) -> None:
    for seed in range(20):
        corpus = load(tmp_path, "x\ta\ny\ta\n", val_fraction=0.5, seed=seed)
        assert corpus.validation is None
        assert "no validation part" in corpus.notes[0]
        if "to train on" in (message := failure(tmp_path, "x\ta\ny\tb\n", val_fraction=0.5, seed=seed)):
            assert "`val_fraction` 0 would add" in message
        assert "no character" in failure(tmp_path, "x\t\ny\t\n", val_fraction=0.9, seed=seed)


def test_doubtful_labels_are_said(tmp_path: Path) -> None:
    corpus = load(tmp_path, "".join(f"text {n}\tham\n" for n in range(60)))
    assert "are text and label interchanged?" in corpus.notes[0]
    assert load(tmp_path, "".join(f"{n % 40}\ta\n" for n in range(60))).notes == []
    corpus = load(tmp_path, "text,label\na,x\nb,x\n", columns=(1, 2))
    assert "the first line is read as a record, and no other has its label 'label'" in corpus.notes[0]
    assert "looks like binary" in load(tmp_path, "x\ta\0\0\0\ny\tb\n").notes[0]


def test_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = many()
    for config in CONFIGS:
        whole = load(tmp_path, data, config, val_fraction=0.2)
        with monkeypatch.context() as patched:
            patched.setattr("charrnn.text.reader.BLOCK_BYTES", 7)
            patched.setattr("charrnn.text.labelled_gathering.CHUNK_RECORDS", 3)
            pieces = load(tmp_path, data, config, val_fraction=0.2)
        assert pieces.vocabulary == whole.vocabulary
        assert texts(pieces, pieces.train) == texts(whole, whole.train)
        assert texts(pieces, pieces.validation) == texts(whole, whole.validation)

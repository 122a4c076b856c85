"""Pairs of texts: the formats, what is malformed, how each side is read, labels, the split, and batches."""

from __future__ import annotations

import gzip
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import CharrnnError, UsageError
from charrnn.task_config import PairsConfig
from charrnn.text.pair_batches import PairBatches, evaluation_pairs, joined, pack_pairs, pack_part, pack_sources
from charrnn.text.pair_corpus import ROOM, PairCorpus, PairPart, load_pairs
from charrnn.text.pairs import choose_reading
from charrnn.text.vocabulary import EOS
from tests.test_text_labelled import write

HANGUL = ["".join(chr(0xAC00 + step * n % 11172) for step in (97, 211, 501)) for n in range(100)]


def load(folder: Path, data: bytes | str, name: str = "pairs.tsv", **options: Any) -> PairCorpus:
    fields = {name: options.pop(name) for name in list(options) if name in PairsConfig.__slots__ or name == "columns"}
    fields |= {name: options.pop(name) for name in ("max_length",) if name in options}
    settings: dict[str, Any] = {"val_path": None, "val_fraction": 0, "seed": 0, **options}
    return load_pairs([write(folder, data, name)], PairsConfig(**fields), **settings)


def texts(corpus: PairCorpus, part: PairPart | None = None) -> list[tuple[str, str]]:
    """What a part says, decoded."""
    part = part or corpus.train
    found = []
    for side, ids, offsets in (
        (corpus.source, part.sources.ids, part.sources.offsets), (corpus.target, part.targets.ids, part.targets.offsets)
    ):  # fmt: skip
        decode = side.vocabulary.decode if side.vocabulary else lambda one, side=side: side.labels[int(one[0])]
        found.append([decode(ids[start:stop]) for start, stop in pairwise(offsets)])
    return list(zip(*found, strict=True))


def lines(count: int) -> list[tuple[str, str]]:
    return [(f"w{n % 97}x{n}", " ".join("abc"[int(digit) % 3] for digit in str(1000 + 7 * n))) for n in range(count)]


def text_of(pairs: list[tuple[str, str]]) -> str:
    return "".join(f"{source}\t{target}\n" for source, target in pairs)


def test_lines_tables_and_compressed_files_are_the_same(tmp_path: Path) -> None:
    pairs = lines(40)
    plain = load(tmp_path, text_of(pairs) + "\n  \n")
    assert texts(plain) == pairs
    assert plain.notes == [f"{tmp_path / 'pairs.tsv'}: blank lines were skipped: 2"]
    assert (plain.source.config.unit, plain.target.config.unit, plain.target.config.pretokenized) == (  # type: ignore[union-attr]
        "char", "word", True
    )  # fmt: skip
    table = "n,to,from\n" + "".join(f'{n},"{b}",{a}\n' for n, (a, b) in enumerate(pairs))
    assert texts(load(tmp_path, table, "t.csv", columns=("from", "to"))) == pairs
    swapped = load(tmp_path, text_of(pairs), "s.tsv", columns=("2", "1"))
    assert texts(swapped) == [(target, source) for source, target in pairs]
    assert texts(load(tmp_path, gzip.compress(text_of(pairs).encode()), "z.gz")) == pairs


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ("a\tb\nno tab\n", {}, "line 2: 'no tab' has no TAB; a record is an input, a TAB and an output"),
        ("a\tb\tc\n", {}, "line 1: .* has 3 columns; .*choose two, as `columns` 1,2 or cut -f 1,2 do"),
        ("a\tb\n\nc\t \n", {}, "line 3: .* has an empty output"),
        ("a\tb\n\tc\n", {}, "line 2: .* has an empty input"),
        ("a\tb\tc\nd\t\te\n", {"columns": ("1", "2")}, "line 2: .* has an empty output"),
        ('a,"b\nc"\n', {"columns": ("1", "2"), "name": "t.csv"}, "line 1: .* has a field of several lines"),
        ("", {}, "is empty; give a file of records, each a source text and a target text"),
        ("\n \n", {}, "has no records"),
        ("a\tb\n" * 30, {}, "all records have the same input, 'a'"),
        ("a\tb\nc\tb\n", {"min_count": 2}, "of the inputs, no character of the corpus occurs 2 times or more"),
        ("b\ta\nb\tc\n", {"min_count": 2}, "of the outputs, no character of the corpus occurs 2 times or more"),
        (b"a\tb\xff\n", {}, "byte"),
    ],
)
def test_malformed_records_are_errors_with_file_and_line(
    tmp_path: Path, data: bytes | str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(CharrnnError, match=says) as raised:
        load(tmp_path, data, **options)
    assert str(tmp_path) in str(raised.value) or "same input" in says or "min_count" in options
    assert "--" not in str(raised.value)


def test_options_that_cannot_be() -> None:
    for options, says in (
        ({"unit": "char,word,byte"}, "it must be one unit, or two"),
        ({"unit": "char,letter"}, "must be one of char, word, byte"),
        ({"unit": "char", "pretokenized": True}, "`pretokenized` is for `unit` word"),
        ({"normalize": "nfkc"}, "must be one of auto, none, nfc, nfd"),
        ({"columns": ("a",)}, "it must be two columns"),
    ):
        with pytest.raises(UsageError, match=says):
            PairsConfig(**options)


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        (["tandis", "serres", "abîme"], ("char", False, "none")),
        (["t ɑ̃ d i", "s ɛ ʁ", "a b i m"], ("word", True, "none")),
        (["AH0 B AW1 T", "K AE1 T S", "D AO1 G Z"], ("word", True, "none")),
        (["I was born there.", "Tom tried, and failed.", "No, not at all!"], ("word", False, "none")),
        (["i was born there", "tom tried and failed", "not at all"], ("word", True, "none")),
        (["the 5th of May 1951", "May 17 1862 or so", "on the 12th of June 1904"], ("char", False, "none")),
        (["twenty one thousand and six", "nine hundred and two"], ("word", True, "none")),
        (HANGUL, ("char", False, "nfd")),
    ],
)
def test_how_texts_are_read_is_chosen_by_them(some: list[str], expected: tuple[str, bool, str]) -> None:
    assert tuple(choose_reading(some, None, None, "auto")) == expected
    assert tuple(choose_reading(some, "byte", None, "auto")) == ("byte", False, "none")
    assert tuple(choose_reading(some, "word", True, "nfc")) == ("word", True, "nfc")


def test_a_file_that_is_sorted_by_length(tmp_path: Path) -> None:
    """Where the first texts are short, later ones are looked at as well."""
    names = ["".join(chr(97 + n // 26**k % 26) for k in range(3)) for n in range(9000)]
    words = [f"go {name}." for name in names[:2000]] + [f"they go out tonight, with {name}." for name in names]
    corpus = load(tmp_path, text_of([(word, word.upper()) for word in words]), unit="")
    assert corpus.source.config is not None
    assert (corpus.source.config.unit, corpus.source.config.pretokenized) == ("word", False)


def test_units_of_each_side(tmp_path: Path) -> None:
    pairs = [(f"né {n}", f"漢 {n} {n % 3}") for n in range(30)]
    corpus = load(tmp_path, text_of(pairs), unit="byte,word", min_count=1)
    assert corpus.source.vocabulary is not None
    assert corpus.source.size == 257
    assert texts(corpus) == pairs
    assert corpus.source.vocabulary.decode_bytes(corpus.train.sources.ids[:3]) == "né".encode()
    assert corpus.target.config is not None
    assert corpus.target.config.unit == "word"
    both = load(tmp_path, text_of(pairs), unit="char", max_length=3)
    assert texts(both) == [(source[:3], target[:3]) for source, target in pairs]
    assert both.notes == ["records of the training part with a text longer than `max_length` 3, which was cut: 30"]


def test_characters_taken_apart(tmp_path: Path) -> None:
    corpus = load(tmp_path, text_of([(word, "x" + str(n)) for n, word in enumerate(HANGUL)]))
    assert (corpus.source.form, corpus.target.form) == ("nfd", "none")
    assert [source for source, _ in texts(corpus)] == [unicodedata.normalize("NFD", word) for word in HANGUL]
    assert corpus.source.size < 100 < 200 < len(set("".join(HANGUL)))
    whole = load(tmp_path, text_of([(word, "x" + str(n)) for n, word in enumerate(HANGUL)]), normalize="none")
    assert whole.source.size == len(set("".join(HANGUL))) + 2


def labelled(count: int) -> list[tuple[str, str]]:
    return [(("red", "green ", "blue")[n % 7 % 3], f"{n}{'abc'[n % 3]}") for n in range(count)]


def test_few_different_inputs_with_many_outputs_are_labels(tmp_path: Path) -> None:
    corpus = load(tmp_path, text_of(labelled(60)), val_fraction=0.2)
    assert sorted(corpus.source.labels) == ["blue", "green", "red"]
    counts = np.bincount(corpus.train.sources.ids)
    assert (np.diff(counts) <= 0).all()  # numbered by falling frequency
    assert (corpus.source.size, corpus.source.vocabulary) == (3, None)
    assert "there are only 3 different inputs" in corpus.notes[0]
    assert corpus.validation is not None
    found = texts(corpus) + texts(corpus, corpus.validation)
    assert sorted(found) == sorted((source.strip(), target) for source, target in labelled(60))
    assert {source for source, _ in texts(corpus)} == {"red", "green", "blue"}  # the split is by outputs
    as_text = load(tmp_path, text_of(labelled(60)), unit="char,char")
    assert as_text.source.labels == ()
    assert texts(as_text)[:2] == [("red", "0a"), ("green ", "1b")]
    again = load(tmp_path, text_of(labelled(9)), sides=(corpus.source, corpus.target))
    assert (again.source.labels, again.train.labelled) == (corpus.source.labels, True)
    with pytest.raises(CharrnnError, match="line 2: the label 'pink' is none of the 3 that the model knows: "):
        load(tmp_path, "red\t1\npink\t2\n", sides=(corpus.source, corpus.target))


@pytest.mark.parametrize("options", [{}, {"unit": "char,char"}])
def test_of_few_inputs_each_stays_in_the_training_part(tmp_path: Path, options: dict[str, Any]) -> None:
    """Also one that has a single output, and where inputs are read as texts."""
    pairs = [*labelled(60), ("rare", "one")]
    for seed in range(8):
        corpus = load(tmp_path, text_of(pairs), val_fraction=0.4, seed=seed, **options)
        assert {source.strip() for source, _ in texts(corpus)} == {"red", "green", "blue", "rare"}
        assert corpus.validation is not None


def test_pairs_of_the_same_source_stay_together(tmp_path: Path) -> None:
    pairs = [(f"source {n % 50}", f"target {n}") for n in range(300)]
    corpus = load(tmp_path, text_of(pairs), val_fraction=0.2, seed=3)
    assert corpus.validation is not None
    train, held = ({source for source, _ in texts(corpus, part)} for part in (corpus.train, corpus.validation))
    assert train & held == set()
    assert len(train | held) == 50
    assert 2 <= len(held) <= 20
    assert corpus.sizes()["training"]["records"] + corpus.sizes()["validation"]["records"] == 300
    val = write(tmp_path, "source 1\tnew\n", "val.tsv")
    named = load(tmp_path, text_of(pairs), val_path=val)
    assert named.validation is not None
    assert len(named.train.targets.lengths) == 300
    assert len(named.validation) == 4


def test_no_target_is_longer_than_the_ratio_says(tmp_path: Path) -> None:
    corpus = load(tmp_path, "a\tbcdefg\nabcdefghij\tb\n", unit="char,char")
    assert corpus.train.ratio == pytest.approx(6 / (1 + ROOM))


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(2, 9), min_size=1, max_size=30), st.lists(st.integers(2, 9), min_size=0, max_size=30)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_both_sides_are_packed_whole(pairs: list[tuple[list[int], list[int]]]) -> None:
    """Each target, with its end, beside the source that it has in the order of rows and time."""
    sources, targets = ([np.array(side, np.int32) for side in sides] for sides in zip(*pairs, strict=True))
    batch, places = pack_pairs(joined(sources), joined(targets))
    T, B = batch.inputs.shape
    source = batch.source
    assert source is not None and batch.reset is not None and batch.ends is not None and batch.weights is not None  # noqa: PT018
    assert batch.weights.sum() == sum(len(target) + 1 for target in targets)
    flat = batch.targets.T.reshape(-1)  # by row, and in a row by time
    begins, stops = (np.flatnonzero(flags.T.reshape(-1)) for flags in (batch.reset, batch.ends))
    B_s = source.inputs.shape[1]
    found = []
    for n, (begin, stop) in enumerate(zip(begins, stops, strict=True)):
        target = flat[begin : stop + 1]
        assert target[-1] == EOS
        inputs = batch.inputs.T.reshape(-1)[begin : stop + 1]
        np.testing.assert_array_equal(inputs[1:], target[:-1])
        place, length = int(source.places[n]), int(source.lengths[n])
        units = source.inputs.reshape(-1)[place : place + length * B_s : B_s]
        assert source.reset.reshape(-1)[place]
        assert source.ends.reshape(-1)[place + (length - 1) * B_s]
        found.append((units.tolist(), target[:-1].tolist()))
    assert sorted(found) == sorted((list(source), list(target)) for source, target in pairs)
    steps = np.array([len(target) + 1 for target in targets])
    for target, end in zip(targets, np.cumsum(steps).tolist(), strict=True):
        np.testing.assert_array_equal(batch.targets.reshape(-1)[places[end - len(target) - 1 : end - 1]], target)
    assert steps.sum() <= T * B


def test_a_batch_is_a_function_of_the_step(tmp_path: Path) -> None:
    corpus = load(tmp_path, text_of(lines(50)))
    batches = [PairBatches(corpus.train, 8, seed) for seed in (1, 1, 2)]
    for step in (0, 5, 6, 20):
        one, two, other = (each.batch(step) for each in batches)
        np.testing.assert_array_equal(one.targets, two.targets)
        assert one.targets.shape != other.targets.shape or (one.targets != other.targets).any()
    assert batches[0].steps_per_epoch == 7
    assert (batches[0].batch_size, batches[0].seq_length) == (8, 5)
    weights = [batches[0].batch(step).weights for step in range(7)]
    counted = sum(float(one.sum()) for one in weights if one is not None)
    assert counted == len(corpus.train) == len(corpus.train.targets.ids) + 50
    seen = []
    for records, batch, places in evaluation_pairs(corpus.train, np.arange(50)):
        seen += records.tolist()
        assert batch.source is not None
        assert len(places) == int(corpus.train.targets.lengths[records].sum()) + len(records)
    assert sorted(seen) == list(range(50))


def test_texts_end_and_labels_do_not(tmp_path: Path) -> None:
    batch, _ = pack_part(load(tmp_path, "ab\tc\n" + "d\te\n", unit="char,char").train, np.arange(2))
    assert batch.source is not None
    assert sorted(batch.source.lengths.tolist()) == [2, 3]
    labels, _ = pack_part(load(tmp_path, text_of(labelled(30))).train, np.arange(30))
    assert labels.source is not None
    assert set(labels.source.lengths.tolist()) == {1}
    alone = pack_sources(*joined([np.array([4, 5], np.int32), np.array([6], np.int32)]))
    assert alone.lengths.tolist() == [2, 1]

"""Corpora: splits, counts, sizes, the cache of encoded files, and texts that are too small."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.text import EOS, UNKNOWN, Corpus, Part, Vocabulary, coding, load_corpus

CONFIGS = [
    TextConfig(),
    TextConfig(unit="byte"),
    TextConfig(unit="word"),
    TextConfig(unit="word", pretokenized=True),
    TextConfig(lines=True),
    TextConfig(unit="byte", lines=True),
    TextConfig(unit="word", lines=True),
]
CONFIG_NAMES = [f"{c.unit}{'-pretokenized' * c.pretokenized}{'-lines' * c.lines}" for c in CONFIGS]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load(tmp_path: Path, data: bytes | str, config: TextConfig | None = None, **options: Any) -> Corpus:
    path = tmp_path / "corpus.txt"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    settings: dict[str, Any] = {"val_path": None, "val_fraction": 0.1, "seed": 0, "cache_dir": tmp_path / "cache"}
    return load_corpus([str(path)], config or TextConfig(), **{**settings, **options})


def failure(*arguments: Any, **options: Any) -> str:
    with pytest.raises(CharrnnError) as raised:
        load(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def text_of(corpus: Corpus, part: Part | None) -> str:
    return "" if part is None else corpus.vocabulary.decode(part.ids)


def sample_text() -> str:
    rng = np.random.default_rng(0)
    words = ["a", "bee", "é", "naïve", "😀", "the", "end", "1.5"]
    return "".join(" ".join(rng.choice(words, rng.integers(0, 6))) + "\n" for _ in range(300))


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIG_NAMES)
def test_the_parts_are_the_text(tmp_path: Path, config: TextConfig) -> None:
    text = sample_text()
    loaded = load(tmp_path, text, config, val_fraction=0.2)
    assert loaded.validation is not None
    train, validation = text_of(loaded, loaded.train), text_of(loaded, loaded.validation)
    if config.lines:
        assert sorted(train.split("\n")[:-1] + validation.split("\n")[:-1]) == sorted(text.split("\n")[:-1])
        assert not set(train.split("\n")[:-1]) & set(validation.split("\n")[:-1])  # duplicates stay together
        assert 0.05 < len(validation) / len(text) < 0.5
    else:
        total = len(loaded.vocabulary.encode(text))
        assert len(loaded.train.ids) == int(0.8 * total)
        assert len(loaded.train.ids) + len(loaded.validation.ids) == total
        if not config.pretokenized:
            data = [loaded.vocabulary.decode_bytes(part.ids) for part in (loaded.train, loaded.validation)]
            assert b"".join(data) == text.encode()
    if config.unit != "byte" and not config.pretokenized:
        assert (loaded.train.bytes, loaded.train.characters) == (len(train.encode()), len(train))
        assert (loaded.validation.bytes, loaded.validation.characters) == (len(validation.encode()), len(validation))
    assert loaded.train.bytes + loaded.validation.bytes == len(text.encode())
    assert loaded.train.characters + loaded.validation.characters == len(text)
    assert loaded.digest == hashlib.sha256(text.encode()).hexdigest()
    counts = np.bincount(loaded.train.ids, minlength=len(loaded.vocabulary))[2:]
    assert (np.diff(counts) <= 0).all()
    assert loaded.notes == []


def test_white_space_between_pretokenized_words_counts(tmp_path: Path) -> None:
    line = "  a  bé\t c \n"
    config = TextConfig(unit="word", pretokenized=True)
    loaded = load(tmp_path, line * 100, config, val_fraction=0.25)
    assert loaded.validation is not None
    assert len(loaded.train.ids) == 300
    assert (loaded.train.bytes, loaded.train.characters) == (75 * len(line.encode()), 75 * len(line))
    assert (loaded.validation.bytes, loaded.validation.characters) == (25 * len(line.encode()), 25 * len(line))


@pytest.mark.parametrize(("kinds", "dtype"), [(100, np.uint8), (254, np.uint8), (255, np.uint16), (65535, np.uint32)])
def test_ids_take_the_smallest_type(tmp_path: Path, kinds: int, dtype: type) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + kinds)))
    loaded = load(tmp_path, text, val_fraction=0)
    assert len(loaded.vocabulary) == kinds + 2
    assert loaded.train.ids.dtype == dtype
    assert int(loaded.train.ids.max()) == kinds + 1
    assert loaded.validation is None


def test_only_the_training_part_is_counted(tmp_path: Path) -> None:
    loaded = load(tmp_path, "ab" * 45 + "xyzxyzxyz")
    assert loaded.vocabulary.units[2:] == ("a", "b")
    assert loaded.validation is not None
    assert loaded.validation.ids.tolist() == [UNKNOWN] * 9 + [EOS]
    assert (loaded.validation.bytes, loaded.validation.characters) == (10, 10)


def test_a_validation_file_is_the_validation_part(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("aqua")
    for config in (TextConfig(), TextConfig(lines=True)):
        loaded = load(tmp_path, "abba", config, val_path=str(tmp_path / "val.txt"))
        assert loaded.validation is not None
        assert text_of(loaded, loaded.train) == "abba\n"
        a = loaded.vocabulary.id_of("a")
        assert loaded.validation.ids.tolist() == [a, UNKNOWN, UNKNOWN, a, EOS]
        digests = [hashlib.sha256(data).hexdigest() for data in (b"abba", b"aqua")]
        assert loaded.digest == hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
    (tmp_path / "val.txt").write_text("")
    assert "is empty" in failure(tmp_path, "abba", val_path=str(tmp_path / "val.txt"))


def test_several_files_are_split_each_and_end_in_a_newline(tmp_path: Path, cache: Path) -> None:
    paths = [tmp_path / name for name in ("1", "2", "3")]
    for path, data in zip(paths, [b"abcdefghi", b"", gzip.compress(b"jklmnopqr", mtime=0)], strict=True):
        path.write_bytes(data)
    names = [str(path) for path in paths]
    loaded = load_corpus(names, TextConfig(), val_path=None, val_fraction=0.5, seed=0, cache_dir=cache)
    assert text_of(loaded, loaded.train) == "abcdejklmn"
    whole = load_corpus(names, TextConfig(), val_path=None, val_fraction=0, seed=0, cache_dir=cache)
    assert text_of(whole, whole.train) == "abcdefghi\njklmnopqr\n"
    assert whole.digest == loaded.digest


def test_marks_and_line_ends_that_were_changed_are_said(tmp_path: Path) -> None:
    for _ in range(2):  # encoded, then found encoded
        loaded = load(tmp_path, b"\xef\xbb\xbfab\r\nc\rd\0\r\n", val_fraction=0)
        assert text_of(loaded, loaded.train) == "ab\nc\rd\0\n"
        assert len(loaded.notes) == 3
        assert loaded.notes[0] == f"{tmp_path / 'corpus.txt'}: the byte order mark at its start was left out"
        assert "(CR LF) were read as plain newlines: 2" in loaded.notes[1]
        assert "looks like binary" in loaded.notes[2]


def test_a_word_spelled_eos_is_said(tmp_path: Path) -> None:
    config = TextConfig(unit="word", pretokenized=True)
    loaded = load(tmp_path, "a b <eos>\n" * 10, config, val_fraction=0)
    assert "<eos> stands 10 times" in loaded.notes[0]
    assert (loaded.train.ids == EOS).sum() == 10
    assert (loaded.train.ids == UNKNOWN).sum() == 10


def test_penn_treebank_style(tmp_path: Path) -> None:
    config = TextConfig(unit="word", pretokenized=True)
    loaded = load(tmp_path, " the <unk> fell N \n the N <unk> rose \n", config, val_fraction=0)
    assert loaded.vocabulary.units == ("<unk>", "<eos>", "N", "the", "fell", "rose")
    assert loaded.train.ids.tolist() == [3, 0, 4, 2, 1, 3, 2, 0, 5, 1]
    assert (loaded.vocabulary.fallback.literal, loaded.vocabulary.fallback.mapped) == (2, 0)


@pytest.mark.parametrize("unit", ["char", "word"])
def test_binary_data_is_noticed(tmp_path: Path, unit: str) -> None:
    text = "".join(f"line {number} of a text\twith \x1b[1mcolours\x1b[0m\n" for number in range(50))
    data = bytes(range(256)) * 40

    def notes(data: bytes | str, **options: Any) -> list[str]:
        return load(tmp_path, data, TextConfig(unit=unit, min_count=1, **options)).notes

    assert notes(text) == []
    assert notes(text + "\0") == []
    assert "looks like binary" in notes(text.replace(" of", "\0"))[0]
    assert "`unit` byte" in notes(data, encoding="latin-1")[0]
    assert notes(text.replace("text", "écrit").encode("latin-1"), encoding="latin-1") == []
    said = notes(text.replace("text", "écrit").encode("latin-1"), errors="replace")[0]
    assert "U+FFFD" in said
    assert "`encoding`" in said
    assert load(tmp_path, data, TextConfig(unit="byte")).notes == []


@pytest.mark.parametrize(
    ("data", "config", "words"),
    [
        ("", TextConfig(), ["corpus.txt is empty", "two different characters"]),
        (b"\xef\xbb\xbf", TextConfig(), ["is empty"]),
        (gzip.compress(b"", mtime=0), TextConfig(unit="byte"), ["is empty"]),
        ("a", TextConfig(), ["one character only, 'a'", "two different characters"]),
        ("a\n", TextConfig(lines=True), ["one character only, 'a'"]),
        ("aaaa\naa\n", TextConfig(), ["one character only, 'a'"]),
        ("é", TextConfig(unit="word"), ["one word only, 'é'", "two different words"]),
        ("\x01" * 9, TextConfig(unit="byte"), ["one byte only, '01'"]),
        ("\n\n\n", TextConfig(), ["nothing but line ends"]),
        (" \n \n", TextConfig(unit="word", pretokenized=True), ["nothing but line ends"]),
        ("a" * 90 + "b" * 10, TextConfig(), ["one character only", "`val_fraction` 0"]),
        (b"ab\xff", TextConfig(), ["byte 0xff at offset 2", "`unit` byte", "`errors` replace"]),
        ("a b c", TextConfig(unit="word", min_count=2), ["lower `min_count`"]),
    ],
)
def test_too_little_text(tmp_path: Path, data: bytes | str, config: TextConfig, words: list[str]) -> None:
    message = failure(tmp_path, data, config)
    for word in words:
        assert word in message
    assert ("`val_fraction` 0" in message) == ("`val_fraction` 0" in words)
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []


def test_invalid_utf8_can_be_replaced_or_read_as_bytes(tmp_path: Path) -> None:
    replaced = load(tmp_path, b"ab\xff", TextConfig(errors="replace"), val_fraction=0)
    assert text_of(replaced, replaced.train) == "ab\ufffd\n"
    as_bytes = load(tmp_path, b"ab\xff", TextConfig(unit="byte"), val_fraction=0)
    assert as_bytes.vocabulary.decode_bytes(as_bytes.train.ids) == b"ab\xff\n"


def test_a_given_vocabulary_is_used_as_it_is(tmp_path: Path) -> None:
    vocabulary = Vocabulary.learn({"b": 2, "z": 1}, TextConfig())
    loaded = load(tmp_path, "abc", val_fraction=0, vocabulary=vocabulary)
    assert loaded.vocabulary == vocabulary
    assert loaded.train.ids.tolist() == [UNKNOWN, 2, UNKNOWN, EOS]
    with pytest.raises(UsageError, match="has the unit char, not word"):
        load(tmp_path, "abc", TextConfig(unit="word"), vocabulary=vocabulary)


def test_more_words_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "MOST_WORDS", 3)
    config = TextConfig(unit="word", pretokenized=True)
    text = "a b\nçc dd ç\n" + "é e " * 10
    loaded = load(tmp_path, text, config, val_fraction=0)
    assert loaded.vocabulary.units[2:] == ("a", "b")
    assert loaded.vocabulary.fallback.mapped == 23
    assert loaded.train.bytes == len(text.encode()) + 1
    assert loaded.train.characters == len(text) + 1
    spelled = ["\ufffd" * len(word) for word in text.split() if word not in ("a", "b")]  # whatever their letters were
    assert loaded.train.spelling == pytest.approx(loaded.vocabulary.spelling_log_probs(spelled).sum())
    assert any("count as unknown" in note for note in loaded.notes)


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIG_NAMES)
def test_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: TextConfig) -> None:
    """A corpus read a few bytes at a time is the corpus read at once."""
    text = sample_text()
    whole = load(tmp_path, text, config, cache_dir=tmp_path / "1")
    monkeypatch.setattr("charrnn.text.reader.BLOCK_BYTES", 7)
    pieces = load(tmp_path, text, config, cache_dir=tmp_path / "2")
    assert pieces.vocabulary == whole.vocabulary
    assert pieces.train.ids.tolist() == whole.train.ids.tolist()
    assert pieces.validation is not None
    assert whole.validation is not None
    assert pieces.validation.ids.tolist() == whole.validation.ids.tolist()
    for part, other in ((pieces.train, whole.train), (pieces.validation, whole.validation)):
        assert abs(part.bytes - other.bytes) <= 1  # a space may stand between two pieces
        assert abs(part.characters - other.characters) <= 1
    assert pieces.train.bytes + pieces.validation.bytes == len(text.encode())

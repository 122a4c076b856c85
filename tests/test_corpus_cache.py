"""Encoded corpora: kept, used again, replaced when they cannot be, removed when they are old."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import TextConfig
from charrnn.errors import UsageError
from charrnn.text import corpus, load_corpus, reader, spool
from tests.conftest import TINY, Command
from tests.test_text_corpus import failure, load, text_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_the_encoded_corpus_is_reused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def entries() -> list[str]:
        return sorted(path.name for path in (cache / "corpora").iterdir())

    first = load(tmp_path, "abcab")
    ids = first.train.ids.tolist()
    (entry,) = entries()

    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError("encoded again")

    with monkeypatch.context() as patch:
        patch.setattr(corpus, "encode_sources", forbidden)
        again = load(tmp_path, "abcab")
        assert again.vocabulary == first.vocabulary
        assert again.train.ids.tolist() == ids
        assert (again.train.bytes, again.digest) == (first.train.bytes, first.digest)
        load(tmp_path, gzip.compress(b"abcab"), seed=5)  # the same text; the seed plays no part without lines
        for changes in ({"val_fraction": 0.5}, {"config": TextConfig(min_count=2)}, {"config": TextConfig(lines=True)}):
            with pytest.raises(AssertionError, match="encoded again"):
                load(tmp_path, "abcab", **changes)
    load(tmp_path, "abcad")
    assert len(entries()) == 2
    with monkeypatch.context() as patch:  # nothing of this size is there: it is read once only
        patch.setattr("charrnn.text.reader.Source.digest", forbidden)
        load(tmp_path, "abcadd")
    assert len(entries()) == 3
    # An entry that was cut short is made again.
    path = cache / "corpora" / entry / "train.ids"
    path.write_bytes(path.read_bytes()[:-1])
    assert load(tmp_path, "abcab").train.ids.tolist() == ids
    (cache / "corpora" / entry / "corpus.json").write_text("{")
    assert load(tmp_path, "abcab").train.ids.tolist() == ids
    assert len(entries()) == 3


def test_a_cache_that_cannot_be_written_is_replaced_quietly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    loaded = load(tmp_path, "abcab", cache_dir=tmp_path / "file")
    assert text_of(loaded, loaded.train) == "abcab"
    assert loaded.notes == []


@pytest.mark.parametrize("lines", [False, True])
def test_codes_go_while_the_ids_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: bool) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(reader, "BLOCK_BYTES", 7)
    files: list[int] = []
    take = np.take

    def counting_take(*arguments: Any) -> Any:
        files.append(len(list((tmp_path / "cache").rglob("*.codes.*"))))
        return take(*arguments)

    monkeypatch.setattr(np, "take", counting_take)
    texts = ["".join(f"{source} {n} é漢\n" for n in range(60)) for source in range(3)]
    names = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
        names.append(str(tmp_path / f"{number}.txt"))
    options: dict[str, Any] = {"val_path": None, "val_fraction": 0.3, "seed": 0, "cache_dir": tmp_path / "cache"}
    loaded = load_corpus(names, TextConfig(lines=lines), **options)
    assert loaded.validation is not None
    train, held_out = text_of(loaded, loaded.train), text_of(loaded, loaded.validation)
    if lines:
        assert sorted(train.splitlines() + held_out.splitlines()) == sorted("".join(texts).splitlines())
    else:
        cuts = [int((1 - 0.3) * len(text)) for text in texts]
        assert train == "".join(text[:cut] for text, cut in zip(texts, cuts, strict=True))
        assert held_out == "".join(text[cut:] for text, cut in zip(texts, cuts, strict=True))
    assert files[0] > 100
    assert files[-1] <= 4
    assert not list((tmp_path / "cache").rglob("*.codes.*"))


def test_what_killed_runs_left_is_removed_after_a_day(tmp_path: Path, cache: Path) -> None:
    for name, hours in (("old", 25), ("young", 23)):
        folder = cache / "corpora" / f"{corpus.WORK_PREFIX}{name}"
        folder.mkdir(parents=True)
        (folder / "main.codes").touch()
        os.utime(folder, times=(time.time() - hours * 3600,) * 2)
    load(tmp_path, "abcab")
    left = [path.name for path in (cache / "corpora").glob(f"{corpus.WORK_PREFIX}*")]
    assert left == [f"{corpus.WORK_PREFIX}young"]


def test_an_encoded_corpus_that_cannot_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_read_entry", lambda *arguments: None)
    assert "cannot be read back; remove that folder" in failure(tmp_path, "abcab")


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.Spool, "append", full)
    message = failure(tmp_path, "abcab")
    assert "No space left on device" in message
    assert "CHARRNN_CACHE_DIR" in message
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []


def test_stdin_is_a_corpus(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"val_fraction": 0.0, "seed": 0, "cache_dir": cache}
    for data in (b"abcab", gzip.compress(b"abcab")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        loaded = load_corpus(["-"], TextConfig(), val_path=None, **options)
        assert text_of(loaded, loaded.train) == "abcab\n"
        assert loaded.digest == hashlib.sha256(b"abcab").hexdigest()
    for names, val_path in ((["-", "-"], None), (["-"], "-")):
        with pytest.raises(UsageError, match="given twice"):
            load_corpus(names, TextConfig(), val_path=val_path, **options)


@pytest.mark.parametrize("file", ["training", "validation"])
def test_ids_that_were_damaged_in_the_cache_are_one_error(
    text_file: Path, monkeypatch: pytest.MonkeyPatch, charrnn: Command, file: str
) -> None:
    """What was written there is read as places in memory."""
    train = (
        "train",
        text_file,
        *TINY,
        "--steps",
        "40",
        "--eval-every",
        "5",
        "-q",
        "--force",
        "-o",
        text_file.parent / "m",
    )
    assert charrnn(*train).status == 0
    (record,) = (text_file.parent / "cache" / "corpora").glob("*/corpus.json")
    part = json.loads(record.read_text())["train" if file == "training" else "validation"]
    path = record.parent / part["file"]
    path.write_bytes(bytes([255]) * path.stat().st_size)
    result = charrnn(*train)
    assert result.status == 1
    assert result.err.startswith(f"charrnn: error: the encoded corpus in {record.parent} is damaged: it has the id 255")
    assert result.err.count("\n") == 1

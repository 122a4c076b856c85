"""`charrnn predict`, and `charrnn score` of labelled records, with a small classifier."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import pytest

from charrnn import checkpoint, tasks
from tests.conftest import Command
from tests.test_classify import OPTIONS, records

LINES = [b"abab", b"", b"a\tb\tc", b"   ", "naïve 漢字".encode(), b"\xff\xfeab", b"dddd" * 400, b"bbbbbb"]
CONTROLS = b"cab"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, charrnn: Command) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    (folder / "records.tsv").write_text(records(400))
    path = folder / "m.safetensors"
    result = charrnn("train", folder / "records.tsv", *OPTIONS, "--steps", "60", "--lr", "0.01", "-q", "-o", path)
    assert (result.status, result.err) == (0, "")
    return path


def test_every_line_has_a_record_in_order(charrnn: Command, model: Path) -> None:
    data = b"\n".join(LINES) + b"\n" + CONTROLS  # the last line has no end
    result = charrnn("predict", "-c", model, stdin=data)
    found = result.out.removesuffix(b"\n").split(b"\n")
    assert (result.status, len(found)) == (0, len(LINES) + 1)
    for row, line in zip(found, [*LINES, CONTROLS], strict=True):
        label, probability, text = row.split(b"\t", 2)
        assert label in (b"more a", b"more b")
        assert 0.5 <= float(probability) <= 1
        assert text == line
    assert "bytes that are not UTF-8" in result.err
    for threads in ("1", "2"):
        assert charrnn("predict", "-q", "-c", model, "--threads", threads, stdin=data).out == result.out
    alone = b"".join(charrnn("predict", "-q", "-c", model, stdin=line + b"\n").out for line in [*LINES, CONTROLS])
    assert alone == result.out


def test_a_label_never_tears_a_line(charrnn: Command, model: Path, tmp_path: Path) -> None:
    """A label of a table may have TABs and line ends."""
    loaded = tasks.load_checkpoint(model)
    odd = dataclasses.replace(loaded, data=dataclasses.replace(loaded.data, labels=("a\nb", "c\td\r")))
    checkpoint.save(tmp_path / "odd", odd)
    args = ("-q", "-c", tmp_path / "odd")
    for option in ((), ("-k", "2")):
        rows = charrnn("predict", *args, *option, stdin=b"aaa\nbbb\n").out.split(b"\n")
        assert [row.count(b"\t") for row in rows] == [1 + (not option), 1 + (not option), 0]
    assert b"a\\nb" in rows[0]
    assert json.loads(charrnn("predict", *args, "--format", "jsonl", "aaa").out)["label"] == "a\nb"
    assert charrnn("score", *args, "--columns", "1,2", stdin=b'aaa,"a\nb"\n').out.count(b"\n") == 1


def test_formats(charrnn: Command, model: Path) -> None:
    out = charrnn("predict", "-q", "-c", model, "--header", "aaa").out.decode()
    assert out.startswith("label\tprobability\ttext\nmore a\t0.")
    out = charrnn("predict", "-q", "-c", model, "-k", "2", "aaa").out.decode()
    pairs, text = out.removesuffix("\n").split("\t")
    chances = [float(pair.rpartition(":")[2]) for pair in pairs.replace("more ", "").split(" ")]
    assert (text, len(chances)) == ("aaa", 2)
    assert sum(chances) == pytest.approx(1, abs=2e-6)
    found = json.loads(charrnn("predict", "-q", "-c", model, "-k", "5", "--format", "jsonl", "aaa").out)
    assert list(found) == ["text", "label", "probability", "labels"]
    assert [one["label"] for one in found["labels"]] == ["more a", "more b"]
    assert found["labels"][0]["probability"] == found["probability"] > 0.5
    rows = charrnn("predict", "-q", "-c", model, "--text-field", "2", stdin=b"1\tbbb\tx\n2\taaa\n").out.splitlines()
    assert [row.split(b"\t", 2)[2] for row in rows] == [b"1\tbbb\tx", b"2\taaa"]
    assert [row.split(b"\t")[0] for row in rows] == [b"more b", b"more a"]


def test_compressed_files_and_encodings(charrnn: Command, model: Path, tmp_path: Path) -> None:
    plain = charrnn("predict", "-q", "-c", model, stdin=b"aab\nbba\n").out
    (tmp_path / "lines.gz").write_bytes(gzip.compress(b"aab\nbba\n"))
    assert charrnn("predict", "-q", "-c", model, "-i", tmp_path / "lines.gz").out == plain
    wide = "aab\nbba\n".encode("utf-16")
    assert charrnn("predict", "-q", "-c", model, "--encoding", "utf-16", stdin=wide).out == plain


def test_what_has_no_meaning_is_refused(charrnn: Command, model: Path, models: dict[str, Path]) -> None:
    for args, says in (
        (("predict", "-c", models["char"], "a"), "use charrnn sample or score"),
        (("sample", "-c", model), "use charrnn predict or score"),
        (("score", "-c", model, "--per-token", "a\tb"), "--per-token is not for models of the task classify"),
        (("predict", "-c", model, "--header", "--format", "jsonl", "a"), "--header is for --format tsv"),
        (("predict", "-c", model, "-i", "x", "a"), "a TEXT and --input are both given"),
        (("predict", "-c", model, "--encoding", "latin-1", "a"), "--encoding is for lines that are read"),
    ):
        result = charrnn(*args)
        assert (result.status, result.out) == (2, b""), args
        assert says in result.err.splitlines()[-1]


def test_records_are_scored(charrnn: Command, model: Path) -> None:
    data = b"more a\taaa\n__label__more bbb\nelse\tab\n"
    result = charrnn("score", "-c", model, "--header", stdin=data)
    rows = [row.split(b"\t", 2) for row in result.out.splitlines()]
    assert rows[0] == [b"logprob", b"tokens", b"record"]
    assert [row[1:] for row in rows[1:]] == [[b"1", line] for line in data.splitlines()]
    assert float(rows[1][0]) < 0
    assert [row[0] for row in rows[2:]] == [b"", b""]
    assert "records whose label the model does not know: 2" in result.err
    found = json.loads(charrnn("score", "-q", "-c", model, "--summary", stdin=records(200, seed=1).encode()).out)
    assert list(found) == [
        *("records", "accuracy", "macro_f1", "log_loss", "baseline_accuracy", "unknown_labels", "labels")
    ]
    assert found["records"] == 200 == sum(label["support"] for label in found["labels"].values())
    assert found["accuracy"] > found["baseline_accuracy"]
    one = json.loads(charrnn("score", "-q", "-c", model, "--format", "jsonl", "more a\taaa").out)
    assert one == {"logprob": pytest.approx(float(rows[1][0]), abs=1e-6), "tokens": 1, "label": "more a", "text": "aaa"}
    failed = charrnn("score", "-q", "-c", model, "no tab")
    assert (failed.status, "the text, line 1: 'no tab' has no TAB" in failed.err) == (1, True), failed.err

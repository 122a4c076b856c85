"""`charrnn predict`: one record a line, in order, whatever the bytes."""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn import tasks
from charrnn.cli import lines as line_reader
from charrnn.tasks.trained_classifier import TrainedClassifier
from tests.conftest import Result, run_command

POSIX = pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
ODD = [b"", b"aab", b"a\tb\xff", b"  ", b"b" * 3000, b"\xe6\xbc\xa2 zz", b"", b"bbba"]


def train(folder: Path, name: str, *options: str) -> Path:
    choose = random.Random(0)
    lines = []
    for _ in range(300):
        letter = choose.choice("ab")
        lines.append(f"more {letter}\t{''.join(choose.choices(letter * 4 + 'abcd ', k=choose.randint(1, 20)))}\n")
    corpus, path = folder / f"{name}.tsv", folder / f"{name}.safetensors"
    corpus.write_text("".join(lines))
    small = ("--hidden-size", "8", "--batch-size", "16", "--steps", "30", "--learning-rate", "0.02", "--threads", "1")
    result = run_command("train", corpus, "--task", "classify", *small, *options, "-q", "-o", path)
    assert (result.status, result.err) == (0, "")
    return path


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("classifiers")
    return {unit: train(folder, unit, "--unit", unit) for unit in ("char", "byte", "word")}


@pytest.fixture(scope="module")
def path(classifiers: dict[str, Path]) -> Path:
    return classifiers["char"]


def classifier(path: Path) -> TrainedClassifier:
    model: TrainedClassifier = tasks.task_of(path).trained(tasks.load_checkpoint(path), threads=1, precision="float32")
    return model


def predict(path: Path, *args: str | Path, stdin: bytes = b"") -> Result:
    return run_command("predict", "-q", "-c", path, *args, stdin=stdin)


def test_every_line_gets_one_record_in_order(classifiers: dict[str, Path], tmp_path: Path) -> None:
    data = b"\n".join(ODD)
    (tmp_path / "file").write_bytes(data)
    for unit, path in classifiers.items():
        result = predict(path, stdin=data)
        assert result.status == 0
        assert result.err.count("\n") == result.err.count("bytes that are not UTF-8") == (unit != "byte")
        assert result.out.endswith(b"\n")
        fields = [line.split(b"\t", 2) for line in result.out[:-1].split(b"\n")]
        assert [text for _, _, text in fields] == ODD
        texts = [text if unit == "byte" else text.decode("utf-8", "replace") for text in ODD]
        found = classifier(path).predict(texts)
        assert [label.decode() for label, _, _ in fields] == [one.label for one in found]
        chances = [one.probability for one in found]
        assert [float(chance) for _, chance, _ in fields] == pytest.approx(chances, abs=1e-6)
        assert predict(path, "-i", tmp_path / "file").out == predict(path, stdin=data + b"\n").out == result.out
    assert predict(classifiers["char"], "aaaa", "bbbb").out.split(b"\n")[0].startswith(b"more a\t0.")


def test_nothing_and_blank_lines(path: Path) -> None:
    assert predict(path) == Result(0, b"", "")
    assert predict(path, stdin=b"\n").out.count(b"\n") == 1
    assert predict(path, "").out == predict(path, stdin=b"\n").out


def test_arguments(path: Path, tmp_path: Path) -> None:
    assert predict(path, "aaa", "b\tb\nba", "").out == predict(path, stdin=b"aaa\nb\tb\nba\n\n").out
    file = tmp_path / "aa"
    file.touch()
    result = run_command("predict", "-c", path, file, "-")
    assert f"charrnn predict -i {file}" in result.err
    assert "charrnn predict -i -" in result.err
    for wrong in (("x", "-i", file), ("x", "--encoding", "latin-1"), ("--encoding", "nope"), ("-k", "0")):
        assert predict(path, *wrong).status == 2


def test_header_and_the_most_probable_labels(path: Path) -> None:
    plain = predict(path, "ab\tc").out
    assert predict(path, "--header", "ab\tc").out == b"label\tprobability\ttext\n" + plain
    refused = predict(path, "--header", "--format", "jsonl", "ab")
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    label, chance, text = plain.split(b"\t", 2)
    pairs, rest = predict(path, "-k", "5", "ab\tc").out.split(b"\t", 1)
    assert rest == text
    assert predict(path, "-k", "5", "--header", "ab\tc").out == b"labels\ttext\n" + pairs + b"\t" + text
    other = {b"more a": b"more b", b"more b": b"more a"}[label]
    assert pairs == b"%s:%s %s:%.6f" % (label, chance, other, 1 - float(chance))
    assert predict(path, "-k", "1", "ab\tc").out.split(b"\t")[0] == label + b":" + chance


def test_json(path: Path) -> None:
    record = json.loads(predict(path, "--format", "jsonl", stdin=b"a\xff\tb\n").out)
    assert list(record) == ["text", "label", "probability"]
    assert record["text"] == "a\ufffd\tb"
    best = json.loads(
        predict(path, "--format", "jsonl", "-k", "2", "--text-field", "2", stdin="x\tnaïve\n".encode()).out
    )
    assert list(best) == ["text", "label", "probability", "labels", "line"]
    assert (best["text"], best["line"]) == ("naïve", "x\tnaïve")
    assert best["labels"][0] == {"label": best["label"], "probability": best["probability"]}
    assert sum(one["probability"] for one in best["labels"]) == pytest.approx(1)


def test_a_field_is_the_text(path: Path) -> None:
    lines = [b"7\taaa\tx", b"8\tbbb", b"9\t"]
    records = predict(path, "--text-field", "2", stdin=b"\n".join(lines)).out[:-1].split(b"\n")
    alone = predict(path, stdin=b"aaa\nbbb\n\n").out.split(b"\n")
    for line, record, one in zip(lines, records, alone, strict=False):
        assert record.split(b"\t", 2) == [*one.split(b"\t")[:2], line]
    short = predict(path, "--text-field", "2", stdin=b"x\ta\nno tab\n")
    assert (short.status, short.out.count(b"\n")) == (1, 1)
    assert "line 2 has 1 field" in short.err


def test_neither_threads_nor_chunks_matter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = random.Random(1)
    data = b"\n".join("".join(choose.choices("abcd", k=choose.randint(0, 90))).encode() for _ in range(400))
    whole = predict(path, "--format", "jsonl", "--threads", "1", stdin=data)
    assert whole.out.count(b"\n") == 400
    assert predict(path, "--format", "jsonl", "--threads", "2", stdin=data) == whole
    monkeypatch.setattr(line_reader, "_LARGEST_CHUNK", 100)
    assert predict(path, "--format", "jsonl", "--threads", "2", stdin=data) == whole


def test_labels_are_one_field(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = TrainedClassifier.of

    def renamed(*args: object, **options: object) -> TrainedClassifier:
        model = of(*args, **options)  # type: ignore[arg-type]
        model.labels = ("a\tb\n", "\ud800é")
        return model

    monkeypatch.setattr(TrainedClassifier, "of", renamed)
    out = predict(path, "-k", "2", "abc").out
    assert out.count(b"\n") == 1
    pairs, text = out.split(b"\t")
    assert (text, b"a\\tb\\n:0." in pairs, "?é:0.".encode() in pairs) == (b"abc\n", True, True)
    assert json.loads(predict(path, "--format", "jsonl", "abc").out)["label"] in ("a\tb\n", "?é")


def test_of_a_very_long_text_the_beginning_is_read(
    classifiers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.tasks.trained_classifier.LARGEST", 1)
    monkeypatch.setattr("charrnn.tasks.trained_classifier.POSITIONS", 8)
    for unit, path in classifiers.items():
        begin = ("a b é é a b a b" if unit == "word" else "abéabé c" if unit == "char" else "abéabé").encode()
        result = predict(path, "--format", "jsonl", stdin=begin + b"\n" + begin + b" bbb bb\n" * 2)
        assert "the first 8 units are read" in result.err
        assert result.err.count("\n") == 1
        first, second, *_ = map(json.loads, result.out.splitlines())
        assert second["text"].startswith(first["text"])
        assert len(second["text"]) > len(first["text"])
        assert first["probability"] == second["probability"]
        assert predict(path, stdin=begin).err == ""


def test_each_task_has_its_commands(path: Path, models: dict[str, Path]) -> None:
    result = predict(models["char"], "x")
    assert (result.status, result.out) == (2, b"")
    assert result.err == (
        f"charrnn: error: charrnn predict is not for models of the task language, and {models['char']} is one; use "
        "charrnn sample or score\n"
    )
    result = run_command("sample", "-q", "-c", path, "--seed", "1")
    assert (result.status, result.out) == (2, b"")
    assert "use charrnn predict or score" in result.err


def test_compressed_and_converted(classifiers: dict[str, Path]) -> None:
    import gzip

    data = "naïve\nab\n".encode()
    plain = predict(classifiers["char"], stdin=data)
    assert predict(classifiers["char"], stdin=gzip.compress(data)) == plain
    assert predict(classifiers["char"], "--encoding", "latin-1", stdin="naïve\nab\n".encode("latin-1")) == plain
    refused = predict(classifiers["byte"], "--encoding", "latin-1", stdin=b"a")
    assert (refused.status, refused.err.count("\n")) == (2, 1)


def process(path: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "charrnn", "predict", "-q", "-c", str(path), *args]


@POSIX
def test_the_command_answers_a_conversation(path: Path) -> None:
    with subprocess.Popen(process(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for text in (b"aab", b"", b"b\tb"):
            running.stdin.write(text + b"\n")
            running.stdin.flush()
            assert select.select([running.stdout], [], [], 60)[0]
            assert running.stdout.readline().endswith(b"\t" + text + b"\n")
        running.stdin.close()
        assert running.wait(60) == 0


@POSIX
def test_head_ends_an_endless_pipe(path: Path) -> None:
    endless = [sys.executable, "-c", "import os\nwhile True: os.write(1, b'a\\n' * 999)"]
    with (
        subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source,
        subprocess.Popen(process(path), stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running,
    ):
        assert source.stdout is not None
        assert running.stdout is not None
        assert running.stderr is not None
        source.stdout.close()
        assert running.stdout.readline().endswith(b"\ta\n")
        running.stdout.close()
        assert running.wait(60) == 0
        assert running.stderr.read() == b""
        source.wait(60)

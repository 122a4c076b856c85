"""`charrnn predict` and `charrnn score` of tags: every line comes back, figures are those of conlleval."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.tasks.tag_figures import TagFigures
from charrnn.text.tagged_corpus import TagSet
from tests.conftest import Command
from tests.test_tag import OPTIONS, parts_of_speech, sentences
from tests.test_text_tagged import CONLLU

CONLL = b"-DOCSTART- -X- O\n\naba NN O\nin IN x\n  Tamo NP O \n\n \nTali NP\n, ,"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tags")


@pytest.fixture(scope="module")
def model(folder: Path, charrnn: Command) -> Path:
    (folder / "names.conll").write_text(sentences(250))
    path = folder / "m.safetensors"
    result = charrnn(
        "train", folder / "names.conll", *OPTIONS, "--steps", "200", "--lr", "0.01", "-q", "-o", path
    )  # fmt: skip
    assert (result.status, result.err) == (0, "")
    return path


def test_columns_come_back_with_a_tag(charrnn: Command, model: Path) -> None:
    result = charrnn("predict", "-c", model, stdin=CONLL)
    assert result.status == 0, result.err
    expected = [
        b"-DOCSTART- -X- O O", b"", b"aba NN O O", b"in IN x O", b"  Tamo NP O  B-LOC", b"", b" ", b"Tali NP B-PER",
        b", , O",
    ]  # fmt: skip
    assert result.out.splitlines() == expected
    windows = charrnn("predict", "-q", "-c", model, stdin=CONLL.replace(b"\n", b"\r\n"))
    assert windows.out == result.out
    # What stands in the columns of tags is never looked at, and there may be none.
    bare = b"\n".join(line.split()[0] if line.split() else b"" for line in CONLL.splitlines())
    tags = [line.split()[-1] for line in charrnn("predict", "-q", "-c", model, stdin=bare).out.splitlines() if line]
    assert tags == [line.split()[-1] for line in expected if line.split()]


@pytest.mark.parametrize(
    ("data", "hinted"),
    [
        (b"aba in Tamo\nTali aba\naba\n", True), (b"aba in Tamo Tali\n", True), (b"aba O\nin O\n\nTamo B-LOC\n", False),
        (b"aba\nin\n", False), (b"aba x\n", False), (b"aba\tO\tx\nin\tO\n", False),
        (b"aba in Tamo\tx\nTali aba\tx\n", True), (b"5 000\tO\nin\tO\n", False),
    ],
)  # fmt: skip
def test_sentences_that_are_read_as_columns_are_noted_once(
    charrnn: Command, model: Path, data: bytes, hinted: bool
) -> None:
    said = charrnn("predict", "-c", model, stdin=data).err
    assert said.count("look like sentences; for a sentence a line: --format tsv") == hinted
    assert "look like" not in charrnn("predict", "-c", model, "--format", "tsv", stdin=data).err


def test_universal_dependencies(charrnn: Command, model: Path, folder: Path) -> None:
    lines = CONLLU.splitlines()
    for options, data in (
        ((), CONLLU.encode()), (("--columns", "form"), CONLLU.encode()), ((), gzip.compress(CONLLU.encode()))
    ):  # fmt: skip
        rows = charrnn("predict", "-q", "-c", model, *options, stdin=data).out.decode().splitlines()
        assert len(rows) == len(lines)
        for row, line in zip(rows, lines, strict=True):
            if not line or line.startswith("# "):
                assert row == line
                continue
            before, tab, tag = row.rpartition("\t")
            assert (before, tab) == (line, "\t")
            assert (tag == "_") == (line.split("\t")[0] in ("1-2", "2.1"))
    path = folder / "a.conllu"
    path.write_text("# newpar\n# anything\n" + CONLLU)
    rows = charrnn("predict", "-q", "-c", model, "-i", path).out.decode().splitlines()
    assert rows[:2] == ["# newpar", "# anything"]


def test_sentences_of_a_line(charrnn: Command, model: Path) -> None:
    assert charrnn("predict", "-q", "-c", model, "aba in Tamo Tali", "").out == b"aba/O in/O Tamo/B-LOC Tali/I-LOC\n\n"
    lines = b"aba  in\tTamo\n\n\xff ba/ba\n" + b"ka " * 3000
    rows = charrnn("predict", "-q", "-c", model, "--format", "tsv", stdin=lines).out.decode().splitlines()
    assert rows[:2] == ["aba/O in/O Tamo/B-LOC", ""]
    assert [token.rpartition("/")[0] for token in rows[2].split()] == ["\ufffd", "ba/ba"]
    assert (len(rows), len(rows[3].split())) == (4, 3000)
    found = json.loads(charrnn("predict", "-q", "-c", model, "--format", "jsonl", "in Tamo").out)
    assert found == {"words": ["in", "Tamo"], "tags": ["O", "B-LOC"]}
    objects = charrnn("predict", "-q", "-c", model, "--format", "jsonl", stdin=CONLL).out.splitlines()
    assert [json.loads(row)["words"] for row in objects] == [["aba", "in", "Tamo"], ["Tali", ","]]
    assert charrnn("predict", "-q", "-c", model, "--format", "conll", "in Tamo").out == b"in O\nTamo B-LOC\n\n"


def test_other_columns_and_threads(charrnn: Command, model: Path) -> None:
    data = b"1 aba O\n2 in O\n3 Tamo O\n\n" * 200
    out = charrnn("predict", "-q", "-c", model, "--columns", "2,3", stdin=data).out
    assert out == b"1 aba O O\n2 in O O\n3 Tamo O B-LOC\n\n" * 200
    assert charrnn("predict", "-q", "-c", model, "--columns", "2", "--threads", "2", stdin=data).out == out
    failed = charrnn("predict", "-q", "-c", model, "--columns", "2", stdin=b"1 aba\n\n7\n")
    assert (failed.status, failed.out) == (1, b"1 aba O\n\n")
    assert "line 3 has no token in column 2" in failed.err


def test_a_pipe_is_answered_sentence_by_sentence(model: Path) -> None:
    command = [sys.executable, "-m", "charrnn", "predict", "-q", "-c", str(model), "--threads", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"Tamo", b"aba"):
            process.stdin.write(b"in\n" + word + b"\n\n")
            process.stdin.flush()
            answer = [process.stdout.readline() for _ in range(3)]
            assert [line.split()[:1] for line in answer] == [[b"in"], [word], []]
        process.stdin.close()
        assert process.wait(60) == 0


def test_what_has_no_meaning_is_refused(charrnn: Command, model: Path, models: dict[str, Path]) -> None:
    for args, says in (
        (("sample", "-c", model), "use charrnn predict or score"),
        (("predict", "-c", model, "--header", "a"), "--header is for"),
        (("predict", "-c", model, "-k", "2", "a"), "--best is not for models of the task tag"),
        (("predict", "-c", model, "--text-field", "2", "-i", model), "--text-field is not for models of the task tag"),
        (("predict", "-c", model, "--columns", "1", "a"), "--columns is for CoNLL columns"),
        (("predict", "-c", model, "--columns", "x", "-i", model), "--columns is x, and 'x' is no column"),
        (("score", "-c", model, "--per-token", "a/O"), "--per-token is not for models of the task tag"),
        (("score", "-c", models["char"], "--columns", "1,2", "a"), "--columns is for records"),
        (("score", "-c", models["char"], "--last", "2", "a"), "--last is for models of the task forecast"),
    ):
        result = charrnn(*args)
        assert (result.status, result.out) == (2, b""), args
        assert says in result.err.splitlines()[-1], result.err


def test_sentences_are_scored(charrnn: Command, model: Path, folder: Path) -> None:
    data = b"in O\nTamo B-LOC\n\n\naba O\nqi Q\n"
    result = charrnn("score", "-c", model, "--header", stdin=data)
    rows = [row.split(b"\t") for row in result.out.splitlines()]
    assert rows[0] == [b"logprob", b"tokens", b"record"]
    assert [row[1:] for row in rows[1:]] == [[b"2", b"in/O Tamo/B-LOC"], [b"2", b"aba/O qi/Q"]]
    assert float(rows[1][0]) < 0
    assert rows[2][0] == b""
    assert "sentences with a tag that the model does not know: 1" in result.err
    one = json.loads(charrnn("score", "-q", "-c", model, "--format", "jsonl", "in/O Tamo/B-LOC").out)
    assert one["logprob"] == pytest.approx(float(rows[1][0]), abs=1e-6)
    assert (one["tokens"], one["words"], one["tags"]) == (2, ["in", "Tamo"], ["O", "B-LOC"])
    held = sentences(60, seed=1).encode()
    found = json.loads(charrnn("score", "-q", "-c", model, "--summary", stdin=held).out)
    assert list(found) == [
        *("sentences", "tokens", "accuracy", "baseline_accuracy", "unknown_words", "accuracy_unknown"),
        *("precision", "recall", "f1", "spans"),
    ]
    assert (found["sentences"], list(found["spans"])) == (60, ["LOC", "PER"])
    assert found["accuracy"] > found["baseline_accuracy"]
    # The same from what predict writes.
    out = charrnn("predict", "-q", "-c", model, stdin=held).out.splitlines()
    pairs = [row.split()[1:] for row in out if row]
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs), abs=1e-12)
    failed = charrnn("score", "-q", "-c", model, stdin=b"in O\n\nTamo\n")
    assert (failed.status, "line 3 has no tag" in failed.err) == (1, True), failed.err
    failed = charrnn("score", "-q", "-c", model, "word")
    assert (failed.status, "'word' is no token/TAG" in failed.err) == (1, True), failed.err


def test_tags_that_are_no_spans(charrnn: Command, folder: Path) -> None:
    file, path = folder / "pos.conll", folder / "pos.safetensors"
    file.write_text(parts_of_speech(sentences(100)))
    assert charrnn("train", file, *OPTIONS, "--steps", "10", "-q", "-o", path).status == 0
    found = json.loads(charrnn("score", "-q", "-c", path, "--summary", "-i", file).out)
    assert list(found) == [
        *("sentences", "tokens", "accuracy", "baseline_accuracy", "unknown_words", "accuracy_unknown")
    ]
    empty = charrnn("score", "-c", path, "--summary", stdin=b"")
    found = json.loads(empty.out)
    assert {name: value for name, value in found.items() if value is not None} == {
        "sentences": 0, "tokens": 0, "unknown_words": 0
    }  # fmt: skip
    assert "the input is empty: nothing was scored" in empty.err
    assert charrnn("predict", "-q", "-c", path, stdin=b"").out == b""


def conlleval(true: list[str], predicted: list[str]) -> tuple[int, int, int]:
    """Right, found and true spans of a sentence, token by token as the script counts them."""

    def starts(before: str, tag: str) -> bool:
        (b, old), (t, new) = (x.split("-", 1) if "-" in x else (x, "") for x in (before, tag))
        return t in "BS" or (t in "EI" and b in "ESO") or (t != "O" and old != new)

    def ends(tag: str, after: str) -> bool:
        (t, old), (a, new) = (x.split("-", 1) if "-" in x else (x, "") for x in (tag, after))
        return t in "ES" or (t in "BI" and a in "BSO") or (t != "O" and old != new)

    right = found = support = 0
    inside = False
    for n in range(len(true) + 1):
        t, p = (tags[n] if n < len(tags) else "O" for tags in (true, predicted))
        before_t, before_p = (tags[n - 1] if n else "O" for tags in (true, predicted))
        if inside:
            end_t, end_p = ends(before_t, t), ends(before_p, p)
            if end_t and end_p:
                inside, right = False, right + 1
            elif end_t != end_p or t.partition("-")[2] != p.partition("-")[2]:
                inside = False
        start_t, start_p = starts(before_t, t) and t != "O", starts(before_p, p) and p != "O"
        if start_t and start_p and t.partition("-")[2] == p.partition("-")[2]:
            inside = True
        found, support = found + start_p, support + start_t
    return right, found, support


LABELS = ("O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B")


def drawn(seed: int) -> tuple[TagFigures, list[list[str]], list[list[str]]]:
    """Figures of random sentences, most of them ill-formed, added in pieces; tags that are true and predicted."""
    rng = np.random.default_rng(seed)
    figures = TagFigures(TagSet(LABELS, "iobes", (0, 1, 2)))
    true: list[list[str]] = []
    predicted: list[list[str]] = []
    for _ in range(20):
        lengths = rng.integers(1, 9, 10)
        gold = rng.integers(0, len(LABELS), lengths.sum()).astype(np.int32)
        guess = np.where(rng.random(len(gold)) < 0.7, gold, rng.integers(0, len(LABELS), len(gold))).astype(np.int32)
        figures.add(gold, guess, rng.integers(0, 3, len(gold)).astype(np.int32), lengths.astype(np.int64))
        cuts = np.cumsum(lengths)[:-1]
        true += [[LABELS[n] for n in part] for part in np.split(gold, cuts)]
        predicted += [[LABELS[n] for n in part] for part in np.split(guess, cuts)]
    return figures, true, predicted


@pytest.mark.parametrize("seed", range(5))
def test_spans_are_counted_as_conlleval_counts_them(seed: int) -> None:
    figures, true, predicted = drawn(seed)
    right, found, support = np.sum([conlleval(*pair) for pair in zip(true, predicted, strict=True)], axis=0).tolist()
    result = figures.as_dict()
    assert result["precision"] == right / found
    assert result["recall"] == right / support
    assert result["f1"] == pytest.approx(2 * right / (found + support), rel=1e-12)
    assert sum(kind["support"] for kind in result["spans"].values()) == support


@pytest.mark.peers
def test_spans_are_counted_as_seqeval_counts_them() -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    for seed in range(5):
        figures, true, predicted = drawn(seed)
        result = figures.as_dict()
        assert result["precision"] == pytest.approx(metrics.precision_score(true, predicted), rel=1e-12)
        assert result["recall"] == pytest.approx(metrics.recall_score(true, predicted), rel=1e-12)
        assert result["f1"] == pytest.approx(metrics.f1_score(true, predicted), rel=1e-12)

"""`charrnn predict`, `score` and `sample` with small translators."""

from __future__ import annotations

import json
import random
import select
import subprocess
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.errors import UsageError
from charrnn.tasks.trained_translator import TrainedTranslator
from charrnn.text.pair_corpus import LONGER
from tests.conftest import Command
from tests.test_cli_predict_lines import POSIX, process
from tests.test_translate import SOUNDS, labelled, pairs

OPTIONS = (
    *("--task", "translate", "--hidden-size", "32", "--embedding-size", "8", "--batch-size", "16", "--threads", "1"),
    *("--dropout", "0", "--steps", "400", "--lr", "0.01", "-q", "--seed", "1"),
)
LINES = [b"abc", b"", b"sh", b"   ", "naïve 漢字".encode(), b"\xff\xfeab", b"abcde" * 100, b"eeee", b"a\tb"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, charrnn: Command) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "pairs.tsv").write_text(pairs(500))
    result = charrnn("train", folder / "pairs.tsv", *OPTIONS, "-o", folder / "m.safetensors")
    assert (result.status, result.err) == (0, "")
    return folder / "m.safetensors"


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory, charrnn: Command) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    (folder / "styles.tsv").write_text(labelled(300))
    result = charrnn("train", folder / "styles.tsv", *OPTIONS, "-o", folder / "m.safetensors")
    assert (result.status, result.err.count("\n")) == (0, 0)
    return folder / "m.safetensors"


def test_it_has_learned(charrnn: Command, sounds: Path) -> None:
    result = charrnn("predict", "-q", "-c", sounds, "shabe", "cad", "edsh")
    assert result.out.decode() == "S A B E E\nK A D\nE E D S\n"
    records = "".join(f"{a + b}\t{SOUNDS[a]} {SOUNDS[b]}\n" for a in SOUNDS for b in SOUNDS)
    found = json.loads(charrnn("score", "-q", "-c", sounds, "--summary", stdin=records.encode()).out)
    assert found["exact_match"] > 0.9
    assert found["token_error_rate"] < 0.1
    assert found["records"] == found["sources"] == len(SOUNDS) ** 2
    assert list(found)[:8] == [
        "records", "sources", "logprob", "tokens", "oov", "perplexity", "exact_match", "token_error_rate"
    ]  # fmt: skip
    assert {"bleu", "chrf", "bleu_signature", "chrf_signature"} <= set(found)


def test_every_line_has_an_output_in_order(charrnn: Command, sounds: Path) -> None:
    data = b"\n".join(LINES)  # the last line has no end
    result = charrnn("predict", "-c", sounds, stdin=data)
    found = result.out.removesuffix(b"\n").split(b"\n")
    assert (result.status, len(found)) == (0, len(LINES))
    assert found[0] == b"A B K"
    assert "bytes that are not UTF-8" in result.err
    for threads in ("1", "2"):
        assert charrnn("predict", "-q", "-c", sounds, "--threads", threads, stdin=data).out == result.out
    alone = b"".join(charrnn("predict", "-q", "-c", sounds, stdin=line + b"\n").out for line in LINES)
    assert alone == result.out


def test_logprobs_are_those_of_score(charrnn: Command, sounds: Path) -> None:
    sources = ["abc", "shede", "e", "cab", "dshdsh", "zzz"]
    rows = charrnn("predict", "-q", "-c", sounds, "--nbest", "4", "--header", *sources).out.decode().splitlines()
    assert rows[0] == "rank\tlogprob\toutput"
    fields = [row.split("\t") for row in rows[1:]]
    assert [int(rank) for rank, _, _ in fields[:4]] == [1, 2, 3, 4]
    records, logprobs, number = [], [], -1
    for rank, logprob, output in fields:
        number += rank == "1"
        records.append(f"{sources[number]}\t{output}\n")
        logprobs.append(float(logprob))
    scored = charrnn("score", "-q", "-c", sounds, stdin="".join(records).encode()).out.decode().splitlines()
    assert [float(row.split("\t")[0]) for row in scored] == pytest.approx(logprobs, abs=1e-4)
    assert [row.split("\t", 2)[2] + "\n" for row in scored] == records
    greedy = charrnn("predict", "-q", "-c", sounds, "--beam", "1", "--nbest", "1", *sources).out.decode().splitlines()
    best = [logprob for (rank, _, _), logprob in zip(fields, logprobs, strict=True) if rank == "1"]
    assert all(float(row.split("\t")[1]) <= value + 1e-5 for row, value in zip(greedy, best, strict=True))


def test_formats(charrnn: Command, sounds: Path) -> None:
    found = json.loads(charrnn("predict", "-q", "-c", sounds, "--format", "jsonl", "--alignment", "shab").out)
    assert list(found) == ["text", "output", "logprob", "tokens", "source_units", "output_units", "alignment"]
    assert found["source_units"] == ["s", "h", "a", "b", "<eos>"]
    assert found["output_units"] == ["S", "A", "B", "<eos>"]
    weights = np.array(found["alignment"])
    assert weights.shape == (found["tokens"], 5) == (4, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-4)
    table = charrnn("predict", "-q", "-c", sounds, "--alignment", "shab").out.decode().splitlines()
    assert table[0] == "S A B"
    assert table[1].split() == ["s", "h", "a", "b", "<eos>"]
    assert [row.split()[0] for row in table[2:6]] == ["S", "A", "B", "<eos>"]
    best = json.loads(charrnn("predict", "-q", "-c", sounds, "--format", "jsonl", "--nbest", "2", "cad").out)
    assert (len(best["outputs"]), best["outputs"][0]["output"]) == (2, best["output"])
    rows = charrnn("predict", "-q", "-c", sounds, "--text-field", "2", stdin=b"1\tcad\tx\n2\tab\n").out
    assert rows == b"K A D\t1\tcad\tx\nA B\t2\tab\n"
    record = json.loads(charrnn("score", "-q", "-c", sounds, "--format", "jsonl", "cad\tK A D").out)
    assert list(record) == ["logprob", "tokens", "oov", "perplexity", "text", "output"]


def test_several_references(charrnn: Command, sounds: Path) -> None:
    records = b"cad\tK A\ncad\tK A D\nab\tA A\n"
    found = json.loads(charrnn("score", "-q", "-c", sounds, "--summary", stdin=records).out)
    assert (found["records"], found["sources"], found["exact_match"]) == (3, 2, 0.5)
    assert found["token_error_rate"] == pytest.approx(1 / 5)


def test_an_output_that_never_ends_is_cut(sounds: Path, charrnn: Command, tmp_path: Path) -> None:
    from charrnn import checkpoint, tasks

    loaded = tasks.load_checkpoint(sounds)
    loaded.weights["output.bias"][1] = -1000
    checkpoint.save(tmp_path / "endless", loaded)
    result = charrnn("predict", "-c", tmp_path / "endless", "--format", "jsonl", "abc", "a")
    rows = [json.loads(row) for row in result.out.splitlines()]
    assert [row["cut"] for row in rows] == [True, True]
    model = charrnn_model(tmp_path / "endless")
    assert [row["tokens"] for row in rows] == [model.limit(4), model.limit(2)]
    args = ("predict", "-q", "-c", tmp_path / "endless", "--format", "jsonl", "--alignment")
    shown = json.loads(charrnn(*args, "abc").out)
    assert len(shown["output_units"]) == len(shown["alignment"]) == shown["tokens"]
    assert result.err.count("warning: an output did not end") == 1
    assert f"at most {LONGER:g} times as long" in result.err


def charrnn_model(path: Path) -> TrainedTranslator:
    found: TrainedTranslator = charrnn.load(path, threads=1)
    return found


def test_samples(charrnn: Command, styles: Path) -> None:
    args = ("sample", "-q", "-c", styles, "--seed", "3", "--count", "12")
    result = charrnn(*args, "-p", "red", "-p", "blue")
    rows = result.out.decode().splitlines()
    assert (result.status, len(rows)) == (0, 24)
    assert len(set("".join(rows[:12])) & set("abc")) == 3
    assert sum(c in "abc" for c in "".join(rows[:12])) > 0.9 * sum(map(len, rows[:12])) > 10
    assert charrnn(*args, "-p", "blue", "--threads", "2").out.decode().splitlines() == rows[12:]
    fewer = charrnn(*args[:-1], "3", "--prompt-file", "-", stdin=b"red\nblue\n").out.decode().splitlines()
    assert fewer == rows[:3] + rows[12:15]
    record = json.loads(charrnn(*args, "-p", "red", "--format", "jsonl").out.splitlines()[0])
    assert (record["prompt"], record["text"], record["seed"]) == ("red", rows[0], 3)
    cold = charrnn("sample", "-q", "-c", styles, "-p", "red", "-t", "0", "--count", "2").out.splitlines()
    assert cold[0] == cold[1]
    one = charrnn("sample", "-q", "-c", styles, "-p", "red", "--seed", "1", "-n", "1", "--count", "9").out.splitlines()
    assert {len(row) for row in one} <= {0, 1}


def test_labels(charrnn: Command, styles: Path) -> None:
    result = charrnn("predict", "-c", styles, stdin=b"red\nblue\npink\nred\n")
    assert (result.status, result.out.count(b"\n")) == (1, 2)
    assert "the label 'pink' is none of the 3 that the model knows" in result.err
    for label in ("red", "green", "blue"):
        assert repr(label) in result.err
    result = charrnn("sample", "-q", "-c", styles, "-p", "pink")
    assert (result.status, "the label 'pink'" in result.err) == (1, True)
    result = charrnn("sample", "-q", "-c", styles)
    assert (result.status, "its labels are" in result.err) == (2, True)
    scored = charrnn("score", "-q", "-c", styles, "red\tabca", "blue\tabca").out.splitlines()
    right, wrong = (float(row.split(b"\t")[0]) for row in scored)
    assert right > wrong + 2  # a Bayes classifier


def test_what_has_no_meaning_is_refused(charrnn: Command, sounds: Path, styles: Path) -> None:
    for args, says in (
        (("predict", "-c", sounds, "-k", "2", "a"), "--best is not for models of the task translate"),
        (("predict", "-c", sounds, "--beam", "0", "a"), "--beam"),
        (("predict", "-c", sounds, "--beam", "2", "--nbest", "3", "a"), "--nbest is 3 and --beam 2, and the search"),
        (("score", "-c", sounds, "--text-field", "2", "a\tb"), "--text-field is not for models of the task translate"),
        (("score", "-c", sounds, "--per-token", "a\tb"), "--per-token is not for models of the task translate"),
        (("sample", "-c", sounds, "--seed", "1", "-p", "a", "--stop", "b"), "--stop is not for models of the task"),
        (("sample", "-c", sounds, "--seed", "1", "-p", "a", "-n", "inf"), "--length inf is not for models"),
        (
            ("sample", "-c", sounds, "--seed", "1", "-p", "a", "--echo"),
            "--echo is not for models of the task translate",
        ),
        (("sample", "-c", sounds, "--seed", "1", "-p", "a", "-n", "10000000"), "--length"),
        (("sample", "-c", sounds, "--seed", "1"), "and there is none"),
    ):
        result = charrnn(*args)
        assert (result.status, result.out) == (2, b""), args
        assert says in result.err, args
    for data, says in ((b"a\tB\nno tab\n", "line 2: 'no tab' has no TAB"), (b"a\tb\tc\n", "has 3 columns")):
        result = charrnn("score", "-q", "-c", sounds, stdin=data)
        assert (result.status, says in result.err, result.err.count("\n")) == (1, True, 1)
    assert charrnn("score", "-c", sounds, "--summary", stdin=b"").status == 0


def test_unknown_words_are_copied(charrnn: Command, tmp_path: Path) -> None:
    """The output names who is named somewhere in the source. Most names are unknown: the one attended to is written."""
    choose = random.Random(0)
    usual = ["tom", "ann", "bob", "zoe", "max", "eva", "leo", "mia"]
    records = []
    for n in range(500):
        name = choose.choice(usual) if n % 3 else f"n{n}"
        before, after = (["la"] * choose.randint(0, 3), ["lo"] * choose.randint(0, 3))
        records.append(f"{' '.join([*before, name, *after])}\tvoit {name} ici\n")
    (tmp_path / "pairs.tsv").write_text("".join(records))
    command = ("train", tmp_path / "pairs.tsv", *OPTIONS, "--unit", "word", "--pretokenized", "-o", tmp_path / "m")
    result = charrnn(*command)
    assert (result.status, result.err) == (0, "")
    args = ("predict", "-q", "-c", tmp_path / "m")
    sources = ("la la zorro lo", "bilbo lo", "la tom")
    copied = charrnn(*args, "--copy-unknown", *sources).out.decode().splitlines()
    assert copied == ["voit zorro ici", "voit bilbo ici", "voit tom ici"]
    ranked = charrnn(*args, "--copy-unknown", "--nbest", "1", "la la zorro lo").out.decode().split("\t")
    model = charrnn_model(tmp_path / "m")
    [scored] = model.score([("la la zorro lo", "voit zorro ici")])
    spelled = model.vocabulary.spelling_log_probs(["zorro"])[0]
    assert float(ranked[1]) == pytest.approx(scored.logprob - spelled, abs=1e-3)  # that of <unk>
    plain = charrnn(*args, *sources).out.decode()
    assert ("zorro" in plain, "<unk>" in plain) == (False, False)


def test_a_long_source_is_read_whole(charrnn: Command, sounds: Path) -> None:
    result = charrnn("predict", "-q", "-c", sounds, "--beam", "1", "--format", "jsonl", stdin=b"abc" * 3000)
    assert result.status == 0
    assert len(json.loads(result.out)["text"]) == 9000


@POSIX
def test_a_pipe_is_answered_line_by_line(sounds: Path) -> None:
    with subprocess.Popen(process(sounds), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for text, sound in ((b"cad", b"K A D\n"), (b"she", b"S E E\n")):
            running.stdin.write(text + b"\n")
            running.stdin.flush()
            assert select.select([running.stdout], [], [], 60)[0]
            assert running.stdout.readline() == sound
        running.stdin.close()
        assert running.wait(60) == 0


def test_the_library_writes_what_the_commands_write(charrnn: Command, sounds: Path) -> None:
    model = charrnn_model(sounds)
    [[first, second], [other, _]] = model.predict(["cad", "she"], best=2)
    assert (first.text, other.text) == ("K A D", "S E E")
    assert first.logprob >= second.logprob
    assert model.score([("cad", first.text)])[0].logprob == pytest.approx(first.logprob, abs=1e-4)
    assert repr(first) == f"Output('K A D', logprob={first.logprob:.3f})"
    drawn = charrnn("sample", "-q", "-c", sounds, "--seed", "5", "-p", "cad", "--count", "3", "--precision", "float32")
    assert model.sample("cad", count=3, seed=5) == drawn.out.decode().splitlines()
    with pytest.raises(UsageError, match="give a list of texts"):
        model.predict("cad")

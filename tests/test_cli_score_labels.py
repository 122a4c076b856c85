"""`charrnn score` of a classifier: how probable the labels of records are, and figures over all of them."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Result, run_command
from tests.test_cli_predict_lines import classifier, predict, train


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("classifier"), "m")


def score(path: Path, *args: str | Path, stdin: bytes = b"") -> Result:
    return run_command("score", "-q", "-c", path, *args, stdin=stdin)


RECORDS = [("more a", "aaab"), ("more b", "a\tb"), ("other", "ab"), ("more b", ""), ("more a", "bbb"), ("more b", "bb")]
TSV = "".join(f"{label}\t{text}\n" for label, text in RECORDS).encode()


def test_a_record_has_the_logprob_of_its_label(path: Path) -> None:
    result = score(path, stdin=TSV)
    assert result.status == 0
    assert result.err == "charrnn: warning: records whose label the model does not know: 1\n"
    model = classifier(path)
    values = model.log_probs([text for _, text in RECORDS])
    lines = result.out.decode().splitlines()
    assert [line.split("\t", 2)[1:] for line in lines] == [["1", f"{label}\t{text}"] for label, text in RECORDS]
    wanted = [
        float(values[n, model.labels.index(label)]) if label in model.labels else None
        for n, (label, _) in enumerate(RECORDS)
    ]
    assert lines[2].startswith("\t1\tother\t")
    found = [line.split("\t")[0] for line in lines]
    assert [float(one) if one else None for one in found] == [one and pytest.approx(one, abs=1e-6) for one in wanted]
    records = [json.loads(line) for line in score(path, "--format", "jsonl", stdin=TSV[:-1]).out.splitlines()]
    assert [(one["label"], one["text"]) for one in records] == RECORDS
    assert [one.get("logprob") for one in records] == wanted
    halves = [
        float(line.split("\t")[0] or 0)
        for line in score(path, "--log-base", "2", stdin=TSV).out.decode().split("\n")[:-1]
    ]
    assert halves == [pytest.approx((one or 0) / math.log(2), abs=1e-5) for one in wanted]
    assert score(path, "--header", stdin=TSV).out == b"logprob\ttokens\trecord\n" + result.out


def test_records_of_fasttext_and_blank_lines(path: Path) -> None:
    # The labels of this model have a space; a first word has none.
    lines = b"\n__label__more aab\n\n __label__x  b b\n"
    result = run_command("score", "-c", path, "--format", "jsonl", stdin=lines)
    assert [(one["label"], one["text"]) for one in map(json.loads, result.out.splitlines())] == [
        ("more", "aab"),
        ("x", "b b"),
    ]
    assert "blank lines were skipped: 2" in result.err
    for wrong in (b"more a\taa\nnothing\nmore a\tb\n", b"__label__x a\n__label__ b\n", b"more a\taa\n\tb\n"):
        refused = score(path, stdin=wrong)
        assert (refused.status, refused.out.count(b"\n")) == (1, 1)
        assert refused.err.endswith("(charrnn predict needs no label)\n")
        assert re.search("standard input, line 2: .* has (no TAB|an empty label);", refused.err)


TABLE = "Текст,n,label\n" + "".join(f'"{text}",{n},{label}\n' for n, (label, text) in enumerate(RECORDS))


def test_columns_of_a_table(path: Path, tmp_path: Path) -> None:
    """The records of a table are scored as those of lines are, each with its row."""
    plain = [line.split("\t", 2)[0] for line in score(path, stdin=TSV).out.decode().splitlines()]
    file = tmp_path / "records.csv"
    file.write_text(TABLE)
    rows = TABLE.splitlines()[1:]
    for args, stdin in ((("-i", file), b""), ((), TABLE.encode()), ((), TABLE.replace("\n", "\r\n").encode())):
        for columns in ("Текст,label", "1,label"):
            result = score(path, "--columns", columns, *args, stdin=stdin)
            assert [line.split("\t", 2) for line in result.out.decode().splitlines()] == [
                [logprob, "1", row] for logprob, row in zip(plain, rows, strict=True)
            ]
    found = json.loads(score(path, "--columns", "1,3", "--summary", stdin=TABLE.encode()).out)
    assert (found["records"], found["unknown_labels"]) == (len(RECORDS) + 1, 2)  # numbers: no header
    several = 'label,text\n"more a","a\nb"\n\n"more b",b\n'
    lines = score(path, "--columns", "text,label", stdin=several.encode()).out.decode().splitlines()
    assert [line.split("\t")[2] for line in lines] == ['"more a","a\\nb"', '"more b",b']
    wrong = score(path, "--columns", "text,label", "-i", file)
    assert (wrong.status, wrong.out) == (1, b"")
    assert f"{file}, line 1: the header has no column 'text', it has 'Текст', 'n', 'label'" in wrong.err
    short = score(path, "--columns", "1,label", stdin=b"text,label\nab,more a\nb\n")
    assert (short.status, short.out.count(b"\n")) == (1, 1)
    assert "standard input, line 3: 'b' has 1 columns, and the first line has 2" in short.err
    both = score(path, "--columns", "1,2", "--text-field", "1", stdin=b"")
    assert (both.status, "leave one of them out" in both.err) == (2, True)


def test_the_columns_of_training_are_the_default(tmp_path: Path) -> None:
    path = train(tmp_path, "t", "--columns", "2,1")
    piped = score(path, stdin=b"more a,aab\n")
    assert piped.out.decode().split("\t", 1)[1] == "1\tmore a,aab\n"
    assert score(path, stdin=b"aab\n").err.endswith(
        "(2,1 are those of training; --columns 2,1 reads a label, a TAB and a text)\n"
    )
    assert score(path, "more a\taab").out.split(b"\t")[0] == piped.out.split(b"\t")[0]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_rows_of_an_endless_table_are_answered_as_they_come(path: Path) -> None:
    command = [sys.executable, "-m", "charrnn", "score", "-q", "-c", str(path), "--columns", "text,label"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for data, rows in ((b"text,label\nab,more a\n", 1), (b'"a\n', 0), (b'b",more b\nb,more b\n\n', 2)):
            process.stdin.write(data)
            process.stdin.flush()
            for _ in range(rows):
                assert process.stdout.readline().count(b"\t") == 2
        process.stdin.close()
        assert (process.stdout.read(), process.wait()) == (b"", 0)


def test_summary(path: Path) -> None:
    result = score(path, "--summary", stdin=TSV)
    assert result.out.count(b"\n") == 1
    found = json.loads(result.out)
    assert list(found) == [
        *("records", "accuracy", "macro_f1", "log_loss", "baseline_accuracy", "unknown_labels", "labels")
    ]
    chosen = [
        line.split("\t")[0]
        for line in predict(path, stdin="".join(f"{t}\n" for _, t in RECORDS).encode()).out.decode().splitlines()
    ]
    right = [label == best for (label, _), best in zip(RECORDS, chosen, strict=True)]
    assert (found["records"], found["unknown_labels"]) == (6, 1)
    assert found["accuracy"] == pytest.approx(np.mean(right))
    logprobs = [
        float(line.split("\t")[0]) for line in score(path, stdin=TSV).out.decode().splitlines() if line[0] != "\t"
    ]
    assert found["log_loss"] == pytest.approx(-np.mean(logprobs), abs=1e-6)
    assert {label: one["support"] for label, one in found["labels"].items()} == {"more a": 2, "more b": 3}
    assert found["macro_f1"] == pytest.approx(np.mean([one["f1"] for one in found["labels"].values()]))
    empty = run_command("score", "-c", path, "--summary", stdin=b"")
    nothing = {"records": 0, "unknown_labels": 0, "labels": {}}
    assert (empty.status, json.loads(empty.out)) == (0, dict.fromkeys(found) | nothing)
    assert "the input is empty" in empty.err
    unknown = json.loads(score(path, "--summary", stdin=b"x\ta\n").out)
    assert (unknown["accuracy"], unknown["log_loss"], unknown["unknown_labels"]) == (0, None, 1)


@pytest.mark.parametrize("options", [("--stream",), ("--per-token",), ("--format", "table"), ("--vs", "x")])
def test_what_is_for_language_models_is_refused(path: Path, options: tuple[str, ...]) -> None:
    result = score(path, *options, stdin=TSV)
    assert (result.status, result.out, result.err.count("\n")) == (2, b"", 1)
    assert f"{options[0]} " in result.err
    assert "is not for models of the task classify" in result.err


def test_a_language_model_is_not_compared_with_a_classifier(path: Path, models: dict[str, Path]) -> None:
    result = score(models["char"], "--vs", path, stdin=b"a\n")
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert f"--vs {path} is of the task classify" in result.err

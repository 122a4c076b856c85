"""How the commands read lines for a translator: tables, labels that it does not know, empty outputs."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from charrnn import checkpoint
from charrnn.config import TextConfig
from charrnn.errors import UsageError
from charrnn.formats import TextSide
from charrnn.sampling_config import SamplingConfig
from charrnn.tasks import trained_translator
from charrnn.tasks.translate import TASK
from charrnn.text.vocabulary import Vocabulary
from tests.conftest import Command
from tests.test_translate import labelled, pairs

OPTIONS = (
    *("--task", "translate", "--hidden-size", "16", "--embedding-size", "8", "--batch-size", "16", "--threads", "1"),
    *("--dropout", "0", "--steps", "20", "-q", "--seed", "1"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, charrnn: Command) -> Path:
    """With models of a table, `table`, and of labels, `styles`."""
    folder = tmp_path_factory.mktemp("lines")
    rows = "".join(f"{n},{line.replace(chr(9), ',')}\n" for n, line in enumerate(pairs(300).splitlines()))
    (folder / "table.csv").write_text("number,en,fr\n" + rows)
    (folder / "styles.tsv").write_text(labelled(300))
    for name, data, *more in (("table", "table.csv", "--columns", "en,fr", "--unit", "char"), ("styles", "styles.tsv")):
        result = charrnn("train", folder / data, *OPTIONS, *more, "-o", folder / name)
        assert result.status == 0, result.err
    return folder


def test_a_table_is_scored_as_it_was_read(charrnn: Command, folder: Path) -> None:
    args = ("score", "-q", "-c", folder / "table")
    records = [
        json.loads(row) for row in charrnn(*args, "-i", folder / "table.csv", "--format", "jsonl").out.splitlines()
    ]
    assert [f"{one['text']}\t{one['output']}" for one in records] == pairs(300).splitlines()
    lines = charrnn(*args, "--columns", "1,2", stdin=pairs(300).encode()).out.splitlines()
    assert [float(line.split(b"\t")[0]) for line in lines] == pytest.approx([one["logprob"] for one in records])
    result = charrnn(*args, stdin=b"number,en,fr\n1,ab,A B\n2,ab\n")
    assert (result.status, result.out.count(b"\n")) == (1, 1)
    assert "standard input, line 3" in result.err
    assert "en,fr are those of training" in result.err


def test_an_empty_output_has_a_score_and_an_empty_input_none(charrnn: Command, folder: Path) -> None:
    args = ("score", "-q", "-c", folder / "table", "--columns", "1,2")
    result = charrnn(*args, stdin=b"ab\tA B\n\nab\t\n \tA\nab\tA\n")
    assert (result.status, result.out.count(b"\n")) == (1, 2)
    assert result.out.splitlines()[1].split(b"\t")[1:] == [b"1", b"ab", b""]
    assert "standard input, line 4: ' \\tA' has an empty input" in result.err


def test_unknown_labels_are_counted(charrnn: Command, folder: Path) -> None:
    args, data = ("score", "-c", folder / "styles"), b"red\tabc\npink\tabc\nblue\tgh\n"
    result = charrnn(*args, stdin=data)
    assert (result.status, result.err.count("records whose label the model does not know: 1")) == (0, 1)
    rows = [row.split(b"\t") for row in result.out.splitlines()]
    assert [row[0] == b"" for row in rows] == [False, True, False]
    assert rows[1][1:] == [b"4", b"pink", b"abc"]
    odd = json.loads(charrnn(*args, "-q", "--format", "jsonl", stdin=data).out.splitlines()[1])
    assert [odd[name] for name in ("logprob", "oov", "perplexity", "text")] == [None, None, None, "pink"]
    found = json.loads(charrnn(*args, "-q", "--summary", stdin=data).out)
    assert (found["records"], found["unknown_labels"], found["tokens"]) == (3, 1, 7)
    assert (found["exact_match"], found["token_error_rate"], found["bleu"]) == (None, None, None)
    nothing = json.loads(charrnn(*args, "-q", "--summary", stdin=b"pink\tabc\n").out)
    assert (nothing["records"], nothing["tokens"], nothing["perplexity"]) == (1, 0, None)
    assert json.loads(charrnn(*args, "-q", "--summary", stdin=b"").out)["perplexity"] is None
    assert found["logprob"] == pytest.approx(float(rows[0][0]) + float(rows[2][0]), abs=1e-4)


def test_an_unknown_label_is_named_with_its_line(charrnn: Command, folder: Path) -> None:
    result = charrnn("predict", "-c", folder / "styles", stdin=b"red\nblue\n\nred\n")
    assert (result.status, result.out.count(b"\n")) == (1, 2)
    assert "standard input, line 3: the label '' is none of the 3 that the model knows" in result.err
    result = charrnn("predict", "-c", folder / "styles", stdin="red\n\u00a0red\n".encode())
    assert (result.status, result.out.count(b"\n")) == (1, 1)
    assert "line 2: the label" in result.err


def test_a_prompt_with_unknown_units_is_warned_of_once(charrnn: Command, folder: Path) -> None:
    args = ("sample", "-q", "-c", folder / "table", "--seed", "1", "--count", "3")
    result = charrnn(*args, "-p", "aЖ", "-p", "bЩ")
    assert (result.status, result.out.count(b"\n"), result.err.count("\n")) == (0, 6, 1)
    assert "units that the model does not know: 'Ж', 'Щ'" in result.err
    assert charrnn(*args, "-p", "ab").err == ""


def test_odd_inputs_of_predict_are_warned_of_once(charrnn: Command, folder: Path) -> None:
    args = ("predict", "-q", "-c", folder / "table")
    result = charrnn(*args, stdin="ab\naЖ\nbЩ\n".encode())
    assert (result.status, result.out.count(b"\n"), result.err.count("\n")) == (0, 3, 1)
    assert "standard input has units that the model does not know: 'Ж', 'Щ'" in result.err
    result = charrnn(*args, stdin="ab\tA B\naЖ\tA\n".encode())
    assert (result.status, result.out.count(b"\n"), result.err.count("\n")) == (0, 2, 1)
    assert "standard input has TABs, and each line is read as one input" in result.err
    assert charrnn(*args, "--text-field", "1", stdin=b"ab\tA B\nb\tA\n").err == ""


def test_many_samples_come_in_parts(charrnn: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("sample", "-q", "-c", folder / "styles", "--seed", "1", "-p", "red", "-p", "blue", "--count", "5")
    whole = charrnn(*args, "--format", "jsonl").out
    monkeypatch.setattr(trained_translator, "AT_ONCE", 2)
    assert charrnn(*args, "--format", "jsonl").out == whole
    rows = [json.loads(row) for row in whole.splitlines()]
    assert [(row["prompt"], row["index"]) for row in rows] == [(p, n) for p in ("red", "blue") for n in range(5)]
    model = TASK.trained(checkpoint.load(folder / "styles", TASK.format), threads=1, precision="float32")
    assert len(list(model.draw([b"red"], SamplingConfig(seed=1), 5))) == 3
    assert len(model.sample("red", count=5, seed=1)) == 5


def test_an_unknown_character_is_copied(folder: Path) -> None:
    loaded = checkpoint.load(folder / "table", TASK.format)
    loaded.weights["output.bias"][0] = 1000
    model = TASK.trained(loaded, threads=1, precision="float32")
    [[copied]] = model.predict(["ab"], beam=1, copy_unknown=True)
    assert set(copied.text) == set("".join(copied.units)) <= {"a", "b"}
    with pytest.raises(UsageError, match="`beam` is 1001"):
        model.predict(["ab"], beam=1001)


def test_labels_may_end_in_other_white_space(folder: Path) -> None:
    loaded = checkpoint.load(folder / "styles", TASK.format)
    side = dataclasses.replace(loaded.data.source, labels=("red\u00a0", "green", "blue"))
    loaded = dataclasses.replace(loaded, data=dataclasses.replace(loaded.data, source=side))
    model = TASK.trained(loaded, threads=1, precision="float32")
    assert [model.knows(text) for text in ("red\u00a0", " red\u00a0\t", "red", "\u00a0blue", "blue ")] == [
        True, True, False, False, True
    ]  # fmt: skip


def test_the_format_refuses_forms_of_bytes_and_too_many_labels(folder: Path) -> None:
    loaded = checkpoint.load(folder / "table", TASK.format)
    good = json.loads(json.dumps(TASK.format.describe(loaded.model, loaded.data)))
    config = TextConfig(unit="byte")
    text = TextSide(Vocabulary.learn({}, config), config).to_json()
    bad = {**good, "text": text, "output": {**good["output"], "form": "nfd"}}
    with pytest.raises(ValueError, match="the form of output is nfd, and bytes have none"):
        TASK.format.parse(bad)
    labels = {**good, "input": {"kind": "labels", "labels": [str(n) for n in range(1001)]}}
    with pytest.raises(ValueError, match="1001 labels; at most 1000"):
        TASK.format.parse(labels)


def test_training_ends_with_a_command_that_suits_the_model(charrnn: Command, folder: Path) -> None:
    ended = charrnn("train", "--resume", "-o", folder / "styles").err.splitlines()[-1]
    command = shlex.split(ended)
    assert command[:4] == ["charrnn", "sample", "-c", str(folder / "styles")]
    assert (command[4], command[5] in {"red", "green", "blue"}) == ("-p", True)
    assert charrnn(*command[1:]).status == 0
    ended = charrnn("train", "--resume", "-o", folder / "table").err.splitlines()[-1]
    assert ended == f"charrnn predict -c {folder / 'table'}"
    args = ("train", folder / "styles.tsv", "--task", "translate", "--cell", "lstm,gru")
    mixed = charrnn(*args, "-o", folder / "mixed")
    assert (mixed.status, "all layers of a translator have the same" in mixed.err) == (2, True)

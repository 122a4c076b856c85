"""`charrnn train --memory`, and score and sample with what it makes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import charrnn
from charrnn import checkpoint
from charrnn.errors import UsageError
from charrnn.tasks.copies import Copies
from charrnn.tasks.language import TASK
from charrnn.training.task import Request
from tests.conftest import TINY, run_command, sentences
from tests.task_runs import assert_interruption_changes_no_bit

pytestmark = pytest.mark.slow  # the first of them compiles a minute: networks, tables, mixers, samples

TEXT = sentences(300)
OTHER = sentences(60, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, another text, and models with and without a memory."""
    path = tmp_path_factory.mktemp("memory")
    (path / "corpus.txt").write_text(TEXT, encoding="utf-8")
    (path / "other.txt").write_text(OTHER, encoding="utf-8")
    for name, options in (
        ("with", ["--memory"]),
        ("lines", ["--memory", "--lines"]),
        ("bytes", ["--memory", "--unit", "byte"]),
    ):
        args = [*TINY, "--steps", "60", "--memory-size", "2MB", *options, "-o", path / f"{name}.safetensors"]
        result = run_command("train", path / "corpus.txt", *map(str, args))
        assert result.status == 0, result.err
    return path


def score(folder: Path, *args: str | Path, model: str = "with") -> dict[str, Any]:
    """The summary of a text."""
    result = run_command("score", "-c", folder / f"{model}.safetensors", "-q", "--summary", *args)
    assert result.status == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


@pytest.mark.parametrize("model", ["with", "lines", "bytes"])
def test_it_says_more_of_a_text_than_the_network(folder: Path, model: str) -> None:
    given = ("-i", folder / "other.txt")
    frozen, alone, adapted = (
        score(folder, *given, *options, model=model) for options in ((), ("--no-memory",), ("--adapt",))
    )  # fmt: skip
    assert frozen["bits_per_byte"] < alone["bits_per_byte"] - 0.3
    assert np.isfinite(adapted["bits_per_byte"])
    assert (frozen.get("adapted"), adapted["adapted"]) == (None, True)
    assert frozen["tokens"] == adapted["tokens"] == alone["tokens"]


def test_what_was_read_before_is_known_where_it_learns(folder: Path) -> None:
    (folder / "twice.txt").write_text("eht tac stae ereh\n" * 30, encoding="utf-8")
    frozen, adapted = (
        score(folder, "-i", folder / "twice.txt", "--stream", *options) for options in ((), ("--adapt",))
    )  # fmt: skip
    assert adapted["bits_per_byte"] < 0.5 * frozen["bits_per_byte"]


def test_a_line_has_one_score(folder: Path) -> None:
    """Whatever its neighbours, order and threads are; in the library, too."""
    lines = [line for line in OTHER.split("\n") if line][:12]
    whole = run_command("score", "-c", folder / "with.safetensors", "-q", *lines).out
    assert run_command("score", "-c", folder / "with.safetensors", "-q", "--threads", "3", *lines).out == whole
    turned = run_command("score", "-c", folder / "with.safetensors", "-q", *lines[::-1]).out
    assert sorted(turned.splitlines()) == sorted(whole.splitlines())
    model = charrnn.load(folder / "with.safetensors")
    found = [one.logprob for one in model.score(lines)]
    np.testing.assert_allclose(found, [float(line.split()[0]) for line in whole.splitlines()], rtol=1e-5)
    [one] = model.score(lines[3:4], per_token=True)
    assert sum(one.unit_logprobs) == pytest.approx(found[3])
    assert model.without_memory().score(lines[:1])[0].logprob < found[0]


def test_unknown_characters_have_a_finite_score(folder: Path) -> None:
    for options in ((), ("--adapt",), ("--stream",)):
        (folder / "strange.txt").write_text("漢字 é \U0001f600 abc\n" * 3, encoding="utf-8")
        found = score(folder, "-i", folder / "strange.txt", *options)
        assert np.isfinite(found["logprob"])
        assert found["oov"] > 0


def test_every_line_is_answered_where_it_learns(folder: Path) -> None:
    result = run_command(
        "score", "-c", folder / "with.safetensors", "--adapt", "--format", "jsonl", stdin=b"the cat\n\nthe cat\n"
    )  # fmt: skip
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [record["text"] for record in records] == ["the cat", "", "the cat"]
    assert all(record["adapted"] for record in records)
    assert records[2]["logprob"] > records[0]["logprob"]


def test_samples(folder: Path) -> None:
    def sample(*args: str) -> Any:
        return run_command("sample", "-c", folder / "with.safetensors", "-n", "80", "--seed", "1", *args)

    whole = sample("--count", "3", "--threads", "1")
    assert whole.status == 0, whole.err
    assert sample("--count", "3", "--threads", "2").out == whole.out
    assert whole.out.startswith(sample().out)
    assert sample("--no-memory").out != sample().out
    assert sample("-t", "0", "-k", "1").out == sample("-t", "0").out
    assert len(sample("-p", "the ", "--top-p", "0.9").out.decode()) == 81


def test_copies_are_as_short_as_asked(folder: Path) -> None:
    def sample(*args: str) -> Any:
        found = run_command(
            "sample", "-c", folder / "with.safetensors", "-n", "200", "--count", "2", "--seed", "3", "-t", "0.5",
            "--novelty", "--format", "jsonl", *args,
        )  # fmt: skip
        assert found.status == 0, found.err
        return found

    model = charrnn.load(folder / "with.safetensors")
    text = model.vocabulary.decode(model.memory.text)
    for longest in (3, 9):
        short = sample("--max-copy", str(longest))
        for drawn in (json.loads(line)["text"] for line in short.out.splitlines()):
            assert all(drawn[n : n + longest + 1] not in text for n in range(len(drawn) - longest))
        assert f"0.0 % of 400 units lie in copies of more than {longest} units" in short.err
    share = re.search(r"([\d.]+) % of 400 units lie in copies of more than 50 units", sample().err)
    assert share


def test_what_is_copied_is_counted() -> None:
    text = np.frombuffer(b"abcdefghijabcxyz", np.uint8)
    copies = Copies(text, 3)
    marks = copies.copied(np.frombuffer(b"--bcdef--abcx-ijab", np.uint8))
    assert "".join("x" if mark else "." for mark in marks) == "..xxxxx..xxxx.xxxx"
    assert np.flatnonzero(copies.continued(np.frombuffer(b"abc", np.uint8).astype(np.int64), 256)).tolist() == [
        100,
        120,
    ]
    assert not copies.continued(np.array([-1, 97, 98]), 256).any()
    assert not Copies(text[:2], 3).copied(text).any()


@pytest.mark.parametrize("lines", [False, True])
def test_interrupted_and_resumed_ends_with_the_same_bits(folder: Path, tmp_path: Path, lines: bool) -> None:
    given = {
        "memory": True, "memory_size": 300_000, "hidden_size": 8, "steps": 12, "eval_every": 4, "batch_size": 2,
        "seq_length": 16, "lines": lines,
    }  # fmt: skip
    whole, parts = (
        Request([str(folder / "corpus.txt")], tmp_path / name, given, cache=tmp_path) for name in ("whole", "parts")
    )  # fmt: skip
    end = assert_interruption_changes_no_bit(TASK, whole, parts, 7)
    assert (end.val_figures["memory_bits_per_byte"] or 0) > 0
    one, other = (load_file(request.output) for request in (whole, parts))
    names = [name for name in one if name.startswith("memory.")]
    assert {"memory.slots", "memory.text", "memory.kept.mixers"} <= set(names)
    for name in names:
        np.testing.assert_array_equal(one[name], other[name])


def test_the_network_sees_no_text_of_the_mixers(folder: Path) -> None:
    asked = Request([str(folder / "corpus.txt")], folder / "none", {"memory": True, "steps": 1})
    corpus, plain = (TASK.read(one, None) for one in (asked, Request(asked.corpora, asked.output, {})))
    assert corpus.calibration is not None
    ids, size = plain.train.ids, int(0.05 * len(plain.train.ids))
    begin = (len(ids) - size) // 2
    np.testing.assert_array_equal(corpus.calibration, ids[begin : begin + size])
    np.testing.assert_array_equal(corpus.train.ids, np.delete(ids, np.s_[begin : begin + size]))
    (folder / "sorted.txt").write_text("".join(sorted(TEXT.splitlines(keepends=True))), encoding="utf-8")
    asked = dataclasses.replace(asked, corpora=[str(folder / "sorted.txt")])
    by_lines, plain_lines = (
        TASK.read(dataclasses.replace(asked, given={"lines": True, "steps": 1, **memory}), None)
        for memory in ({"memory": True}, {})
    )  # fmt: skip
    assert by_lines.calibration is not None
    parts = [plain.vocabulary.decode(ids).split("\n")[:-1] for ids in (by_lines.train.ids, by_lines.calibration)]
    assert sorted(parts[0] + parts[1]) == sorted(plain.vocabulary.decode(plain_lines.train.ids).split("\n")[:-1])
    assert parts[1][0] < parts[0][len(parts[0]) // 4]  # not the last ones
    saved = checkpoint.load(folder / "with.safetensors")
    np.testing.assert_array_equal(saved.memory["text"], np.concatenate([corpus.train.ids, corpus.calibration]))


REFUSED = [
    (["train", "corpus.txt", "--memory", "--unit", "word", "--steps", "2"], "`memory` is for characters and bytes"),
    (["train", "corpus.txt", "--memory-size", "1MB", "--steps", "2"], "memory-size is for --memory"),
    (["train", "corpus.txt", "--memory", "--memory-size", "1", "--steps", "2"], "from 100,000 to"),
    (["train", "corpus.txt", "--memory", "--memory-size", "much", "--steps", "2"], "write 100MB"),
    (["train", "short.txt", "--memory", "--steps", "2"], "needs some to fit its weights"),
    (["score", "-c", "none.safetensors", "--no-memory", "a"], "--no-memory is for a model with a memory"),
    (["sample", "-c", "none.safetensors", "--max-copy", "5"], "--max-copy needs the corpus"),
    (["sample", "-c", "none.safetensors", "--novelty"], "--novelty needs the corpus"),
    (["sample", "-c", "none.safetensors", "--no-memory"], "--no-memory is for a model with a memory"),
]


@pytest.mark.parametrize(("args", "said"), REFUSED, ids=[" ".join(args) for args, _ in REFUSED])
def test_what_has_no_meaning_is_one_line(
    folder: Path, models: dict[str, Path], args: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "none.safetensors").write_bytes(models["char"].read_bytes())
    (folder / "short.txt").write_text("abc abd abc", encoding="utf-8")
    result = run_command(*args, *(["-o", "new.safetensors"] if args[0] == "train" else []))
    assert result.status in (1, 2)
    assert result.err.count("\n") == 1 or args[0] != "train"
    assert said.replace("`memory`", "--memory") in result.err.replace("`memory`", "--memory")


def test_the_library_refuses_what_needs_a_corpus(models: dict[str, Path]) -> None:
    model = charrnn.load(models["char"])
    with pytest.raises(UsageError, match="`memory`"):
        model.copied(b"abc", 5)


def test_info_says_what_it_has(folder: Path) -> None:
    result = run_command("info", folder / "with.safetensors")
    assert result.status == 0
    assert re.search(r"memory\s+of [\d,]+ units, [\d.]+ MB", result.out.decode())

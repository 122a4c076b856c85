"""What people complain of in programs like this one, and why it cannot happen here.

Where another test shows it, that test is named.

| complaint | shown by |
|---|---|
| resuming starts the learning rate afresh | test_end_to_end_runs.test_interrupted_and_resumed_is_uninterrupted |
| reading a corpus takes 20 times its size in memory | test_reading_a_corpus_takes_no_multiple_of_it |
| accents and other scripts come out broken | test_many_bytes_a_character |
| a character of the prompt that is not in the corpus is a crash | test_a_prompt_of_unknown_characters |
| a tiny corpus trains nothing, and says nothing | test_cli_train.test_very_small_corpora |
| the saved model is all NaN | test_training_mishaps.test_weights_that_blow_up_are_never_saved |
| scores lack lines, or are in another order than the text | test_no_line_is_lost_and_none_changes_its_place |
| the last line counts only if it ends in a newline | test_a_last_line_without_its_end |
| one unknown word costs the line its score | test_one_unknown_word_costs_a_word |
| a smaller vocabulary has the better perplexity | test_a_small_vocabulary_does_not_flatter |
| the length includes the prompt | test_the_prompt_is_no_part_of_the_length |
| samples end in the middle of a sentence | test_samples_end_where_sentences_do |
| errors look like results: on standard output, with status 0 | test_errors_are_no_results, test_bad_input |
| it fails where compiled code cannot be kept | test_a_compile_cache_that_cannot_be_written |
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from charrnn.config import TextConfig
from charrnn.text import load_corpus
from tests.conftest import TINY, Command, sentences


def records(charrnn: Command, *args: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    """What `charrnn ARGS` prints as JSON."""
    result = charrnn(*args, stdin=stdin)
    assert (result.status, result.err) == (0, "")
    return [json.loads(line) for line in result.out.splitlines()]


@pytest.mark.parametrize("config", [TextConfig(), TextConfig(unit="byte"), TextConfig(lines=True)], ids=repr)
def test_reading_a_corpus_takes_no_multiple_of_it(tmp_path: Path, config: TextConfig) -> None:
    def peak(copies: int) -> int:
        path = tmp_path / f"{copies}.txt"
        path.write_text(
            "".join(f"{number} {text}" * copies for number, text in enumerate(["naïve\n", "漢字\n"])) * 1000
        )
        tracemalloc.start()
        try:
            load_corpus([str(path)], config, val_path=None, val_fraction=0.1, seed=0, cache_dir=tmp_path / "cache")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    small, large = peak(200), peak(1000)  # 4 and 19 MB
    assert large - small < 4_000_000


def test_many_bytes_a_character(models: dict[str, Path], charrnn: Command) -> None:
    texts = ["«señor»", "«se", "漢字 😀 é\u0301"]
    for name in ("char", "byte", "word"):
        found = records(charrnn, "score", "-q", "-c", models[name], "--format", "jsonl", *texts)
        assert [record["text"] for record in found] == texts
        assert [record["bytes"] for record in found] == [len(text.encode()) + 1 for text in texts]
        assert [record["characters"] for record in found] == [len(text) + 1 for text in texts]
    # However a sample is cut, the pieces of a character model are whole characters.
    for length in range(1, 12):
        args = ("-p", "our se", "-n", str(length), "--seed", "4", "--delimiter", "")
        out = charrnn("sample", "-q", "-c", models["char"], *args).out
        assert len(out.decode()) == length
    # A byte model may be cut within one: it goes on where the bytes of the prompt end, and those of the sample are raw.
    half = "señor".encode()[:3].decode("utf-8", "surrogateescape")
    out = charrnn(
        "sample", "-q", "-c", models["byte"], "-p", half, "-n", "1", "--seed", "1", "--delimiter", "", "--echo"
    ).out
    assert (out[:3], len(out)) == ("señor".encode()[:3], 4)
    alone = records(charrnn, "score", "-q", "-c", models["byte"], "--format", "jsonl", stdin="señor".encode()[:3])
    assert (alone[0]["tokens"], alone[0]["oov"], alone[0]["text"]) == (4, 0, "se\ufffd")


def test_a_prompt_of_unknown_characters(models: dict[str, Path], charrnn: Command) -> None:
    result = charrnn("sample", "-q", "-c", models["char"], "-p", "the 漢字", "-n", "20", "--seed", "1", "--echo")
    assert result.status == 0
    assert result.out.decode().startswith("the 漢字")
    assert len(result.out.decode().rstrip("\n")) >= len("the 漢字") + 19
    assert result.err.count("\n") == result.err.count("charrnn: warning: ") == 1
    assert "'漢', '字'" in result.err


def test_no_line_is_lost_and_none_changes_its_place(models: dict[str, Path], charrnn: Command) -> None:
    choose = random.Random(1).choice
    pieces = ["", "the cat", " ", "\t", "x" * 600, "\r", "漢字", "a dog sits.", "\x00", "\u2028", "\x0b\x0c", "\x85"]
    lines = [choose(pieces) + choose(pieces) + f" {number}" * (number % 7 > 0) for number in range(3000)]
    out = charrnn("score", "-q", "-c", models["char"], stdin="\n".join(lines).encode()).out
    assert [line.split("\t", 4)[4] for line in out.decode().split("\n")[:-1]] == [
        line.removesuffix("\r") for line in lines
    ]


def test_a_last_line_without_its_end(models: dict[str, Path], charrnn: Command, tmp_path: Path) -> None:
    for name, path in models.items():
        one, other = (
            charrnn("score", "-q", "-c", path, stdin=text) for text in (b"the cat\na dog", b"the cat\na dog\n")
        )
        assert one == other, name
        assert one.out.count(b"\n") == 2
        (tmp_path / name).write_text("the cat\na dog")
        prompts = charrnn(
            "sample", "-c", path, "--prompt-file", tmp_path / name, "-n", "3", "--seed", "1", "-q", "--echo"
        )
        assert b"a dog" in prompts.out
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.write_text(sentences(50), encoding="utf-8")
    cut.write_text(sentences(50).removesuffix("\n"), encoding="utf-8")
    losses = [
        records(charrnn, "train", path, *TINY, "--steps", "5", "-q", "--json", "-o", tmp_path / "m", "--force")[0]
        for path in (whole, cut)
    ]
    assert losses[0]["val_loss"] == losses[1]["val_loss"]


def test_one_unknown_word_costs_a_word(models: dict[str, Path], charrnn: Command) -> None:
    for name in ("word", "pretokenized", "char"):
        score = ("score", "-q", "-c", models[name], "--per-token")
        known, unknown = records(charrnn, *score, "the cat sits here.", "the zyzzyva漢 sits here.")
        assert (known["oov"], unknown["oov"]) == (0, 1) if name != "char" else known["oov"] == 0 < unknown["oov"]
        assert -1000 < unknown["logprob"] < known["logprob"]
        before = [unit["logprob"] for unit in unknown["per_token"]]
        assert before[0] == known["per_token"][0]["logprob"]
        costs = [-unit["logprob"] for unit in unknown["per_token"] if not unit["oov"]]
        assert sum(costs) < 60  # the rest of the line still has the score of words that are known


def test_a_small_vocabulary_does_not_flatter(charrnn: Command, tmp_path: Path) -> None:
    choose = random.Random(0).choice
    names = [f"{choose('bcdfgklm')}{choose('aeiou')}{choose('lnrst')}{number}" for number in range(40)]
    text = "".join(f"the {choose(names)} sees the {choose(names)}\n" for _ in range(800))
    (tmp_path / "text").write_text(text)
    found = {}
    for count in ("1", "300"):
        train = ("train", tmp_path / "text", *TINY, "--unit", "word", "--min-count", count, "--steps", "300", "-q")
        assert charrnn(*train, "-o", tmp_path / count).status == 0
        (found[count],) = records(
            charrnn, "score", "-q", "-c", tmp_path / count, "--stream", "--summary", "-i", tmp_path / "text"
        )
    # Where every name is one unknown word, the next word is easy to tell, but what it is has yet to be spelled.
    assert found["1"]["oov"] == 0 < found["300"]["oov"]
    assert found["300"]["perplexity_unk"] < 0.5 * found["1"]["perplexity_unk"]
    assert found["300"]["bits_per_byte"] > found["1"]["bits_per_byte"]
    assert found["300"]["perplexity"] > found["1"]["perplexity"]


def test_the_prompt_is_no_part_of_the_length(models: dict[str, Path], charrnn: Command) -> None:
    prompt = "the cat sits here. " * 20
    sample = ("sample", "-q", "-c", models["char"], "-n", "10", "--seed", "1", "--format", "jsonl")
    (bare,) = records(charrnn, *sample, "-p", prompt)
    (echoed,) = records(charrnn, *sample, "-p", prompt, "--echo")
    assert (len(bare["text"]), bare["tokens"]) == (10, 10)
    assert echoed["text"] == prompt + bare["text"]


def test_samples_end_where_sentences_do(models: dict[str, Path], charrnn: Command) -> None:
    sample = ("sample", "-q", "--count", "20", "--seed", "1", "--format", "jsonl")
    for record in records(charrnn, *sample, "-c", models["lines"]):
        assert record["stopped_by"] == "line"
        assert "\n" not in record["text"]
    stopped = records(charrnn, *sample, "-c", models["char"], "--stop", ".", "--stop", r"\n", "-n", "5000")
    assert {record["stopped_by"] for record in stopped} == {"stop"}
    assert not any("." in record["text"] or "\n" in record["text"] for record in stopped)


@pytest.mark.parametrize(
    "args",
    [
        *(
            "",
            "nonsense",
            "train",
            "train none.txt",
            "sample -c none",
            "sample -t hot",
            "info none",
            "--show-completion zsh",
        ),
        *(
            "score -c none x",
            "score -i none -c {char}",
            "score -c {char} --text-field 2 x",
            "score -c {char} --vs none x",
        ),
    ],
)
def test_errors_are_no_results(models: dict[str, Path], charrnn: Command, args: str) -> None:
    result = charrnn(*args.format(**models).split())
    assert result.status in (1, 2)
    assert result.out == b""
    assert result.err.splitlines()[-1].startswith("charrnn: error: ")
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_a_compile_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    script = """
import numpy as np
from charrnn.runtime import compile
assert compile.kernel_cache() is None
add = compile.kernel(lambda a: a + 1)
print(add(1))
"""
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null/below")):
        monkeypatch.setenv("CHARRNN_CACHE_DIR", str(folder))
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert (result.returncode, result.stdout, result.stderr) == (0, "2\n", "")

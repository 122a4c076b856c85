"""`charrnn.load`: what the commands do, in Python, from any number of threads."""

from __future__ import annotations

import doctest
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.trained_language import TrainedLanguageModel
from tests.conftest import Command, run_command

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"


@pytest.fixture(name="command")
def fixture_command() -> Command:
    """Runs `charrnn ARGS` in this process."""
    return run_command


LINES = ["the cat sits here.", "", "xyz 漢字", "one hen\u00a0runs", "our señor naps!", "the cat sits here."]


@pytest.mark.parametrize("unit", ["char", "byte", "word", "pretokenized", "lines"])
def test_scores_are_those_of_the_command(command: Command, models: dict[str, Path], unit: str) -> None:
    model = charrnn.load(models[unit])
    scores = model.score(LINES)
    text = "".join(f"{line}\n" for line in LINES).encode()
    printed = command("score", "-c", models[unit], "-q", stdin=text).out.decode()
    wanted = [tuple(line.split("\t")[:4]) for line in printed.splitlines()]
    assert [
        (f"{score.logprob:.6f}", str(score.tokens), str(score.oov), f"{score.bits_per_byte:.6f}") for score in scores
    ] == wanted
    adapted = command("score", "-c", models[unit], "-q", "--adapt", stdin=text).out.decode()
    assert [f"{score.logprob:.6f}" for score in model.score(LINES, adapt=True)] == [
        line.split("\t")[0] for line in adapted.splitlines()
    ]
    assert adapted != printed
    assert model.score(line.encode() for line in LINES) == scores
    listed = model.score(LINES, per_token=True)
    assert [score.logprob for score in listed] == [score.logprob for score in scores]
    assert [len(score.units) for score in listed] == [score.tokens for score in scores]


@pytest.mark.parametrize("unit", ["char", "byte", "word", "lines"])
@pytest.mark.parametrize(
    ("options", "typed"),
    [
        ({}, ()),
        (
            {"temperature": 1.2, "top_k": 20, "top_p": 0.95},
            ("--temperature", "1.2", "--top-k", "20", "--top-p", "0.95"),
        ),
        ({"length": 30, "stops": ["a"]}, ("--length", "30", "--stop", "a")),
    ],
)
def test_samples_are_those_of_the_command(
    command: Command, models: dict[str, Path], unit: str, options: dict[str, Any], typed: tuple[str, ...]
) -> None:
    found = charrnn.load(models[unit], threads=1).sample("the ", count=3, seed=5, **options)
    arguments = ("-c", models[unit], "-q", "-p", "the ", "--count", "3", "--seed", "5", "--precision", "float32")
    printed = command("sample", *arguments, *typed, "--format", "jsonl").out
    assert [json.loads(line)["text"] for line in printed.splitlines()] == found
    assert len(set(found)) > 1
    assert all("a" not in text for text in found) == ("stops" in options)


def test_a_seed_is_chosen_where_none_is_given(models: dict[str, Path]) -> None:
    model = charrnn.load(models["char"])
    assert model.sample(length=40) != model.sample(length=40)
    assert model.sample(length=40, seed=3) == model.sample(length=40, seed=3)
    assert model.sample(length=0, seed=3) == [""]


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_get_what_one_gets(models: dict[str, Path], threads: int) -> None:
    model = charrnn.load(models["word"], threads=threads)
    texts = [[f"{line} {number}" for line in LINES] * 3 for number in range(8)]

    def ask(number: int) -> Any:
        return model.score(texts[number]), model.sample("the", count=4, length=40, seed=number)

    alone = [ask(number) for number in range(8)]
    together: list[list[Any]] = [[] for _ in range(8)]
    begin = threading.Barrier(8)

    def work(number: int) -> None:
        begin.wait()
        for _ in range(6):
            together[number].append(ask(number))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert together == [[wanted] * 6 for wanted in alone]


def draw(model: TrainedLanguageModel, **options: Any) -> list[str]:
    return model.sample(**options)


def draw_with(name: str, value: Any, model: TrainedLanguageModel) -> list[str]:
    return draw(model, **{name: value})


REFUSED: dict[str, tuple[Callable[[TrainedLanguageModel], object], type[Exception], str]] = {
    "one text": (lambda model: model.score("text"), UsageError, "give a list of texts"),
    "lines": (lambda model: model.score(["a", "b\nc"]), UsageError, "a text has a line end in it"),
    "count": (lambda model: model.sample(count=0), UsageError, "`count` is 0; it must be at least 1"),
    "temperature": (lambda model: model.sample(temperature=-1), UsageError, "`temperature` is -1"),
    "top_p": (lambda model: model.sample(top_p=2), UsageError, "`top_p` is 2"),
    "length": (lambda model: model.sample(length=-1), UsageError, "`length` is -1"),
    **{
        f"length {length}": (
            partial(draw, length=length),
            UsageError,
            f"`length` is {length}; it must be a whole number",
        )
        for length in (math.inf, math.nan, 2.7)
    },
    "stops str": (partial(draw, stops="ab"), UsageError, "`stops` is one text"),
    "stops bytes": (partial(draw, stops=b"ab"), UsageError, "`stops` is one text"),
    **{
        f"{name} {value!r}": (partial(draw_with, name, value), UsageError, f"`{name}` {said}")
        for name, value, said in (
            ("prompt", ["a", "b"], r"has \['a', 'b'\], which is no text"),
            ("prompt", None, "has None, which is no text"),
            ("seed", "a", "is 'a'; it must be a whole number, at least 0"),
            ("seed", -1, "is -1; it must be at least 0"),
            ("top_k", 2.5, "is 2.5; it must be a whole number, at least 0"),
            ("temperature", "hot", "is 'hot'; it must be a number, at least 0"),
            ("stops", [1], "has 1, which is no text"),
            ("stops", 1, "is 1; give a list of texts"),
        )
    },
    "texts": (lambda model: model.score([1]), UsageError, "`texts` has 1, which is no text"),  # type: ignore[list-item]
    "stop": (lambda model: model.sample(stops=[""]), UsageError, "`stop` is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(models: dict[str, Path], name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call(charrnn.load(models["char"], threads=1))


def test_what_cannot_be_loaded_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CharrnnError, match="there is no checkpoint"):
        charrnn.load(tmp_path / "none")
    with pytest.raises(UsageError, match="`threads` is 0"):
        charrnn.load(models["char"], threads=0)
    with pytest.raises(UsageError, match="`threads` is 1025; it must be at least 1 and at most 1024"):
        charrnn.load(models["char"], threads=1025)
    with pytest.raises(UsageError, match="`precision` is 'half'"):
        charrnn.load(models["char"], precision="half")
    with pytest.raises(AttributeError, match="no attribute 'open'"):
        charrnn.open  # noqa: B018


def test_a_surrogate_is_an_unknown_character(models: dict[str, Path]) -> None:
    model = charrnn.load(models["char"], threads=1)
    broken, replaced = model.score(["a\ud800b", "a\ufffdb"])
    assert broken == replaced


def test_a_score_is_shown_in_short(models: dict[str, Path]) -> None:
    model = charrnn.load(models["char"], threads=1)
    assert repr(model.score(["the cat"], per_token=True)) == repr(model.score(["the cat"]))
    assert len(repr(model.score(["the cat"]))) < 100


def test_importing_imports_nothing_that_computes() -> None:
    code = "import charrnn, sys; sys.exit(any(name in sys.modules for name in ('numba', 'numpy', 'charrnn.tasks')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_shows_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = PAGE.read_text(encoding="utf-8").replace("```python\n", "\n").replace("```\n", "\n")
    page = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(page)
    assert found.attempted >= 7
    assert found.failed == 0

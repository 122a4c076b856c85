"""The task translate: training, resuming and evaluating through the library and the command line, the checkpoint."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint, tasks
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.trained_translator import TrainedTranslator
from charrnn.tasks.translate import TASK
from charrnn.text.pair_corpus import LONGER
from charrnn.text.vocabulary import EOS
from charrnn.training import events, setup
from charrnn.training.loop import train
from charrnn.training.task import Request
from tests.conftest import run_command
from tests.task_runs import (
    assert_interruption_changes_no_bit,
    assert_options_change_what_is_learned,
    assert_threads_change_no_bit,
)

SMALL = {"hidden_size": 16, "embedding_size": 8, "batch_size": 8, "steps": 60, "eval_every": 20, "dropout": 0.1}
OPTIONS = (
    *("--task", "translate", "--hidden-size", "16", "--embedding-size", "8", "--batch-size", "8", "--threads", "1"),
    *("--dropout", "0.1"),
)
SOUNDS = {"a": "A", "b": "B", "c": "K", "d": "D", "sh": "S", "e": "E E"}


def pairs(count: int, seed: int = 0) -> str:
    """Spellings and sounds: sh is one sound, e is two, the others have one each."""
    choose = random.Random(seed)
    lines = []
    for _ in range(count):
        letters = choose.choices(list(SOUNDS), k=choose.randint(1, 6))
        lines.append(f"{''.join(letters)}\t{' '.join(SOUNDS[letter] for letter in letters)}\n")
    return "".join(lines)


def labelled(count: int, seed: int = 0) -> str:
    """Words in three styles, each of letters of its own."""
    choose = random.Random(seed)
    styles = {"red": "abc", "green": "def", "blue": "ghi"}
    lines = []
    for _ in range(count):
        style = choose.choice(list(styles))
        lines.append(f"{style}\t{''.join(choose.choices(styles[style], k=choose.randint(1, 5)))}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("translate") / "sounds.tsv"
    path.write_text(pairs(400))
    return path


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("translate") / "styles.tsv"
    path.write_text(labelled(300))
    return path


def request(data: Path, folder: Path, name: str, **given: object) -> Request:
    return Request([str(data)], folder / f"{name}.safetensors", SMALL | given)


def model_of(path: Path) -> TrainedTranslator:
    return TASK.trained(checkpoint.load(path, TASK.format), threads=1, precision="float32")


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedTranslator:
    given = {"hidden_size": 32, "batch_size": 16, "steps": 400, "eval_every": 100, "dropout": 0.0}
    asked = request(data, tmp_path_factory.mktemp("model"), "m", learning_rate=0.01, **given)
    end = list(train(*setup.prepare(TASK, asked, lambda: 0.0)))[-1]
    assert isinstance(end, events.End)
    assert end.result()["val_loss"] < 0.1
    return model_of(asked.output)


def test_it_learns_and_a_score_is_the_loss(model: TrainedTranslator, data: Path) -> None:
    request_ = Request([str(data)], Path("m"), SMALL)
    dataset = TASK.read(request_, None)
    assert dataset.validation is not None
    loss = TASK.evaluate(model.network, dataset.validation)
    source, target = dataset.source.vocabulary, dataset.target.vocabulary
    assert source is not None
    assert target is not None
    found = []
    for n in range(len(dataset.validation.targets.lengths)):
        one, other = (
            texts.ids[texts.offsets[n] : texts.offsets[n + 1]]
            for texts in (dataset.validation.sources, dataset.validation.targets)
        )
        found.append((source.decode(one), target.decode(other)))
    scores = model.score(found)
    assert sum(score.tokens for score in scores) == loss.tokens == len(dataset.validation)
    assert -sum(score.logprob for score in scores) / loss.tokens == pytest.approx(loss.loss, rel=1e-5)
    alone = [model.score([pair])[0] for pair in found[:10]]
    assert [score.logprob for score in alone] == [score.logprob for score in scores[:10]]


def test_every_target_has_a_finite_score(model: TrainedTranslator) -> None:
    right, unknown, empty, odd = model.score(
        [("shab", "S A B"), ("shab", "S Ж B"), ("shab", ""), (b"\xff", b"A\xff")]
    )  # fmt: skip
    assert -0.5 < right.logprob < 0
    assert (right.tokens, right.oov, unknown.tokens, unknown.oov) == (4, 0, 4, 1)
    assert right.logprob > unknown.logprob > -200
    assert (empty.tokens, np.isfinite(empty.logprob), np.isfinite(odd.logprob)) == (1, True, True)
    assert unknown.logprob == pytest.approx(
        model.score([("shab", "S <unk> B")])[0].logprob + model.vocabulary.spelling_log_probs(["Ж"])[0]
        - model.vocabulary.spelling_log_probs(["<unk>"])[0], rel=1e-6,
    )  # fmt: skip
    long = model.score([("ab" * 3000, "A B " * 3000)])[0]
    assert (long.tokens, np.isfinite(long.logprob)) == (6001, True)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"attention": "none", "layers": 2},
        pytest.param({"attention": "none", "cell": ("gru",), "layers": 2}, marks=pytest.mark.slow),
        {"tie_weights": True, "unit": "word,char"},
    ],
)
def test_interrupted_and_resumed_ends_with_the_same_bits(data: Path, tmp_path: Path, given: dict[str, Any]) -> None:
    if given.get("tie_weights"):
        given = {**given, "embedding_size": 16}
    whole, parts = (request(data, tmp_path, name, **given) for name in ("whole", "parts"))
    assert_interruption_changes_no_bit(TASK, whole, parts, 7)


@pytest.mark.parametrize("corpus", ["data", "styles"])
def test_threads_change_no_bit(corpus: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(corpus)
    asked = Request([str(path)], tmp_path / "m.safetensors", SMALL | {"steps": 10})
    assert_threads_change_no_bit(TASK, asked)


def test_labels_are_inputs_of_one_unit(styles: Path, tmp_path: Path) -> None:
    asked = request(styles, tmp_path, "m", steps=150, learning_rate=0.01)
    list(train(*setup.prepare(TASK, asked, lambda: 0.0)))
    model = model_of(asked.output)
    assert sorted(model.labels) == ["blue", "green", "red"]
    right, wrong = model.score([("red", "abca"), ("blue", "abca")])
    assert right.logprob > wrong.logprob + 2
    with pytest.raises(CharrnnError, match="the label 'pink' is none of the 3 that the model knows: '"):
        model.score([("pink", "abca")])
    assert model.source_ids("red").tolist() == [model.labels.index("red")]
    again = Request([str(styles)], tmp_path / "n.safetensors", {"steps": 3}, init_from=str(asked.output))
    list(train(*setup.prepare(TASK, again, lambda: 0.0)))
    assert model_of(again.output).labels == model.labels


def test_going_on_from_another_model(data: Path, tmp_path: Path) -> None:
    first = request(data, tmp_path, "first", unit="char,word", steps=5)
    list(train(*setup.prepare(TASK, first, lambda: 0.0)))
    other = tmp_path / "other.tsv"
    other.write_text(pairs(60, seed=5) + "xyz\tA Q\n")
    given = {"steps": 5, "batch_size": 8}
    again = Request([str(other)], tmp_path / "again.safetensors", given, init_from=str(first.output))
    list(train(*setup.prepare(TASK, again, lambda: 0.0)))
    assert model_of(again.output).vocabulary == model_of(first.output).vocabulary
    with pytest.raises(UsageError, match=r"`unit` is word and .* has char,word"):
        setup.prepare(
            TASK, Request([str(other)], tmp_path / "b", {"unit": "word"}, init_from=str(first.output)), lambda: 0
        )
    done = checkpoint.load(again.output, TASK.format, with_training=True)
    spec, _ = setup.resume(TASK, Request([], again.output, {"steps": 7}), done, lambda: 0.0)
    assert spec.config.steps == 7


def test_the_command(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    result = run_command("train", data, *OPTIONS, "--steps", "20", "--json", "-q", "-o", path)
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["vocabulary"] == 8
    assert found["source_vocabulary"] == 9
    shown = run_command("info", path)
    assert (shown.status, "translate" in shown.out.decode()) == (0, True)
    assert checkpoint.task_of(path) == "translate"
    assert tasks.load_checkpoint(path).data.source.size == 9
    resumed = run_command("train", "--resume", "-o", path, "--steps", "25")
    assert resumed.status == 0
    assert resumed.err.splitlines()[-1] == f"charrnn predict -c {path}"
    dry = run_command("train", data, *OPTIONS, "--steps", "20", "--dry-run", "-o", tmp_path / "dry")
    assert (dry.status, (tmp_path / "dry").exists(), "input     by char" in dry.err) == (0, False, True)
    assert "characters as" not in dry.err
    apart = run_command("train", data, *OPTIONS, "--unit", "char", "--normalize", "nfd", "--dry-run")
    assert "input     by char, characters as NFD, " in apart.err


def test_options_change_what_is_learned(data: Path, tmp_path: Path) -> None:
    accents = tmp_path / "accents.tsv"
    accents.write_text(data.read_text().replace("d", "é"))
    options = ("", "--attention none", "--unit char", "--unit char,byte", "--unit char --normalize nfd")
    commands = [(str(accents), *OPTIONS, "--steps", "8", *option.split()) for option in options]
    assert_options_change_what_is_learned(*commands, folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--unit", "char,letter"), "letter"),
        (("--unit", "a,b,c"), "a"),
        (("--no-bidirectional",), "--bidirectional is not for the task translate"),
        (("--lines",), "--lines is not for the task translate"),
        (("--hidden-size", "15"), "must be even"),
        (("--seq-length", "20"), "--seq-length is for language models"),
        (("--columns", "1"), "it must be two columns"),
    ],
)
def test_options_that_have_no_meaning_are_refused(
    data: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:  # fmt: skip
    result = run_command("train", data, "--task", "translate", *options, "-o", tmp_path / "m")
    assert (result.status, says in result.err, result.err.count("\n")) == (2, True, 1), result.err


def test_two_units_are_for_pairs_only(data: Path, tmp_path: Path) -> None:
    result = run_command("train", data, "--unit", "char,word", "-o", tmp_path / "m")
    assert (result.status, "--unit is 'char,word'; it must be one of char, word, byte" in result.err) == (2, True)


DEFECTS: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (("input", "kind"), "columns", "of a translator it is"),
    (("input", "form"), "nfkc", "of a translator it is"),
    (("output", "entry"), "source", "of a translator it is"),
    (("source", "unit"), "word", "vocabulary|entry|pretokenized|fallback"),
    (("source",), None, "source is missing"),
    (("text", "vocabulary"), ["<unk>", "<eos>", "A"], "units"),
    (("model", "source_vocabulary_size"), 4, "units of input and its model is made for 4"),
    (("model", "attention"), "add", "attention"),
    (("records", "unit"), "char,letter", "unit"),
    (("length_ratio",), 0, "length_ratio"),
    (("length_ratio",), 1e300, "length_ratio"),
    (("length_ratio",), None, "length_ratio"),
)


def test_the_format_refuses_what_cannot_be(model: TrainedTranslator) -> None:
    good = TASK.format.describe(model.network.config, model.sides)
    good = json.loads(json.dumps(good))
    assert TASK.format.parse(good) == (model.network.config, model.sides)
    for path, value, says in DEFECTS:
        bad = copy.deepcopy(good)
        place = bad
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        with pytest.raises((ValueError, CharrnnError), match=says):
            TASK.format.parse(bad)
    labels = {**good, "input": {"kind": "labels", "labels": ["a", "a"]}}
    with pytest.raises(ValueError, match="its labels are not different texts"):
        TASK.format.parse(labels)


def test_the_end_is_a_unit_of_a_source(model: TrainedTranslator) -> None:
    assert model.source_ids("").tolist() == [EOS]
    assert model.source_units("ab") == ("a", "b", "<eos>")


def test_the_longest_outputs_of_training_are_well_below_the_limit(model: TrainedTranslator, data: Path) -> None:
    found = [line.split("\t") for line in data.read_text().splitlines()]
    units = np.array([score.tokens - 1 for score in model.score([(source, target) for source, target in found])])
    limits = np.array([model.limit(len(model.source_ids(source))) for source, _ in found])
    assert (units / limits).max() == pytest.approx(1 / LONGER, rel=0.15)


def test_a_sample_during_training_is_a_source_and_its_output(model: TrainedTranslator, data: Path) -> None:
    dataset = TASK.read(Request([str(data)], Path("m"), SMALL), None)
    shown = TASK.sample(model.network, dataset, 3)
    assert shown is not None
    source, _, output = shown.partition(" → ")
    assert output == model.predict([source], beam=1)[0][0].text

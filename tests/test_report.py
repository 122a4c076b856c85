"""`charrnn report`: a page for every task, from the checkpoint alone and from held-out data, that nothing can break."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from charrnn import checkpoint as ckpt
from charrnn.report import draw
from charrnn.report.page import short
from tests.browser import AA, CHROMIUM, look
from tests.conftest import run_command
from tests.reports import ATTACKS, assert_harmless, corpora, report, train

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytestmark = pytest.mark.slow

TASKS = ("language", "classify", "tag", "forecast", "translate")
OPTIONS = {
    "language": ("--seq-length", "16"),
    "classify": ("--pool", "attention"),
    "tag": (),
    "forecast": ("--horizon", "2"),
    "translate": ("--embedding-size", "4"),
}
# A title on the page of each task with data and without; None where data add nothing of that kind.
TITLES = {
    "language": ("The text, coloured by surprisal", "The most surprising lines", "Samples at three temperatures",
                 "By position in the line", "Calibration", "How far the gradient reaches back", "The forget gate"),
    "classify": ("Confusion matrix", "Calibration", "Most certain, and wrong", "Where the label comes from"),
    "tag": ("By type", "Errors in context"),
    "forecast": ("Errors beside those of baselines", "residuals", "coverage", "what comes next"),
    "translate": ("Attention: ", "Outputs and what was right"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """A model and its corpus for each task."""
    folder = tmp_path_factory.mktemp("hostile")
    return {
        task: (train(task, corpus, folder / f"{task}<b>{'&'}.safetensors", *OPTIONS[task]), corpus)
        for task, corpus in corpora(folder).items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_a_hostile_corpus_breaks_nothing(files: dict[str, tuple[Path, Path]], task: str, tmp_path: Path) -> None:
    model, corpus = files[task]
    page = assert_harmless(report(model, tmp_path / "page.html", "-i", corpus))
    for title in ("The model in short", *TITLES[task]):
        assert title in page.shown
    assert "hacked=1" in page.shown  # it is shown as the text that it is
    assert "49" not in {part.strip() for part in page.text if "{{" in part}


@pytest.mark.parametrize("task", TASKS)
def test_without_data_it_shows_what_the_model_knows(
    files: dict[str, tuple[Path, Path]], task: str, tmp_path: Path
) -> None:  # fmt: skip
    page = assert_harmless(report(files[task][0], tmp_path / "page.html"))
    assert "The model in short" in page.shown
    assert "With -i FILE" in page.shown
    assert ("Samples at three temperatures" in page.shown) == (task == "language")


def test_curves_are_those_of_the_run(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat.\n" * 60)
    model = train("language", corpus, tmp_path / "m.safetensors", "--eval-every", "1")
    recorded = json.loads(run_command("info", model, "--json").out)["training"]["progress"]
    assert [row[0] for row in recorded["pace"]] == [row[0] for row in recorded["history"]] == [1, 2, 3]
    assert all(rate > 0 and norm > 0 for _, rate, norm in recorded["pace"])
    page = assert_harmless(report(model, tmp_path / "page.html"))
    for name in ("Loss", "Learning rate", "Gradient norm"):
        assert name in page.text


def test_a_checkpoint_of_an_earlier_version(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden" / "version-1.safetensors"
    assert "The model in short" in assert_harmless(report(golden, tmp_path / "page.html")).shown


def test_hostile_metadata(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    model = ckpt.load(files["language"][0], with_training=True)
    progress = model.training["progress"]
    model.training["source"]["corpora"] = [*ATTACKS, 7, None]
    progress["history"] = [[1, "<script>", 1e99], [2, None, -1e99], "x", [3, 1], [4, True, 2.0], [{}, [], 1]]
    progress["pace"] = {"<script>": 1}
    ckpt.save(path := tmp_path / "m.safetensors", model)
    page = assert_harmless(report(path, tmp_path / "page.html"))
    assert "Loss" in page.text
    assert "Learning rate" not in page.text
    assert ATTACKS[0] in page.shown


def test_a_style_for_each_label(tmp_path: Path) -> None:
    corpus = tmp_path / "styles.tsv"
    corpus.write_text("".join(f"{'xyz'[n % 3]}\t{'xyz'[n % 3] * (1 + n % 4)}\n" for n in range(40)))
    model = train("translate", corpus, tmp_path / "m.safetensors")
    assert "Samples of each label" in assert_harmless(report(model, tmp_path / "page.html")).shown


def test_words_bytes_and_lines(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The cat (a grey one) sat on the mat.\n" * 40)
    for options in (("--unit", "word"), ("--unit", "byte", "--cell", "gru"), ("--lines", "--cell", "rnn,lstm")):
        model = train("language", corpus, tmp_path / "m.safetensors", *options, "--force")
        page = assert_harmless(report(model, tmp_path / "page.html", "-i", corpus, "--force"))
        assert "The best cell for each feature" in page.shown
        assert ("The update gate" in page.shown) == ("gru" in options)


@pytest.mark.parametrize("task", ["language", "classify", "tag", "translate"])
def test_much_text_in_few_lines(files: dict[str, tuple[Path, Path]], task: str, tmp_path: Path) -> None:
    long = "<b>x\u202e" * (10_000_000 // 7)
    data = tmp_path / "long.txt"
    text = {
        "language": long,
        "classify": f"{ATTACKS[0]}\tshort\n{ATTACKS[0]}\t{long}\n",
        "tag": f"{long[:100_000]} O\n" * 30,  # a line that is cut has no tag
        "translate": f"a\tb\n{long[:90_000]}\tb\n" * 20,
    }[task]
    data.write_text(text, "utf-8")
    page = assert_harmless(report(files[task][0], tmp_path / "page.html", "-i", data))
    assert len(page.source) < 1_000_000


def test_what_is_wrong_is_said_in_a_line(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    model, corpus = files["classify"]
    page = tmp_path / "page.html"
    page.write_text("mine")
    empty = tmp_path / "empty"
    empty.write_text("")
    for options, status, said in [
        ((model, "-o", page), 2, "--force replaces it"),
        ((model, "-c", model, "-o", page, "--force"), 2, "two checkpoints"),
        ((model, "-o", page, "--force", "--columns", "a,b"), 2, "--columns is for -i FILE"),
        ((model, "-o", page, "--force", "-i", empty), 1, "is empty"),
        ((model, "-o", page, "--force", "-i", tmp_path / "none"), 1, "cannot read"),
        ((tmp_path / "none.safetensors", "-o", page, "--force"), 1, "there is no checkpoint"),
        ((model, "-o", tmp_path / "empty" / "page.html"), 1, "cannot write"),
        ((files["language"][0], "-o", page, "--force", "-i", corpus, "--columns", "1,2"), 2, "not for models"),
    ]:
        result = run_command("report", *options)
        assert (result.status, result.out) == (status, b""), result.err
        assert said in result.err
        assert len(result.err.splitlines()) <= 3
    assert page.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_without_the_packages_a_line_says_how_to_install(
    files: dict[str, tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jinja2" else name)
    result = run_command("report", files["tag"][0], "-o", tmp_path / "page.html")
    assert result.status == 1
    assert "pip install 'charrnn[report]'" in result.err
    assert len(result.err.splitlines()) == 1


def test_the_same_bytes_again(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    model, corpus = files["tag"]
    first, second = (report(model, tmp_path / name, "-i", corpus).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_lists_of_short_lines_print_in_columns() -> None:
    names = "Utahraptor\n" * 8
    assert short([[names]])
    assert short([(unit, 1, "said of it") for unit in names])
    assert not short([["a few\nlines"]])
    assert not short([[names + "a line that is too long for a column"]])


def test_names_of_axes_are_inside_the_drawing() -> None:
    """Also beside ticks with many digits, of which the first layout knows nothing."""
    drawing = draw.lines([("held-out", range(20), [-7.5 + 0.001 * (n % 9) for n in range(20)])], "step", "loss")
    left, _, width, _ = map(float, re.findall(r'viewBox="([^"]*)"', drawing)[0].split())
    place = re.search(r'x="([-.0-9]+)"[^>]*rotate\(-90[^>]*>loss<', drawing)
    assert place
    assert left + 9 < float(place[1]) < width  # the text is 10.5 high, and ends there


def test_bars_of_nothing_stand_on_the_axis() -> None:
    assert "-0.0" not in re.sub(r"<(path|g|use|clipPath)[^>]*>", "", draw.bars(["a", "b"], [0, 0], "x", "y", level=0))


@pytest.mark.peers
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the pages in")
@pytest.mark.parametrize("task", TASKS)
def test_in_a_browser(files: dict[str, tuple[Path, Path]], task: str, tmp_path: Path) -> None:
    """No overflow, contrast AA, nothing on the console, and hovering and keys say what stands at a unit."""
    model, corpus = files[task]
    page = report(model, tmp_path / "page.html", "-i", corpus)
    for width in (390, 1400):
        for dark in (False, True):
            seen = look(page, width, dark=dark, folder=tmp_path)
            assert (seen.overflow, seen.wide, seen.console, seen.hacked) == (0, [], [], False)
            assert {kind: ratio for kind, ratio in seen.contrast.items() if ratio < AA} == {}
            assert seen.text > 500
            assert all(seen.keyboard.values())
            assert seen.hover
            assert seen.stops == 1
            assert bool(seen.keyboard) == (task == "language")

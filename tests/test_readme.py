"""README and the pages on tasks tell the truth: every command runs, what is shown of the demo models is what comes out.

A command runs as it stands in a folder of its own that holds every file these pages speak of. Only `charrnn` is a
script in front of the real one, which makes training end after two small steps.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from charrnn import checkpoint
from charrnn.runtime.compile import kernel_cache
from charrnn.runtime.folders import user_cache_directory

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TASK_PAGES = [
    ROOT / "docs" / f"{name}.md" for name in ("tasks", "language", "classify", "tag", "forecast", "translate")
]
PAGES = README + "".join(page.read_text(encoding="utf-8") for page in TASK_PAGES)
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = CODE_BLOCK.sub("", PAGES)
DEMO = "checkpoints/demo.safetensors"
DEMOS = re.compile(r"checkpoints/demo(-\w+)?\.safetensors")
POSIX = pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="a POSIX shell")

# What would install, download or make something, and what stands in the project for it to work.
NOT_RUN = {
    "make demo": "Makefile",
    "make test": "Makefile",
    "make peers": "Makefile",
    "python -m benchmarks.labels train.tsv test.tsv": "benchmarks/labels.py",
    "python3 -m venv .venv": "pyproject.toml",
    ". .venv/bin/activate": "pyproject.toml",
    ".venv/bin/pip install .": "pyproject.toml",
    "pip install .": "pyproject.toml",
    "pipx install .": "pyproject.toml",
    "pip install 'charrnn[metrics]'": "pyproject.toml",
    "pip install 'charrnn[report]'": "pyproject.toml",
    "python -m charrnn": "charrnn/__main__.py",
    "charrnn --install-completion": "charrnn/cli/main.py",
    r"py -m venv .venv": "pyproject.toml",
    r".venv\Scripts\pip install .": "pyproject.toml",
}
# Said in passing, the name of a command rather than one to type.
NAMES = re.compile(r"charrnn( (train|sample|score|predict|report|info))?")
PROGRAMS = ("charrnn ", "make ", "pip ", "pipx ", "python ", "python3 ", ". ")
TINY = ["--hidden-size", "8", "--layers", "1", "--batch-size", "2", "--threads", "1"]


@dataclass(frozen=True)
class Command:
    """A command of a page and what it shows below it."""

    text: str
    shown: str = ""


def code_blocks() -> list[tuple[str, str]]:
    """Language and text of every block of code."""
    return CODE_BLOCK.findall(PAGES)


def commands() -> list[Command]:
    """Every command: lines of the blocks for shells, what follows a prompt in a console, code within a sentence."""
    found = []
    for language, block in code_blocks():
        if language in ("sh", "bat"):
            found += [Command(line) for line in block.splitlines() if line and not line.startswith("#")]
        elif language == "console":
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                text, _, shown = part.partition("\n")
                found.append(Command(text, shown))
        else:
            assert language in ("python", "text"), f"what is a block of {language!r}?"
    for code in re.findall(r"`([^`]+)`", PROSE):
        text = " ".join(code.split())
        if text.startswith(PROGRAMS) and not NAMES.fullmatch(text):
            found.append(Command(text))
    return list(dict.fromkeys(found))


def runnable(text: str) -> str:
    """A command as a POSIX shell takes it, and such that it ends."""
    if text.startswith(".venv\\"):
        text = text.replace("\\", "/")
    return text.removeprefix(".venv/bin/").removeprefix(".venv/Scripts/").replace("tail -f", "tail -n +1")


COMMANDS = commands()
RUN = list({runnable(command.text): command for command in COMMANDS if command.text not in NOT_RUN}.values())


def environment(home: Path) -> dict[str, str]:
    """The user's environment, with `charrnn` and `python3` from `home` and corpora cached there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHARRNN_")}
    path = os.pathsep.join([str(home / "bin"), os.environ["PATH"]])
    return kept | {"PATH": path, "CHARRNN_CACHE_DIR": str(home / "cache"), "PYTHONPATH": str(ROOT)}


def script(file: Path, body: str) -> None:
    """Write a program for the shell."""
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


def write_texts(folder: Path) -> None:
    """The files that the pages speak of, small."""
    shutil.copytree(ROOT / "corpora", folder / "corpora", ignore=shutil.ignore_patterns("__pycache__"))
    names = (folder / "corpora" / "dinosaurs.txt").read_text().splitlines(keepends=True)
    prose = (
        "".join(f"the {size} {animal} sits on a mat.\n" for size in ("big", "old") for animal in ("cat", "dog")) * 40
    )
    docs = folder / "corpora" / "python-docs.txt"
    docs.write_text(prose)
    for name in ("novel.txt", "heldout.txt", "ptb.train.txt", "ptb.valid.txt"):
        (folder / name).write_text(prose)
    (folder / "lines.txt").write_text("".join(names[::100]) + "\nxk cd 99\nno newline")
    (folder / "table.tsv").write_text("1\tTriceratops\n2\tAllosaurus\tlate\n")
    (folder / "app.log").write_text("Triceratops\nxk cd 99\n")
    (folder / "prompts.txt").write_text("Tyr\nMega\n")
    labelled = [
        f"{label}\tthe {size} {noun}\n"
        for size in ("old", "small", "happy", "quiet", "red", "grey")
        for label, noun in (("singular", "dog"), ("plural", "kings"), ("singular", "bird"), ("plural", "mice"))
    ]
    records = "".join(labelled)
    for name in ("number.tsv", "later.tsv"):
        (folder / name).write_text(records)
    (folder / "labelled.gz").write_bytes(gzip.compress(records.encode()))
    table = "".join(f"{text},{label}\n" for label, _, text in (line.partition("\t") for line in records.splitlines()))
    for name in ("messages.csv", "more.csv"):
        (folder / name).write_text(f"message,kind\n{table}")
    for name in ("tags.conll", "later.conll"):
        (folder / name).write_text("the\tDET\nold\tADJ\ndog\tNOUN\n\ntheir\tDET\nbird\tNOUN\nsings\tVERB\n\n" * 9)
    treebank = "1\tdogs\tdog\tNOUN\tNNS\t_\t2\tnsubj\t_\t_\n2\tsing\tsing\tVERB\tVBP\t_\t0\troot\t_\t_\n\n"
    (folder / "treebank.conllu").write_text(treebank * 9)
    sold = (f"{2000 + n // 12}-{n % 12 + 1:02d},{100 + n + 20 * (n % 12) + n * n % 7}\n" for n in range(96))
    (folder / "sales.csv").write_text("month,sold\n" + "".join(sold))
    for name, count in (("throws.csv", "60"), ("later.csv", "5")):
        subprocess.run([sys.executable, "corpora/ball.py", "--throws", count, "-o", name], cwd=folder, check=True)
    numbers = "".join(f"{n}\t{' '.join('abcd'[n // 4**k % 4] for k in range(4))}\n" for n in range(60))
    for name in ("numbers.tsv", "more-numbers.tsv", "later-numbers.tsv"):
        (folder / name).write_text(numbers)
    phrases = "".join(f"the {size} {name},le {name} {size}\n" for size in ("big", "old") for name in ("cat", "dog"))
    (folder / "phrases.csv").write_text("en,fr\n" + 5 * phrases)
    (folder / "logs.gz").write_bytes(gzip.compress("".join(names).encode()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ with the programs, cache/ with the user's compiled code, work/ with all files and checkpoints."""
    home = tmp_path_factory.mktemp("readme")
    for name in ("bin", "cache", "work"):
        (home / name).mkdir()
    if kernel_cache():
        (home / "cache" / "kernels").symlink_to(user_cache_directory() / "kernels")
    tiny = " ".join(TINY)
    script(home / "bin" / "python3", f'exec "{sys.executable}" "$@"')
    script(
        home / "bin" / "charrnn",
        f'[ "$1" != train ] || set -- "$@" --steps 2 {tiny}\nexec "{sys.executable}" -m charrnn "$@"',
    )
    work = home / "work"
    write_texts(work)
    (work / "checkpoints").mkdir()
    for demo in (ROOT / "checkpoints").glob("demo*.safetensors"):
        shutil.copy(demo, work / "checkpoints")
    throws = ["throws.csv", "--task", "forecast", "--group", "throw"]
    tags = ["tags.conll", "--task", "tag"]
    sales = ["sales.csv", "--task", "forecast"]
    pairs = ["numbers.tsv", "--task", "translate"]
    styles = ["number.tsv", "--task", "translate", "-o", "checkpoints/styles.safetensors"]
    for corpus in (["novel.txt"], ["number.tsv", "--task", "classify"], tags, throws, sales, pairs, styles):
        steps = ["200", "--lr", "0.03"] if corpus is pairs else ["1"]  # until outputs of pairs are not empty
        begun = [sys.executable, "-m", "charrnn", "train", *corpus, "--steps", *steps, *TINY]
        subprocess.run(begun, cwd=work, env=environment(home), check=True, capture_output=True)
    for name in re.findall(r"checkpoints/[\w-]+\.safetensors", PAGES):
        if not (work / name).exists():
            shutil.copy(work / DEMO, work / name)
    return home


def test_every_command_is_known() -> None:
    """A command is run, or listed with a reason; nothing is listed that is not in a page."""
    assert len(RUN) > 25
    assert set(NOT_RUN) <= {command.text for command in COMMANDS}
    known = re.compile(r"\b(charrnn|get\.py|agreement\.py|ball\.py|numerals\.py)\b")
    strange = [command.text for command in RUN if not known.search(command.text)]
    assert strange == []


@pytest.mark.parametrize("text", NOT_RUN)
def test_what_is_not_run_could_be(text: str) -> None:
    file = ROOT / NOT_RUN[text]
    assert file.is_file()
    if text.startswith("make "):
        assert re.search(rf"^{text.removeprefix('make ')}:", file.read_text(), re.MULTILINE)
    elif file.name == "pyproject.toml":
        assert tomllib.loads(file.read_text())["project"]["scripts"] == {"charrnn": "charrnn.__main__:main"}


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=lambda command: command.text)
def test_command_runs(command: Command, home: Path, tmp_path: Path) -> None:
    text = runnable(command.text)
    folder = tmp_path / "work"
    shutil.copytree(home / "work", folder)
    writes = "charrnn train" in text and "--resume" not in text  # which is refused where a checkpoint exists
    for file in (folder / "checkpoints").iterdir():
        if file.name != "demo.safetensors" and (writes or file.name not in text):
            file.unlink()
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {text}"],
        cwd=folder,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert (done.returncode, "charrnn: error" in done.stderr) == (0, False), done.stderr
    redirected = re.search(r"(?:>|-o) ([\w.-]+)$", text)
    if redirected:
        assert (folder / redirected[1]).stat().st_size > 0
    elif "charrnn train" in text or "get.py" in text:
        assert (done.stdout + done.stderr).strip()
    else:
        assert done.stdout.strip()
    if command.shown and DEMOS.search(text) and " -i " not in text:  # the files of the pages are larger
        compare(done.stdout, command.shown)


def compare(printed: str, shown: str) -> None:
    """The same text; numbers with a fraction may differ a little, from one processor to the next."""
    number = r"-?\d+\.\d+"
    expected = [line for line in shown.splitlines() if not line.startswith("checkpoint ")]
    assert [re.sub(number, "#", line) for line in printed.splitlines()] == [re.sub(number, "#", x) for x in expected]
    shown_numbers = [float(x) for x in re.findall(number, "\n".join(expected))]
    assert [float(x) for x in re.findall(number, printed)] == pytest.approx(shown_numbers, rel=1e-3)


def test_lines_shown_are_complete() -> None:
    """The demo's output is compared only if some is shown for it."""
    shown = [command.text for command in COMMANDS if command.shown and DEMO in command.text]
    assert {text.split()[1] for text in shown} == {"sample", "score"}
    models = {found[0] for command in COMMANDS if command.shown and (found := DEMOS.search(command.text))}
    assert models >= {
        DEMO,
        *(f"checkpoints/demo-{name}.safetensors" for name in ("labels", "tags", "dates", "numbers")),
    }


@pytest.mark.peers
def test_checkpoint_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block runs in a clone, and its probabilities are those that `charrnn score` reports."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    (block,) = (text for language, text in code_blocks() if language == "python")
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(block, names)
    probabilities = names["probabilities"].detach()
    vocabulary = checkpoint.load(Path(DEMO)).vocabulary
    for unit in "TAR":
        output = subprocess.run(
            [sys.executable, "-m", "charrnn", "score", "-c", DEMO, "-q", "--format", "jsonl", "--per-token", unit],
            capture_output=True,
            check=True,
        ).stdout
        logprob = json.loads(output)["per_token"][0]["logprob"]
        found = float(torch.log(probabilities[0, 0, vocabulary.units.index(unit)]))
        assert found == pytest.approx(logprob, rel=1e-4)

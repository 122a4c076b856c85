"""Running commands in this process, and small models trained once through the command line for all tests."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from unittest import mock

import pytest
from hypothesis import settings

from charrnn.runtime.signals import TERMINATION_SIGNALS
from tests.runs import TEXT

# Nothing is asserted of measured times: two processes test at once, and the first to need a kernel compiles it.
settings.register_profile("charrnn", deadline=None)
settings.load_profile("charrnn")

# As the command line does: garbage collection among the objects of the compiler takes a sixth of its time.
gc.set_threshold(100_000)

VARIABLES = ("CHARRNN_CHECKPOINT", "CHARRNN_THREADS", "CHARRNN_DEBUG")
TINY = ("--hidden-size", "12", "--batch-size", "4", "--seq-length", "16", "--threads", "1")


# Tests of files that need no kernel of a network, or kernels that nobody else needs.
WITHOUT_NETWORKS = re.compile("test_(text_.*|floors|products|runtime|options_table|corpora|checkpoint.*|structure)")
# Those that compile most of what the commands need, and then those that need other number types as well.
COMPILING = (
    *("bad_input", "fuzz", "cli_predict", "models", "gradients", "prefixes", "cell_kernels", "network_parts"),
    *("kernels", "sequence_blocks", "tagger_blocks", "forecast_blocks", "train_options"),
)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: garbage collection need not look through it again and again."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where kernels have yet to be compiled, two processes (`-n 2 --dist worksteal`) should not compile the same ones:
    the first begins without networks, the second, which begins in the middle, with what compiles most."""
    names = {item: item.path.stem for item in items}
    compiling = [item for name in COMPILING for item in items if names[item] == f"test_{name}"]
    light = [item for item in items if WITHOUT_NETWORKS.fullmatch(names[item])]
    chosen = {*compiling, *light}
    others = light + [item for item in items if item not in chosen]
    middle = min(len(items) // 2, len(others))
    items[:] = [*others[:middle], *compiling, *others[middle:]]


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    status: int
    out: bytes
    err: str


class Command(Protocol):
    """Runs `charrnn ARGS` in this process; `stdin` None is a closed one."""

    def __call__(self, *args: str | Path, stdin: bytes | None = b"") -> Result: ...


def run_command(*args: str | Path, stdin: bytes | None = b"") -> Result:
    """See `Command`."""
    from charrnn.cli.main import main

    written, said = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(buffer, "utf-8", newline="\n") for buffer in (written, said))
    with contextlib.ExitStack() as stack:
        source: IO[str] | None = None
        if stdin is not None:
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(stdin)
            file.seek(0)
            source = stack.enter_context(open(file.fileno(), encoding="utf-8", closefd=False))
        stack.enter_context(mock.patch.object(sys, "stdin", source))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        status = main(list(map(str, args)))
        out.flush()
        err.flush()
    return Result(status, written.getvalue(), said.getvalue().decode())


def sentences(count: int, seed: int = 0) -> str:
    """So many lines that a small model soon learns something of, with a few characters and words that are rare."""
    choose = random.Random(seed).choice
    lines = []
    for number in range(count):
        subject, verb = choose(("the cat", "a dog", "one hen", "our señor")), choose(("sits", "runs", "eats", "naps"))
        lines.append(f"{subject} {verb}{choose(('', ' here', ' at 7', ', too'))}{choose('..!?')}")
        if number % 50 == 49:
            lines.append(f"Was it «{subject.split()[1]}{number}»?")
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's settings do not reach the tests, and the tests' corpora not the user's cache; compiled code does."""
    from charrnn.runtime.compile import kernel_cache

    cache = tmp_path_factory.mktemp("cache")
    compiled = kernel_cache()  # chosen here for the whole process
    if compiled:
        (cache / "kernels").symlink_to(compiled.parent.resolve(), target_is_directory=True)
    # In the background of a shell the tests ignore SIGINT, and so would the programs that they interrupt.
    for number in TERMINATION_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("CHARRNN_CACHE_DIR", str(cache))
        yield


@pytest.fixture(scope="session")
def charrnn() -> Command:
    """A function that runs a command in this process."""
    return run_command


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, environment: None) -> dict[str, Path]:
    """Checkpoints by name: one of each unit, and one of lines."""
    folder = tmp_path_factory.mktemp("models")
    corpus = folder / "corpus.txt"
    corpus.write_text(sentences(400), encoding="utf-8")
    options = {
        "char": (),
        "byte": ("--unit", "byte"),
        "word": ("--unit", "word"),
        "pretokenized": ("--unit", "word", "--pretokenized"),
        "lines": ("--lines",),
    }
    paths = {name: folder / f"{name}.safetensors" for name in options}
    for name, given in options.items():
        result = run_command("train", corpus, *TINY, *given, "--steps", "60", "-q", "-o", paths[name])
        assert (result.status, result.err) == (0, ""), name
    return paths


@pytest.fixture(scope="session")
def larger_texts() -> Path:
    """The folder of larger texts that are not part of the project."""
    folder = os.environ.get("CHARRNN_TEST_DATA")
    if not folder or not Path(folder, "tinyshakespeare.txt").is_file():
        pytest.skip("CHARRNN_TEST_DATA names no folder with tinyshakespeare.txt and names.txt")
    return Path(folder)


@pytest.fixture
def text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A text of a few sentences again and again, and a cache folder of its own."""
    monkeypatch.setenv("CHARRNN_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus in a working folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "corpus.txt"
    path.write_text(sentences(150), encoding="utf-8")
    return path

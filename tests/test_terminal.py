"""What a terminal gets: nothing that a model learned, or that a file contains, moves its cursor or sets its title."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn import checkpoint as ckpt
from charrnn.config import TextConfig
from charrnn.text.vocabulary import Vocabulary
from tests.toy_model import learn, toy_checkpoint

pty = pytest.importorskip("pty", reason="terminals of POSIX")

# Escape (7 and 8 bits wide), bell, backspace, carriage return, vertical tab, form feed, delete, "next line".
HOSTILE = "\x1b\x9b\x9d\x07\x08\r\x0b\x0c\x7f\x85\x00"
TITLE = "\x1b]0;owned\x07"
CHARS = learn(f"a{HOSTILE}\n")
WORDS = Vocabulary.learn({f"w{TITLE}": 5, "\x9b2J": 4, "a": 3, "\n": 2}, TextConfig(unit="word"))
# The colours of a table, and how the live display moves the cursor.
OWN = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")


def shown(folder: Path, *args: str, stdin: bytes = b"", **environment: str) -> tuple[int, bytes]:
    """Status and all that `charrnn ARGS` writes to a terminal, which is both its standard output and error."""
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "300", "LINES": "50", **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "charrnn", *args],
        cwd=folder, env=settings, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        pieces = []
        try:
            while piece := os.read(ours, 1 << 16):
                pieces.append(piece)
        except OSError:  # how a terminal of Linux ends
            pass
        os.close(ours)
        process.wait(timeout=60)
    return process.returncode, b"".join(pieces)


def assert_harmless(written: bytes, *, colours: bool = False) -> str:
    """The text, which must have nothing that is obeyed but, with `colours`, what the program itself adds."""
    text = (OWN.sub(b"", written) if colours else written).replace(b"\r\n", b"\n").decode()
    assert not OBEYED.search(text), repr(text)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that learned such characters; `described` has them in everything that is said about it too."""
    folder = tmp_path_factory.mktemp("terminal")
    toy_checkpoint(folder / "chars.safetensors", CHARS)
    toy_checkpoint(folder / "bytes.safetensors", learn("", "byte"))
    toy_checkpoint(folder / "words.safetensors", WORDS)
    described = ckpt.load(folder / "words.safetensors")
    described.training = {
        TITLE: TITLE, "options": {"optimizer": TITLE, HOSTILE: [HOSTILE]}, "source": {"corpora": [TITLE]},
        "progress": {"best": {HOSTILE: 1}, "history": [[TITLE, HOSTILE, None]]},
    }  # fmt: skip
    described.timings = {HOSTILE: HOSTILE}
    ckpt.save(folder / "described.safetensors", described)
    return folder


@pytest.mark.parametrize("model", ["chars", "words", "bytes"])
@pytest.mark.parametrize("format", ["text", pytest.param("jsonl", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_sample(folder: Path, model: str, format: str) -> None:
    status, written = shown(
        folder, "sample", "-c", f"{model}.safetensors", "-n", "400", "--seed", "1", "-t", "3", "--format", format,
        "-p", f"a{HOSTILE}".replace("\x00", ""), "--echo",
    )  # fmt: skip
    text = assert_harmless(written)
    assert status == 0
    assert len(text) > 400
    assert re.search(r"\\x9b|\\x1b|\\u001b", text)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["chars", "words", "bytes"])
@pytest.mark.parametrize("format", ["table", "tsv", "jsonl"])
def test_score(folder: Path, model: str, format: str) -> None:
    lines = f"a{HOSTILE}\nw{TITLE} \x9b2J a\n{TITLE}\n".encode() + b"\x1b[2J\xff\x9b2J\n"
    given = ["score", "-c", f"{model}.safetensors", "--format", format]
    status, written = shown(folder, *given, *(["--per-token"] if format == "jsonl" else []), stdin=lines)
    assert status == 0
    assert (b"\x1b[38;5;" in written) == (format == "table")
    text = assert_harmless(written, colours=format == "table")
    assert re.search(r"\\x1b|\\u001b", text)
    _, written = shown(folder, *given, stdin=lines, NO_COLOR="1")
    assert b"\x1b[38;5;" not in written


@pytest.mark.slow
def test_info(folder: Path) -> None:
    for model in ("chars", "words", "described"):
        for flags in ((), ("--json",)):
            status, written = shown(folder, "info", f"{model}.safetensors", *flags)
            assert status == 0
            assert re.search(r"\\x9b|\\x1b|\\u001b", assert_harmless(written))


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["0", "1"])
def test_errors(folder: Path, debug: str) -> None:
    """Messages that quote a file, its name or an argument; a traceback as well."""
    good = (folder / "words.safetensors").read_bytes()
    end = 8 + int.from_bytes(good[:8], "little")
    header = json.loads(good[8:end])
    header[TITLE] = {"dtype": TITLE, "shape": [0], "data_offsets": [0, 0]}
    changed = json.dumps(header).encode()
    bad = folder / f"b{TITLE}.safetensors"
    bad.write_bytes(len(changed).to_bytes(8, "little") + changed + good[end:])
    for args, status in (
        (("info", str(bad)), 1),
        (("sample", "-c", str(bad)), 1),
        (("info", f"none{HOSTILE[:-1]}"), 1),
        (("score", "-c", f"none{TITLE}", "a"), 1),
        (("train", f"none{TITLE}.txt"), 1),
        (("sample", "--format", TITLE), 2),
        (("sample", f"--{TITLE}"), 2),
        ((TITLE,), 2),
    ):
        found, written = shown(folder, *args, CHARRNN_DEBUG=debug)
        text = assert_harmless(written)
        assert found == status
        assert "charrnn: error: " in text
        assert ("Traceback" in text) == (debug == "1")


@pytest.mark.slow
def test_train(folder: Path) -> None:
    """The live display shows text that the model writes, and paths; a plain one does too."""
    corpus = folder / f"c{TITLE}.txt"
    corpus.write_text(f"ab{TITLE}{HOSTILE}\n" * 400, encoding="utf-8")
    for number, term in enumerate(("xterm", "dumb")):
        status, written = shown(
            folder, "train", corpus.name, "--hidden-size", "12", "--batch-size", "4", "--seq-length", "16", "--json",
            "--threads", "1", "--steps", "12", "--eval-every", "4", "--sample-every", "4",
            "-o", f"{TITLE}{number}.safetensors", TERM=term,
        )  # fmt: skip
        # The live display goes back to the start of its line, which is not told apart from a model's wish to.
        text = assert_harmless(written.replace(b"\r", b""), colours=term == "xterm")
        assert status == 0
        assert "  | " in text
        assert re.search(r"\\x9b|\\x1b|\\u001b", text)

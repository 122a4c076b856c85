"""Completion in the shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.cli.completions import FILES, completion
from tests.test_cli_process import POSIX, run_python

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "completions"

# Runs a command; says so on standard error where that took the compiler.
LIGHT = """
import atexit, sys
from charrnn.cli.main import main
atexit.register(lambda: print("heavy", file=sys.stderr) if "numba" in sys.modules else None)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("shell", "typed", "offered"),
    [
        ("bash", "charrnn tr", b"train\n"),
        ("bash", "charrnn info --js", b"--json\n"),
        ("zsh", "charrnn score --te", b'"--text-field":'),
        ("zsh", "charrnn score --format ", b'"jsonl"'),
        ("zsh", "charrnn train ", b"_files"),  # any file
        ("fish", "charrnn sample --prec", b"--precision\t"),
    ],
)
def test_shell_completion(shell: str, typed: str, offered: bytes) -> None:
    environment = {
        **os.environ,
        "_CHARRNN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = run_python(LIGHT, env=environment)
    assert result.returncode == 0
    assert offered in result.stdout
    assert result.stderr == b""


@POSIX
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detect = f"import shellingham; shellingham.detect_shell = lambda: ({shell!r}, '/bin/{shell}')"
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = run_python(detect + "\n" + LIGHT, "--show-completion")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert f"_CHARRNN_COMPLETE=complete_{shell}".encode() in shown.stdout
    installed = run_python(detect + "\n" + LIGHT, "--install-completion")
    assert (installed.returncode, installed.stderr) == (0, b"")
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(shown.stdout.strip() in content for content in files)
    assert (FOLDER / FILES[shell]).read_bytes().startswith(shown.stdout.strip())


@pytest.mark.parametrize("shell", FILES)
def test_the_files_are_up_to_date(shell: str) -> None:
    assert (FOLDER / FILES[shell]).read_text(encoding="utf-8") == completion(shell), "make options-page writes it again"
    assert {path.name for path in FOLDER.iterdir()} == set(FILES.values())


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs bash")
def test_bash_completes_by_the_file(tmp_path: Path) -> None:
    program = tmp_path / "charrnn"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m charrnn "$@"\n')
    program.chmod(0o755)
    typed = 'COMP_WORDS=(charrnn score --form) COMP_CWORD=2; _charrnn_completion charrnn; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f'source "$0"; {typed}', str(FOLDER / FILES["bash"])],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("--format\n", "")

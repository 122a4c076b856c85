"""The command line's manners: exit statuses, one-line errors, help, options."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import __version__
from charrnn.cli import main as cli
from charrnn.cli import versions
from charrnn.cli.commands import COMMANDS
from charrnn.errors import CharrnnError, DivergedError, UsageError
from tests.stand_in import one_line_error
from tests.stand_in import run as run

# ---- help and version


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(run: Any, flag: str) -> None:
    result = run(flag)
    assert result.status == 0
    for name, text in COMMANDS.items():
        assert f"  {name} " in result.out
        assert text in result.out
    assert result.err == ""


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_a_command_has_groups_and_defaults(run: Any, flag: str) -> None:
    out = run("train", flag).out
    assert "Usage: charrnn train [OPTIONS] [CORPUS]..." in out
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Arguments:", "Budget:", "Model:", "Options:", "Text:", "Run:"]
    assert "[default: planned]" in out
    assert "[default: 0.25]" in out
    assert "[default: random]" in out
    assert "--unit char|word" in out
    assert "--no-lines" not in out


def test_version(run: Any) -> None:
    result = run("--version")
    assert (result.status, result.err) == (0, "")
    first, second = result.out.splitlines()
    assert first == f"charrnn {__version__}"
    assert second.startswith(
        f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {metadata.version('numba')}, "
    )
    assert second.endswith(f"{platform.system()} {versions.processor_features()}")


def test_the_processor_features(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "machine")
    for listed, shown in (
        ("model name : x\nflags\t\t: fpu sse2 avx512f avx2 fma ht\n", "machine with sse2, fma, avx2, avx512f"),
        ("Features\t: fp asimd bf16\n", "machine with asimd, bf16"),
        ("nothing", "machine"),
    ):
        (tmp_path / "cpuinfo").write_text(listed)
        monkeypatch.setattr(versions, "PROCESSORS", tmp_path / "cpuinfo")
        assert versions.processor_features() == shown
    monkeypatch.setattr(versions, "PROCESSORS", tmp_path / "none")
    assert versions.processor_features() == "machine"


def test_the_versions_are_told_without_importing_what_is_named() -> None:
    script = (
        "import sys; from charrnn.cli.main import main; status = main(['--version']);"
        "assert not {'numba', 'llvmlite', 'numpy'} & sys.modules.keys(); sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")


def test_alone_it_prints_the_help(run: Any) -> None:
    result = run()
    shown = run("--help").out
    assert (result.status, result.out) == (2, "")
    assert result.err == f"{shown}\ncharrnn: error: no command given; it must be one of {', '.join(COMMANDS)} " + (
        "(charrnn --help lists what there is)\n"
    )


# ---- usage errors


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "no such command trian; did you mean train?"),
        (["--quiet", "train"], "no such option --quiet"),
        (["train", "--stesp", "3"], "no such option --stesp; did you mean --steps?"),
        (["train", "--stesp=3"], "no such option --stesp; did you mean --steps?"),
        (["train", "-steps", "3"], "no such option -steps; did you mean --steps?"),
        (["train", "-Z"], "no such option -Z"),
        (["train", "--steps"], "--steps requires an argument (charrnn"),
        (["train", "--lines=3"], "--lines does not take a value"),
        (["train", "--steps", "banana"], "--steps: banana is not a whole number; it must be at least 1"),
        (["train", "--steps", "0"], "--steps: 0 is out of range; it must be at least 1"),
        (["train", "--steps", "1.5"], "--steps: 1.5 is not a whole number"),
        (["train", "--steps", "9" * 5000], "is not a whole number"),
        (["train", "--num-layers", "0"], "--layers: 0 is out of range"),
        (
            ["train", "--dropout", "nan"],
            "nan is not a finite number; it must be at least 0 and at most 0.99",
        ),
        (["train", "--dropout", "inf"], "--dropout: inf is not a finite number"),
        (["train", "--dropout", "-1"], "--dropout: -1 is out of range; it must be at least 0 and at most 0.99"),
        (["train", "--max-time", "banana"], "--max-time: banana is not a time; write 90s, 10m or 2h"),
        (["train", "--max-time", "0s"], "--max-time: 0s is not a time"),
        (["train", "--unit", "wrod"], "--unit: wrod is unknown; it must be one of char, word; did you mean word?"),
        (["train", "--cell", "lstm,gur"], "--cell: gur is unknown; it must be one of lstm, gru; did you mean gru?"),
        (["train", "--seed", "-1"], "--seed: -1 is out of range"),
        (["train", "--unit", "a\nb\x1b[31m[bold]"], r"--unit: a\nb\x1b[31m[bold] is unknown"),
    ],
)
def test_usage_errors(run: Any, args: list[str], message: str) -> None:
    result = run(*args)
    found = one_line_error(result, 2)
    assert message in found
    assert not found[0].isupper()
    assert result.arguments is None


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (CharrnnError("no such [red]file[/red]"), 1, "no such [red]file[/red]"),
        (UsageError("wrong"), 2, "wrong"),
        (DivergedError("not finite"), 3, "not finite"),
        (OSError(28, "No space left on device", "x.log"), 1, "x.log: No space left on device"),
        (MemoryError("64 GiB"), 1, "not enough memory: 64 GiB"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
        (BrokenPipeError(32, "Broken pipe"), 1, "a pipe: nobody reads it any more"),
        (CharrnnError("two\nlines"), 1, r"two\nlines"),
    ],
)
def test_failures(run: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, message: str) -> None:
    def fail() -> None:
        raise error

    result = run("train", does=fail)
    assert message in one_line_error(result, status)
    monkeypatch.setenv("CHARRNN_DEBUG", "1")
    result = run("train", does=fail)
    assert result.status == status
    assert result.err.startswith("Traceback")
    assert "in fail" in result.err
    assert result.err.splitlines()[-1].startswith("charrnn: error: ")


def test_interrupted_without_a_signal_to_die_of(run: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    result = run("train", does=interrupt)
    assert (result.status, result.out, result.err) == (130, "", "")


def test_completion_for_no_shell_that_is_known(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_shell", lambda: "dash")
    assert "it was run from dash" in one_line_error(run("--show-completion"), 1)
    assert "it was run from dash" in one_line_error(run("--install-completion"), 1)
    assert "takes nothing after it" in one_line_error(run("--show-completion", "zsh"), 2)

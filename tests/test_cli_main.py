"""The command line's manners: exit statuses, one-line errors, help, options."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from charrnn import __version__
from charrnn.cli import main as cli
from charrnn.cli import options, streams
from charrnn.cli.main import COMMANDS, main
from charrnn.cli.options import ConfigOption, SeedOption, option
from charrnn.errors import CharrnnError, DivergedError, UsageError


def train(
    corpus: Annotated[list[str] | None, typer.Argument(metavar="CORPUS", help="Text files.")] = None,
    steps: Annotated[
        int | None,
        option("--steps", parser=options.whole_number(1), metavar="N", help="S", group="Budget", default="planned"),
    ] = None,
    max_time: Annotated[
        float | None, option("--max-time", metavar="TIME", parser=options.duration, help="Time.", group="Budget")
    ] = None,
    dropout: Annotated[
        float, option("--dropout", metavar="P", parser=options.number(0, 0.99), help="Share dropped.", group="Model")
    ] = 0.25,
    layers: Annotated[
        int | None, option("--layers", "--num-layers", metavar="N", parser=options.whole_number(1), help="Layers.")
    ] = None,
    cell: Annotated[
        str | None,
        option("--cell", metavar="lstm|gru", parser=options.list_of(("lstm", "gru")), help="Cells.", group="Model"),
    ] = None,
    unit: Annotated[str | None, option("--unit", choices=("char", "word"), help="Units.", group="Text")] = None,
    lines: Annotated[bool | None, option("--lines", help="By line.", group="Text")] = None,
    stop: Annotated[
        list[str] | None, option("--stop", metavar="TEXT", parser=options.unescape, help="Stop.", group="Text")
    ] = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
) -> None:
    """Stand in for a command in these tests.

    Its arguments go to `behave`.
    """
    behave(dict(locals()))


def behave(arguments: dict[str, Any]) -> None:
    """What the stand-in does; tests replace it."""


class Run:
    """What a command line came to."""

    def __init__(self, status: int, out: str, err: str, arguments: dict[str, Any] | None) -> None:
        self.status, self.out, self.err, self.arguments = status, out, err, arguments


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Runs `charrnn …` in this process with the stand-in as every command."""
    monkeypatch.setattr(cli, "load_command", lambda name, load=cli.load_command: load_stand_in(name))
    monkeypatch.delenv("CHARRNN_DEBUG", raising=False)

    def call(*args: str, does: Any = None) -> Run:
        received: list[dict[str, Any]] = []

        def act(arguments: dict[str, Any]) -> None:
            received.append(arguments)
            if does is not None:
                does()

        monkeypatch.setattr(sys.modules[__name__], "behave", act)
        status = main(list(args))
        captured = capsysbinary.readouterr()
        return Run(status, captured.out.decode(), captured.err.decode(), received[0] if received else None)

    return call


def load_stand_in(name: str) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=cli.Command)(train)
    return typer.main.get_command(single)


def one_line_error(result: Run, status: int) -> str:
    assert result.status == status
    assert result.out == ""
    assert result.err.startswith("charrnn: error: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    return result.err.removeprefix("charrnn: error: ").rstrip("\n")


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
    assert (result.status, result.out) == (0, f"charrnn {__version__}\n")


# ---- usage errors


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no command given; it must be one of train, sample, score, info"),
        (["trian"], "no such command trian; did you mean train?"),
        (["--quiet", "train"], "no such option --quiet"),
        (["train", "--stesp", "3"], "no such option --stesp; did you mean --steps?"),
        (["train", "--stesp=3"], "no such option --stesp; did you mean --steps?"),
        (["train", "-steps", "3"], "no such option -steps; did you mean --steps?"),
        (["train", "-Z"], "no such option -Z"),
        (["train", "--steps"], "Option '--steps' requires an argument"),
        (["train", "--lines=3"], "does not take a value"),
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
    assert message in one_line_error(result, 2)
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


@pytest.mark.parametrize(
    "error", [None, BrokenPipeError(32, "Broken pipe"), ValueError("closed"), OSError(5, "I/O error")]
)
def test_what_others_left_in_standard_output(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            if error is not None:
                raise error

    monkeypatch.setattr(sys, "stdout", Broken())  # which has no file descriptor either
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        with pytest.raises(CharrnnError, match="cannot write to standard output: I/O error"):
            streams.flush_stdout()
    else:
        streams.flush_stdout()


def test_streams_that_are_closed_are_no_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for name, ask in (("stdin", streams.stdin_is_terminal), ("stdout", streams.stdout_is_terminal)):
        monkeypatch.setattr(sys, name, closed)
        assert not ask()
        monkeypatch.setattr(sys, name, None)
        assert not ask()


def test_text_that_no_encoding_can_write_is_written_all_the_same() -> None:
    assert streams.encode("é\udcff") == b"\xc3\xa9\xff"
    assert streams.encode("é\ud800") == b"\xc3\xa9?"


# ---- options


def test_options_arrive_parsed(run: Any) -> None:
    result = run(
        *("train", "a", "-", "--max-time", "1.5m", "--cell", "gru,lstm", "--lines", "--seed", "7"),
        *("--stop", r"\n\t\0\\x\q", "--stop", "b", "--num-layers", "2"),
    )
    assert result.status == 0
    assert result.arguments == {
        "corpus": ["a", "-"],
        "steps": None,
        "max_time": 90.0,
        "dropout": 0.25,
        "layers": 2,
        "cell": ("gru", "lstm"),
        "unit": None,
        "lines": True,
        "stop": ["\n\t\0\\x\\q", "b"],
        "config": None,
        "seed": 7,
    }


def test_nothing_given_is_none(run: Any) -> None:
    arguments = run("train").arguments
    assert arguments.pop("dropout") == 0.25
    assert set(arguments.values()) == {None}


def test_config_file_gives_defaults(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'steps = 20\nmax-time = "2h"\ndropout = 0.5\ncell = ["lstm", "gru"]\nlines = true\nnum-layers = 3\nseed = 4\n'
    )
    arguments = run("train", "--steps", "30", "--config", str(path)).arguments
    assert (arguments["steps"], arguments["max_time"], arguments["dropout"]) == (30, 7200.0, 0.5)
    assert (arguments["cell"], arguments["lines"], arguments["layers"]) == (("lstm", "gru"), True, 3)
    assert (arguments["seed"], arguments["config"]) == (4, str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stesp = 3", "no such option stesp; did you mean steps?"),
        ("max_time = 3", "no such option max_time; did you mean max-time?"),
        ("config = 'x'", "no such option config"),
        ("corpus = 'x'", "no such option corpus"),
        ("steps = ", "is not a TOML file"),
        ("steps = true", "steps is True; it must be a value"),
        ("lines = 1", "lines is 1; it must be true or false"),
        ("steps = 1979-05-27", "it must be a text or a number"),
        ("[steps]\na = 1", "it must be a text or a number"),
        ("steps = 0", "--steps: 0 is out of range"),
        ("dropout = nan", "--dropout: nan is not a finite number"),
        ("layers = 1\nnum-layers = 2", "is given twice"),
    ],
)
def test_wrong_config_files(run: Any, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content)
    assert message in one_line_error(run("train", "--config", str(path)), 2)


def test_missing_config_file(run: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    assert f"cannot read {path}: No such file" in one_line_error(run("train", "--config", path), 1)


# ---- streams


@given(st.text())
def test_printable_is_one_line_without_controls(text: str) -> None:
    assert streams.printable(text).isprintable()


def test_notes_and_quiet(run: Any) -> None:
    def speak() -> None:
        streams.note("[b]note[/b]\r")
        streams.set_quiet(True)
        streams.note("unheard")
        streams.warn("a\nb")

    result = run("train", does=speak)
    assert result.err == "[b]note[/b]\\r\ncharrnn: warning: a\\nb\n"
    assert streams.is_quiet()
    assert run("train", does=lambda: streams.note("heard")).err == "heard\n"  # it was for one command
    assert not streams.is_quiet()


def test_output_is_bytes_and_written_before_an_error(run: Any) -> None:
    def write() -> None:
        with streams.Output() as out:
            out.write("é\n")
            out.write(b"\xff")
            out.write("\udcfe")
            raise CharrnnError("later")

    result = None
    with pytest.raises(UnicodeDecodeError):
        result = run("train", does=write)
    assert result is None


def test_completion_for_no_shell_that_is_known(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_shell", lambda: "dash")
    assert "it was run from dash" in one_line_error(run("--show-completion"), 1)
    assert "it was run from dash" in one_line_error(run("--install-completion"), 1)
    assert "takes nothing after it" in one_line_error(run("--show-completion", "zsh"), 2)

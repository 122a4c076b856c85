"""The command as a process: closed pipes, full disks, locales, signals, what it imports, completion."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from charrnn.cli.commands import COMMANDS

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of POSIX")


def run_python(script: str, *args: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(script), *args], capture_output=True, **more)


# A process in which `charrnn train` runs the given function.
STAND_IN = """
import signal, sys, time, types
from charrnn.cli import main as cli, streams
module = types.ModuleType("charrnn.cli.train")
def train() -> None:
    "Stand in."
    {body}
module.train = train
sys.modules["charrnn.cli.train"] = module
if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
"""


def stand_in(body: str) -> str:
    return STAND_IN.replace("{body}", textwrap.indent(textwrap.dedent(body), "    ").strip())


def test_stdout_is_utf8_in_any_locale() -> None:
    body = """
    streams.note("\\xe9 note")
    with streams.Output() as out:
        out.write("\\xe9\\n"); out.write(b"\\xff"); out.write("\\udcfe")
    """
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    result = run_python(stand_in(body), "train", env=environment)
    assert (result.returncode, result.stdout) == (0, b"\xc3\xa9\n\xff\xfe")
    assert result.stderr == b"\\xe9 note\n"


@POSIX
@pytest.mark.parametrize("late", [True, False])
def test_closed_stdout_ends_quietly(late: bool) -> None:
    body = """
    sys.stdin.read()
    with streams.Output() as out:
        for _ in range(1 if len(sys.argv) > 2 else 10**9):
            out.write("x" * 100)
    """
    script = stand_in(body).replace("sys.argv[1:]", "sys.argv[1:2]")
    with subprocess.Popen(
        [sys.executable, "-c", script, "train", *(["late"] if late else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@POSIX
@pytest.mark.parametrize("args", [["--help"], ["--version"], ["train", "--help"]])
def test_help_into_a_closed_pipe(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, "-m", "charrnn", *args], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


@POSIX
def test_closed_stderr_stops_nothing() -> None:
    body = """
    for _ in range(1000):
        streams.note("x" * 100)
    streams.warn("x")
    with streams.Output() as out:
        out.write("done")
    """
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, "-c", stand_in(body), "train"], stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert (result.returncode, result.stdout) == (0, b"done")


@POSIX
def test_streams_closed_from_the_start() -> None:
    body = """
    streams.note("x")
    with streams.Output() as out:
        out.write("x")
    """
    command = f'"{sys.executable}" -c "$0" train'
    result = subprocess.run(["sh", "-c", f"{command} <&- >&-", stand_in(body)], stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert b"charrnn: error: standard output is closed" in result.stderr
    result = subprocess.run(["sh", "-c", f"{command} <&- 2>&-", stand_in(body)], stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout) == (0, b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk() -> None:
    body = """
    with streams.Output() as out:
        out.write("x")
    """
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run([sys.executable, "-c", stand_in(body), "train"], stdout=full, stderr=subprocess.PIPE)
        shown = [
            subprocess.run([sys.executable, "-m", "charrnn", flag], stdout=full, stderr=subprocess.PIPE)
            for flag in ("--help", "--version")
        ]
    for each in (result, *shown):
        assert each.returncode == 1
        assert each.stderr == b"charrnn: error: cannot write to standard output: No space left on device\n"


WAIT = """
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    streams.note("saved")
    {ending}
"""


# ---- signals


def interrupt(script: str, *signals: int) -> tuple[int, bytes]:
    with subprocess.Popen(
        [sys.executable, "-c", script, "train"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        return process.wait(30), process.stderr.read()


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ending", ["raise", "return", "raise ValueError", "pass"])
def test_signals_save_and_kill(number: int, ending: str) -> None:
    status, err = interrupt(stand_in(WAIT.replace("{ending}", ending)), number)
    assert status == -number
    lines = err.decode().splitlines()
    assert lines[0] == "saved"
    assert len(lines) == (2 if "ValueError" in ending else 1)


@POSIX
def test_a_signal_sent_twice_does_not_interrupt_saving() -> None:
    script = stand_in(WAIT.replace("{ending}", "time.sleep(0.3); streams.note('whole')"))
    status, err = interrupt(script, signal.SIGTERM, signal.SIGTERM)
    assert (status, err) == (-signal.SIGTERM, b"saved\nwhole\n")


@POSIX
def test_a_later_signal_kills_at_once() -> None:
    script = stand_in(WAIT.replace("{ending}", "time.sleep(60)")).replace(
        "import signal,",
        "import signal; from charrnn.cli import signals; signals.SAME_SIGNAL_SECONDS = 0\nimport signal,",
    )
    assert interrupt(script, signal.SIGINT, signal.SIGTERM) == (-signal.SIGTERM, b"saved\n")


@POSIX
def test_a_signal_during_compilation_waits_for_its_end() -> None:
    body = """
from charrnn.cli.compiling import announce_compilation
from numba.core.compiler_lock import global_compiler_lock
announce_compilation()
try:
    with global_compiler_lock, global_compiler_lock:
        print("ready", flush=True)
        time.sleep(1)
        streams.note("compiled")
    streams.note("never")
except KeyboardInterrupt:
    streams.note("saved")
"""
    assert interrupt(stand_in(body), signal.SIGINT) == (-signal.SIGINT, b"compiled\nsaved\n")


@POSIX
def test_a_second_signal_during_compilation_kills() -> None:
    body = """
from charrnn.cli import signals
signals.SAME_SIGNAL_SECONDS = 0
signals.hold()
print("ready", flush=True)
time.sleep(60)
"""
    assert interrupt(stand_in(body), signal.SIGINT, signal.SIGTERM) == (-signal.SIGTERM, b"")


SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            print("ready", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from charrnn.__main__ import main
sys.exit(main())
"""


@POSIX
def test_ctrl_c_during_the_imports_leaves_no_traceback() -> None:
    assert interrupt(SLOW_IMPORT, signal.SIGINT) == (-signal.SIGINT, b"")


@POSIX
def test_ignored_signals_stay_ignored() -> None:
    body = """
    import os
    os.kill(os.getpid(), signal.SIGINT)
    streams.note("alive")
    """
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + stand_in(body)
    result = run_python(script, "train")
    assert (result.returncode, result.stderr) == (0, b"alive\n")


# ---- what is not imported


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["trian"],
        *([name, "--help"] for name in COMMANDS),
        *([name, "--no-such-option"] for name in COMMANDS),
    ],
    ids=" ".join,
)
def test_no_compiler_for_help_and_usage_errors(args: list[str]) -> None:
    script = """
    import sys
    from charrnn.cli.main import main
    status = main(sys.argv[1:])
    assert not {"numba", "llvmlite", "numpy", "safetensors"} & sys.modules.keys(), "heavy"
    sys.exit(status)
    """
    result = run_python(script, *args)
    assert b"heavy" not in result.stderr
    assert result.returncode == (0 if args[-1] in ("--help", "--version") else 2)
    if args == ["--help"]:
        assert b"Usage: charrnn" in result.stdout

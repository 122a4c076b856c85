"""`charrnn sample` as a process: pipes, closed ones too, and conversations."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli_sample import CHARS
from tests.toy_model import toy_checkpoint


def charrnn(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The command as a process of its own."""
    return subprocess.run([sys.executable, "-m", "charrnn", *args], capture_output=True, check=False, **options)


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path) -> None:
    path = str(toy_checkpoint(tmp_path / "m.safetensors", CHARS, lines=True))
    args = ("sample", "-c", path, "--count", "40", "--seed", "1", "-p", "the")
    one, two = charrnn(*args, "--threads", "1"), charrnn(*args, "--threads", "2")
    assert one.returncode == two.returncode == 0
    assert one.stdout == two.stdout
    assert one.stdout.count(b"\n") == 40
    assert two.stderr.decode() == f"checkpoint {path}\n"  # the first one may have had to compile
    fewer = charrnn("sample", "-c", path, "--count", "3", "--seed", "1", "-p", "the").stdout
    assert one.stdout.startswith(fewer)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_closed_pipe_ends_an_endless_sample_quietly(tmp_path: Path) -> None:
    path = str(toy_checkpoint(tmp_path / "m.safetensors", CHARS))
    command_line = [sys.executable, "-m", "charrnn", "sample", "-q", "-c", path, "-n", "inf"]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_each_prompt_of_a_conversation_is_answered(tmp_path: Path) -> None:
    path = str(toy_checkpoint(tmp_path / "m.safetensors", CHARS))
    args = ["sample", "-q", "-c", path, "--prompt-file", "-", "-n", "5", "--stop", r"\n", "--echo"]
    with subprocess.Popen(
        [sys.executable, "-m", "charrnn", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for prompt in (b"the", b"lazy", b""):
            process.stdin.write(prompt + b"\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 60)[0]
            assert process.stdout.readline().startswith(prompt)
        process.stdin.close()
        assert process.wait(60) == 0


def test_no_checkpoint_says_how_to_make_one(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "CHARRNN_CHECKPOINT"}
    result = charrnn("sample", cwd=tmp_path, env=environment)
    assert result.returncode == 1
    assert b"charrnn train corpus.txt" in result.stderr
    assert result.stderr.count(b"\n") == 1

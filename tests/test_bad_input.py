"""Bad input: one line that says what was found and what to do, the right status, nothing on standard output."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from charrnn.config import MOST_UNITS
from charrnn.runtime.memory import available_memory
from tests.conftest import TINY, run_command, sentences

POSIX = pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    """One file of each kind that commands are given by mistake; `m` is a good checkpoint."""
    folder = tmp_path_factory.mktemp("bad")
    good = models["char"].read_bytes()
    text = sentences(40)
    files = {
        "text.txt": text.encode(),
        "empty.txt": b"",
        "blank.txt": b"\n\n\n",
        "one.txt": b"a",
        "once.txt": b"each word once",
        "same.txt": b"aaaaaaaaaa\naaaa\n",
        "latin.txt": text.encode("latin-1"),
        "utf16.txt": text.encode("utf-16"),
        "broken.gz": gzip.compress(text.encode())[:-20],
        "m.safetensors": good,
        "empty.safetensors": b"",
        "short.safetensors": good[:-1],
        "header.safetensors": good[:100],
        "text.safetensors": text.encode(),
        "broken.toml": b"steps = ",
        "typo.toml": b"step = 5",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tensors = load_file(models["char"])
    save_file(tensors, folder / "foreign.safetensors")
    with safe_open(models["char"], framework="numpy") as file:
        described = json.loads(file.metadata()["charrnn"])
    newer = json.dumps(described | {"format_version": 99, "new": {}})
    save_file(tensors, folder / "newer.safetensors", {"charrnn": newer})
    (folder / "a-folder").mkdir()
    return folder


# Command, standard input (None: closed), status, part of the message.
CASES: list[tuple[str, bytes | None, int, str]] = [
    # The corpus
    ("train", b"", 2, "no corpus given; name a text file, or - for stdin"),
    ("train none.txt", b"", 1, "none.txt: no such file"),
    ("train text.txt none.txt", b"", 1, "none.txt: no such file"),
    ("train a-folder", b"", 1, "a-folder is a directory; name the text files in it"),
    ("train empty.txt", b"", 1, "empty.txt is empty; training needs at least two different characters"),
    ("train blank.txt", b"", 1, "blank.txt has nothing but line ends"),
    ("train one.txt", b"", 1, "one.txt has one character only, 'a'"),
    ("train same.txt", b"", 1, "same.txt has one character only, 'a'"),
    ("train one.txt --unit word", b"", 1, "one.txt has one word only, 'a'"),
    ("train once.txt --unit word", b"", 1, "rarer ones become <unk>; lower --min-count (1 keeps every word) or give"),
    ("train one.txt --lines", b"", 1, "one.txt has one character only, 'a'"),
    ("train -", b"", 1, "stdin is empty"),
    ("train -", b"x", 1, "stdin has one character only, 'x'"),
    ("train -", None, 1, "stdin is closed; pipe the corpus in (zcat logs.gz | charrnn train -) or name a file"),
    ("train - -", b"text", 2, "- (stdin) is given twice"),
    ("train latin.txt", b"", 1, "latin.txt: byte 0x"),
    ("train latin.txt", b"", 1, "is not valid UTF-8; use --unit byte, or --errors replace"),
    ("train latin.txt --task tag", b"", 1, "is not valid UTF-8; use --errors replace"),
    ("train latin.txt --task forecast", b"", 1, "is not valid UTF-8; use --errors replace"),
    ("train utf16.txt", b"", 1, "add --encoding utf-16"),
    ("train utf16.txt --task tag", b"", 1, "add --encoding utf-16 (or use --errors replace)"),
    ("train text.txt --encoding klingon", b"", 2, "--encoding is 'klingon', which Python does not know"),
    ("train broken.gz", b"", 1, "broken.gz: damaged gzip data"),
    ("train text.txt --val none.txt", b"", 1, "none.txt: no such file"),
    ("train text.txt --val empty.txt", b"", 1, "the validation file empty.txt is empty"),
    ("train text.txt --layers 100000", b"", 2, "--layers: 100000 is out of range; it must be at least 1 and at most"),
    (f"train text.txt --cell lstm{',gru' * 1000}", b"", 2, "--layers is 1001; it must be at least 1 and at most 1000"),
    ("train text.txt --unit word --min-count 1000", b"", 1, "lower --min-count"),
    # The options of train
    ("train text.txt --hidden-size 0", b"", 2, "--hidden-size: 0 is out of range; it must be at least 1"),
    ("train text.txt --layers 0", b"", 2, "--layers: 0 is out of range; it must be at least 1"),
    ("train text.txt --batch-size 0", b"", 2, "--batch-size: 0 is out of range; it must be at least 1"),
    ("train text.txt --val-fraction 2", b"", 2, "--val-fraction: 2 is out of range; it must be at least 0"),
    ("train text.txt --dropout 1", b"", 2, "--dropout: 1 is out of range; it must be at least 0 and at most 0.99"),
    ("train text.txt --max-time banana", b"", 2, "--max-time: banana is not a time; write 90s, 10m or 2h"),
    ("train text.txt --cell lstm,foo", b"", 2, "--cell: foo is unknown; it must be one of lstm, gru, rnn"),
    ("train text.txt --unit line", b"", 2, "--unit: line is unknown; it must be one of char, word, byte"),
    ("train text.txt --lr nan", b"", 2, "--lr: nan is not a finite number"),
    ("train text.txt --steps 1e3", b"", 2, "--steps: 1e3 is not a whole number"),
    ("train text.txt --step 5", b"", 2, "no such option --step; did you mean --steps?"),
    ("train text.txt --hiden-size 5", b"", 2, "no such option --hiden-size; did you mean --hidden-size?"),
    ("train text.txt --steps", b"", 2, "--steps"),
    ("train text.txt --pretokenized", b"", 2, "--pretokenized is for --unit word"),
    ("train text.txt --config none.toml", b"", 1, "cannot read none.toml"),
    ("train text.txt --config broken.toml", b"", 2, "broken.toml is not a TOML file"),
    ("train text.txt --config typo.toml", b"", 2, "no such option step; did you mean steps?"),
    # The output of train
    ("train text.txt -o m.safetensors", b"", 2, "m.safetensors exists; --resume goes on with it, --force replaces it"),
    *(
        (f"train text.txt --steps 1 -o a-folder{force}", b"", 1, "a-folder: it is there and is not a regular file")
        for force in ("", " --force")
    ),
    ("train text.txt --steps 1 -o text.txt/m.safetensors", b"", 1, "m.safetensors: text.txt is not a folder"),
    ("train text.txt --steps 1 --log a-folder", b"", 1, "cannot write the log a-folder"),
    ("train --resume -o foreign.safetensors", b"", 1, "foreign.safetensors is not a charrnn checkpoint"),
    ("train text.txt --init-from short.safetensors", b"", 1, "short.safetensors is truncated"),
    # The checkpoint
    *(
        (f"{command} {path}", b"a", 1, says)
        for command in ("sample -q -c", "score -q -c", "info")
        for path, says in (
            ("none.safetensors", "there is no checkpoint none.safetensors; charrnn train corpus.txt makes one"),
            ("a-folder", "a-folder is a directory; a checkpoint is a .safetensors file"),
            ("empty.safetensors", "empty.safetensors is not a .safetensors file"),
            ("short.safetensors", "short.safetensors is truncated"),
            ("header.safetensors", "header.safetensors is truncated"),
            ("text.safetensors", "text.safetensors is not a .safetensors file"),
            ("foreign.safetensors", "foreign.safetensors is not a charrnn checkpoint"),
            (
                "newer.safetensors",
                "was written by a newer charrnn (format 99; this one reads up to 2); upgrade charrnn",
            ),
        )
    ),
    ("score -c short.safetensors", b"a", 1, "short.safetensors is truncated"),
    ("sample", b"", 1, "make one with: charrnn train corpus.txt"),
    ("score", b"a", 1, "make one with: charrnn train corpus.txt"),
    ("info", b"", 1, "make one with: charrnn train corpus.txt"),
    # sample
    ("sample -c m.safetensors --temperature -1", b"", 2, "--temperature: -1 is out of range; it must be at least 0"),
    ("sample -c m.safetensors --temperature nan", b"", 2, "--temperature: nan is not a finite number"),
    ("sample -c m.safetensors --temprature 1", b"", 2, "no such option --temprature; did you mean --temperature?"),
    ("sample -c m.safetensors -n 0", b"", 2, "--length: 0"),
    ("sample -c m.safetensors -n many", b"", 2, "--length: many"),
    ("sample -c m.safetensors -n inf --count 2", b"", 2, "--length is inf and 2 samples are wanted"),
    ("sample -c m.safetensors --top-k 0", b"", 2, "--top-k: 0 is out of range"),
    ("sample -c m.safetensors --top-p 0", b"", 2, "--top-p: 0 is out of range"),
    ("sample -c m.safetensors --seed -1", b"", 2, "--seed: -1 is out of range"),
    ("sample -c m.safetensors --format xml", b"", 2, "--format: xml is unknown; it must be one of text, jsonl"),
    ("sample -c m.safetensors --prompt-file none.txt", b"", 1, "cannot read none.txt"),
    ("sample -c m.safetensors --prompt-file a-folder", b"", 1, "cannot read a-folder: Is a directory"),
    ("sample -c m.safetensors --prompt-file -", None, 1, "standard input is closed"),
    # score
    ("score -q -c m.safetensors", None, 1, "standard input is closed"),
    ("score -q -c m.safetensors -i -", None, 1, "standard input is closed"),
    ("score -c m.safetensors -i none.txt", b"", 1, "cannot read none.txt"),
    ("score -q -c m.safetensors -i a-folder", b"", 1, "cannot read a-folder: Is a directory"),
    ("score -c m.safetensors --format xml", b"a", 2, "--format: xml is unknown; it must be one of table, tsv, jsonl"),
    ("score -c m.safetensors --log-base 3", b"a", 2, "--log-base: 3 is unknown; it must be one of e, 2, 10"),
    ("score -c m.safetensors --sumary", b"a", 2, "no such option --sumary; did you mean --summary?"),
    ("score -c m.safetensors --threads 0", b"a", 2, "--threads: 0 is out of range"),
    # None of them
    ("", b"", 2, "no command given; it must be one of train, sample, score, predict, report, info"),
    ("smaple", b"", 2, "no such command smaple; did you mean sample?"),
    ("info m.safetensors --jsn", b"", 2, "no such option --jsn; did you mean --json?"),
]

# What may come before the line: `train` alone shows how it is used, and the choice of a checkpoint is named.
NOTES = {
    "train": "Usage: charrnn train [OPTIONS] [CORPUS]...\n",
    "score -c short.safetensors": "checkpoint short.safetensors\n",
}


def check(command: str, status: int, out: bytes, err: str, expected: int, says: str) -> None:
    """One line with the fragment, and nothing else."""
    assert err.startswith(NOTES.get(command, ""))
    line = err.removeprefix(NOTES.get(command, ""))
    assert line.startswith("charrnn: error: "), err
    assert line.endswith("\n")
    assert line.count("\n") == 1, err
    assert says in line
    assert "Traceback" not in err
    assert out == b""
    assert status == expected


@pytest.mark.parametrize(("command", "stdin", "status", "says"), CASES, ids=[case[0] or "nothing" for case in CASES])
def test_bad_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, stdin: bytes | None, status: int, says: str
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    small = TINY if command.startswith("train ") and status == 1 else ()
    result = run_command(*shlex.split(command), *small, stdin=stdin)
    err = result.err if command else result.err.splitlines(keepends=True)[-1]  # after the help
    check(command, result.status, result.out, err, status, says)
    assert sorted(path.name for path in folder.iterdir() if path.name != "checkpoints") == before


HUGE = 10**29


@pytest.mark.skipif(available_memory() is None, reason="nobody knows how much memory there is")
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "train text.txt --hidden-size 1000000000",
            "training 4e+18 parameters on 1 x 32 units at a time needs about 2.2e+11 GB",
        ),
        (f"train text.txt --hidden-size {HUGE} --dry-run", "GB are free; lower --hidden-size"),
        (f"train text.txt --embedding-size {HUGE}", "GB are free; lower --hidden-size, --embedding-size"),
        (f"sample -q -c m.safetensors --count 2 -n {HUGE}", "--length 1e+29 of 2 samples at a time needs about"),
        (f"sample -q -c m.safetensors --format jsonl -n {HUGE}", "--count, or leave out --format jsonl"),
        (f"score -q -c m.safetensors --text-field {HUGE} a", "line 1 has 1 field separated by tabs"),
    ],
)
def test_more_than_any_machine_has(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str) -> None:
    monkeypatch.chdir(folder)
    tracemalloc.start()
    try:
        result = run_command(*shlex.split(command))
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    check(command, result.status, result.out, result.err, 1, says)


def test_words_that_all_occur_once_can_be_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    args = (*TINY, "--unit", "word", "--steps", "1", "-o", "checkpoints/once.safetensors", "--json", "-q")
    result = run_command("train", "once.txt", "--min-count", "1", "--val-fraction", "0", *args)
    assert (result.status, json.loads(result.out)["vocabulary"]) == (0, 5)  # <unk>, <eos> and three words


def test_what_is_more_than_there_is_text_is_no_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for option in ("--batch-size", "--seq-length", "--warmup", "--epochs", "--max-vocab", "--eval-every"):
        most = MOST_UNITS if option == "--max-vocab" else HUGE
        args = (*TINY, option, str(most), "--steps", "1", "-o", "checkpoints/huge.safetensors", "--force")
        assert run_command("train", "text.txt", *args).status == 0, option
        assert run_command("info", "checkpoints/huge.safetensors").status == 0, option
    sample = ("sample", "-q", "-c", "m.safetensors", "-n", "9", "--seed", "1")
    assert run_command(*sample, "--top-k", str(HUGE)).out == run_command(*sample).out
    assert run_command(*sample, "--format", "jsonl", "--stop", "e", "-n", str(HUGE)).status == 0


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("train - <&-", 1, "stdin is closed"),
        ("score -q -c m.safetensors <&-", 1, "standard input is closed"),
        ("sample -c m.safetensors --prompt-file - <&-", 1, "standard input is closed"),
        ("sample -q -c m.safetensors >&-", 1, "standard output is closed"),
        ("train text.txt --max-time banana", 2, "banana is not a time"),
        ("info short.safetensors", 1, "is truncated"),
        ("printf a | charrnn train -", 1, "stdin has one character only"),
    ],
)
@POSIX
def test_bad_input_in_a_shell(folder: Path, command: str, status: int, says: str) -> None:
    # Where there is no installed command: the module.
    script = f'charrnn() {{ "{sys.executable}" -m charrnn "$@"; }}\n'
    script += command if "| charrnn" in command else f"charrnn {command}"
    result = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, stdin=subprocess.DEVNULL)
    check(command, result.returncode, result.stdout, result.stderr.decode(), status, says)


@POSIX
@pytest.mark.slow
def test_a_closed_stdin_matters_to_those_who_read_it_only(folder: Path) -> None:
    commands = ("sample -q -c m.safetensors -n 20 --seed 1", "score -q -c m.safetensors text", "info m.safetensors")
    for command in commands:
        script = f'"{sys.executable}" -m charrnn {command} <&-'
        result = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True)
        assert (result.returncode, result.stderr) == (0, b""), command
        assert result.stdout


UNREADABLE = [
    ("train {}", "cannot read {}"),
    ("score -q -c m.safetensors -i {}", "cannot read {}"),
    ("sample -q -c m.safetensors --prompt-file {}", "cannot read {}"),
    ("info {}", "{}"),
]


@pytest.mark.parametrize(("command", "says"), UNREADABLE)
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_forbidden_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("text")
    secret.chmod(0)
    monkeypatch.chdir(folder)
    result = run_command(*shlex.split(command.format(secret)))
    check(command, result.status, result.out, result.err, 1, says.format(secret))
    assert "Permission denied" in result.err


@pytest.mark.parametrize(("command", "says"), UNREADABLE)
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
def test_files_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str) -> None:
    monkeypatch.chdir(folder)
    result = run_command(*shlex.split(command.format("/proc/self/mem")))
    check(command, result.status, result.out, result.err, 1, says.format("/proc/self/mem"))

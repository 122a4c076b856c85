"""`charrnn sample`: what reaches standard output, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from charrnn.cli import sample as command
from charrnn.cli import sample_output, streams
from charrnn.cli.main import main
from charrnn.tasks.sampling import Piece
from charrnn.text.vocabulary import Vocabulary
from tests.toy_model import learn, toy_trained

CHARS = learn("the quick brown fox\njumps over the lazy dog, naïve café\x1b[\n")
WORDS = learn("the cat sat on the mat\nthe dog ran\n", "word", pretokenized=True)
BYTES = learn("", "byte")

Run = Callable[..., tuple[int, bytes, str]]
opened: list[tuple[str | None, int, str]] = []  # checkpoint, threads and precision of the last run's model


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run `charrnn sample` on a toy model: status, standard output, standard error."""

    def call(*args: str, vocabulary: Vocabulary = CHARS, lines: bool = False) -> tuple[int, bytes, str]:
        def open_model(*options: Any, verb: str) -> Any:
            opened.append(options)
            return toy_trained(vocabulary, lines=lines)

        opened.clear()
        monkeypatch.setattr(command, "open_model", open_model)
        status = main(["sample", *args])
        out, err = capfdbinary.readouterr()
        # Compiling may be said where a test before has used a command.
        said = "".join(line for line in err.decode().splitlines(keepends=True) if not line.startswith("compiling"))
        return status, out, said

    return call


def test_500_units_by_default(run: Run) -> None:
    status, out, err = run("--seed", "1")
    assert status == 0
    assert len(out.decode().removesuffix("\n")) in (499, 500)
    assert err == ""
    assert out == run("--seed", "1")[1]
    assert out != run("--seed", "2")[1]


def test_a_seed_that_was_chosen_is_printed_and_repeats_the_sample(run: Run) -> None:
    _, out, err = run("-n", "50")
    assert err.startswith("seed ")
    assert run("-n", "50", "--seed", err.split()[1])[1] == out


def test_quiet_keeps_the_seed_to_itself(run: Run) -> None:
    assert run("-n", "5", "-q")[2] == ""


def test_what_the_model_is_opened_with(run: Run, tmp_path: Path) -> None:
    run("-n", "5")
    assert opened == [(None, 1, "auto")]
    run("-n", "5", "-c", "a", "--threads", "3", "--precision", "float32", "--count", "100")
    assert opened == [("a", 3, "float32")]
    run("-n", "5", "--threads", "3")
    assert opened[0][1] == 1  # one sample is nothing to divide
    (tmp_path / "prompts").write_text("a\nb\n")
    run("-n", "5", "--threads", "3", "--prompt-file", str(tmp_path / "prompts"))
    assert opened[0][1] == 3


def test_distribution(run: Run) -> None:
    def draw(*args: str, seed: int = 1) -> bytes:
        return run("-n", "60", "--seed", str(seed), *args)[1]

    greedy = draw("-t", "0")
    assert draw("-t", "0", seed=2) == greedy != draw()
    assert draw("-k", "1") == draw("--top-k", "1", seed=2) == greedy
    assert draw("--top-p", "1e-9") == greedy
    assert len({draw(), draw("-t", "0.5"), draw("-t", "2"), draw("-k", "5"), draw("--top-p", "0.8")}) == 5
    assert draw("--temperature", "2") == draw("-t", "2")


@pytest.mark.parametrize("length", ["5", "inf"])
def test_a_prompt_file_without_a_prompt(run: Run, tmp_path: Path, length: str) -> None:
    (tmp_path / "prompts").write_text("")
    status, out, err = run("-n", length, "--prompt-file", str(tmp_path / "prompts"), "--seed", "1")
    assert (status, out) == (0, b"")
    assert err == "the prompt file is empty: there is no prompt to go on from, and nothing was written\n"


def test_one_line_a_sample_for_models_of_lines(run: Run) -> None:
    _, out, _ = run("--count", "20", "--seed", "1", lines=True)
    assert out.count(b"\n") == 20
    assert out.endswith(b"\n")
    _, several, _ = run("--count", "1", "--seed", "1", "-n", "300", lines=True)
    assert len(several.decode()) in (300, 301)
    assert several.count(b"\n") > 3


def test_a_prompt_is_literal_and_shown_with_echo_only(run: Run) -> None:
    prompt = r"the\n quick"
    _, plain, err = run("-p", prompt, "-n", "20", "--seed", "1")
    _, echoed, _ = run("-p", prompt, "-n", "20", "--seed", "1", "--echo")
    assert echoed == prompt.encode() + plain
    assert err.count("charrnn: warning: ") == 1
    assert r"'\\'" in err


def test_prompts_from_a_file_are_completed_in_order(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"the\r\n\nlazy dog")
    args = ("--prompt-file", str(file), "-n", "12", "--seed", "3", "--format", "jsonl", "--count", "2")
    status, out, _ = run(*args)
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(r["prompt"], r["index"]) for r in records] == [(p, i) for p in ("the", "", "lazy dog") for i in (0, 1)]
    assert set(records[0]) == {"prompt", "text", "index", "seed", "tokens", "stopped_by"}
    alone = json.loads(run("-p", "lazy dog", "-n", "12", "--seed", "3", "--format", "jsonl")[1])
    assert alone == records[4]
    assert {(r["tokens"], r["stopped_by"], r["seed"], len(r["text"])) for r in records} == {(12, "length", 3, 12)}


def test_several_prompts_are_completed_in_order(run: Run, tmp_path: Path) -> None:
    args = ("-n", "12", "--seed", "3", "--count", "2", "--echo")
    (tmp_path / "prompts").write_text("the\n\nlazy dog\n")
    given = run("-p", "the", "-p", "", "--prompt", "lazy dog", *args)
    assert given == run("--prompt-file", str(tmp_path / "prompts"), *args)
    assert given[0] == 0
    assert given[1] == b"".join(run("-p", prompt, *args)[1] for prompt in ("the", "", "lazy dog"))
    assert run("-p", "the", "-p", "lazy", "-n", "inf")[0] == 2


def test_thousands_of_prompts_are_completed_in_order(run: Run, tmp_path: Path) -> None:
    prompts = [f"{'the quick fox'[: n % 13]}" for n in range(3000)]
    file = tmp_path / "prompts"
    file.write_bytes(b"\xef\xbb\xbf" + "".join(f"{prompt}\r\n" for prompt in prompts).encode())
    args = ("-n", "2", "--seed", "1", "--format", "jsonl")
    status, out, err = run("--prompt-file", str(file), *args)
    assert (status, err) == (0, "the byte order mark at the start of the text is left out\n")
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["prompt"] for record in records] == prompts
    assert records[2999] == json.loads(run("-p", prompts[2999], *args)[1])


def test_delimiters(run: Run) -> None:
    args = ("--count", "3", "-n", "30", "--seed", "1")
    bare = run(*args, "--delimiter", "")[1]
    nul = run(*args, "--delimiter", r"\0")[1]
    assert nul.count(b"\0") == 3
    assert nul.replace(b"\0", b"") == bare
    parts = nul.split(b"\0")[:3]
    assert run(*args)[1] == b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts)
    assert run(*args, "--delimiter", r"--\n")[1] == b"".join(part + b"--\n" for part in parts)


def test_a_delimiter_is_not_doubled(run: Run) -> None:
    whole = run("-n", "200", "--seed", "1", "--delimiter", "")[1].decode()
    length = whole.index("\n") + 1
    assert run("-n", str(length), "--seed", "1")[1].decode() == whole[:length]


def test_only_what_a_sample_itself_ends_with_counts_as_its_delimiter() -> None:
    written = FakeTerminal()
    ends = [b"x\n", b"", b"a-", b"-", b"--"]
    pieces = [Piece(0, index, data, 1, "line") for index, data in enumerate(ends)]
    sample_output.write_text(cast(Any, written), pieces, [b""], b"\n")
    assert "".join(written.writes) == "x\n\na-\n-\n--\n"
    written.writes.clear()
    cut = [Piece(0, 0, b"a-", 2, None), Piece(0, 0, b"-", 3, "length"), Piece(0, 1, b"-", 1, "length")]
    sample_output.write_text(cast(Any, written), cut, [b""], b"--")
    assert "".join(written.writes) == "a-----"


def test_stop_texts_understand_escapes_and_are_not_printed(run: Run) -> None:
    whole = run("-n", "300", "--seed", "1", "--delimiter", "")[1]
    first = whole.split(b"\n")[0]
    assert run("-n", "300", "--seed", "1", "--delimiter", "", "--stop", r"\n", "--stop", "zzzz")[1] == first
    record = json.loads(run("-n", "300", "--seed", "1", "--stop", r"\n", "--format", "jsonl")[1])
    assert (record["text"], record["stopped_by"]) == (first.decode(), "stop")


def test_byte_models_write_raw_bytes(run: Run) -> None:
    out = run("-n", "600", "--seed", "1", "-t", "9", "--delimiter", "", vocabulary=BYTES)[1]
    assert len(out) == 600
    with pytest.raises(UnicodeDecodeError):
        out.decode()
    record = json.loads(run("-n", "600", "--seed", "1", "-t", "9", "--format", "jsonl", vocabulary=BYTES)[1])
    assert record["text"] == out.decode("utf-8", "replace")


def test_no_unknown_word_is_printed(run: Run) -> None:
    out = run("-n", "2000", "--seed", "1", "-t", "5", vocabulary=WORDS)[1]
    assert b"<unk>" not in out
    assert set(out.split()) <= set(b"the cat sat on mat dog ran".split())


class FakeTerminal:
    """Stands in for `streams.Output` on a terminal and keeps each write."""

    terminal = True

    def __init__(self) -> None:
        self.writes: list[str] = []

    def write(self, data: str | bytes) -> None:
        assert isinstance(data, str)
        self.writes.append(data)

    def __enter__(self) -> FakeTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("vocabulary", [CHARS, BYTES], ids=["char", "byte"])
def test_a_terminal_gets_unit_by_unit_and_no_escape_sequences(
    run: Run, monkeypatch: pytest.MonkeyPatch, vocabulary: Vocabulary
) -> None:
    terminal = FakeTerminal()
    with monkeypatch.context() as patch:
        patch.setattr(streams, "Output", lambda: terminal)
        run("-n", "400", "--seed", "1", "-t", "5", "--echo", "-p", "\x1b[31m\x9b", vocabulary=vocabulary)
    text = "".join(terminal.writes)
    assert text.startswith("\\x1b[31m")
    assert len(terminal.writes) >= 400
    assert not {c for c in text if c < " " and c not in "\n\t"} | {c for c in text if "\x7f" <= c <= "\x9f"}
    piped = run("-n", "400", "--seed", "1", "-t", "5", "-p", "\x1b[31m\x9b", vocabulary=vocabulary)[1]
    assert b"\x1b" in piped


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("--temperature", "-1"), "--temperature"),
        (("-t", "nan"), "--temperature"),
        (("-t", "inf"), "--temperature"),
        (("-k", "0"), "--top-k"),
        (("--top-p", "0"), "--top-p"),
        (("--top-p", "1.01"), "--top-p"),
        (("-n", "0"), "--length"),
        (("-n", "banana"), "--length"),
        (("--count", "0"), "--count"),
        (("-n", "inf", "--count", "2"), "inf"),
        (("--echo",), "--echo"),
        (("-n", "inf", "--format", "jsonl"), "inf"),
        (("--stop", ""), "--stop"),
        (("--format", "xml"), "--format"),
        (("--format", "jsonl", "--delimiter", "x"), "--delimiter"),
        (("-p", "x", "--prompt-file", "y"), "--prompt-file"),
        (("--precision", "float16"), "--precision"),
        (("--seed", "-1"), "--seed"),
        (("hello",), "too many arguments: hello; a prompt is --prompt TEXT, a checkpoint -c FILE"),
    ],
)
def test_usage_errors_are_one_line(args: tuple[str, ...], word: str, run: Run) -> None:
    status, out, err = run(*args)
    assert (status, out) == (2, b"")
    assert err.startswith("charrnn: error: ")
    assert err.count("\n") == 1
    assert word in err


def test_inf_with_several_prompts_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("a\nb\n")
    status, out, err = run("-n", "inf", "--prompt-file", str(tmp_path / "p"))
    assert (status, out, err.count("\n")) == (2, b"", 1)
    (tmp_path / "p").write_text("the\n")
    one = run("-n", "inf", "--prompt-file", str(tmp_path / "p"), "--seed", "1", "--stop", "o")[1]
    assert one == run("-n", "5000", "-p", "the", "--seed", "1", "--stop", "o")[1]


def test_bad_files_have_status_1(run: Run, tmp_path: Path) -> None:
    for path in ("missing.txt", str(tmp_path)):
        status, out, err = run("--prompt-file", path)
        assert (status, out, err.count("\n")) == (1, b"", 1)
        assert path in err

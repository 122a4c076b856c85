"""How well labels are learned: `charrnn train --task classify` beside other programs, on the same records.

    python -m benchmarks.labels TRAIN [TEST] [--max-time 5m] [--seeds 3] [--threads N]

Records are lines as for `charrnn train --task classify`. With one file, the records whose text falls in a tenth of all
hashes are the test part, which no program sees before it predicts. `charrnn` has no option but the budget, seed and
threads; its kernels are compiled before. The others (benchmarks/rivals.py) run in the environment that `make peers`
sets up. Seconds are those of learning and predicting, with the start of the program.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.common import describe_machine, print_table
from benchmarks.peers import arguments, compared, parsed, rival, run, shown
from benchmarks.rivals import Answer
from charrnn import __version__
from charrnn.cli.parsers import duration
from charrnn.config import TextConfig
from charrnn.tasks.label_figures import figures
from charrnn.text.fields import TAB
from charrnn.text.labelled import RecordReader
from charrnn.text.reader import Source

RIVALS = ("fasttext", "logistic-regression", "bilstm")
TEST_SHARE = 0.1
WORDS_FROM = 3  # a text: shorter ones, such as names, are read by characters

Pairs = list[tuple[str, str]]  # text and label


def read(path: str, folder: Path) -> Pairs:
    """The records of a file."""
    with closing(Source(path, folder)) as source:
        return [(record.text, record.label) for record in RecordReader(source, TextConfig())]


def split(records: Pairs, key: str = "") -> tuple[Pairs, Pairs]:
    """Training and test part: by a hash of the text, and `key`, so that duplicates stay together."""
    parts: tuple[Pairs, Pairs] = ([], [])
    for text, label in records:
        number = int.from_bytes(hashlib.blake2b(f"{key}{text}".encode(), digest_size=8).digest(), "big")
        parts[number < TEST_SHARE * 2**64].append((text, label))
    return parts


def lines_of(records: Pairs, path: Path) -> Path:
    """Write records as `label TAB text`."""
    path.write_text("".join(f"{label}{TAB}{text}\n" for text, label in records), encoding="utf-8")
    return path


def ours(train: Path, texts: Sequence[str], given: Sequence[str]) -> Answer:
    """The labels that a model predicts, which `charrnn train` makes with no option but those `given`."""
    model, lines = train.with_name("model.safetensors"), train.with_name("texts.txt")
    lines.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    run("train", str(train), "--task", "classify", "-o", str(model), "--force", "-q", *given)
    out = run("predict", "-c", str(model), "-i", str(lines), "--format", "jsonl", "-q")
    return Answer(f"charrnn {__version__}", [json.loads(line)["label"] for line in out.splitlines()])


def measure(predicted: Sequence[str], test: Pairs, labels: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro-F1, in percent; `labels` are those of the training part."""
    numbers = {label: n for n, label in enumerate(labels)}
    true = np.array([numbers.get(label, -1) for _, label in test], np.int32)
    found = figures(true, np.array([numbers[label] for label in predicted], np.int32), len(labels))
    return {name: 100 * found[name] for name in ("accuracy", "macro_f1")}


def main() -> None:
    """Print the table."""
    parser = arguments("Learning labels, beside other programs.", RIVALS, "5m")
    parser.add_argument("train", metavar="TRAIN")
    parser.add_argument("test", metavar="TEST", nargs="?", help="otherwise a tenth of TRAIN")
    options = parsed(parser)
    given = ["--max-time", options.max_time, "--threads", str(options.threads)]
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.test is None:
            train, test = split(read(options.train, folder))
        else:
            train, test = read(options.train, folder), read(options.test, folder)
        texts = [text for text, _ in test]
        labels = [label for label, _ in Counter(label for _, label in train).most_common()]
        short = sum(len(text.split()) for text, _ in train) < WORDS_FROM * len(train)
        file = lines_of(train, folder / "train.tsv")
        request = {
            "train": train, "test": texts, "threads": options.threads, "seconds": duration(options.max_time),
            "by_characters": short,
        }  # fmt: skip
        ours(file, texts[:10], ["--steps", "2"])

        def ask(name: str, seed: int) -> Answer:
            if name == "charrnn":
                return ours(file, texts, [*given, "--seed", str(seed)])
            return rival("rivals", name, request | {"seed": seed}, options.python, folder)

        for side in compared(
            ("charrnn", *options.rivals), options.seeds, ask, lambda predicted: measure(predicted, test, labels)
        ):
            rows.append([*side.row(), shown(side.seconds)])
    most = measure([labels[0]] * len(test), test, labels)
    rows.append(["most frequent label", "", *(f"{value:.2f}" for value in most.values()), ""])
    print(f"{describe_machine()}; {options.threads} threads, {options.max_time} a run")
    sizes = f"{len(train):,} records to learn from, {len(test):,} to test, {len(labels)} labels"
    title = f"{Path(options.train).name}: {sizes}; medians of {options.seeds} seeds (least to greatest)"
    print_table(title, ("program", "package", "accuracy, %", "macro-F1, %", "seconds"), rows)


if __name__ == "__main__":
    main()

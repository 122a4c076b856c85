"""How well tags are learned: `charrnn train --task tag` beside other programs, on the same sentences.

    python -m benchmarks.tags TRAIN TEST [--val FILE] [--max-time 10m] [--seeds 3] [--threads N]

Sentences are columns as for `charrnn train --task tag`. Without --val the sentences whose words fall in a tenth of all
hashes are held out of TRAIN. All programs stop by the same sentences, and learn from the same. `charrnn` has no option
but the budget, seed and threads; its kernels are compiled before. The others (benchmarks/tag_rivals.py) run in the
environment that `make peers` sets up. Unknown words are those that no sentence to learn from has. The speed is that of
tagging all of TEST, from words to tags, in one process: the median of three times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import charrnn
from benchmarks.common import describe_machine, print_table
from benchmarks.peers import arguments, compared, parsed, rival, run
from benchmarks.rivals import Answer, Pairs, timed
from benchmarks.tag_rivals import RIVALS, figures
from charrnn.cli.parsers import duration
from charrnn.config import TextConfig
from charrnn.text.coding import code_points
from charrnn.text.holdout import LineSplit
from charrnn.text.reader import Source
from charrnn.text.tag_schemes import as_iob2, looks_like_iob1
from charrnn.text.tagged import SentenceReader

VAL_SHARE = 0.1
ONE_RUN = ("crfsuite",)  # nothing in it depends on a seed
COLUMNS = ("accuracy", "f1", "accuracy_unknown")


def read(path: str, folder: Path) -> Pairs:
    """Words and tags of each sentence of a file."""
    with closing(Source(path, folder)) as source:
        return [(sentence.tokens, sentence.tags) for sentence in SentenceReader(source, TextConfig(unit="word"))]


def split(sentences: Pairs) -> tuple[Pairs, Pairs]:
    """What to learn from, and what is held out, as `charrnn train` does it."""
    by_hash = LineSplit(VAL_SHARE, 0)
    text = "".join(f"{' '.join(words)}\n" for words, _ in sentences)
    held_out = by_hash.held_out(by_hash.hashes(code_points(text))[0])
    parts: tuple[Pairs, Pairs] = ([], [])
    for sentence, out in zip(sentences, held_out.tolist(), strict=True):
        parts[out].append(sentence)
    return parts


def write(sentences: Pairs, path: Path) -> str:
    """Write sentences in two columns; returns the path."""
    lines = ("".join(f"{word}\t{tag}\n" for word, tag in zip(*pair, strict=True)) for pair in sentences)
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def ours(files: Sequence[str], model: Path, words: list[Any], threads: int, given: Sequence[str]) -> Answer:
    """The tags that a model predicts, which `charrnn train` makes with no option but those `given`."""
    train, val = files
    run("train", train, "--val", val, "--task", "tag", "-o", str(model), "--force", "-q", *given)
    tagger = charrnn.load(model, threads=threads)

    def tag(sentences: Sequence[Any]) -> list[Any]:
        return [list(sentence.tags) for sentence in tagger.predict(sentences)]

    outputs, seconds = timed(tag, words)
    return Answer(f"charrnn {charrnn.__version__}", outputs, {"tagging": seconds})


def main() -> None:
    """Print the table."""
    parser = arguments("Learning tags, beside other programs.", tuple(RIVALS), "10m")
    parser.add_argument("train", metavar="TRAIN")
    parser.add_argument("test", metavar="TEST")
    parser.add_argument("--val", metavar="FILE", help="sentences to stop by; otherwise a tenth of TRAIN")
    options = parsed(parser)
    given = ["--max-time", options.max_time, "--threads", str(options.threads)]
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = read(options.train, folder), read(options.test, folder)
        train, val = (train, read(options.val, folder)) if options.val else split(train)
        if looks_like_iob1(tags for _, tags in train):
            train, val, test = ([(words, as_iob2(tags)) for words, tags in part] for part in (train, val, test))
        files = [write(train, folder / "train.conll"), write(val, folder / "val.conll")]
        model, words = folder / "model.safetensors", [words for words, _ in test]
        known, tokens = {word for words, _ in train for word in words}, sum(map(len, words))
        request = {
            "train": train, "held_out": val, "test": words, "threads": options.threads,
            "seconds": duration(options.max_time),
        }  # fmt: skip
        ours(files, model, words[:10], options.threads, ["--steps", "2"])

        def ask(name: str, seed: int) -> Answer:
            if name == "charrnn":
                return ours(files, model, words, options.threads, [*given, "--seed", str(seed)])
            return rival("tag_rivals", name, request | {"seed": seed}, options.python, folder)

        def measure(outputs: list[Any]) -> dict[str, float]:
            found = figures(test, outputs, known)
            return {column: 100 * found[column] for column in COLUMNS if column in found}

        for side in compared(("charrnn", *options.rivals), options.seeds, ask, measure, once=ONE_RUN):
            speeds = "; ".join(
                f"{tokens / np.median([one.seconds[what] for one in side.answers]):,.0f}"
                for what in side.answers[0].seconds
            )
            rows.append([*side.row(), speeds])
    unknown = sum(word not in known for sentence in words for word in sentence)
    print(f"{describe_machine()}; {options.threads} threads, {options.max_time} a run")
    sizes = (
        f"{len(train):,} sentences to learn from, {len(val):,} held out, {tokens:,} words to tag, {unknown:,} unknown"
    )
    names = ("accuracy, %", *(["F1, %"] if "f1" in side.figures[0] else []), "of unknown words, %")
    title = f"{Path(options.train).name}: {sizes}; medians of {options.seeds} seeds (least to greatest)"
    print_table(title, ("program", "package", *names, "words / s (CRFsuite: also with features ready)"), rows)


if __name__ == "__main__":
    main()

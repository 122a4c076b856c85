"""How well pairs are learned: `charrnn train --task translate` beside the same network in PyTorch, on the same pairs.

    python -m benchmarks.translate TRAIN [TEST] [--val FILE] [--max-time 10m] [--seeds 3] [--threads N]

Lines are `source TAB target`. Without TEST the pairs whose source falls in a tenth of all hashes are the test part, and
without --val another tenth of the rest is held out. Both sides stop by the same pairs, and learn from the same.
`charrnn` has no option but the budget, seed and threads (and --hidden-size); its kernels are compiled before. PyTorch
(benchmarks/translate_rivals.py) runs in the environment that `make peers` sets up, with the sizes and the units that
`charrnn` chose, trained on batches of similar length. Both search with a beam of 5; outputs are as right as the nearest
of the references of their source. The speed is that of the search for all of TEST: the median of three times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import charrnn
from benchmarks.common import describe_machine, print_table
from benchmarks.labels import split
from benchmarks.peers import arguments, compared, parsed, rival, run
from benchmarks.rivals import Answer, Pairs, timed
from charrnn.cli.parsers import duration
from charrnn.tasks.trained_translator import TrainedTranslator, as_read, written
from charrnn.tasks.translate_figures import unit_errors

RIVALS = ("lstm",)
HELD_OUT_KEY = "held out "
References = dict[str, list[str]]


def read(path: str) -> Pairs:
    """The pairs of a file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [(source, target) for source, _, target in (line.partition("\t") for line in lines if line)]


def write(pairs: Pairs, path: Path) -> str:
    """Write pairs; returns the path."""
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return str(path)


def references_of(pairs: Pairs) -> References:
    """The targets of each source, in the order of first appearance."""
    found: References = {}
    for source, target in pairs:
        found.setdefault(source, []).append(target)
    return found


def ours(files: Sequence[str], model: Path, sources: Sequence[str], threads: int, given: Sequence[str]) -> Answer:
    """What a model makes of the sources, which `charrnn train` makes with no option but those `given`."""
    train, val = files
    run("train", train, "--val", val, "--task", "translate", "-o", str(model), "--force", "-q", *given)
    translator = charrnn.load(model, threads=threads)
    outputs, seconds = timed(lambda texts: [found[0].text for found in translator.predict(texts)], sources)
    return Answer(f"charrnn {charrnn.__version__}", outputs, {"beam": seconds})


def theirs(name: str, model: TrainedTranslator, parts: dict[str, Any], python: Path, folder: Path) -> Answer:
    """What a rival makes of the same, with the units and sizes of `model`."""
    config = model.network.config
    sizes = {
        "source_units": config.source_vocabulary_size, "target_units": config.vocabulary_size,
        "hidden": config.hidden_size, "embedding": config.embedding_size, "layers": config.num_layers,
    }  # fmt: skip

    def target_ids(text: str) -> list[int]:
        ids: list[int] = model.vocabulary.encode(as_read(text, model.sides.target)).tolist()
        return ids

    def encoded(pairs: Pairs) -> list[Any]:
        return [(model.source_ids(source).tolist(), target_ids(target)) for source, target in pairs]

    ids = [model.source_ids(source) for source in parts["test"]]
    request = parts | {
        "train": encoded(parts["train"]), "held_out": encoded(parts["held_out"]), "sizes": sizes,
        "test": [(one.tolist(), model.limit(len(one))) for one in ids],
    }  # fmt: skip
    found = rival("translate_rivals", name, request, python, folder)
    units = model.vocabulary.units
    outputs = [written([units[n] for n in one], one, model.vocabulary).decode() for one in found.outputs]
    return Answer(found.package, outputs, found.seconds)


def figures(outputs: Sequence[str], references: References, python: Path, folder: Path) -> dict[str, float]:
    """Words wrong, errors a character or, of targets with spaces, a word, BLEU and chrF: in percent."""
    known = list(references.values())
    wrong = sum(output not in own for output, own in zip(outputs, known, strict=True))
    spaced = sum(" " in own[0] for own in known) > len(known) / 2
    units: list[tuple[list[str], list[list[str]]]] = [
        (cut(output, spaced), [cut(one, spaced) for one in own]) for output, own in zip(outputs, known, strict=True)
    ]
    errors = np.array([unit_errors(output, own) for output, own in units]).sum(axis=0)
    found = {"wrong": 100 * wrong / len(known), "errors": 100 * float(errors[0] / errors[1])}
    if python.exists():
        request = {"train": list(zip(outputs, known, strict=True)), "test": [], "seed": 0, "threads": 1, "seconds": 0}
        bleu, chrf = rival("translate_rivals", "sacrebleu", request, python, folder).outputs
        found |= {"bleu": bleu, "chrf": chrf}
    return found


def cut(text: str, spaced: bool) -> list[str]:
    """Words or characters."""
    return text.split() if spaced else list(text)


def main() -> None:
    """Print the table."""
    parser = arguments("Learning pairs, beside PyTorch.", RIVALS, "10m")
    parser.add_argument("train", metavar="TRAIN")
    parser.add_argument("test", metavar="TEST", nargs="?", help="otherwise a tenth of TRAIN")
    parser.add_argument("--val", metavar="FILE", help="pairs to stop by; otherwise a tenth of the rest")
    parser.add_argument("--hidden-size", metavar="N", help="of both sides; otherwise what charrnn chooses")
    options = parsed(parser)
    given = ["--max-time", options.max_time, "--threads", str(options.threads)]
    given += ["--hidden-size", options.hidden_size] if options.hidden_size else []
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder, train = Path(name), read(options.train)
        train, test = (train, read(options.test)) if options.test else split(train)
        train, val = (train, read(options.val)) if options.val else split(train, HELD_OUT_KEY)
        files = [write(train, folder / "train.tsv"), write(val, folder / "val.tsv")]
        model, references = folder / "model.safetensors", references_of(test)
        sources = list(references)
        parts = {
            "train": train, "held_out": val, "test": sources, "threads": options.threads,
            "seconds": duration(options.max_time),
        }  # fmt: skip
        ours(files, model, sources[:10], options.threads, ["--steps", "2"])

        def ask(name: str, seed: int) -> Answer:
            if name == "charrnn":
                return ours(files, model, sources, options.threads, [*given, "--seed", str(seed)])
            return theirs(name, charrnn.load(model), parts | {"seed": seed}, options.python, folder)

        def measure(outputs: list[Any]) -> dict[str, float]:
            return figures(outputs, references, options.python, folder)

        for side in compared(("charrnn", *options.rivals), options.seeds, ask, measure):
            speed = f"{len(sources) / np.median([one.seconds['beam'] for one in side.answers]):,.0f}"
            rows.append([*side.row(), speed])
        network = charrnn.load(model).network.config
    print(f"{describe_machine()}; {options.threads} threads, {options.max_time} a run")
    sizes = f"{len(train):,} pairs to learn from, {len(val):,} held out, {len(sources):,} sources to test"
    layers = f"{network.num_layers} layers of {network.hidden_size}, embedding {network.embedding_size}"
    title = f"{Path(options.train).name}: {sizes}; {layers}; medians of {options.seeds} seeds (least to greatest)"
    scores = ("BLEU", "chrF") if "bleu" in side.figures[0] else ()
    print_table(title, ("program", "package", "wrong, %", "errors, %", *scores, "sources / s"), rows)


if __name__ == "__main__":
    main()

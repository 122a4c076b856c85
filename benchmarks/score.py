"""Scoring text, this project and PyTorch alternating: units a second.

    python -m benchmarks.score [--quick] [NAMES]

One long text in 64 streams (T 200), and lines of their own: the names in the file NAMES, or the dinosaurs. There
PyTorch takes batches of 64 lines in the order of the file, padded to the longest; in this project lines share the steps
of common prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Side, arguments, describe_machine, in_turns, make_model, make_torch, print_table, ratio
from charrnn.tasks.line_scoring import score_lines
from charrnn.tasks.score_records import Line
from charrnn.text import Vocabulary
from charrnn.text.corpus import load_corpus

VOCABULARY, LAYERS, STREAMS, STEPS = 65, 2, 64, 200
DINOSAURS = Path(__file__).parent.parent / "corpora" / "dinosaurs.txt"


def our_streams(H: int, *, bfloat16: bool, threads: int) -> Side:
    """Log-probabilities of random text."""
    model = make_model("lstm", H, LAYERS, VOCABULARY, bfloat16=bfloat16, threads=threads)
    ids, targets = np.random.default_rng(0).integers(0, VOCABULARY, (2, STEPS, STREAMS)).astype(np.int32)
    state = model.zero_state(STREAMS)
    return lambda: model.log_probs(ids, targets, state)


def torch_streams(H: int) -> Side:
    """The same with PyTorch."""
    import torch

    modules = make_torch("lstm", H, LAYERS, VOCABULARY)
    ids, targets = torch.randint(0, VOCABULARY, (2, STEPS, STREAMS))

    def score() -> None:
        with torch.inference_mode():
            logits = modules["output"](modules["rnn"](modules["embedding"](ids))[0])
            torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), targets.reshape(-1), reduction="none")

    return score


def our_lines(H: int, vocabulary: Vocabulary, lines: Sequence[str], *, threads: int) -> Side:
    """Scores of lines, from text to numbers."""
    model = make_model("lstm", H, LAYERS, len(vocabulary), bfloat16=False, threads=threads)
    chunk = [Line(line.encode()) for line in lines]
    return lambda: list(score_lines(model, vocabulary, [chunk]))


def torch_lines(H: int, vocabulary: Vocabulary, lines: Sequence[str]) -> Side:
    """The same with PyTorch, the lines encoded beforehand."""
    import torch

    modules = make_torch("lstm", H, LAYERS, len(vocabulary))
    encoded = [torch.tensor([1, *vocabulary.encode(line).tolist(), 1]) for line in lines]

    def score() -> None:
        with torch.inference_mode():
            for first in range(0, len(encoded), 64):
                units = torch.nn.utils.rnn.pad_sequence(encoded[first : first + 64], padding_value=-100)
                targets, inputs = units[1:], units[:-1].clamp(min=0)
                logits = modules["output"](modules["rnn"](modules["embedding"](inputs))[0])
                losses = torch.nn.functional.cross_entropy(
                    logits.reshape(-1, len(vocabulary)), targets.reshape(-1), reduction="none"
                )
                losses.reshape(targets.shape).sum(0)

    return score


def main() -> None:
    """Print the tables."""
    parser = arguments("Scoring text.")
    parser.add_argument("names", nargs="?", default=str(DINOSAURS))
    options = parser.parse_args()
    import tempfile

    import torch

    from charrnn.config import TextConfig

    torch.set_num_threads(options.threads)
    print(f"{describe_machine()}, PyTorch {torch.__version__}, {options.threads} threads")
    rounds = 3 if options.quick else 7
    rows = []
    for H in (128, 256, 512):
        sides = {
            "float32": our_streams(H, bfloat16=False, threads=options.threads),
            "bfloat16": our_streams(H, bfloat16=True, threads=options.threads),
            "torch": torch_streams(H),
        }
        times = in_turns(sides, rounds)
        for name in ("float32", "bfloat16"):
            speeds = [STEPS * STREAMS / float(np.median(times[side])) for side in (name, "torch")]
            rows.append((str(H), name, *(f"{speed:,.0f}" for speed in speeds), ratio(times["torch"], times[name])))
    print_table("one text in 64 streams", ("hidden", "precision", "units / s", "torch, units / s", "ratio"), rows)
    with tempfile.TemporaryDirectory() as cache:
        text = TextConfig(lines=True)
        corpus = load_corpus([options.names], text, val_path=None, val_fraction=0.0, seed=0, cache_dir=Path(cache))
        lines = Path(options.names).read_text("utf-8").splitlines()[: 4000 if options.quick else None]
        units = sum(len(line) + 1 for line in lines)
        rows = []
        for H in (128, 256, 512):
            sides = {
                "ours": our_lines(H, corpus.vocabulary, lines, threads=options.threads),
                "torch": torch_lines(H, corpus.vocabulary, lines),
            }
            times = in_turns(sides, 3)
            speeds = [units / float(np.median(times[side])) for side in sides]
            rows.append((str(H), *(f"{speed:,.0f}" for speed in speeds), ratio(times["torch"], times["ours"])))
    print_table(f"{len(lines):,} lines", ("hidden", "units / s", "torch, units / s", "ratio"), rows)


if __name__ == "__main__":
    main()

"""Predicting labels: a million lines through `charrnn predict`, and its network beside PyTorch's.

    python -m benchmarks.predict [--quick] [--lines 1000000] [--threads N]

The lines are numbered sentences of corpora/agreement.py, and come back in order, each with a label: memory is the peak
of the whole command. Then a network of the same sizes and weights in PyTorch, a bidirectional LSTM with the maximum
over time, alternates with this one: sequences are encoded beforehand, PyTorch's batches are of similar length, either
padded (which spoils the backward direction a little) or packed (which computes the same as here).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Side, arguments, describe_machine, in_turns, print_table, ratio
from benchmarks.encoding import MEASURED
from benchmarks.long_range import load_grammar
from benchmarks.long_range_labels import sentences
from charrnn.models.classifier import Classifier
from charrnn.task_config import ClassifierConfig
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.packing import evaluation_batches

TRAINED, DISTINCT = 5000, 20_000  # sentences
VOCABULARY, LABELS, EMBEDDING = 10_000, 8, 64
SEQUENCES, LONGEST, BATCH = 2000, 60, 64


def write_lines(path: Path, count: int) -> None:
    """Numbered sentences, no two the same."""
    grammar = load_grammar()
    texts = list(islice(sentences(grammar, grammar.build(), 2), DISTINCT))
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{texts[n % DISTINCT]} {n}\n" for n in range(count))


def train(folder: Path) -> Path:
    """A classifier of sentences by the number of their subject, by default options, of a few steps."""
    grammar = load_grammar()
    records, model = folder / "records.tsv", folder / "model.safetensors"
    found = islice(sentences(grammar, grammar.build(), 1), TRAINED)
    records.write_text("".join(f"{grammar.labelled(sentence)}\n" for sentence in found))
    command = [sys.executable, "-m", "charrnn", "train", str(records), "--task", "classify", "--steps", "50"]
    subprocess.run([*command, "-q", "-o", str(model)], check=True)
    return model


def through_predict(model: Path, lines: Path, threads: int) -> tuple[int, float, float]:
    """Lines through `charrnn predict`, compared with what comes out: how many, seconds, megabytes at the peak.

    Raises SystemExit when a line is missing, not in its place or without a label.
    """
    command = [sys.executable, "-c", MEASURED, "predict", "-q", "-c", str(model), "-i", str(lines)]
    with (
        subprocess.Popen(
            [*command, "--threads", str(threads)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
        lines.open("rb") as expected,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        count = 0
        for count, (out, line) in enumerate(zip(process.stdout, expected, strict=False), 1):
            label, probability, text = out.split(b"\t", 2)
            if text != line or label not in (b"singular", b"plural") or not 0.5 <= float(probability) <= 1:
                raise SystemExit(f"line {count} is {out!r}; it should be a label, its probability and {line!r}")
        if next(expected, None) is not None or process.stdout.read():
            raise SystemExit(f"only {count} lines are in both input and output")
        status, seconds, memory = json.loads(process.stderr.read().splitlines()[-1])
    if status:
        raise SystemExit(f"charrnn predict ended with {status}")
    return count, seconds, memory / (1024 if sys.platform != "darwin" else 1024**2)


def random_part() -> LabelledPart:
    """Sequences of random ids, most of them short."""
    choose, numbers = random.Random(0), np.random.default_rng(0)
    lengths = [min(LONGEST, 4 + int(choose.expovariate(1 / 16))) for _ in range(SEQUENCES)]
    ids = numbers.integers(2, VOCABULARY, sum(lengths)).astype(np.uint16)
    return LabelledPart(ids, np.cumsum([0, *lengths]), np.zeros(SEQUENCES, np.int32))


def network_of(hidden: int, threads: int, *, bfloat16: bool) -> Classifier:
    """A classifier with random weights, of parts that PyTorch has."""
    config = ClassifierConfig(VOCABULARY, ("lstm",), hidden, EMBEDDING, labels=LABELS)
    network = Classifier(config, threads=threads, bfloat16=bfloat16)
    network.initialise(0)
    return network


def our_side(network: Classifier, part: LabelledPart) -> Side:
    """Log-probabilities (records, labels)."""

    def predict() -> Any:
        values = np.empty((len(part), LABELS))
        for records, batch, places in evaluation_batches(part):
            values[records] = network.log_probs(batch)[places[:, 0], places[:, 1]]
        return values

    return predict


def torch_side(network: Classifier, part: LabelledPart, *, packed: bool) -> Side:
    """The same with PyTorch."""
    import torch
    from torch.nn.utils import rnn

    hidden = network.config.hidden_size
    modules = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(VOCABULARY, EMBEDDING),
            "rnn": torch.nn.LSTM(EMBEDDING, hidden, bidirectional=True),
            "output": torch.nn.Linear(2 * hidden, LABELS),
        }
    )
    modules.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in network.tensors().items()})
    sequences = [torch.from_numpy(ids.astype(np.int64)) for ids in np.split(part.ids, part.offsets[1:-1])]

    def batches() -> Iterator[list[int]]:
        order = sorted(range(len(sequences)), key=lambda n: -len(sequences[n]))
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    def predict() -> Any:
        values = torch.empty(len(sequences), LABELS)
        with torch.inference_mode():
            for chosen in batches():
                inputs = modules["embedding"](rnn.pad_sequence([sequences[n] for n in chosen]))
                lengths = torch.tensor([len(sequences[n]) for n in chosen])
                if packed:
                    states = modules["rnn"](rnn.pack_padded_sequence(inputs, lengths))[0]
                    states = rnn.pad_packed_sequence(states, padding_value=-torch.inf)[0]
                else:
                    states = modules["rnn"](inputs)[0]
                    padding = torch.arange(len(inputs))[:, None] >= lengths
                    states = states.masked_fill(padding[:, :, None], -torch.inf)
                values[chosen] = torch.log_softmax(modules["output"](states.max(dim=0).values), dim=1)
        return values.numpy()

    return predict


def beside_torch(hidden: int, part: LabelledPart, threads: int, rounds: int) -> list[list[str]]:
    """A row of the table for each precision."""
    exact = network_of(hidden, threads, bfloat16=False)
    sides = {
        "float32": our_side(exact, part),
        "bfloat16": our_side(network_of(hidden, threads, bfloat16=True), part),
        "padded": torch_side(exact, part, packed=False),
        "packed": torch_side(exact, part, packed=True),
    }
    ours, theirs = (np.asarray(sides[name]()) for name in ("float32", "packed"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    times = in_turns(sides, rounds)
    speeds = {name: f"{len(part.ids) / float(np.median(seconds)):,.0f}" for name, seconds in times.items()}
    best = min(("padded", "packed"), key=lambda name: float(np.median(times[name])))
    return [
        [str(hidden), name, speeds[name], speeds["padded"], speeds["packed"], ratio(times[best], times[name])]
        for name in ("float32", "bfloat16")
    ]


def main() -> None:
    """Print the tables."""
    parser = arguments("Predicting labels.")
    parser.add_argument("--lines", type=int, help="through charrnn predict (default: 1,000,000; with --quick 50,000)")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    print(f"{describe_machine()}, PyTorch {torch.__version__}, {options.threads} threads")
    count = options.lines or (50_000 if options.quick else 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, rows = train(folder), []
        for number in (min(1000, count), count):
            lines = folder / "lines.txt"
            write_lines(lines, number)
            begun = time.perf_counter()
            found, _, megabytes = through_predict(model, lines, options.threads)
            seconds = time.perf_counter() - begun
            rows.append((f"{found:,}", f"{seconds:.1f}", f"{found / seconds:,.0f}", f"{megabytes:.0f}"))
    columns = ("lines, all in order", "seconds", "lines / s", "memory, MB")
    print_table("charrnn predict, the whole command", columns, rows)
    part = random_part()
    table = []
    for hidden in (128,) if options.quick else (128, 256):
        table += beside_torch(hidden, part, options.threads, 3 if options.quick else 7)
    print_table(
        f"bidirectional LSTM, {SEQUENCES:,} sequences of {len(part.ids) / SEQUENCES:.0f} tokens on average",
        ("hidden", "precision", "tokens / s", "torch padded", "torch packed", "× the faster"),
        table,
    )


if __name__ == "__main__":
    main()

"""Training a translator and translating with it, in this project and in PyTorch, alternating.

    python -m benchmarks.translator [--quick] [--pairs FILE] [--shapes words,sentences]

Pairs have random ids. Their lengths are those of a file of `source TAB target`, whose sides are counted in words where
they have spaces, else in characters; or drawn: as of words and their pronunciations, or of short sentences of two
languages. A step of training is a batch made, forward, backward, clipping to norm 5 and Adam. PyTorch gets its best
case, all pairs sorted by length and padded; we train in random order. Targets are translated greedily and with a beam,
up to the lengths they have in the pairs: no output ends before. Both sides take one step more than a target has units,
as where one ends: this project looks for the end there, PyTorch's limit is larger by one. PyTorch's batches are of
similar length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import arguments, describe_machine, in_turns, print_table, ratio
from charrnn.config import TrainingConfig
from charrnn.models.decoding import decode
from charrnn.models.translator import Translator
from charrnn.task_config import TranslatorConfig
from charrnn.text.pair_batches import PairBatches
from charrnn.text.pair_corpus import PairPart, Texts
from charrnn.text.vocabulary import EOS
from charrnn.training.optimizer import Optimizer

BATCH, STEPS, BEAM = 64, 10, 5
AGREEING = 0.98  # share of the outputs that both sides have in common at least: rounding may decide between units
NEVER = -1e4  # the output's bias of the unit that ends a text
Step = Callable[[], Any]


class Shape(NamedTuple):
    """A network of `hidden` units, half of them each way, and pairs of the two vocabularies with so many units."""

    hidden: int
    embedding: int
    vocabularies: tuple[int, int]
    mean: tuple[float, float]
    deviation: float
    alone: int  # sources that are translated one at a time
    together: int


# The second has 10 million parameters.
SHAPES = {
    "words": Shape(256, 128, (45, 45), (8.3, 6.6), 2.5, 100, 1000),
    "sentences": Shape(512, 256, (7900, 5900), (11.5, 12.0), 4.0, 20, 256),
}


@dataclass(frozen=True)
class Pairs:
    """Ids of sources, each with its end, and of targets, without."""

    sources: list[Any]
    targets: list[Any]

    @property
    def part(self) -> PairPart:
        """They as this project trains on them."""

        def texts(side: list[Any]) -> Texts:
            return Texts(np.concatenate(side), np.append(0, np.cumsum([len(one) for one in side])))

        return PairPart(texts([source[:-1] for source in self.sources]), texts(self.targets), labelled=False, ratio=1.0)


def drawn_lengths(shape: Shape, count: int) -> list[tuple[int, int]]:
    """Lengths of sources and targets; long sources have long targets."""
    rng = np.random.default_rng(0)
    long = rng.gamma((shape.mean[0] / shape.deviation) ** 2, shape.deviation**2 / shape.mean[0], count)
    other = long * shape.mean[1] / shape.mean[0] + rng.normal(0, shape.deviation / 3, count)
    sizes = np.maximum(1, np.rint(np.stack([long, other], axis=1))).astype(int)
    return [(int(source), int(target)) for source, target in sizes]


def read_lengths(path: str) -> list[tuple[int, int]]:
    """Those of the pairs of a file."""
    pairs = [line.split("\t") for line in Path(path).read_text("utf-8").splitlines() if line]
    cut = [str.split if sum(" " in pair[n] for pair in pairs) > len(pairs) / 2 else list for n in range(2)]
    return [(len(cut[0](source)), len(cut[1](target))) for source, target in pairs]


def make_pairs(shape: Shape, lengths: Sequence[tuple[int, int]]) -> Pairs:
    """Random ids of these lengths, by Zipf's law."""
    rng = np.random.default_rng(1)

    def text(length: int, size: int) -> Any:
        return (2 + (rng.zipf(1.2, length) - 1) % (size - 2)).astype(np.int32)

    sizes = shape.vocabularies
    sources = [np.append(text(source, sizes[0]), EOS).astype(np.int32) for source, _ in lengths]
    return Pairs(sources, [text(target, sizes[1]) for _, target in lengths])


def network_of(shape: Shape, threads: int, *, bfloat16: bool) -> Translator:
    """A translator with random weights that ends no text."""
    config = TranslatorConfig(
        shape.vocabularies[1], ("lstm",), shape.hidden, shape.embedding, source_vocabulary_size=shape.vocabularies[0]
    )
    network = Translator(config, threads=threads, bfloat16=bfloat16)
    network.initialise(0)
    network.output.b[EOS] = NEVER
    network.invalidate()
    return network


def train_ours(shape: Shape, pairs: Pairs, threads: int, *, bfloat16: bool) -> tuple[Step, int]:
    """Some steps of training with this project, and the units of their targets."""
    network = network_of(shape, threads, bfloat16=bfloat16)
    network.output.b[EOS] = 0
    training = TrainingConfig(BATCH, 1, 1e-3, optimizer="adam", clip_norm=5.0)
    layout = network.layout
    optimizer = Optimizer(
        training, network.parameters, layout.segments, pool=network.context.pool, table=layout.row_table
    )
    batches = PairBatches(pairs.part, BATCH, 0)

    def train() -> None:
        for step in range(STEPS):
            network.loss(batches.batch(step))
            norm = optimizer.gradient_norm(network.gradient, network.touched)
            optimizer.update(network.gradient, norm, 1e-3, network.touched)
            network.invalidate()

    chosen = np.concatenate([batches.records(step) for step in range(STEPS)]).tolist()
    return train, sum(len(pairs.targets[n]) + 1 for n in chosen)


def train_theirs(shape: Shape, pairs: Pairs, *, by_size: bool) -> tuple[Step, int]:
    """The same with PyTorch; `by_size`: all pairs sorted by length, else in random order."""
    import torch

    from benchmarks import torch_translator

    network = torch_translator.Translator(shape.vocabularies, shape.hidden, shape.embedding, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    sources = [torch.tensor(source.astype(np.int64)) for source in pairs.sources]
    targets = [torch.tensor(np.append(target, EOS).astype(np.int64)) for target in pairs.targets]
    order = list(range(len(sources)))
    if by_size:
        order.sort(key=lambda n: (len(sources[n]), len(targets[n])))
    rows = np.array(order[: len(order) // BATCH * BATCH]).reshape(-1, BATCH)
    picked = rows[np.random.default_rng(0).permutation(len(rows))[:STEPS]].tolist()
    chosen = cycle(picked)

    def train() -> None:
        for _ in range(STEPS):
            some = next(chosen)
            optimizer.zero_grad(set_to_none=True)
            network.loss([sources[n] for n in some], [targets[n] for n in some]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()

    return train, sum(len(targets[n]) for some in picked for n in some)


def writers(shape: Shape, pairs: Pairs, threads: int) -> dict[str, dict[str, tuple[Step, int]]]:
    """For each way of searching the sides, each with the number of sources that it translates."""
    import torch

    from benchmarks import torch_translator

    exact = network_of(shape, threads, bfloat16=False)
    sides = {"float32": exact, "bfloat16": network_of(shape, threads, bfloat16=True)}
    modules = torch_translator.Translator(shape.vocabularies, shape.hidden, shape.embedding, 1).eval()
    modules.load(exact.tensors())

    def made(width: int, size: int, count: int) -> dict[str, tuple[Step, int]]:
        sources, limits = pairs.sources[:count], [len(target) for target in pairs.targets[:count]]
        tensors, steps = [torch.tensor(source.astype(np.int64)) for source in sources], [limit + 1 for limit in limits]
        order = sorted(range(count), key=lambda n: len(sources[n]))
        pieces = [order[begin : begin + size] for begin in range(0, count, size)]

        def ours(network: Translator) -> Step:
            def write() -> list[Any]:
                found: list[Any] = [None] * count
                for some in pieces:
                    asked = [sources[n] for n in some]
                    results = decode(network, asked, beam=width, best=1, limits=np.array([limits[n] for n in some]))
                    for n, one in zip(some, results, strict=True):
                        found[n] = one[0].ids.tolist()
                return found

            return write

        def theirs() -> list[Any]:
            return torch_translator.translated(modules, tensors, steps, width=width, size=size)

        return {name: (ours(network), count) for name, network in sides.items()} | {"torch": (theirs, count)}

    compared = made(1, BATCH, min(BATCH, len(pairs.sources)))
    ours, theirs = (compared[side][0]() for side in ("float32", "torch"))
    if np.mean([one == other[: len(one)] for one, other in zip(ours, theirs, strict=True)]) < AGREEING:
        raise SystemExit("both sides translate differently: something is wrong")
    return {
        "greedy, one at a time": made(1, 1, min(shape.alone, len(pairs.sources))),
        "greedy, 64 at a time": made(1, BATCH, min(shape.together, len(pairs.sources))),
        f"beam {BEAM}, 64 at a time": made(BEAM, BATCH, min(shape.together, len(pairs.sources))),
    }


def rows_of(name: str, made: dict[str, tuple[Step, int]], peers: Sequence[str], rounds: int) -> list[list[str]]:
    """A row of a table for each side."""
    times = in_turns({side: step for side, (step, _) in made.items()}, rounds)
    speeds = {side: [count / seconds for seconds in times[side]] for side, (_, count) in made.items()}
    return [
        [name, side, f"{np.median(speeds[side]):,.0f}", *(ratio(speeds[side], speeds[peer]) for peer in peers)]
        for side in made
    ]


def main() -> None:
    """Print the tables."""
    parser = arguments("Training and using a translator, in this project and in PyTorch.")
    parser.add_argument("--pairs", metavar="FILE", help="whose lengths are used for all shapes")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="a list (default: %(default)s)")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    print(f"{describe_machine()}, PyTorch {torch.__version__}, {options.threads} threads")
    rounds, training, writing = 3 if options.quick else 7, [], []
    for name in options.shapes.split(","):
        shape = SHAPES[name]
        lengths = read_lengths(options.pairs) if options.pairs else drawn_lengths(shape, 4000)
        pairs = make_pairs(shape, lengths)
        title = f"{name}, {shape.hidden // 2} each way, {shape.hidden}"
        made = {
            "float32": train_ours(shape, pairs, options.threads, bfloat16=False),
            "bfloat16": train_ours(shape, pairs, options.threads, bfloat16=True),
            "torch sorted": train_theirs(shape, pairs, by_size=True),
            "torch random": train_theirs(shape, pairs, by_size=False),
        }
        training += rows_of(title, made, ("torch sorted", "torch random"), rounds)
        for way, sides in writers(shape, pairs, options.threads).items():
            writing += rows_of(f"{title}; {way}", sides, ("torch",), rounds)
    columns = ("network", "side", "target units / s", "× sorted", "× random")
    print_table(f"training, LSTM, {BATCH} pairs a batch", columns, training)
    print_table("translating", ("network", "side", "sources / s", "× torch"), writing)


if __name__ == "__main__":
    main()

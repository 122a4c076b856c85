"""Words per second of training by size of the vocabulary, with full and adaptive softmax.

    python -m benchmarks.vocabulary [--quick] [--cutoffs N,N,...]

An LSTM of 2 layers of 256 with an embedding as wide, B 32, T 35, on units drawn from Zipf's law (the n-th unit has a
probability in proportion to 1/n). A step is forward, backward, gradient clipping to norm 1 and AdamW. A full softmax
and the adaptive one alternate; `speed` is against the first row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.common import Side, arguments, describe_machine, in_turns, print_table, summary
from charrnn.config import ModelConfig, TrainingConfig
from charrnn.models import LanguageModel
from charrnn.runtime.precision import resolve_precision
from charrnn.tasks.language_defaults import choose_cutoffs
from charrnn.text.batch import Batch
from charrnn.training.state import Learner

T, B, H, LAYERS = 35, 32, 256, 2
WINDOWS = 20  # different ones, taken in turns


def zipf(vocabulary: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Windows of units (WINDOWS, T + 1, B)."""
    share = 1 / np.arange(1, vocabulary + 1)
    return rng.choice(vocabulary, (WINDOWS, T + 1, B), p=share / share.sum()).astype(np.int32)


def make_step(vocabulary: int, cutoffs: tuple[int, ...], threads: int) -> Side:
    """One training step after the other."""
    config = ModelConfig(vocabulary, ("lstm",) * LAYERS, H, H, cutoffs=cutoffs)
    model = LanguageModel(config, threads=threads, bfloat16=resolve_precision("auto") == "bfloat16")
    model.initialise(0)
    learner = Learner(model, TrainingConfig(B, T, 1e-3, weight_decay=0.01, clip_norm=1.0), B)
    windows = zipf(vocabulary, np.random.default_rng(0))

    def numbers() -> Iterator[int]:
        while True:
            yield from range(WINDOWS)

    order = numbers()

    def step() -> None:
        window = windows[next(order)]
        model.loss(Batch(window[:-1], window[1:], state=learner.carried))
        norm = learner.optimizer.gradient_norm(model.gradient, model.touched)
        learner.optimizer.update(model.gradient, norm, 1e-3, model.touched)
        model.invalidate()

    return step


def main() -> None:
    """Print the table."""
    parser = arguments("Words per second of training by size of vocabulary.")
    parser.add_argument("--sizes", default="5000,10000,20000,50000,100000")
    parser.add_argument("--cutoffs", help="of the adaptive softmax, instead of those that training chooses")
    parser.add_argument("--full", type=int, default=50_000, help="largest vocabulary with a full softmax")
    options = parser.parse_args()
    print(f"{describe_machine()}, {options.threads} threads, {resolve_precision('auto')}")
    rows: list[tuple[str, ...]] = []
    first = 0.0
    for size in map(int, options.sizes.split(",")):
        chosen = tuple(map(int, options.cutoffs.split(","))) if options.cutoffs else choose_cutoffs(size, H)
        sides: dict[str, Side] = {}
        if size <= options.full or not chosen:
            sides["full"] = make_step(size, (), options.threads)
        if chosen:
            sides[f"adaptive {','.join(map(str, chosen))}"] = make_step(size, chosen, options.threads)
        times = in_turns(sides, 3 if options.quick else 7)
        for name, seconds in times.items():
            speed = T * B / float(np.median(seconds))
            first = first or speed
            rows.append((f"{size:,}", name, summary(seconds), f"{speed:,.0f}", f"{speed / first:.2f} ×"))
    title = f"training step: LSTM, {LAYERS} layers of {H}, embedding {H}, B {B}, T {T}, AdamW"
    print_table(title, ("vocabulary", "softmax", "ms", "words / s", "speed"), rows)


if __name__ == "__main__":
    main()

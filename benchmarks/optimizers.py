"""What Muon adds to the time of a training step, beside AdamW, for several widths.

    python -m benchmarks.optimizers [--quick] [--threads N]

Eight steps each in turn, forward, backward and update: one of eight renews Muon's inverse roots. One LSTM layer, 32
streams of 64 steps of characters.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import Side, arguments, describe_machine, in_turns, make_model, print_table, ratio, summary
from charrnn.config import TrainingConfig
from charrnn.text.batch import Batch
from charrnn.training.muon import RENEWAL
from charrnn.training.optimizer import Optimizer

VOCABULARY, ROWS, STEPS = 65, 32, 64


def steps(optimizer: str, H: int, threads: int) -> Side:
    """As many training steps as there are from one renewal to the next."""
    model = make_model("lstm", H, 1, VOCABULARY, bfloat16=False, threads=threads)
    config = TrainingConfig(ROWS, STEPS, 1e-3, optimizer=optimizer, weight_decay=0.1, clip_norm=1.0)
    layout = model.layout
    own = Optimizer(config, model.parameters, layout.segments, pool=model.context.pool, matrices=layout.matrices)
    ids, targets = np.random.default_rng(0).integers(0, VOCABULARY, (2, STEPS, ROWS)).astype(np.int32)
    batch = Batch(ids, targets, state=model.zero_state(ROWS))

    def run() -> None:
        for _ in range(RENEWAL):
            model.loss(batch)
            own.update(model.gradient, own.gradient_norm(model.gradient), 1e-3)
            model.invalidate()

    return run


def main() -> None:
    """Print the table."""
    options = arguments("The time of a training step with Muon and with AdamW.").parse_args()
    print(describe_machine())
    rows = []
    for H in (128, 512) if options.quick else (128, 256, 384, 512):
        sides = {name: steps(name, H, options.threads) for name in ("adamw", "muon")}
        times = in_turns(sides, 3 if options.quick else 7)
        shown = [summary(times[name], 1e3 / RENEWAL) for name in sides]
        rows.append([str(H), *shown, ratio(times["muon"], times["adamw"])])
    print_table("A training step, ms", ("H", "AdamW", "Muon", "Muon / AdamW"), rows)


if __name__ == "__main__":
    main()

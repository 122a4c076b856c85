"""Sampling one unit at a time, this project and PyTorch alternating: units a second.

    python -m benchmarks.sample [--quick]

PyTorch steps its module by one unit, takes a softmax and draws from it, under inference mode, with one thread (more are
slower at one sample). Both draw from the whole distribution.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import Side, arguments, describe_machine, in_turns, make_model, make_torch, print_table, ratio

VOCABULARY, LAYERS = 65, 2


def our_side(H: int, samples: int, units: int, *, bfloat16: bool, threads: int) -> Side:
    """Draw `units` units for each sample."""
    model = make_model("lstm", H, LAYERS, VOCABULARY, bfloat16=bfloat16, threads=threads)
    previous, state = np.ones(samples, np.int32), model.zero_state(samples)
    uniforms = np.random.default_rng(0).random((units, samples))
    return lambda: model.generate(previous, state, uniforms)


def torch_side(H: int, samples: int, units: int) -> Side:
    """The same with PyTorch."""
    import torch

    modules = make_torch("lstm", H, LAYERS, VOCABULARY)
    zeros = torch.zeros(LAYERS, samples, H)

    def draw() -> None:
        with torch.inference_mode():
            unit, state = torch.ones(1, samples, dtype=torch.long), (zeros, zeros)
            for _ in range(units):
                hidden, state = modules["rnn"](modules["embedding"](unit), state)
                probabilities = torch.softmax(modules["output"](hidden[0]), -1)
                unit = torch.multinomial(probabilities, 1).T

    return draw


def main() -> None:
    """Print the table."""
    options = arguments("Sampling one unit at a time.").parse_args()
    import torch

    print(f"{describe_machine()}, PyTorch {torch.__version__}")
    rows = []
    for samples, units, threads in ((1, 300, 1), (64, 50, options.threads)):
        torch.set_num_threads(threads)
        for H in (128, 256, 512):
            sides = {
                "bfloat16": our_side(H, samples, units, bfloat16=True, threads=threads),
                "float32": our_side(H, samples, units, bfloat16=False, threads=threads),
                "torch": torch_side(H, samples, units),
            }
            times = in_turns(sides, 3 if options.quick else 7)
            speeds = {name: samples * units / float(np.median(seconds)) for name, seconds in times.items()}
            for name in ("bfloat16", "float32"):
                rows.append(
                    (
                        str(samples), str(H), name, f"{speeds[name]:,.0f}", f"{speeds['torch']:,.0f}",
                        ratio(times["torch"], times[name]),
                    )
                )  # fmt: skip
    print_table("LSTM, 2 layers", ("samples", "hidden", "precision", "units / s", "torch, units / s", "ratio"), rows)


if __name__ == "__main__":
    main()

"""A training step of this project and of PyTorch, alternating: milliseconds, ratios, share of the machine's peak.

    python -m benchmarks.train [--quick] [--cells lstm,gru] [--sizes 128,256,512]

Unless sizes are named or time is short, a second table has networks and batches of other sizes.

Each step is forward, backward, gradient clipping to norm 5 and Adam, from ids already in memory. PyTorch runs in
float32 and under bfloat16 autocast, with its fused Adam.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import (
    Side,
    arguments,
    describe_machine,
    in_turns,
    make_model,
    make_torch,
    print_table,
    ratio,
    summary,
    training_flops,
)
from benchmarks.peak import peak
from charrnn.config import TrainingConfig
from charrnn.text.batch import Batch
from charrnn.training.optimizer import Optimizer

OTHER_SHAPES = (  # H, B, V
    (100, 50, 65), (300, 50, 65), (1000, 50, 65), (128, 1, 65), (128, 7, 65), (128, 50, 3), (128, 50, 50_000),
)  # fmt: skip


def our_step(cell: str, H: int, shape: tuple[int, int, int, int], *, bfloat16: bool, threads: int) -> Side:
    """One step of this project; shape: T, B, V, L."""
    T, B, V, L = shape
    model = make_model(cell, H, L, V, bfloat16=bfloat16, threads=threads)
    config = TrainingConfig(B, T, 1e-3, optimizer="adam", clip_norm=5.0)
    optimizer = Optimizer(config, model.parameters, model.layout.segments, pool=model.context.pool)
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, V, (2, T, B)).astype(np.int32)
    batch = Batch(ids, targets, state=model.zero_state(B))

    def step() -> None:
        model.loss(batch)
        optimizer.update(model.gradient, optimizer.gradient_norm(model.gradient), 1e-3)
        model.invalidate()

    return step


def torch_step(cell: str, H: int, shape: tuple[int, int, int, int], *, bfloat16: bool) -> Side:
    """The same with PyTorch."""
    import torch

    T, B, V, L = shape
    modules = make_torch(cell, H, L, V)
    optimizer = torch.optim.Adam(modules.parameters(), lr=1e-3, fused=True)
    ids, targets = torch.randint(0, V, (2, T, B))
    zeros = torch.zeros(L, B, H)
    carried = [(zeros, zeros) if cell == "lstm" else zeros]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            hidden, state = modules["rnn"](modules["embedding"](ids), carried[0])
            logits = modules["output"](hidden)
            loss = torch.nn.functional.cross_entropy(logits.float().reshape(-1, V), targets.reshape(-1))
        carried[0] = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(modules.parameters(), 5.0)
        optimizer.step()

    return step


def main() -> None:
    """Print the tables."""
    parser = arguments("A training step of this project and of PyTorch.")
    parser.add_argument("--cells", default="lstm,gru")
    parser.add_argument("--sizes")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--steps", type=int, default=50, help="of the window")
    parser.add_argument("--vocabulary", type=int, default=65)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    peaks = {name: peak(bfloat16=name == "bfloat16", threads=options.threads) for name in ("float32", "bfloat16")}
    print(f"{describe_machine()}, PyTorch {torch.__version__}, {options.threads} threads")
    print(", ".join(f"{name} peak {value / 1e9:.0f} GFLOP/s" for name, value in peaks.items()))

    def compare(cell: str, H: int, B: int, V: int) -> list[tuple[str, ...]]:
        """The rows of a table for one network: ours in both precisions."""
        shape = (options.steps, B, V, options.layers)
        sides: dict[str, Side] = {}
        for name in ("float32", "bfloat16"):
            sides[name] = our_step(cell, H, shape, bfloat16=name == "bfloat16", threads=options.threads)
            sides[f"torch {name}"] = torch_step(cell, H, shape, bfloat16=name == "bfloat16")
        times = in_turns(sides, 3 if options.quick else 7)
        flops = training_flops(cell, H, options.layers, V, B * options.steps)
        rows: list[tuple[str, ...]] = []
        for name in ("bfloat16", "float32"):
            ours = times[name]
            speed = flops / float(np.median(ours))
            rows.append(
                (
                    cell, f"{H:,}", str(B), f"{V:,}", name, summary(ours), summary(times["torch float32"]),
                    summary(times["torch bfloat16"]), ratio(times["torch float32"], ours),
                    ratio(times["torch bfloat16"], ours), f"{speed / 1e9:.0f}", f"{speed / peaks[name]:.0%}",
                )
            )  # fmt: skip
        return rows

    columns = (
        "cell", "H", "B", "V", "precision", "ms", "torch f32, ms", "torch bf16, ms", "× f32", "× bf16", "GFLOP/s",
        "of peak",
    )  # fmt: skip
    sizes = [int(size) for size in (options.sizes or "128,256,512").split(",")]
    rows = [
        row for cell in options.cells.split(",") for H in sizes
        for row in compare(cell, H, options.batch, options.vocabulary)
    ]  # fmt: skip
    print_table(f"training step: {options.layers} layers, T {options.steps}", columns, rows)
    if not options.quick and options.sizes is None:
        rows = [row for shape in OTHER_SHAPES for row in compare("lstm", *shape)]
        print_table("other sizes", columns, rows)


if __name__ == "__main__":
    main()

"""Gradients against finite differences in float64, for every cell, option, depth and input.

python -m tests.gradcheck      prints the table
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from charrnn.runtime.arrays import Array

V, H, E, T, B = 7, 5, 4, 6, 3
STEP = 1e-5  # of the four-point difference: too short to cross a kink of ReLU, long enough for float64


class Case(NamedTuple):
    """A network and how it is run."""

    name: str
    config: ModelConfig
    dropout: float = 0.0
    boundary: int = -1


class Result(NamedTuple):
    """What one named parameter gave: the gradient along a direction, and how far the difference is from it."""

    parameter: str
    slope: float
    relative_error: float


OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "lstm": (("lstm",), {}),
    "lstm peepholes": (("lstm",), {"peepholes": True}),
    "lstm rms norm": (("lstm",), {"rms_norm": True}),
    "gru reset after": (("gru",), {}),
    "gru reset before": (("gru",), {"reset_gate": "before"}),
    "gru reset none": (("gru",), {"reset_gate": "none"}),
    "rnn tanh": (("rnn",), {}),
    "rnn relu": (("rnn",), {"activation": "relu"}),
}


def cases() -> Iterator[Case]:
    """Every cell × option × depth 1 to 3 × one-hot and embedding; then what cuts across the cells."""
    for name, (cell, options) in OPTIONS.items():
        for depth in (1, 2, 3):
            for embedding_size in (0, E):
                config = ModelConfig(V, cell * depth, H, embedding_size, **options)  # type: ignore[arg-type]
                yield Case(f"{name}, depth {depth}, {'embedding' if embedding_size else 'one-hot'}", config)
    for name, (cell, options) in OPTIONS.items():
        config = ModelConfig(V, cell * 2, H, E, **options)  # type: ignore[arg-type]
        yield Case(f"{name}, dropout", config, dropout=0.3)
        yield Case(f"{name}, state reset at a boundary", config, boundary=1)
        yield Case(f"{name}, both", replace(config, embedding_size=0), dropout=0.3, boundary=1)
    yield Case("lstm, tied weights", ModelConfig(V, ("lstm",) * 2, H, H, tie_weights=True))
    yield Case("lstm, gru, rnn mixed", ModelConfig(V, ("lstm", "gru", "rnn"), H, E))
    for cutoffs in ((3,), (2, 4)):
        for embedding_size in (0, E):
            config = ModelConfig(V, ("lstm",), 17, embedding_size, cutoffs=cutoffs)
            yield Case(f"adaptive softmax {cutoffs}, {'embedding' if embedding_size else 'one-hot'}", config)


def check(case: Case) -> list[Result]:
    """Compare the gradient with a finite difference along one direction for each named parameter.

    The direction is random with the gradient's own mixed in, so that the slope along it is never small by chance.
    """
    model = LanguageModel(case.config, threads=2, boundary=case.boundary, dtype=np.float64)
    model.initialise(1)
    rng = np.random.default_rng(7)
    model.parameters += 0.2 * rng.standard_normal(model.parameters.size)
    centre = model.parameters.copy()
    ids, targets = rng.integers(0, V, (2, T, B)).astype(np.int32)
    state = 0.5 * rng.standard_normal(model.zero_state(B).shape)

    def loss_and_gradient(parameters: Array) -> tuple[float, Array]:
        model.parameters[:] = parameters
        model.refresh()
        return model.gradient(ids, targets, state.copy(), dropout=case.dropout, seed=3, step=5)

    gradient = loss_and_gradient(centre)[1].copy()
    results = []
    start = 0
    for name, view in model.views.items():
        part = slice(start, start + view.size)
        start += view.size
        direction = np.zeros_like(centre)
        direction[part] = rng.standard_normal(view.size)
        size = np.linalg.norm(gradient[part])
        if size > 0:
            direction[part] += gradient[part] / size * np.sqrt(view.size)
        direction /= np.linalg.norm(direction)
        slope = float(gradient @ direction)

        def loss(distance: float, direction: Array = direction) -> float:
            return loss_and_gradient(centre + distance * direction)[0]

        near, far = loss(STEP) - loss(-STEP), loss(2 * STEP) - loss(-2 * STEP)
        difference = (8 * near - far) / (12 * STEP)
        results.append(Result(name, slope, abs(difference - slope) / max(abs(difference), abs(slope), 1e-300)))
    return results


def main() -> None:
    """Print one line a case: the smallest slope and the largest error over its parameters."""
    print(f"{'case':44} {'smallest slope':>14} {'largest error':>14}")
    for case in cases():
        results = check(case)
        slope, error = min(abs(r.slope) for r in results), max(r.relative_error for r in results)
        print(f"{case.name:44} {slope:14.2e} {error:14.2e}")


if __name__ == "__main__":
    main()

"""Gradients against finite differences in float64, for every cell, option, depth, direction and input.

python -m tests.gradcheck      prints the table
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from charrnn.config import ModelConfig
from charrnn.models import LanguageModel
from charrnn.models.network import Network
from charrnn.nn.cells import layer_class
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.embedding import Embedding, OneHot
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array
from charrnn.text.batch import Batch
from tests.networks import OPTIONS

V, H, E, T, B = 7, 5, 4, 6, 3
STEP = 1e-5  # of the four-point difference: too short to cross a kink of ReLU, long enough for float64
FIRST_STATE = "first state"


class Case(NamedTuple):
    """A network and how it is run.

    `reverse`: the first layer and every second one above it read backward; `ends_only`: only those are ever reset.
    """

    name: str
    config: ModelConfig
    dropout: float = 0.0
    boundary: int = -1
    weighted: bool = False
    reverse: bool = False
    ends_only: bool = False


class Result(NamedTuple):
    """What one named parameter gave: the gradient along a direction, and how far the difference is from it."""

    parameter: str
    slope: float
    relative_error: float


def cases() -> Iterator[Case]:
    """Every cell × option × depth 1 to 3 × one-hot and embedding; then what cuts across the cells."""
    for name, (cell, options) in OPTIONS.items():
        for depth in (1, 2, 3):
            for embedding_size in (0, E):
                config = ModelConfig(V, cell * depth, H, embedding_size, **options)
                yield Case(f"{name}, depth {depth}, {'embedding' if embedding_size else 'one-hot'}", config)
    for name, (cell, options) in OPTIONS.items():
        config = ModelConfig(V, cell * 2, H, E, **options)
        yield Case(f"{name}, dropout", config, dropout=0.3)
        yield Case(f"{name}, state reset at a boundary", config, boundary=1)
        yield Case(f"{name}, both", replace(config, embedding_size=0), dropout=0.3, boundary=1)
        yield Case(f"{name}, read backward", config, boundary=1, reverse=True)
        yield Case(f"{name}, read backward, one-hot", replace(config, embedding_size=0), reverse=True)
    yield Case(
        "lstm, read backward, ends without resets", ModelConfig(V, ("lstm",), H, E), reverse=True, ends_only=True
    )
    yield Case("lstm, weighted targets", ModelConfig(V, ("lstm",), H, E), weighted=True)
    yield Case("adaptive softmax, weighted targets", ModelConfig(V, ("gru",), 17, E, cutoffs=(2, 4)), weighted=True)
    yield Case("lstm, tied weights", ModelConfig(V, ("lstm",) * 2, H, H, tie_weights=True))
    yield Case("lstm, gru, rnn mixed", ModelConfig(V, ("lstm", "gru", "rnn"), H, E))
    for cutoffs in ((3,), (2, 4)):
        for embedding_size in (0, E):
            config = ModelConfig(V, ("lstm",), 17, embedding_size, cutoffs=cutoffs)
            yield Case(f"adaptive softmax {cutoffs}, {'embedding' if embedding_size else 'one-hot'}", config)


def make_network(case: Case, *, threads: int = 2) -> Network:
    """The network of a case, in float64."""
    config = case.config
    if not case.reverse:
        return LanguageModel(config, threads=threads, dtype=np.float64)
    V, E, H = config.vocabulary_size, config.embedding_size, config.hidden_size
    layers = [
        layer_class(cell)(config, index, H if index else E or V, one_hot=not index and not E, reverse=index % 2 == 0)
        for index, cell in enumerate(config.cells)
    ]
    return Network([Embedding(V, E) if E else OneHot(V), *layers], Softmax(V, H), threads=threads, dtype=np.float64)


def check(case: Case) -> list[Result]:
    """Compare the gradient with a finite difference along one direction for each named parameter, and one for the state
    before the first step.

    The direction is random with the gradient's own mixed in, so that the slope along it is never small by chance.
    """
    model = make_network(case)
    model.initialise(1)
    rng = np.random.default_rng(7)
    model.parameters += 0.2 * rng.standard_normal(model.parameters.size)
    ids, targets = rng.integers(0, V, (2, T, B)).astype(np.int32)
    reset = None if case.boundary < 0 else ids == case.boundary
    ends = targets == case.boundary if case.boundary >= 0 else targets == 1 if case.ends_only else None
    weights = rng.integers(0, 3, (T, B)).astype(np.float64) if case.weighted else None
    first = 0.5 * rng.standard_normal(model.zero_state(B).shape)
    state_gradient = np.zeros_like(first)
    P = model.parameters.size
    centre = np.concatenate([model.parameters, first.ravel()])

    def loss_and_gradient(point: Array) -> tuple[float, Array]:
        model.parameters[:] = point[:P]
        model.invalidate()
        state = point[P:].reshape(first.shape).copy()
        batch = Batch(ids, targets, reset, ends, weights, state=state)
        dropout = DropoutKey(case.dropout, 3, 5) if case.dropout else None
        summed, count = model.loss(batch, dropout, state_gradient=state_gradient)
        return summed / count, np.concatenate([model.gradient, state_gradient.ravel()])

    gradient = loss_and_gradient(centre)[1]
    places: dict[str, slice] = {}
    start = 0
    for name, view in model.views.items():
        places[name] = slice(start, start + view.size)
        start += view.size
    places[FIRST_STATE] = slice(P, centre.size)
    results = []
    for name, part in places.items():
        size = part.stop - part.start
        direction = np.zeros_like(centre)
        direction[part] = rng.standard_normal(size)
        length = np.linalg.norm(gradient[part])
        if length > 0:
            direction[part] += gradient[part] / length * np.sqrt(size)
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

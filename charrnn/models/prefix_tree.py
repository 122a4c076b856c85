"""Log-probabilities of many sequences that share prefixes. Prints nothing; knows arrays and a model, no text.

What a recurrent network knows after a prefix depends on that prefix alone, so sequences that begin alike share their
steps until they part. Sorted, they are a tree laid flat: those with a common prefix are neighbours.

    ↵ ─ a ─ n ┬ n ┬ ↵                   ann
              │   └ a ─ ↵               anna
              └ t ─ o ─ n ─ ↵           anton

Here 15 units (an end of line is one, and what every line starts after) take 8 steps: ↵ a n n, a, t o n.

The tree is walked level by level. The rows of a level are its distinct prefixes; each takes its state from the row of
its parent, does one step, and is asked for the probability of every unit that follows it somewhere: one softmax for all
of them. Once (almost) nothing is shared any more, every sequence goes on by itself, many steps a call, beside others of
similar length. A row is computed by itself whatever its neighbours, so sharing changes no bit of any result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from charrnn.models import LanguageModel

_STATE = 1 << 21  # numbers of state held at once: 8 MB, a row has some hundreds to thousands
_SHARED = 8  # rows saved by a level that make up for its being a call of its own
_WINDOW = 256  # steps in one call, where nothing is shared
_POSITIONS = 8192  # steps times rows in one call
_ROWS = 256  # rows in one call

_Places = NDArray[np.intp]


def log_probs(model: LanguageModel, units: NDArray[np.int32], lengths: _Places) -> NDArray[np.float64]:
    """log P(unit) (N), natural, of units[1:], each after those before it in its sequence. Best sorted.

    units (N + 1): `lengths[i]` targets of each sequence, one after the other; the unit before the first of them is the
    sequence's first input, so each ends with what begins the next. Every sequence starts from the zero state.
    """
    result = np.empty(len(units) - 1)
    starts = np.cumsum(lengths) - lengths
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    rows = max(1, _STATE // model.zero_state(1).size)
    for first in range(0, len(starts), rows):
        some = slice(first, first + rows)
        _walk(model, units, starts[some], lengths[some], result)
    return result


def _walk(
    model: LanguageModel, units: NDArray[np.int32], places: _Places, left: _Places, result: NDArray[np.float64]
) -> None:
    """Level by level: places (L), where in `units` each sequence's next input is; left (L), how many targets follow."""
    state = model.zero_state(1)
    row = np.zeros(len(places), np.int32)  # of `state` (S, B, H), for each sequence
    while len(places):
        inputs, targets = units[places], units[places + 1]
        # Neighbours that have been alike so far and go on with the same unit are one row.
        heads = _changes(row, inputs)
        state = np.take(state, row[heads], axis=1)
        row = np.cumsum(heads, dtype=np.int32) - np.int32(1)
        if len(places) - state.shape[1] < _SHARED:
            _score_apart(model, units, places, left, state, row, result)
            return
        asked = _changes(row, targets)
        values = model.next_log_probs(inputs[heads], state, row[asked], targets[asked])
        result[places] = values[np.cumsum(asked) - 1]
        going = left > 1
        places, left, row = places[going] + 1, left[going] - 1, row[going]


def _changes(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Where either of two arrays (L) differs from the entry before, and the first place."""
    changes = np.ones(len(first), np.bool_)
    changes[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return changes


def _score_apart(
    model: LanguageModel, units: NDArray[np.int32], places: _Places, left: _Places, state: NDArray[Any],
    row: NDArray[np.int32], result: NDArray[np.float64],
) -> None:  # fmt: skip
    """The rest of each sequence by itself, from column row[i] of the state (S, B, H)."""
    order = np.argsort(-left, kind="stable")
    first = 0
    while first < len(order):
        rows = min(_ROWS, max(1, _POSITIONS // min(int(left[order[first]]), _WINDOW)))
        some = order[first : first + rows]
        _score_batch(model, units, places[some], left[some], np.take(state, row[some], axis=1), result)
        first += rows


def _score_batch(
    model: LanguageModel, units: NDArray[np.int32], places: _Places, left: _Places, state: NDArray[Any],
    result: NDArray[np.float64],
) -> None:  # fmt: skip
    """Window by window. The longest come first, so that those that go on are always the leading columns."""
    while len(places):
        steps = np.arange(min(_WINDOW, int(left[0])))[:, np.newaxis]
        inside = steps < left
        # What comes after the end of a sequence is computed and dropped.
        at = np.where(inside, places + steps, 0)
        values = model.log_probs(units[at], units[at + 1], state)
        result[at[inside]] = values[inside]
        going = int(np.count_nonzero(left > len(steps)))
        places, left = places[:going] + len(steps), left[:going] - len(steps)
        state = np.ascontiguousarray(state[:, :going])

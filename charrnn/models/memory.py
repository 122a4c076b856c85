"""A memory of a corpus beside a language model: what is counted, learned and computed by `kernels/memory.py`.

It reads one text after another, each with a state of its own. What it learns in reading is of two kinds: counts of what
followed each context, and weights of maps and mixers. There are two sets of weights: for texts that it only reads, and
for those that it learns from as it reads them, whose contexts soon are in the counts too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.errors import CharrnnError, NotFiniteError
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job
from charrnn.text.huffman import huffman_tree
from charrnn.text.vocabulary import EOS

if TYPE_CHECKING:
    from charrnn.models.language import LanguageModel
    from charrnn.text.vocabulary import Vocabulary

FITTING_RATE, READING_RATE = 0.006, 0.003  # of the weights: in training, and while a text is read
KEPT_RATE = 0.001  # of those for texts that are only read, in the end
SLOTS_A_UNIT = 4  # of each context, if the memory's size allows it
MOST_SLOTS = (1 << 32) - 2
MOST_WEIGHT = 1e4  # of a mixer: whatever is learned is far smaller
UNITS_AT_ONCE = 1 << 15  # read in one call, so that a signal is noticed
LOGITS_AT_ONCE = 1 << 22  # of a network

LogProbs = NDArray[np.float64]
State = NDArray[np.int64]


class Memory:
    """The memory of a text of the units of a vocabulary.

    `lines`: each line is a text by itself. `kept` are the weights for texts that are only read, `adaptive` those for
    texts that are learned from. Several threads may read at once; only one may learn.
    """

    def __init__(
        self, vocabulary: Vocabulary, text: NDArray[Any], counts: Any, kept: Any, adaptive: Any, *, lines: bool
    ) -> None:  # fmt: skip
        tree = huffman_tree(np.bincount(text, minlength=len(vocabulary)))
        self.code = kernels.contexts.Code(*tree, letters_of(vocabulary), EOS, lines)
        self.counts, self.kept, self.adaptive, self.size = counts, kept, adaptive, len(text)
        self.start = np.zeros(kernels.contexts.STATE, np.int64)
        kernels.contexts.note(self.code, counts.text, self.start, EOS)

    @classmethod
    def empty(cls, vocabulary: Vocabulary, text: NDArray[Any], nbytes: int, *, lines: bool) -> Memory:
        """A memory of at most about `nbytes` bytes for a text (N), of which nothing is counted yet."""
        k = kernels.contexts
        wanted = max(2, min(SLOTS_A_UNIT * len(text), (nbytes // 4) // k.CONTEXTS, MOST_SLOTS))
        places = 1 << max(10, min(22, len(text).bit_length()))
        counts = k.Counts(
            np.full((k.CONTEXTS, wanted // 2 * 2), kernels.memory.UNSEEN), np.zeros((len(k.MATCHES), places), np.int32),
            text.astype(np.int32),
        )  # fmt: skip
        return cls(vocabulary, text, counts, first_weights(len(vocabulary), len(text)), None, lines=lines)

    @classmethod
    def load(cls, tensors: Mapping[str, NDArray[Any]], vocabulary: Vocabulary, *, lines: bool) -> Memory:
        """The memory of a checkpoint's tensors, see `tensors`. Raises CharrnnError for those that do not fit."""
        k, V = kernels.contexts, len(vocabulary)
        found = {name: tensors.get(name, np.empty(0)) for name in ("text", "slots", "places")}
        text, slots, places = found.values()
        if text.ndim != 1 or text.dtype.kind != "u" or not len(text) or int(text.max()) >= V:
            raise CharrnnError("the memory is damaged: its text has units that its vocabulary has not")
        shape = slots.shape
        if slots.dtype != np.uint32 or shape[:1] != (k.CONTEXTS,) or len(shape) != 2 or shape[1] % 2 or not shape[1]:
            raise CharrnnError("the memory is damaged: its slots have another shape or type")
        size = places.shape[-1]
        if places.dtype != np.int32 or places.shape != (len(k.MATCHES), size) or not size or size & (size - 1):
            raise CharrnnError("the memory is damaged: its places have another shape or type")
        if int(places.min()) < 0 or int(places.max()) >= len(text):
            raise CharrnnError("the memory is damaged: its places are not in its text")
        weights, known = [], first_weights(V, len(text))
        for part in ("kept", "adaptive"):
            values = {name: tensors.get(f"{part}.{name}", np.empty(0)) for name in known._fields}
            for name, array in values.items():
                wanted = getattr(known, name)
                if array.shape != wanted.shape or array.dtype != np.float32 or not np.isfinite(array).all():
                    raise CharrnnError(f"the memory is damaged: {part}.{name} has another shape, or numbers not finite")
                low, high = (-MOST_WEIGHT, MOST_WEIGHT) if name in ("mixers", "final") else (0, 1)
                if array.min() < low or array.max() > high:
                    raise CharrnnError(f"the memory is damaged: {part}.{name} has numbers out of range")
            weights.append(type(known)(**values))
        counts = k.Counts(slots, places, text.astype(np.int32))
        return cls(vocabulary, text, counts, *weights, lines=lines)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors of a checkpoint, by name: the counts, and both sets of weights."""
        text = self.text.astype(np.min_scalar_type(len(self.code.lengths) - 1))
        found = {"slots": self.counts.slots, "places": self.counts.places, "text": text}
        for part, weights in (("kept", self.kept), ("adaptive", self.adaptive)):
            found |= {f"{part}.{name}": array for name, array in weights._asdict().items()}
        return found

    @property
    def text(self) -> Ids:
        """The text (N) that was counted."""
        text: Ids = self.counts.text[: self.size]
        return text

    def copy(self) -> Memory:
        """A memory that learns without changing this one."""
        other = copy.copy(self)
        other.counts, other.adaptive = copied(self.counts), copied(self.adaptive)
        return other

    # Reading

    def read(
        self, ids: Ids, network: Array | None, state: State, weights: Any, *, here: int = -1, rate: float = 0.0
    ) -> LogProbs:  # fmt: skip
        """log P (N) of ids (N), in nats, each after those before it, given the network's logits (N, D) of their paths;
        None: without a network.

        The state becomes that after the last. `here` >= 0: ids are counted, and are in the text from there on.
        `rate` > 0: that of learning the weights.
        """
        result, scratch = np.empty(len(ids)), self.scratch()
        if network is None:
            network = np.broadcast_to(np.float32(0), (len(ids), self.code.nodes.shape[1]))
        for begin in range(0, len(ids), UNITS_AT_ONCE):
            some, place = slice(begin, begin + UNITS_AT_ONCE), here + begin if here >= 0 else -1
            logits = np.ascontiguousarray(network[some])
            kernels.memory.read(
                self.code, self.counts, weights, state, ids[some], logits, scratch, place, rate, result[some]
            )  # fmt: skip
        return result

    def adapt(self, ids: Ids, network: Array, state: State) -> LogProbs:
        """`read`, and learn from each unit after its probability was computed."""
        end = self.size + len(ids)
        if end > len(self.counts.text):
            room = np.zeros(max(end, 2 * len(self.counts.text)), np.int32)
            room[: self.size] = self.counts.text[: self.size]
            self.counts = self.counts._replace(text=room)
        self.counts.text[self.size : end] = ids
        result = self.read(ids, network, state, self.adaptive, here=self.size, rate=READING_RATE)
        self.size = end
        return result

    def read_lines(self, ids: Ids, bounds: NDArray[np.int64], network: Array, model: LanguageModel) -> LogProbs:
        """log P (N) of lines, each by itself: line n has the ids between bounds[n] and bounds[n + 1]."""
        result = np.empty(len(ids))

        def work(begin: int, end: int, thread: int) -> None:
            kernels.memory.read_lines(
                self.code, self.counts, self.kept, self.start, ids, bounds, network, self.scratch(),
                np.empty_like(self.start), result, begin, end,
            )  # fmt: skip

        model.context.pool.run([Job(len(bounds) - 1, 1, work)])
        return result

    def path_logits(self, model: LanguageModel, hidden: Array, targets: Ids) -> Array:
        """A network's logits (N, D) on the way to targets (N), given its hidden states (N, H)."""
        N, V = len(targets), len(self.code.lengths)
        result = np.zeros((N, self.code.nodes.shape[1]), np.float32)
        size = max(1, LOGITS_AT_ONCE // V)
        for begin in range(0, N, size):
            some = slice(begin, begin + size)
            logits = model.logits(hidden[some])
            if not np.isfinite(logits).all():
                raise NotFiniteError

            def work(first: int, last: int, thread: int, logits: Array = logits, begin: int = begin) -> None:
                kernels.paths.path_logits(
                    self.code, logits[first:last], targets[begin + first : begin + last], np.empty(V + 1),
                    result[begin + first : begin + last],
                )  # fmt: skip

            model.context.pool.run([Job(len(logits), 1, work)])
        return result

    def next_log_probs(self, logits: Array, state: State) -> Array:
        """log P (V) of the next unit, in nats, given the network's logits (V)."""
        V = len(self.code.lengths)
        if not np.isfinite(logits).all():
            raise NotFiniteError
        network, result = np.empty(V - 1, np.float32), np.empty(V, np.float32)
        kernels.paths.all_logits(self.code, logits, np.empty(V + 1), network)
        kernels.memory.spread(self.code, self.counts, self.kept, state, network, self.scratch(), result)
        return result

    def note(self, state: State, unit: int) -> None:
        """The state after a unit that was read; nothing is computed."""
        kernels.contexts.find_matches(self.counts, state, -1, *self._matches())
        kernels.contexts.note(self.code, self.counts.text, state, unit)

    def _matches(self) -> tuple[State, State]:
        """Room for the units that matches predict, and their levels."""
        return np.zeros(len(kernels.contexts.MATCHES), np.int64), np.zeros(len(kernels.contexts.MATCHES), np.int64)

    def scratch(self) -> Any:
        """Arrays for one thread."""
        k, C = kernels.memory, kernels.contexts.CONTEXTS
        slots, seen, rows, found = (np.zeros(size, np.int64) for size in (C, C, k.MIXERS, 3))
        bits = self._matches()[0]
        inputs, lanes, sums = (np.zeros(size, np.float32) for size in (k.INPUTS, k.LANES, k.MIXERS + 2))
        return k.Scratch(
            np.zeros(C, np.uint64), inputs, slots, seen, *self._matches(), bits, rows, lanes, sums, found
        )  # fmt: skip


def copied(arrays: Any) -> Any:
    """A named tuple of copies of the arrays of one."""
    return type(arrays)(*(array.copy() for array in arrays))


def first_weights(V: int, size: int) -> Any:
    """The weights before anything is learned, for V units and a text of `size`: all experts alike, the network more."""
    k, C, M = kernels.memory, kernels.contexts.CONTEXTS, len(kernels.contexts.MATCHES)
    counts = np.arange(256)
    zeros, ones = counts >> 4, counts & 15
    mixers = np.zeros((k.MIXERS, max(V + 1, k.ROWS), k.INPUTS))
    last = k.A_CONTEXT * C
    mixers[:, :, 0 : last : k.A_CONTEXT] = 0.15
    mixers[:, :, last : k.NETWORK] = 0.2
    mixers[:, :, k.NETWORK] = 0.4
    rows = 1 << max(8, min(13, (size // 16).bit_length()))
    levels = 1 / (1 + np.exp(8 - np.arange(k.LOGITS + 1) / 2))
    return k.Weights(
        *(
            np.ascontiguousarray(array, np.float32)
            for array in (
                np.tile((ones + 0.4) / (zeros + ones + 0.8), (C, 1)),
                np.full((M, kernels.contexts.LEVELS), 0.9), mixers, np.full((V, k.MIXERS), 1 / k.MIXERS),
                np.tile(levels, (2, rows, 1)),
            )
        )
    )  # fmt: skip


def letters_of(vocabulary: Vocabulary) -> Ids:
    """For each unit (V) the number of the letter that it is, the same for both cases; 0 if it is no part of a word."""
    if vocabulary.unit == "byte":
        texts = [bytes.fromhex(unit) if place > EOS else b" " for place, unit in enumerate(vocabulary.units)]
        letters = [one.lower()[0] if one.isalpha() or one in b"'" or one >= b"\x80" else 0 for one in texts]
    else:
        letters = [
            ord(unit.lower()[0]) if place > EOS and (unit.isalpha() or unit == "'") else 0
            for place, unit in enumerate(vocabulary.units)
        ]
    return np.array(letters, np.int32)

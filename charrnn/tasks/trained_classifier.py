"""A trained classifier: predicts the label of texts, and says how probable labels are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.checkpoint import Checkpoint
from charrnn.errors import NotFiniteError
from charrnn.settings import require_whole
from charrnn.tasks.arguments import all_bytes
from charrnn.tasks.classify_format import ClassifierSides
from charrnn.text.packing import pack
from charrnn.text.vocabulary import EOS

if TYPE_CHECKING:
    from charrnn.models.classifier import Classifier

POSITIONS = 1 << 14  # units of the texts of one batch, about
LARGEST = 1 << 28  # floats of the activations of one text: 1 GB
_LONGEST_WORD = 64  # characters of a word, on average over a text


@dataclass(frozen=True, slots=True)
class Prediction:
    """The labels of a text, the most probable first, with their log-probabilities in nats."""

    labels: tuple[str, ...]
    logprobs: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels[0]

    @property
    def probability(self) -> float:
        """The probability of that label."""
        return self.probabilities[0]

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probabilities of `labels`."""
        return tuple(math.exp(value) for value in self.logprobs)


class TrainedClassifier:
    """A trained classifier. It is immutable, and several threads may use it at once: calls wait for each other.

    Results do not depend on the number of threads, nor on the other texts of a call. Of a text only the first `longest`
    units are read, many thousands: all states of a text are in memory at once. Texts in bytes are UTF-8; invalid ones
    are read as U+FFFD, except by a byte model.
    """

    task = "classify"

    def __init__(self, network: Classifier, sides: ClassifierSides) -> None:
        self.network, self.sides, self.labels = network, sides, sides.labels
        self.vocabulary, self.unit = sides.text.vocabulary, sides.text.vocabulary.unit
        config = network.config
        states = config.hidden_size * config.num_layers * (2 if config.bidirectional else 1)
        self.longest = max(POSITIONS, LARGEST // (4 * states + config.embedding_size))

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, threads: int = 1, precision: str = "float32") -> TrainedClassifier:
        """The classifier of a checkpoint; `precision` as for language models.

        Raises UsageError for `threads` out of range or an unknown `precision`.
        """
        from charrnn.models.classifier import Classifier
        from charrnn.runtime.precision import uses_bfloat16

        network = Classifier(checkpoint.model, threads=threads, bfloat16=uses_bfloat16(threads, precision))
        network.load(checkpoint.weights)
        return cls(network, checkpoint.data)

    def __repr__(self) -> str:
        """What the model is made of, in short."""
        config, size = self.network.config, len(self.vocabulary)
        made = f"{','.join(config.cells)} of {config.hidden_size}, {size} {self.unit} units"
        return f"<TrainedClassifier: {made}, {len(self.labels)} labels>"

    def log_probs(self, texts: Iterable[str | bytes]) -> NDArray[np.float64]:
        """Log-probabilities (texts, labels) of all labels of each text, in nats.

        Raises UsageError for a single text and for what is no text, CharrnnError where the model computes numbers that
        are not finite.
        """
        ids = [self._encode(text) for text in all_bytes("`texts`", texts)]
        values = np.empty((len(ids), len(self.labels)), np.float64)
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        for chosen in _cut(order, [len(ids[n]) for n in order]):
            batch, places = pack([ids[n] for n in chosen], None)
            with np.errstate(invalid="ignore"):  # numbers that are not finite are found below
                values[chosen] = self.network.log_probs(batch)[places[:, 0], places[:, 1]]
        if not np.isfinite(values).all():
            raise NotFiniteError
        return values

    def predict(self, texts: Iterable[str | bytes], *, count: int = 1) -> list[Prediction]:
        """The `count` most probable labels of each text, in order.

        Raises UsageError for `count` below 1, and as `log_probs`.
        """
        require_whole("`count`", count, 1)
        values = self.log_probs(texts)
        best = np.argsort(-values, axis=1, kind="stable")[:, :count]
        return [
            Prediction(tuple(self.labels[label] for label in row), tuple(values[n, row].tolist()))
            for n, row in enumerate(best)
        ]

    def reads_whole(self, text: str | bytes) -> bool:
        """Whether a text has at most `longest` units."""
        return len(text) <= self.longest or len(self._ids(text, self.longest + 1)) <= self.longest

    def _encode(self, text: str | bytes) -> NDArray[np.int32]:
        """The ids of a text, at least one and at most `longest`."""
        ids = self._ids(text, self.longest)
        return ids if len(ids) else np.array([EOS], np.int32)

    def _ids(self, text: str | bytes, most: int) -> NDArray[np.int32]:
        """The ids of the first units of a text. What comes after it is not even decoded: a text may be very long."""
        characters = most * (_LONGEST_WORD if self.unit == "word" else 1)
        if isinstance(text, bytes) and self.unit != "byte":
            text = text[: 4 * characters].decode("utf-8", "replace")  # a character has at most four bytes
        return np.asarray(self.vocabulary.encode(text[:characters])[:most], np.int32)


def _cut(order: list[int], lengths: list[int]) -> Iterator[list[int]]:
    """The texts of `order`, of these lengths, in lists of about POSITIONS units."""
    start, units = 0, 0
    for n, length in enumerate(lengths):
        if n > start and units + length > POSITIONS:
            yield order[start:n]
            start, units = n, 0
        units += length
    if start < len(order):
        yield order[start:]

"""What a trained translator gives: outputs of sources, scores of pairs, samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.tasks.score_records import perplexity


@dataclass(frozen=True, slots=True)
class Output:
    """What a translator makes of a source; `logprob` is that of it given the source, in nats, its end included.

    Not `ended`: it was cut at the most units that it may have. alignment (units + 1, source units): how much of the
    attention each unit of the output, and its end, gives to each unit of the source, end included; None where it was
    not asked for, as `source_units` are then empty.
    """

    data: bytes
    logprob: float
    ended: bool
    units: tuple[str, ...]
    source_units: tuple[str, ...]
    alignment: NDArray[np.float32] | None

    @property
    def text(self) -> str:
        """The output; of a byte model, bytes that are not UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")

    def __repr__(self) -> str:
        """Text and log-probability."""
        return f"Output({self.text!r}, logprob={self.logprob:.3f})"


@dataclass(frozen=True, slots=True)
class PairScore:
    """How probable a target is given its source: `logprob` in nats, over `tokens`, its units and its end, of which
    `oov` are out of vocabulary."""

    logprob: float
    tokens: int
    oov: int

    @property
    def perplexity(self) -> float:
        """exp(-logprob / tokens)."""
        return perplexity(self.logprob, self.tokens)


class Sample(NamedTuple):
    """An output that was drawn: the numbers of its source and of its sample, its text, its units, and whether it ended
    before it was cut."""

    source: int
    number: int
    data: bytes
    units: int
    ended: bool

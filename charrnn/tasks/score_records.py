"""Records of scoring: lines, their scores, sums over many scores, and bits and perplexity computed from them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line to be scored, without its end-of-line; `ended` is False for a last line that has none.

    Where `data` is only a field of the line that was read, `whole` is that line and `start` the place of the field.
    """

    data: bytes
    ended: bool = True
    whole: bytes | None = None
    start: int = 0


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a line in order: text (byte models: two hexadecimal digits), log-probability in nats, and whether it
    is out of vocabulary. `split` computes the texts at each call: a list takes far more memory than the line.
    """

    split: Callable[[], Sequence[str]] = field(compare=False)
    logprobs: Sequence[float]
    oov: Sequence[bool]


class Score(NamedTuple):
    """The score of one line. Log-probabilities are in nats; an end-of-line is one token, one byte and one character.

    `logprob` includes the spelling of unknown units, `logprob_unk` only the unknown token in their place;
    `logprob_known` is `logprob` without the `oov` units. On request `parts` has all units, those of a long line in
    several parts.
    """

    data: bytes
    tokens: int
    oov: int
    bytes: int
    characters: int
    logprob: float
    logprob_unk: float
    logprob_known: float
    parts: tuple[Units, ...] = ()

    def __repr__(self) -> str:
        """The fields that are looked at most, in short."""
        return (
            f"Score(logprob={self.logprob:.3f}, tokens={self.tokens}, oov={self.oov}, "
            f"bits_per_byte={self.bits_per_byte:.3f}, perplexity={self.perplexity:.2f})"
        )

    @property
    def units(self) -> list[str]:
        """The text of each token; needs `parts`."""
        return [unit for part in self.parts for unit in part.split()]

    @property
    def unit_logprobs(self) -> list[float]:
        """The log-probability of each token in nats, the negative of its surprisal; needs `parts`."""
        return [value for part in self.parts for value in part.logprobs]

    @property
    def unit_oov(self) -> list[bool]:
        """Whether each token is out of vocabulary; needs `parts`."""
        return [flag for part in self.parts for flag in part.oov]

    @property
    def bits_per_byte(self) -> float:
        """`-logprob` in bits, divided by the bytes."""
        return bits(self.logprob, self.bytes)

    @property
    def bits_per_character(self) -> float:
        """`-logprob` in bits, divided by the characters."""
        return bits(self.logprob, self.characters)

    @property
    def perplexity(self) -> float:
        """exp(-logprob / tokens)."""
        return perplexity(self.logprob, self.tokens)


def bits(logprob: float, count: int) -> float:
    """`-logprob` (nats) in bits, divided by `count`; 0 where `count` is 0."""
    return -logprob / (count * math.log(2)) + 0.0 if count else 0.0


def perplexity(logprob: float, count: int) -> float:
    """exp(-logprob / count), at most the largest finite float; 1 where `count` is 0."""
    if not count:
        return 1.0
    return math.exp(min(-logprob / count, math.log(sys.float_info.max)))


@dataclass(slots=True)
class Summary:
    """The sums of many scores. Log-probabilities are in nats."""

    lines: int = 0
    tokens: int = 0
    oov: int = 0
    bytes: int = 0
    characters: int = 0
    logprob: float = 0.0
    logprob_unk: float = 0.0
    logprob_known: float = 0.0

    def add(self, score: Score) -> None:
        """Add the score of one line."""
        self.lines += 1
        for name in ("tokens", "oov", "bytes", "characters", "logprob", "logprob_unk", "logprob_known"):
            setattr(self, name, getattr(self, name) + getattr(score, name))

    def as_dict(self, log_unit: float = 1.0) -> dict[str, Any]:
        """The summary as a JSON object; `log_unit` is the natural logarithm of the base in which `logprob` is given.

        A mean over nothing is None.
        """
        known = self.tokens - self.oov
        return {
            "lines": self.lines,
            "tokens": self.tokens,
            "oov": self.oov,
            "bytes": self.bytes,
            "characters": self.characters,
            "logprob": self.logprob / log_unit + 0.0,
            "bits_per_byte": bits(self.logprob, self.bytes) if self.bytes else None,
            "bits_per_character": bits(self.logprob, self.characters) if self.characters else None,
            "perplexity": perplexity(self.logprob, self.tokens) if self.tokens else None,
            "perplexity_unk": perplexity(self.logprob_unk, self.tokens) if self.tokens else None,
            "perplexity_without_oov": perplexity(self.logprob_known, known) if known else None,
        }

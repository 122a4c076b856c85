"""Lines and what they cost: the records that scoring takes and gives, and the figures that are computed from them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line without its end, to be scored; `ended` is False for a last line that has none.

    Where `data` is only a field of the line that was read, `whole` is that line and `start` where the field begins.
    """

    data: bytes
    ended: bool = True
    whole: bytes | None = None
    start: int = 0


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a line, one after the other: each as text (byte models: two hexadecimal digits), its log-probability and
    whether it is out of vocabulary. The texts are split anew at each call: a list takes many times as much as the line.
    """

    split: Callable[[], Sequence[str]] = field(compare=False)
    logprobs: Sequence[float]
    oov: Sequence[bool]


class Score(NamedTuple):
    """What one line costs. Log-probabilities in nats; an end-of-line is one token, one byte and one character.

    In `logprob` unknown units are spelled out; in `logprob_unk` they cost the unknown token only;
    `logprob_known` is `logprob` without the `oov` units. On request `parts` has all units, those of a long line in
    pieces.
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

    @property
    def units(self) -> list[str]:
        return [unit for part in self.parts for unit in part.split()]

    @property
    def unit_logprobs(self) -> list[float]:
        return [value for part in self.parts for value in part.logprobs]

    @property
    def unit_oov(self) -> list[bool]:
        return [flag for part in self.parts for flag in part.oov]

    @property
    def bits_per_byte(self) -> float:
        return bits(self.logprob, self.bytes)

    @property
    def bits_per_character(self) -> float:
        return bits(self.logprob, self.characters)

    @property
    def perplexity(self) -> float:
        return perplexity(self.logprob, self.tokens)


def bits(logprob: float, count: int) -> float:
    """Bits for each of `count` things; 0 where there are none."""
    return -logprob / (count * math.log(2)) + 0.0 if count else 0.0


def perplexity(logprob: float, count: int) -> float:
    """exp(-logprob / count), finite; 1 where nothing was counted."""
    if not count:
        return 1.0
    return math.exp(min(-logprob / count, math.log(sys.float_info.max)))


@dataclass(slots=True)
class Summary:
    """The sum of many scores."""

    lines: int = 0
    tokens: int = 0
    oov: int = 0
    bytes: int = 0
    characters: int = 0
    logprob: float = 0.0
    logprob_unk: float = 0.0
    logprob_known: float = 0.0

    def add(self, score: Score) -> None:
        """Count one line."""
        self.lines += 1
        for name in ("tokens", "oov", "bytes", "characters", "logprob", "logprob_unk", "logprob_known"):
            setattr(self, name, getattr(self, name) + getattr(score, name))

    def as_dict(self, log_unit: float = 1.0) -> dict[str, Any]:
        """The summary as it is printed; `log_unit` is the logarithm of the base in which `logprob` is given."""
        return {
            "lines": self.lines,
            "tokens": self.tokens,
            "oov": self.oov,
            "bytes": self.bytes,
            "characters": self.characters,
            "logprob": self.logprob / log_unit + 0.0,
            "bits_per_byte": bits(self.logprob, self.bytes),
            "bits_per_character": bits(self.logprob, self.characters),
            "perplexity": perplexity(self.logprob, self.tokens),
            "perplexity_unk": perplexity(self.logprob_unk, self.tokens),
            "perplexity_without_oov": perplexity(self.logprob_known, self.tokens - self.oov),
        }

"""The probability of an unknown unit given <unk>: a distribution over the spellings that are not in the vocabulary.

With it every text has a positive probability, and the probabilities of all texts sum to at most one.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charrnn.errors import CharrnnError
from charrnn.text.units import LINE_END, SURROGATES

CODE_POINTS = 0x110000 - 0x800  # all of Unicode but the surrogates
LARGEST_COUNT = 2**53  # the integers that float64 holds exactly


@dataclass(frozen=True)
class UniformFallback:
    """Characters: all code points outside the vocabulary are equally probable.

    `mapped` is how many units of the training text were mapped to <unk>; `outside` how many code points are unknown.
    """

    mapped: int
    outside: int
    literal: int = 0

    def log_prob(self, unit: str) -> float:
        """log P(unit | unknown), in nats."""
        return -math.log(self.outside)

    def to_json(self) -> dict[str, Any]:
        """The entry `fallback` of a checkpoint."""
        return {"mapped": self.mapped}


@dataclass(frozen=True)
class SpellingFallback:
    """Words: characters drawn one by one, stopping after each with a fixed probability.

    A spelling c_1 ... c_n has probability `stop (1 - stop)^(n-1) p(c_1) ... p(c_n)`. With N characters counted, D of
    them different, `p` gives the share D / (N + D) to the code points that were not seen, in equal parts: method C of
    Witten and Bell 1991, "The zero-frequency problem", doi:10.1109/18.87000. Vocabulary units, which have `known_mass`
    of the total, are excluded, so probabilities are divided by `1 - known_mass`.

    `literal` counts the <unk> that occurred in the training text, `mapped` the units that were mapped to it.
    """

    literal: int
    mapped: int
    characters: str
    counts: tuple[int, ...]
    stops: int
    known_mass: float = 0.0

    @functools.cached_property
    def _log_probs(self) -> dict[str, float]:
        total = sum(self.counts) + len(self.counts)
        return {character: math.log(n / total) for character, n in zip(self.characters, self.counts, strict=True)}

    @functools.cached_property
    def _log_prob_other(self) -> float:
        kinds = len(self.counts)
        # The newline is never part of a unit.
        return math.log(kinds / (sum(self.counts) + kinds)) - math.log(CODE_POINTS - 1 - kinds)

    @functools.cached_property
    def _stop(self) -> float:
        return (self.stops + 1) / (sum(self.counts) + 2)

    def spelling_log_prob(self, unit: str) -> float:
        """log P(spelling), in nats, over all spellings, those of known units included."""
        known, other = self._log_probs, self._log_prob_other
        spelled = sum(known.get(character, other) for character in unit)
        return spelled + (len(unit) - 1) * math.log1p(-self._stop) + math.log(self._stop)

    def log_prob(self, unit: str) -> float:
        """log P(unit | unknown), in nats, of a unit that is not in the vocabulary."""
        return self.spelling_log_prob(unit) - math.log1p(-self.known_mass)

    def to_json(self) -> dict[str, Any]:
        """The entry `fallback` of a checkpoint."""
        return {
            "literal": self.literal,
            "mapped": self.mapped,
            "characters": self.characters,
            "counts": list(self.counts),
            "stops": self.stops,
            "known_mass": self.known_mass,
        }


Fallback = UniformFallback | SpellingFallback


def learn_spelling(
    known: Sequence[str], mapped: Mapping[str, int], *, literal: int, mapped_count: int, excluded: Iterable[str]
) -> SpellingFallback:
    """The distribution over spellings: of the units that were mapped to <unk>, by count, and of each known unit once.

    `mapped_count` exceeds the sum of `mapped` if not every spelling was stored. `known_mass` is that of `known` and of
    `excluded` (literal forms of <unk>).
    """
    seen: Counter[str] = Counter()
    for unit, count in mapped.items():
        for character in unit:
            seen[character] += count
    for unit in known:
        seen.update(unit)
    stops = sum(mapped.values()) + len(known)
    ordered = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    characters = "".join(character for character, _ in ordered)
    counts = tuple(count for _, count in ordered)
    spelling = SpellingFallback(literal, mapped_count, characters, counts, stops)
    mass = math.fsum(math.exp(spelling.spelling_log_prob(unit)) for unit in (*known, *excluded))
    return SpellingFallback(literal, mapped_count, characters, counts, stops, mass)


def fallback_from_json(value: object, *, unit: str, vocabulary_size: int) -> Fallback:
    """Read what `to_json` wrote; `vocabulary_size` counts <unk> and <eos>.

    Raises:
        CharrnnError: names what is missing or wrong.
    """
    if not isinstance(value, dict):
        raise CharrnnError(f"the fallback distribution is {type(value).__name__}; it must be an object")
    mapped = _count(value, "mapped")
    if unit != "word":
        return uniform_fallback(unit, vocabulary_size, mapped)
    literal, stops = _count(value, "literal"), _count(value, "stops")
    characters, counts, known_mass = value.get("characters"), value.get("counts"), value.get("known_mass")
    if not isinstance(characters, str) or not characters or len(set(characters)) != len(characters):
        raise CharrnnError("the fallback distribution's characters must be a text without repetition")
    if LINE_END in characters or SURROGATES.search(characters) or len(characters) >= CODE_POINTS - 1:
        raise CharrnnError("the fallback distribution's characters must be some that a word can have, and not all")
    if not isinstance(counts, list) or len(counts) != len(characters):
        raise CharrnnError("the fallback distribution must have as many counts as characters")
    if not all(type(count) is int and 0 < count < LARGEST_COUNT for count in counts) or sum(counts) >= LARGEST_COUNT:
        raise CharrnnError("the fallback distribution's counts must be whole numbers above 0")
    if stops > sum(counts):
        raise CharrnnError(f"the fallback distribution has {stops} stops for {sum(counts)} characters")
    if type(known_mass) is not float or not 0 <= known_mass < 1:
        raise CharrnnError(f"the fallback distribution's known_mass is {repr(known_mass)[:40]}; it must be in [0, 1)")
    return SpellingFallback(literal, mapped, characters, tuple(counts), stops, known_mass)


def uniform_fallback(unit: str, vocabulary_size: int, mapped: int) -> UniformFallback:
    """The fallback of characters; that of bytes, of which none is unknown, has one outcome."""
    return UniformFallback(mapped, max(1, CODE_POINTS - (vocabulary_size - 1)) if unit == "char" else 1)


def _count(value: dict[str, Any], name: str) -> int:
    count = value.get(name)
    if type(count) is not int or not 0 <= count < LARGEST_COUNT:
        raise CharrnnError(
            f"the fallback distribution's {name} is {repr(count)[:40]}; it must be a whole number from 0 on"
        )
    return count

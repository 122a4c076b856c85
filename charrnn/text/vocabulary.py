"""The vocabulary: the units that have an id, and the probabilities of those that have not."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charrnn.config import UNITS, TextConfig
from charrnn.errors import CharrnnError
from charrnn.text.fallback import Fallback, fallback_from_json, learn_spelling, uniform_fallback
from charrnn.text.units import (
    LINE_END,
    PRETOKENIZED,
    REPLACEMENT,
    REPLACEMENT_BYTES,
    SURROGATES,
    UNKNOWN_WORD,
    literal_unknowns,
    split_bytes,
    split_characters,
    split_pretokenized,
    split_words,
    text_bytes,
)

UNKNOWN = 0
EOS = 1
SPECIAL_UNITS = (UNKNOWN_WORD, "<eos>")
UNIT_NAMES = {"char": "character", "byte": "byte", "word": "word"}


@dataclass(frozen=True)
class Vocabulary:
    """The units in id order: `<unk>` is 0, `<eos>` (the newline) is 1, bytes are two hexadecimal digits.

    The two special entries are identified by their ids: a word that is spelled `<eos>` in a text is an unknown word
    like any other, never the end of a line. `<unk>` in a text is the unknown token.
    """

    unit: str
    pretokenized: bool
    units: tuple[str, ...]
    fallback: Fallback

    @classmethod
    def learn(cls, counts: Mapping[str, int], config: TextConfig, *, unspelled: int = 0) -> Vocabulary:
        """Choose the units by how often each occurs in the training text.

        `counts` has the units as `split` gives them, newlines and literal `<unk>` included; `unspelled` is the number
        of further units, all rare, whose spelling is not stored. `max_vocab` limits `len(vocabulary)`, `<unk>` and
        `<eos>` included. A byte vocabulary always has all bytes.

        Raises:
            CharrnnError: no unit is left.
        """
        literals = literal_unknowns(config.unit, config.pretokenized)
        reserved = {LINE_END, *SPECIAL_UNITS, *literals}
        if config.unit == "byte":
            values = (f"{value:02x}" for value in range(256) if value != 10)
            ordered = sorted(values, key=lambda unit: (-counts.get(unit, 0), unit))
            return cls("byte", False, (*SPECIAL_UNITS, *ordered), uniform_fallback("byte", 257, 0))
        frequent = [unit for unit, n in counts.items() if n >= config.min_count and n and unit not in reserved]
        known = sorted(frequent, key=lambda unit: (-counts[unit], unit))
        if config.max_vocab:
            known = known[: max(0, config.max_vocab - len(SPECIAL_UNITS))]
        if not known:
            name = UNIT_NAMES[config.unit]
            if frequent:
                raise CharrnnError(
                    f"`max_vocab` {config.max_vocab} leaves no {name}: <unk> and <eos> count too; allow at least 3"
                )
            raise CharrnnError(
                f"no {name} of the corpus occurs {config.min_count} times or more, and rarer ones become <unk>; lower "
                f"`min_count` (1 keeps every {name}) or give more text"
            )
        unmapped = {*known, LINE_END, *literals}
        mapped = {unit: n for unit, n in counts.items() if n and unit not in unmapped}
        mapped_count = sum(mapped.values()) + unspelled
        fallback: Fallback
        if config.unit == "char":
            fallback = uniform_fallback("char", len(known) + 2, mapped_count)
        else:
            literal = sum(counts.get(unit, 0) for unit in literals)
            excluded = literals if literal else ()
            fallback = learn_spelling(known, mapped, literal=literal, mapped_count=mapped_count, excluded=excluded)
        return cls(config.unit, config.pretokenized, (*SPECIAL_UNITS, *known), fallback)

    def __len__(self) -> int:
        """V, `<unk>` and `<eos>` included."""
        return len(self.units)

    def split(self, text: str | bytes) -> list[str]:
        """The units of `text`, known or not, newlines as "\\n", lone surrogates as U+FFFD.

        The units of a byte vocabulary are two hexadecimal digits each. Raises `TypeError` for bytes in any other one.
        """
        if self.unit == "byte":
            return split_bytes(text)
        if isinstance(text, bytes):
            raise TypeError(f"a {self.unit} vocabulary splits str, not bytes")
        if self.unit == "char":
            return split_characters(text)
        return split_pretokenized(text) if self.pretokenized else split_words(text)

    def id_of(self, unit: str) -> int:
        """The id of a unit as `split` gives it; `UNKNOWN` if it has none."""
        return self._ids.get(unit, UNKNOWN)

    def ids_of(self, units: Sequence[str]) -> NDArray[np.int32]:
        """The id of each of some units, see `id_of`."""
        return np.fromiter(map(self._ids.get, units, repeat(UNKNOWN)), np.int32, len(units))

    def encode(self, text: str | bytes) -> NDArray[np.int32]:
        """The ids of the units of `text`, (units) in int32: 0 if unknown, 1 for a newline."""
        if self.unit == "byte":
            data = text_bytes(text) if isinstance(text, str) else text
            return np.take(self.table, np.frombuffer(data, np.uint8))
        if self.unit == "char" and isinstance(text, str):
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
            return np.take(self.table, codes)
        return self.ids_of(self.split(text))

    def decode(self, ids: ArrayLike) -> str:
        """The text of ids, of any shape; `decode(encode(text)) == text` if every unit of `text` is known.

        Unknown units become U+FFFD or `<unk>`, invalid bytes of a byte model U+FFFD.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The text of ids, of any shape, in UTF-8; of a byte model, the bytes themselves."""
        decoder = self.decoder()
        return b"".join(map(decoder.feed, np.asarray(ids, np.int64).ravel().tolist()))

    def decoder(self) -> Decoder:
        """A decoder that takes one id after the other."""
        return Decoder(self)

    def is_oov(self, unit: str) -> bool:
        """Whether a unit as `split` gives it is unknown. A literal <unk> that was trained on is not."""
        return unit not in self._ids and not self._is_trained_literal(unit)

    def spelling_log_probs(self, units: Sequence[str]) -> NDArray[np.float64]:
        """The log-probability (units), in nats, of each unit given its id: 0 if it is known, else that of its spelling.

        `units` are as `split` gives them. The results are float64 and always finite.
        A literal <unk> has n_literal / (n_literal + n_mapped + 1) of the unknown token's mass, in equal parts with and
        without a space before it where words include one. The spellings outside the vocabulary have the rest. If the
        training text had no literal <unk>, it is spelled like any other word.
        """
        fallback = self.fallback
        total = fallback.literal + fallback.mapped + 1
        log_rest = math.log((fallback.mapped + 1) / total)
        result = np.zeros(len(units))
        for position, unit in enumerate(units):
            if unit in self._ids:
                continue
            if self._is_trained_literal(unit):
                result[position] = math.log(fallback.literal / total / len(self._literals))
            else:
                result[position] = log_rest + fallback.log_prob(unit)
        return result

    def to_json(self) -> dict[str, Any]:
        """The part of a checkpoint's `text` object that says what a unit is."""
        return {
            "unit": self.unit,
            "pretokenized": self.pretokenized,
            "vocabulary": list(self.units),
            "fallback": self.fallback.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Vocabulary:
        """Read what `to_json` wrote; other keys are ignored.

        Raises:
            CharrnnError: names the defect.
        """
        unit, pretokenized, units = value.get("unit"), value.get("pretokenized"), value.get("vocabulary")
        if unit not in UNITS:
            raise CharrnnError(f"the text unit is {repr(unit)[:40]}; it must be one of {', '.join(UNITS)}")
        if type(pretokenized) is not bool or (pretokenized and unit != "word"):
            raise CharrnnError(
                f"the text's pretokenized is {repr(pretokenized)[:40]}; it must be true (words only) or false"
            )
        if not isinstance(units, list) or not all(isinstance(entry, str) for entry in units):
            raise CharrnnError("the vocabulary must be a list of texts")
        if tuple(units[:2]) != SPECIAL_UNITS:
            raise CharrnnError(f"the vocabulary starts with {str(units[:2])[:80]}; it must start with <unk> and <eos>")
        if len(set(units)) != len(units):
            raise CharrnnError("the vocabulary has an entry twice")
        _check_units(unit, pretokenized, units[2:])
        fallback = fallback_from_json(value.get("fallback"), unit=unit, vocabulary_size=len(units))
        return cls(unit, pretokenized, tuple(units), fallback)

    def _is_trained_literal(self, unit: str) -> bool:
        return self.fallback.literal > 0 and unit in self._literals

    @functools.cached_property
    def _literals(self) -> tuple[str, ...]:
        return literal_unknowns(self.unit, self.pretokenized)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        ids = {unit: number for number, unit in enumerate(self.units) if number > EOS}
        ids[LINE_END] = EOS
        return ids

    @functools.cached_property
    def table(self) -> NDArray[np.int32]:
        """Characters and bytes: the id of every code point (0x110000 entries) or byte value (256 entries)."""
        table = np.zeros(256 if self.unit == "byte" else 0x110000, np.int32)
        for unit, number in self._ids.items():
            table[int(unit, 16) if self.unit == "byte" and number != EOS else ord(unit)] = number
        if self.unit == "char":
            table[0xD800:0xE000] = table[ord(REPLACEMENT)]
        return table

    @functools.cached_property
    def unit_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each id (V), without the spaces between pretokenized words."""
        unknown = UNKNOWN_WORD.encode() if self.unit == "word" else REPLACEMENT_BYTES
        write = bytes.fromhex if self.unit == "byte" else str.encode
        return (unknown, b"\n", *(write(unit) for unit in self.units[2:]))


class Decoder:
    """Decodes ids into bytes one at a time; only pretokenized words depend on the id before."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._unit_bytes = vocabulary.unit_bytes
        self._joined = vocabulary.pretokenized
        self._line_start = True

    def feed(self, number: int) -> bytes:
        """The bytes of an id, with a space before it if it follows another pretokenized word."""
        unit = self._unit_bytes[number]
        if not self._joined:
            return unit
        space = not self._line_start and number != EOS
        self._line_start = number == EOS
        return b" " + unit if space else unit


def _check_units(unit: str, pretokenized: bool, units: Iterable[str]) -> None:
    """Raise `CharrnnError` unless each entry can be a unit of a text."""
    if unit == "byte":
        if set(units) != {f"{value:02x}" for value in range(256) if value != 10}:
            raise CharrnnError("a byte vocabulary must list the bytes 00 to ff, without 0a, as two hexadecimal digits")
        return
    literals = literal_unknowns(unit, pretokenized)
    for entry in units:
        if not entry or LINE_END in entry or SURROGATES.search(entry) or entry in literals:
            raise CharrnnError(f"the vocabulary has the entry {entry[:40]!r}, which cannot be a {UNIT_NAMES[unit]}")
        if unit == "char" and len(entry) != 1:
            raise CharrnnError(f"the vocabulary has the entry {entry[:40]!r}, which is not one character")
        if pretokenized and not PRETOKENIZED.fullmatch(entry):
            raise CharrnnError(f"the vocabulary has the entry {entry[:40]!r}, which white space would separate")

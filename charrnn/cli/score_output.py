"""Output of scores: tab-separated fields, JSON objects, or a table with each character coloured by surprisal."""

from __future__ import annotations

import codecs
import io
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli.visible import visible
from charrnn.tasks.score_records import Line, Score, bits

if TYPE_CHECKING:
    from rich.text import Text

    from charrnn.text.vocabulary import Vocabulary

_UNITS_AT_ONCE = 4096
_BYTES_AT_ONCE = 1 << 16

# Upper bounds of surprisal in bits a character, and the colour up to each: from green (low) to red (high).
_COLOURS = ((0.5, 34), (1, 70), (2, 106), (3, 142), (4, 178), (6, 172), (9, 166), (math.inf, 160))


def number(value: float, decimals: int = 6) -> str:
    """The value rounded to so many decimals, zero without a minus sign."""
    text = f"{value:.{decimals}f}"
    return text if text.strip("-0.") else text.removeprefix("-")


class Record(NamedTuple):
    """A line, its score, and where two models are compared, the difference of their log-probabilities in nats."""

    line: Line
    score: Score
    log_odds: float | None = None

    @property
    def whole(self) -> bytes:
        """The line that was read, of which only a field may have been scored."""
        return self.score.data if self.line.whole is None else self.line.whole


def tsv_header(compared: bool) -> bytes:
    """The line with the names of the columns; `compared`: with `log_odds`."""
    return b"logprob\ttokens\toov\tbits_per_byte\t" + b"log_odds\t" * compared + b"text\n"


def tsv(record: Record, log_unit: float) -> bytes:
    """One line of fields; the text, the bytes that were read with their tabs, comes last.

    `log_unit` is the natural logarithm of the base of `logprob` and `log_odds`.
    """
    score = record.score
    fields = f"{number(score.logprob / log_unit)}\t{score.tokens}\t{score.oov}\t{number(score.bits_per_byte)}\t"
    if record.log_odds is not None:
        fields += f"{number(record.log_odds / log_unit)}\t"
    return fields.encode() + record.whole + b"\n"


def json_line(record: Record, log_unit: float, per_token: bool, adapted: bool = False) -> Iterator[bytes]:
    """One JSON object on a line; in pieces, where the text or the list of units is long.

    Invalid bytes in the text become U+FFFD, which JSON can hold. Where a field was scored, `line` is the whole line.
    """
    pieces = _json_pieces(record, log_unit, per_token, adapted)
    return pieces if per_token or len(record.whole) > _BYTES_AT_ONCE else iter((b"".join(pieces),))


def _json_pieces(record: Record, log_unit: float, per_token: bool, adapted: bool) -> Iterator[bytes]:
    score = record.score
    yield b'{"text": '
    yield from json_text(score.data)
    values: dict[str, Any] = {
        "logprob": score.logprob / log_unit + 0.0,
        "tokens": score.tokens,
        "oov": score.oov,
        "bytes": score.bytes,
        "characters": score.characters,
        "bits_per_byte": score.bits_per_byte,
        "bits_per_character": score.bits_per_character,
        "perplexity": score.perplexity,
    }
    if record.log_odds is not None:
        values["log_odds"] = record.log_odds / log_unit + 0.0
    if adapted:
        values["adapted"] = True
    yield f", {_json(values)[1:-1]}".encode()
    if record.line.whole is not None:
        yield b', "line": '
        yield from json_text(record.whole)
    if not per_token:
        yield b"}\n"
        return
    yield b', "per_token": ['
    separator = b""
    for part in score.parts:
        units = part.split()
        for start in range(0, len(units), _UNITS_AT_ONCE):
            some = slice(start, start + _UNITS_AT_ONCE)
            entries = [
                {"token": unit, "logprob": logprob / log_unit + 0.0, "oov": oov}
                for unit, logprob, oov in zip(units[some], part.logprobs[some], part.oov[some], strict=True)
            ]
            yield separator + _json(entries)[1:-1].encode()
            separator = b", "
    yield b"]}\n"


def json_text(data: bytes) -> Iterator[bytes]:
    """A text as a JSON string, in pieces: a long one made at once would take many times its memory."""
    if len(data) <= _BYTES_AT_ONCE:
        yield _json(data.decode("utf-8", "replace")).encode()
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    yield b'"'
    for start in range(0, len(data) + 1, _BYTES_AT_ONCE):
        text = decoder.decode(data[start : start + _BYTES_AT_ONCE], final=start + _BYTES_AT_ONCE > len(data))
        yield _json(text)[1:-1].encode()
    yield b'"'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class Table:
    """Rows in columns, written one by one; with `colour`, scored text is coloured by surprisal, -log2 P in bits."""

    def __init__(self, vocabulary: Vocabulary, log_unit: float, *, colour: bool, compared: bool = False) -> None:
        from rich.console import Console

        self._vocabulary, self._log_unit, self._compared, self._colour = vocabulary, log_unit, compared, colour
        self._buffer = io.StringIO()
        self._console = Console(
            file=self._buffer,
            force_terminal=colour,
            color_system="256" if colour else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def header(self) -> bytes:
        """The line with the names of the columns, as UTF-8, and a legend of the colours if there are any."""
        from rich.text import Text

        odds = f" {'log odds':>10}" if self._compared else ""
        line = Text(f"{'logprob':>12} {'tokens':>7} {'oov':>5} {'bits/byte':>10}{odds}  text", style="bold")
        if self._colour:
            line.append(", bits a character up to", style="not bold")
            for limit, _ in _COLOURS:
                line.append(f" {limit:g}" if limit < math.inf else " more", style=f"not bold {_style(limit, False)}")
            line.append(" ").append("unknown", style=f"not bold {_style(math.inf, True)}")
        return self._draw(line)

    def row(self, record: Record) -> bytes:
        """One line for one score, which must carry its units."""
        from rich.text import Text

        score = record.score
        logprob = number(score.logprob / self._log_unit, 3)
        row = Text(f"{logprob:>12} {score.tokens:>7} {score.oov:>5} {number(score.bits_per_byte, 3):>10}")
        if record.log_odds is not None:
            row.append(f" {number(record.log_odds / self._log_unit, 3):>10}")
        start, stop = record.line.start, record.line.start + len(score.data)
        row.append("  " + visible(record.whole[:start].decode("utf-8", "replace"), keep="\t"))
        (self._bytes if self._vocabulary.unit == "byte" else self._units)(score, row)
        row.append(visible(record.whole[stop:].decode("utf-8", "replace"), keep="\t"))
        return self._draw(row)

    def _units(self, score: Score, row: Text) -> None:
        for position, (unit, logprob, oov) in enumerate(
            zip(score.units, score.unit_logprobs, score.unit_oov, strict=True)
        ):
            if unit == "\n":  # the end of the line, which is not shown
                continue
            if self._vocabulary.pretokenized and position:
                row.append(" ")
            row.append(visible(unit), style=_style(bits(logprob, len(unit)), oov))

    def _bytes(self, score: Score, row: Text) -> None:
        position, logprobs = 0, score.unit_logprobs
        for character in score.data.decode("utf-8", "surrogateescape"):
            until = position + len(character.encode("utf-8", "surrogateescape"))
            surprisal = bits(math.fsum(logprobs[position:until]), 1)
            position = until
            row.append(visible(character), style=_style(surprisal, False))

    def _draw(self, row: Text) -> bytes:
        self._console.print(row, soft_wrap=True)
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text.encode()


def _style(surprisal: float, oov: bool) -> str:
    colour = next(colour for limit, colour in _COLOURS if surprisal <= limit)
    return f"color({colour})" + (" reverse" if oov else "")

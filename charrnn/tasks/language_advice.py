"""What to try when a text is not what a language model learns well from: rules about its numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from charrnn.text.corpus import Corpus, Part
from charrnn.text.mapped import CHUNK, release_pages
from charrnn.text.vocabulary import UNKNOWN
from charrnn.training.task import Advice

# Bytes. Without dropout, validation is at its best after two thirds of the default passes over 30 kB of a play; over
# 120 kB a small network still improves at the end of all.
LITTLE_TEXT = 50_000
MANY_UNKNOWN = 0.05  # share of held-out words: one in a sentence of 20
UNEVEN = 2.0  # times as much held out as was asked for
UNITS = {"char": "characters", "word": "words"}


def little_text(nbytes: int) -> str | None:
    """For a training text of `nbytes`."""
    if nbytes >= LITTLE_TEXT:
        return None
    return (
        f"{nbytes:,} bytes are very little to learn from: expect spelling and short patterns, and much that is "
        "repeated word for word; more text helps more than any option"
    )


def uneven_lines(share: float, asked: float) -> str | None:
    """For a `share` of the text held out line by line where `asked` was wanted; 0 where nothing was."""
    if share <= UNEVEN * asked or not asked:
        return None
    return (
        f"{share:.0%} of the text is held out, not {asked:.0%}: a line is held out whole and with all its copies, and "
        "some are much of this text. Another `seed` holds out others, `val` names a file to hold out instead"
    )


def unknown_units(share: float, unit: str, min_count: int, max_vocab: int | None, *, initialised: bool) -> str | None:
    """For a `share` of held-out words or characters outside the vocabulary, which has `max_vocab` units if that cut it
    off, or came from another model whose weights training began from."""
    if share <= MANY_UNKNOWN:
        return None
    ways = ["more text", *(["`min_count` 1"] if min_count > 1 else [])]
    ways += [] if max_vocab is None else [f"a larger `max_vocab` than {max_vocab:,}"]
    other = (
        "a model of its own, without `init_from`" if initialised else f"`unit` {'char' if unit == 'word' else 'byte'}"
    )
    return (
        f"{share:.0%} of the {UNITS[unit]} held out are unknown to the model, which writes none of them. What helps is "
        f"{', '.join(ways)} or {other}"
    )


def at_start(corpus: Corpus, asked: float, *, initialised: bool) -> Iterator[Advice]:
    """Advice before the first step of a run that should hold out `asked` of its lines, 0 where it is not by lines.

    Weights that were `initialised` from another model have seen more text.
    """
    if not initialised and (message := little_text(corpus.train.bytes)):
        yield "little text", message
    if corpus.validation is not None:
        held_out = len(corpus.validation.ids)
        if message := uneven_lines(held_out / (held_out + len(corpus.train.ids)), asked):
            yield "uneven lines", message


def at_end(corpus: Corpus, *, initialised: bool) -> Iterator[Advice]:
    """Advice after a run; see `at_start` for `initialised`."""
    text, vocabulary, held_out = corpus.config, corpus.vocabulary, corpus.validation
    # A text whose rare words were replaced by <unk> before is as it was meant to be.
    if text.unit in UNITS and held_out is not None and not vocabulary.fallback.literal:
        share = unknown_share(held_out)
        # A vocabulary that came with the weights was not chosen by these.
        min_count, most = (1, 0) if initialised else (text.min_count, text.max_vocab)
        cut = most if 0 < most <= len(vocabulary) else None
        if message := unknown_units(share, text.unit, min_count, cut, initialised=initialised):
            yield f"unknown {UNITS[text.unit]}", message


def unknown_share(part: Part) -> float:
    """The share of the tokens of `part` that are unknown units."""
    unknown = 0
    for first in range(0, len(part.ids), CHUNK):
        unknown += int(np.count_nonzero(part.ids[first : first + CHUNK] == UNKNOWN))
        release_pages(part.ids)
    return unknown / len(part.ids)

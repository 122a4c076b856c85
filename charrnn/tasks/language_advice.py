"""Advice on the corpus of a language model: too small, held out unevenly, many out-of-vocabulary units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from charrnn.text.corpus import Corpus, Part
from charrnn.text.mapped import CHUNK, release_pages
from charrnn.text.vocabulary import UNKNOWN
from charrnn.training.task import Advice

# Bytes. Without dropout, the validation loss on 30 kB of a play is lowest after two thirds of the default epochs; on
# 120 kB a small network still improves at the end.
LITTLE_TEXT = 50_000
MANY_UNKNOWN = 0.05  # share of held-out words: one in a sentence of 20
UNEVEN = 2.0  # times `val_fraction` that is held out
UNITS = {"char": "characters", "word": "words"}


def little_text(nbytes: int) -> str | None:
    """Advice for a training text of `nbytes` bytes, None where there are enough."""
    if nbytes >= LITTLE_TEXT:
        return None
    return (
        f"{nbytes:,} bytes are very little to learn from: expect spelling and short patterns, and much that is "
        "repeated word for word; more text helps more than any option"
    )


def uneven_lines(share: float, val_fraction: float) -> str | None:
    """Advice where the `share` held out by lines is much larger than `val_fraction`; else None."""
    if share <= UNEVEN * val_fraction or not val_fraction:
        return None
    return (
        f"{share:.0%} of the text is held out, not {val_fraction:.0%}: a line is held out whole and with all its copies"
        ", and some are much of this text. Another `seed` holds out others, `val` names a file to hold out instead"
    )


def unknown_units(share: float, unit: str, min_count: int, max_vocab: int | None, *, initialised: bool) -> str | None:
    """Advice where a large `share` of the held-out words or characters is out of vocabulary; else None.

    `max_vocab` is None unless it limits the vocabulary. `initialised`: training began from the weights, and with the
    vocabulary, of another model.
    """
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


def at_start(corpus: Corpus, val_fraction: float, *, initialised: bool) -> Iterator[Advice]:
    """Advice before the first step of a run.

    `val_fraction` is the share of lines to hold out, 0 where the held-out part is not made of lines. `initialised`:
    training begins from the weights of another model, which has seen more text.
    """
    if not initialised and (message := little_text(corpus.train.bytes)):
        yield "little text", message
    if corpus.validation is not None:
        held_out = len(corpus.validation.ids)
        if message := uneven_lines(held_out / (held_out + len(corpus.train.ids)), val_fraction):
            yield "uneven lines", message


def at_end(corpus: Corpus, *, initialised: bool) -> Iterator[Advice]:
    """Advice after a run; see `at_start` for `initialised`."""
    text, vocabulary, held_out = corpus.config, corpus.vocabulary, corpus.validation
    # In a text whose rare words were replaced by <unk> beforehand, unknown units are intended.
    if text.unit in UNITS and held_out is not None and not vocabulary.fallback.literal:
        share = unknown_share(held_out)
        # A vocabulary that came with the weights was not chosen by these options.
        min_count, most = (1, 0) if initialised else (text.min_count, text.max_vocab)
        cut = most if 0 < most <= len(vocabulary) else None
        if message := unknown_units(share, text.unit, min_count, cut, initialised=initialised):
            yield f"unknown {UNITS[text.unit]}", message


def unknown_share(part: Part) -> float:
    """The share of the tokens of `part` that are out of vocabulary."""
    unknown = 0
    for first in range(0, len(part.ids), CHUNK):
        unknown += int(np.count_nonzero(part.ids[first : first + CHUNK] == UNKNOWN))
        release_pages(part.ids)
    return unknown / len(part.ids)

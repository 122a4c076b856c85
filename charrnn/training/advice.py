"""What to try when a run was not what it could be: rules about numbers that the run knows. Nothing depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from charrnn.config import TextConfig, TrainingConfig
from charrnn.text.corpus import Corpus, Part
from charrnn.text.mapped import CHUNK, release_pages
from charrnn.text.vocabulary import UNKNOWN
from charrnn.training.state import Progress

Advice = tuple[str, str]  # a topic, and what to say about it
History = Sequence[Sequence[float | None]]  # step, training loss, validation loss

# Bytes. Without dropout, validation is at its best after two thirds of the default passes over 30 kB of a play; over
# 120 kB a small network still improves at the end of all.
LITTLE_TEXT = 50_000
# The training loss is far below the validation loss from this share of it on. With the defaults, the names of dinosaurs
# have an eighth, and a best validation loss that is hardly better than the last; 30 kB of a play without dropout, 0.3.
WIDE_GAP = 0.15
# The validation loss is worse than its best by this share: less is chance, though all validations read the same text.
WORSE = 0.002
# The two losses are about equal up to this share.
NARROW_GAP = 0.05
# What the second half of a run took off the validation loss. A falling learning rate is a cause of some of it: runs
# that had learned what there was have 0.005 to 0.015; 2 to 20 passes over 120 kB of plays, which more passes improve,
# 0.13 to 0.04.
STILL_FALLING = 0.03
MOST_DROPOUT = 0.5  # that is worth trying
MANY_UNKNOWN = 0.05  # share of held-out words: one in a sentence of 20
UNEVEN = 2.0  # times as much held out as was asked for
LATE = 0.5  # share of a limit of time that has passed before the first step
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


def late_start(ready: float, limit: float) -> str | None:
    """For a first step after `ready` of `limit` seconds."""
    if ready < LATE * limit:
        return None
    return (
        f"{ready:.0f} of {limit:.0f} seconds had passed before the first step: the first time, the numerical code is "
        "compiled, and that is kept. The same command again has more time to learn"
    )


def overfitting(train_loss: float, history: History, best: float, best_step: int, dropout: float) -> str | None:
    """Where training is far below validation, which was better before.

    The training loss is taken with dropout, which raises it. So with dropout a wide gap is wider still in truth, and
    what is said holds; a narrow one proves nothing, and nothing is said.
    """
    last = history[-1][2] if history else None
    if last is None or train_loss > (1 - WIDE_GAP) * last or last <= (1 + WORSE) * best:
        return None
    more_dropout = f", more `dropout` than {dropout:g}" if dropout < MOST_DROPOUT else ""
    return (
        f"overfitting: the training loss is {train_loss:.3f}, the validation loss {last:.3f}, and it was {best:.3f} at "
        f"step {best_step:,}, whose weights are kept. What helps is more text{more_dropout} or a smaller `hidden_size`"
    )


def underfitting(train_loss: float, history: History, best_step: int, dropout: float, budget: str) -> str | None:
    """Where validation was at its best at the end, had still been falling, and training was not ahead of it.

    `budget` is the option that ended the run. The whole second half is looked at, as the end of a cosine improves
    little by design. Whether the network is too small cannot be told with dropout: it holds the training loss up by
    itself.
    """
    known = [(step, loss) for step, _, loss in history if step is not None and loss is not None]
    if not known or best_step != known[-1][0]:
        return None
    step, last = known[-1]
    before = [loss for number, loss in known if 2 * number <= step]
    if not before or before[-1] - last < STILL_FALLING * last or train_loss < (1 - NARROW_GAP) * last:
        return None
    other = "less `dropout`" if dropout else "a larger `hidden_size`"
    return (
        f"underfitting: the validation loss was still falling, from {before[-1]:.3f} to {last:.3f} in the "
        f"second half. A larger {budget} helps, and perhaps {other}"
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


def at_end(
    progress: Progress, corpus: Corpus, text: TextConfig, config: TrainingConfig, reason: str, *, initialised: bool
) -> Iterator[Advice]:
    """Advice after a run that ended for `reason`, see `Planner.finished`; see `at_start` for `initialised`."""
    train_loss, best, best_step = progress.train_loss, progress.best, progress.best_step
    if train_loss is not None and best is not None and best_step is not None:
        if message := overfitting(train_loss, progress.history, best.loss, best_step, config.dropout):
            yield "overfitting", message
        elif message := underfitting(
            train_loss, progress.history, best_step, config.dropout, f"`{reason.replace('-', '_')}`"
        ):
            yield "underfitting", message
    vocabulary, held_out = corpus.vocabulary, corpus.validation
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

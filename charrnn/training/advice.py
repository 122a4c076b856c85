"""What to try when a run was not what it could be: rules about numbers that every run has. Nothing depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charrnn.config import TrainingConfig
from charrnn.training.state import Progress
from charrnn.training.task import Advice

History = Sequence[Sequence[float | None]]  # step, training loss, validation loss

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
LATE = 0.5  # share of a limit of time that has passed before the first step


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


def at_end(progress: Progress, config: TrainingConfig, reason: str) -> Iterator[Advice]:
    """Advice after a run that ended for `reason`, see `Planner.finished`."""
    train_loss, best, best_step = progress.train_loss, progress.best, progress.best_step
    if train_loss is not None and best is not None and best_step is not None:
        if message := overfitting(train_loss, progress.history, best.loss, best_step, config.dropout):
            yield "overfitting", message
        elif message := underfitting(
            train_loss, progress.history, best_step, config.dropout, f"`{reason.replace('-', '_')}`"
        ):
            yield "underfitting", message

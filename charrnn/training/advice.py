"""Advice after a run: rules that tell overfitting and underfitting from the losses. Nothing else depends on them.

For what the two look like in a curve of losses: Goodfellow, Bengio and Courville 2016, "Deep Learning", section 5.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charrnn.config import TrainingConfig
from charrnn.training.metrics import Metrics
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
# The share that the validation loss fell by in the second half of a run. A falling learning rate causes some of it:
# runs that had converged have 0.005 to 0.015; 2 to 20 epochs on 120 kB of plays, which more epochs improve, 0.13 to
# 0.04.
STILL_FALLING = 0.03
LEAST_FALL = 1e-3  # nats: of a loss that is nearly zero nothing more can be gained
FEW_ERRORS = 0.01  # share: a network that makes fewer has learned what there is, however its loss falls
MOST_DROPOUT = 0.5  # the most that is advised
LATE_START = "late start"  # the topic of this advice
LATE = 0.5  # share of a time limit that has passed before the first step


def late_start(ready: float, limit: float, *, resumed: bool = False) -> str | None:
    """Advice where the first step came after `ready` of `limit` seconds, None where that is early enough."""
    if ready < LATE * limit:
        return None
    again = "A larger `max_time` gives a resumed run" if resumed else "The same command with `force` has"
    return (
        f"{ready:.0f} of {limit:.0f} seconds had passed before the first step: the first time, the numerical code is "
        f"compiled, and that is kept. {again} more time to learn"
    )


def overfitting(train_loss: float, history: History, best: float, best_step: int, dropout: float) -> str | None:
    """Advice where the training loss is far below the validation loss, and that was lower before; else None.

    Losses are nats per token. The training loss is measured with dropout, which raises it. So with dropout a wide gap
    is wider still without it, and the advice holds; a narrow gap proves nothing, and there is no advice.
    """
    last = history[-1][2] if history else None
    if last is None or train_loss > (1 - WIDE_GAP) * last or last <= (1 + WORSE) * best:
        return None
    more_dropout = f", more `dropout` than {dropout:g}" if dropout < MOST_DROPOUT else ""
    return (
        f"overfitting: the training loss is {train_loss:.3f}, the validation loss {last:.3f}, and it was {best:.3f} at "
        f"step {best_step:,}, whose weights are kept. What helps is more data{more_dropout} or a smaller `hidden_size`"
    )


def underfitting(train_loss: float, history: History, best_step: int, dropout: float, budget: str) -> str | None:
    """Advice where the validation loss was lowest at the end, was still falling, and the training loss was not far
    below it; else None.

    Losses are nats per token; `budget` is the option that ended the run. The fall over the whole second half counts,
    since the end of a cosine schedule improves little by design. Whether the network is too small cannot be told with
    dropout, which raises the training loss by itself.
    """
    known = [(step, loss) for step, _, loss in history if step is not None and loss is not None]
    if not known or best_step != known[-1][0]:
        return None
    step, last = known[-1]
    first_half = [loss for at, loss in known if 2 * at <= step]
    if (
        not first_half
        or first_half[-1] - last < max(STILL_FALLING * last, LEAST_FALL)
        or train_loss < (1 - NARROW_GAP) * last
    ):
        return None
    other = "less `dropout`" if dropout else "a larger `hidden_size`"
    return (
        f"underfitting: the validation loss was still falling, from {first_half[-1]:.3f} to {last:.3f} in the "
        f"second half. A larger {budget} helps, and perhaps {other}"
    )


def few_errors(best: Metrics) -> bool:
    """Whether the best weights make hardly any errors, where the task counts them."""
    error = 1 - best.figures.get("accuracy", 0.0) if best.error is None else best.error
    return error < FEW_ERRORS


def at_end(progress: Progress, config: TrainingConfig, reason: str) -> Iterator[Advice]:
    """Advice after a run that ended for `reason`, see `Planner.finished`.

    None where a loss is negative: of log densities, which have no natural zero, shares say nothing.
    """
    train_loss, best, best_step = progress.train_loss, progress.best, progress.best_step
    if train_loss is not None and best is not None and best_step is not None and min(train_loss, best.loss) > 0:
        if message := overfitting(train_loss, progress.history, best.loss, best_step, config.dropout):
            yield "overfitting", message
        elif not few_errors(best):
            budget = f"`{reason.replace('-', '_')}`"
            if message := underfitting(train_loss, progress.history, best_step, config.dropout, budget):
                yield "underfitting", message

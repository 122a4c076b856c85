"""Budgets: how many steps a run has, how a limit of time becomes a number of steps, and when a run is over."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.training.schedule import Plan
from charrnn.training.speed import Speed
from charrnn.training.state import Progress

EVALUATIONS = 20  # in a run, unless they would take more than EVALUATION_SHARE of it
EVALUATION_SHARE = 0.05
EVALUATION_TOKENS = 0.01  # of the tokens of the whole run are read in one validation, between these limits:
FEWEST_TOKENS, MOST_TOKENS = 20_000, 1_000_000
LONGEST_INTERVAL = 2000  # steps between validations, and so between checkpoints, in the longest runs
MOST_STEPS = 1 << 62  # whatever the budget: beyond the end of time
FORWARD_COST = 1 / 3  # of a training step: backpropagation through time takes twice as much again


def step_budget(config: TrainingConfig, steps_per_epoch: int) -> tuple[int, str] | None:
    """Steps allowed by `steps` and `epochs`, and which of them ends the run; None when there is neither."""
    budgets = []
    if config.steps is not None:
        budgets.append((config.steps, "steps"))
    if config.epochs is not None:
        budgets.append((max(1, math.ceil(min(config.epochs * steps_per_epoch, MOST_STEPS) - 1e-9)), "epochs"))
    return min(budgets, default=None)


def evaluation_tokens(total: int, tokens_per_step: int, held_out: int) -> int:
    """How many of the `held_out` tokens a validation reads in a run of `total` steps.

    Like the interval a function of sizes only, so that the same run always has the same validations.
    """
    return min(held_out, max(FEWEST_TOKENS, min(MOST_TOKENS, int(EVALUATION_TOKENS * total * tokens_per_step))))


def evaluation_interval(total: int, tokens_per_step: int, tokens: int) -> int:
    """Steps between two validations of `tokens` tokens."""
    shortest = math.ceil(tokens * FORWARD_COST / tokens_per_step / EVALUATION_SHARE)
    return max(1, min(max(shortest, min(math.ceil(total / EVALUATIONS), LONGEST_INTERVAL)), total))


@dataclass(slots=True)
class TimeBudget:
    """A limit in seconds for the whole command, and what is known about where they go.

    Times are measured, so this is the one part of training that is not a function of the step; what it decides is kept
    as `Plan`s. `validation_tokens` are read at each validation, `final_tokens` once at the end (0 when the validation
    of the best weights was complete already): fewer than there are only where a limit is short.
    """

    limit: float
    speed: Speed
    validation_tokens: int
    final_tokens: int
    save: float  # seconds to write a checkpoint

    @property
    def validation(self) -> float:
        """Seconds of one validation during training."""
        return self.validation_tokens * self.speed.validation_token

    @property
    def reserve(self) -> float:
        """What must be left after the last step: validations, saving, the end of the process and a margin."""
        final = self.final_tokens * self.speed.validation_token
        return self.validation + final + 1.5 * self.save + min(0.4 + 0.01 * self.limit, 0.15 * self.limit)

    def observe_step(self, seconds: float | None) -> None:
        """Take note of the mean duration of the latest steps."""
        if seconds is not None:
            self.speed = dataclasses.replace(self.speed, step=seconds)

    def observe_validation(self, seconds_per_token: float) -> None:
        """Take note of the speed of a validation."""
        self.speed = dataclasses.replace(self.speed, validation_token=seconds_per_token)

    def exhausted(self, elapsed: float) -> bool:
        """Whether one more step could miss the limit."""
        return elapsed + self.speed.step + self.reserve > self.limit

    def steps_left(self, elapsed: float, interval: int | None = None) -> int:
        """How many more steps fit, with a validation and a checkpoint every `interval` of them."""
        cost = self.speed.step
        if interval is not None:
            cost += (self.validation + self.save) / interval
        return max(0, int(min((self.limit - self.reserve - elapsed) / cost, MOST_STEPS)))

    def better_total(self, elapsed: float, done: int, total: int, interval: int) -> int:
        """The total of steps to plan for after `done` of `total`: `total` itself as long as it still makes sense."""
        possible = self.steps_left(elapsed, interval)
        spare = possible - (total - done)
        if spare < 0 or spare * self.speed.step > 0.04 * self.limit:
            return max(done + possible, done + 1)
        return total


class Planner:
    """Decides how long a run lasts. `held_out` is the number of tokens to validate on.

    Raises CharrnnError when `config` has no budget at all.
    """

    def __init__(self, config: TrainingConfig, steps_per_epoch: int, tokens_per_step: int, held_out: int) -> None:
        self.config = config
        self.tokens_per_step = tokens_per_step
        self.held_out = held_out
        self.fixed = step_budget(config, steps_per_epoch)
        self.budget: TimeBudget | None = None
        if self.fixed is None and config.max_time is None:
            raise CharrnnError("training has no end; give `epochs`, `steps` or `max_time`")

    def validation_tokens(self, progress: Progress) -> int:
        """How many tokens a validation during training reads."""
        if self.budget is not None:
            return self.budget.validation_tokens
        return evaluation_tokens(progress.plans[0].total, self.tokens_per_step, self.held_out)

    @property
    def final_tokens(self) -> int | None:
        """How many tokens the final validation reads, None for all."""
        return None if self.budget is None else self.budget.final_tokens

    def plan_steps(self, progress: Progress) -> bool:
        """Plan for a number of steps; True when that replaces another plan, whose schedule is thus abandoned."""
        assert self.fixed is not None
        plans, total = progress.plans, self.fixed[0]
        if total < progress.step:
            raise UsageError(
                f"the run is at step {progress.step:,} and the budget is {total:,} steps; "
                "give a larger `steps` or `epochs`"
            )
        if plans and plans[-1].total == total:
            return False
        progress.plans = [Plan(0, total)]
        return bool(plans)

    def plan_time(self, progress: Progress, speed: Speed, elapsed: float, nbytes: int) -> None:
        """Plan for what is left of a limit of time after `elapsed` seconds; a checkpoint has `nbytes`."""
        limit = self.config.max_time
        assert limit is not None
        token = speed.validation_token
        final = self._affordable(0.1 * limit, token)
        self.budget = budget = TimeBudget(limit, speed, 0, final, 0.02 + nbytes / 300e6)
        # How often and how much to validate depends on the number of steps, which depends on the time that takes.
        total = progress.step + budget.steps_left(elapsed)
        for _ in range(3):
            first = progress.plans[0].total if progress.plans else max(1, total)
            budget.validation_tokens = min(
                evaluation_tokens(first, self.tokens_per_step, self.held_out), self._affordable(0.03 * limit, token)
            )
            budget.final_tokens = final if final > budget.validation_tokens else 0
            total = progress.step + budget.steps_left(elapsed, self.interval(first))
        progress.plans.append(Plan(progress.step, self._capped(max(total, 1))))

    def _affordable(self, seconds: float, token: float) -> int:
        return self.held_out if token * self.held_out <= seconds else max(1, int(seconds / token))

    def interval(self, total: int) -> int:
        """Steps between validations in a run of `total` steps."""
        tokens = evaluation_tokens(total, self.tokens_per_step, self.held_out)
        return self.config.eval_every or evaluation_interval(total, self.tokens_per_step, tokens)

    def replan(self, progress: Progress, elapsed: float, step: float | None, interval: int) -> bool:
        """Under a limit of time, change the total where the planned one fits no more; True if it was changed.

        `step` is the duration of the latest steps.
        """
        if self.budget is None:
            return False
        self.budget.observe_step(step)
        total = progress.plans[-1].total
        better = self._capped(self.budget.better_total(elapsed, progress.step, total, interval))
        if better != total:
            progress.plans.append(Plan(progress.step, better))
        return better != total

    def _capped(self, total: int) -> int:
        return total if self.fixed is None else min(total, self.fixed[0])

    def finished(self, progress: Progress, elapsed: float) -> str | None:
        """What ends the run now, if anything does: "patience" (early stopping), "steps", "epochs" or "max-time"."""
        if self.config.patience and progress.validations_since_best >= self.config.patience:
            return "patience"
        if self.fixed is not None and progress.step >= self.fixed[0]:
            return self.fixed[1]
        late = self.budget is not None and progress.step > 0 and self.budget.exhausted(elapsed)
        return "max-time" if late or progress.step >= progress.plans[-1].total else None

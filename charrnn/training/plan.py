"""Budgets and early stopping: how many steps a run has, how a time limit becomes steps, and when a run ends."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import counted
from charrnn.training.schedule import Plan
from charrnn.training.speed import Speed
from charrnn.training.state import Progress

EVALUATIONS = 20  # validations in a run, fewer where they would take more than EVALUATION_SHARE of it
EVALUATION_SHARE = 0.05
EVALUATION_TOKENS = 0.01  # of the tokens of the whole run are read in one validation, between these limits:
FEWEST_TOKENS, MOST_TOKENS = 20_000, 1_000_000
LONGEST_INTERVAL = 2000  # steps between validations, and so between checkpoints, in the longest runs
MOST_STEPS = 1 << 62  # whatever the budget
FORWARD_COST = 1 / 3  # of a training step: the backward pass takes twice as long as the forward pass


def step_budget(config: TrainingConfig, steps_per_epoch: int) -> tuple[int, str] | None:
    """The steps that `steps` and `epochs` allow, and which of the two is smaller; None when neither is given."""
    budgets = []
    if config.steps is not None:
        budgets.append((config.steps, "steps"))
    if config.epochs is not None:
        budgets.append((max(1, math.ceil(min(config.epochs * steps_per_epoch, MOST_STEPS) - 1e-9)), "epochs"))
    return min(budgets, default=None)


def evaluation_tokens(total: int, tokens_per_step: int, held_out: int) -> int:
    """How many of the `held_out` tokens each validation of a run of `total` steps reads.

    A function of sizes only, as is the interval, so that the same run always has the same validations.
    """
    return min(held_out, max(FEWEST_TOKENS, min(MOST_TOKENS, int(EVALUATION_TOKENS * total * tokens_per_step))))


def evaluation_interval(total: int, tokens_per_step: int, tokens: int) -> int:
    """Steps between two validations of `tokens` tokens each."""
    shortest = math.ceil(tokens * FORWARD_COST / tokens_per_step / EVALUATION_SHARE)
    return max(1, min(max(shortest, min(math.ceil(total / EVALUATIONS), LONGEST_INTERVAL)), total))


@dataclass(slots=True)
class TimeBudget:
    """A time limit in seconds for the whole run, and the measured times that decide how many steps fit into it.

    Times are measured, so this is the only part of training that is not a function of the step; its decisions are
    recorded as `Plan`s. `validation_tokens` are read at each validation, `final_tokens` once at the end (0 when the
    validation of the best weights was complete already): a short limit makes them fewer than the held-out part has.
    """

    limit: float
    speed: Speed
    validation_tokens: int
    final_tokens: int
    save: float  # seconds to write a checkpoint
    completion: float = 0.0  # seconds of `Task.complete`

    @property
    def validation(self) -> float:
        """The seconds that one validation during training takes."""
        return self.validation_tokens * self.speed.validation_token

    @property
    def reserve(self) -> float:
        """Seconds that must be left after the last step: validation, saving, the end of the process and a margin."""
        final = self.final_tokens * self.speed.validation_token
        margin = min(0.4 + 0.01 * self.limit, 0.15 * self.limit)
        return self.validation + final + self.completion + 1.5 * self.save + margin

    def observe_step(self, seconds: float | None) -> None:
        """Update the speed by the mean duration of the latest steps, in seconds; None leaves it as it is."""
        if seconds is not None:
            self.speed = dataclasses.replace(self.speed, step=seconds)

    def observe_validation(self, seconds_per_token: float) -> None:
        """Update the speed of validation, in seconds per token."""
        self.speed = dataclasses.replace(self.speed, validation_token=seconds_per_token)

    def exhausted(self, elapsed: float) -> bool:
        """Whether one more step could exceed the limit."""
        return elapsed + self.speed.step + self.reserve > self.limit

    def steps_left(self, elapsed: float, interval: int | None = None) -> int:
        """How many more steps fit, with a validation and a checkpoint every `interval` of them."""
        cost = self.speed.step
        if interval is not None:
            cost += (self.validation + self.save) / interval
        left = max(0.0, self.limit - self.reserve - elapsed)
        # Of a clock that is too coarse a step takes no time.
        return int(min(left / cost, MOST_STEPS)) if cost else MOST_STEPS * (left > 0)

    def better_total(self, elapsed: float, done: int, total: int, interval: int) -> int:
        """The total of steps to plan for after `done` of `total`: `total` itself as long as it fits the time left."""
        possible = self.steps_left(elapsed, interval)
        spare = possible - (total - done)
        if spare < 0 or spare * self.speed.step > 0.04 * self.limit:
            return max(done + possible, done + 1)
        return total


class Planner:
    """Decides how long a run lasts and when it is validated. `held_out` is the number of held-out tokens.

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
        """Plan for the budget in steps; True when that replaces another plan and with it the learning-rate schedule.

        Raises UsageError when the run is past the budget.
        """
        assert self.fixed is not None
        plans, total = progress.plans, self.fixed[0]
        if total < progress.step:
            raise UsageError(
                f"the run is at step {progress.step:,} and the budget is {counted(total, 'step')}; "
                "give a larger `steps` or `epochs`"
            )
        if plans and plans[-1].total == total:
            return False
        progress.plans = [Plan(0, total)]
        return bool(plans)

    def plan_time(
        self, progress: Progress, speed: Speed, elapsed: float, nbytes: int, completion: float = 0.0
    ) -> None:  # fmt: skip
        """Plan for what is left of the time limit after `elapsed` seconds; a checkpoint has `nbytes` bytes, and what
        the task does at the end takes `completion` seconds."""
        limit = self.config.max_time
        assert limit is not None
        token = speed.validation_token
        final = self._affordable(0.1 * limit, token)
        self.budget = budget = TimeBudget(limit, speed, 0, final, 0.02 + nbytes / 300e6, completion)
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
        """Under a time limit, change the planned total where it no longer fits; True if it was changed.

        `step` is the mean duration of the latest steps in seconds.
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
        """The reason to end the run now, None to go on: "patience", "steps", "epochs" or "max-time".

        "patience" is early stopping, after `config.patience` validations in a row without a lower loss (Goodfellow,
        Bengio and Courville 2016, "Deep Learning", algorithm 7.1).
        """
        if self.config.patience and progress.validations_since_best >= self.config.patience:
            return "patience"
        if self.fixed is not None and progress.step >= self.fixed[0]:
            return self.fixed[1]
        late = self.budget is not None and progress.step > 0 and self.budget.exhausted(elapsed)
        return "max-time" if late or progress.step >= progress.plans[-1].total else None

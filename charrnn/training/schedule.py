"""Learning-rate schedules: the rate as a function of the step, the planned length of the run, and halvings.

Warm-up: Goyal et al. 2017, "Accurate, large minibatch SGD", arXiv:1706.02677, section 2.2 (gradual). Cosine annealing:
Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", arXiv:1608.03983, equation 5,
without restarts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from charrnn.config import TrainingConfig


class Plan(NamedTuple):
    """From step `step` on, the run was planned to end at step `total`."""

    step: int
    total: int


def warmup_steps(config: TrainingConfig, plans: Sequence[Plan]) -> int:
    """The steps of linear warm-up: `config.warmup`, at most a quarter of the run as first planned."""
    return min(config.warmup, plans[0].total // 4)


def progress(plans: Sequence[Plan], step: int, start: int = 0) -> float:
    """The share of the run from step `start` on that is done at `step`, from 0 to 1.

    A new plan changes how fast the share grows from its step on, never the share itself: the schedule is continuous.
    """
    done = 0.0
    ends = [plan.step for plan in plans[1:]] + [step]
    for plan, end in zip(plans, ends, strict=True):
        begin = max(plan.step, start)
        end = min(end, step, plan.total)
        if end > begin:
            done += (1 - done) * (end - begin) / (plan.total - begin)
    return min(done, 1.0)


def learning_rate(config: TrainingConfig, plans: Sequence[Plan], step: int, halvings: int = 0) -> float:
    """The learning rate of step `step` (from 0): linear warm-up to the peak, then the schedule.

    `cosine` and `linear` fall to zero at the end of the plan; `constant` and `plateau` stay. Each of the `halvings`
    halves the rate: one for every divergence and, with `plateau`, one for every validation without improvement.
    """
    peak = config.learning_rate * 0.5**halvings
    warmup = warmup_steps(config, plans)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = progress(plans, step, warmup)
    if config.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "linear":
        return peak * (1 - done)
    return peak

"""Learning rates and plans as functions of the step."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError
from charrnn.training.metrics import Metrics
from charrnn.training.plan import MOST_STEPS, Planner, TimeBudget, evaluation_interval, evaluation_tokens, step_budget
from charrnn.training.schedule import Plan, learning_rate, progress
from charrnn.training.speed import Speed
from charrnn.training.state import Progress


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(**({"batch_size": 4, "seq_length": 8, "learning_rate": 0.1} | options))


def rates(chosen: TrainingConfig, total: int) -> list[float]:
    return [learning_rate(chosen, [Plan(0, total)], step) for step in range(total)]


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    assert rates(config(warmup=4, schedule="constant"), 100)[:6] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_warm_up_takes_at_most_a_quarter() -> None:
    assert rates(config(warmup=1000, schedule="constant"), 8) == pytest.approx([0.05] + [0.1] * 7)


def test_cosine_and_linear_fall_to_nothing() -> None:
    cosine = rates(config(schedule="cosine"), 100)
    assert cosine == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 100)) for step in range(100)])
    assert rates(config(schedule="linear"), 100) == pytest.approx([0.1 * (1 - step / 100) for step in range(100)])


def test_halvings_apply_to_every_schedule() -> None:
    for schedule in ("cosine", "linear", "constant", "plateau"):
        chosen = config(schedule=schedule, warmup=3)
        for step in (0, 2, 3, 50, 99):
            whole = learning_rate(chosen, [Plan(0, 100)], step)
            assert learning_rate(chosen, [Plan(0, 100)], step, 3) == pytest.approx(whole / 8)


@settings(deadline=None)
@given(st.data(), st.sampled_from(["cosine", "linear"]), st.integers(0, 50))
def test_a_new_plan_makes_no_jump_and_still_ends_at_nothing(data: st.DataObject, schedule: str, warmup: int) -> None:
    plans = [Plan(0, data.draw(st.integers(20, 400)))]
    for _ in range(data.draw(st.integers(0, 4))):
        step = data.draw(st.integers(plans[-1].step, plans[-1].total - 1))
        plans.append(Plan(step, data.draw(st.integers(step + 1, step + 400))))
    chosen = config(schedule=schedule, warmup=warmup)
    for before, after in ((plans[:n], plans[: n + 1]) for n in range(1, len(plans))):
        for step in range(after[-1].step + 1):  # what was is not changed, nor is the rate at the moment itself
            assert learning_rate(chosen, after, step) == pytest.approx(learning_rate(chosen, before, step), abs=1e-12)
    falling = [learning_rate(chosen, plans, step) for step in range(max(0, warmup), plans[-1].total)]
    assert all(late <= early + 1e-12 for early, late in itertools.pairwise(falling))
    assert progress(plans, plans[-1].total) == pytest.approx(1)
    assert all(rate > 0 for rate in falling)


def test_plateau_counts_the_validations_without_improvement() -> None:
    state = Progress()
    for loss, halvings in ((3.0, 0), (2.0, 0), (2.0, 1), (2.5, 2), (1.9, 2)):
        better = state.record(Metrics(loss, 10), plateau=True)
        assert (better, state.halvings) == (loss in (3.0, 1.9) or (loss, halvings) == (2.0, 0), halvings)
    assert state.validations_since_best == 0
    state.record(Metrics(5.0, 10), plateau=False)
    assert (state.halvings, state.validations_since_best) == (2, 1)


def test_history_is_bounded_and_keeps_the_ends() -> None:
    state = Progress()
    for step in range(5000):
        state.step = step
        state.record(Metrics(1.0, 10), plateau=False)
    assert len(state.history) <= 1000
    assert state.history[0][0] == 0
    assert (state.history[-1][0] or 0) >= 4990


def test_progress_survives_json() -> None:
    state = Progress(step=7, plans=[Plan(0, 9), Plan(7, 12)], best=Metrics(1.5, 4), best_step=5)
    state.note_step(2.0, 1.0, 0.1)
    assert Progress.from_json(state.to_json()) == state
    with pytest.raises(CharrnnError, match="damaged"):
        Progress.from_json({"step": 1})
    with pytest.raises(CharrnnError, match="damaged"):
        Progress.from_json(None)


def test_step_budget_is_the_first_to_be_reached() -> None:
    assert step_budget(config(steps=10), 7) == (10, "steps")
    assert step_budget(config(epochs=2), 7) == (14, "epochs")
    assert step_budget(config(epochs=0.01), 7) == (1, "epochs")
    assert step_budget(config(epochs=2, steps=13), 7) == (13, "steps")
    assert step_budget(config(epochs=2, steps=15), 7) == (14, "epochs")
    assert step_budget(config(max_time=9.0), 7) is None
    assert step_budget(config(epochs=1e308), 70) == (MOST_STEPS, "epochs")
    with pytest.raises(CharrnnError, match="no end"):
        Planner(config(), 7, 32, 0)


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(0, 10**8))
def test_validation_takes_a_small_share(total: int, tokens_per_step: int, held_out: int) -> None:
    tokens = evaluation_tokens(total, tokens_per_step, held_out)
    interval = evaluation_interval(total, tokens_per_step, tokens)
    assert 0 <= tokens <= min(held_out, 1_000_000)
    assert 1 <= interval <= total
    assert interval == total or tokens / 3 <= 0.05 * interval * tokens_per_step * 1.0001


def test_a_limit_of_time_becomes_steps() -> None:
    budget = TimeBudget(100.0, Speed(0.5, 0.0001), validation_tokens=10_000, final_tokens=20_000, save=0.1)
    assert 90 < 0.5 * budget.steps_left(0.0) < 100
    assert budget.steps_left(0.0, 10) * (0.5 + 0.11) <= 100
    assert dataclasses.replace(budget, limit=1.7e308).steps_left(0.0) == MOST_STEPS
    assert budget.steps_left(99.0) == 0
    coarse = TimeBudget(100.0, Speed(0.0), validation_tokens=0, final_tokens=0, save=0.0)
    assert (coarse.steps_left(0.0), coarse.steps_left(0.0, 10), coarse.steps_left(100.0)) == (MOST_STEPS, MOST_STEPS, 0)
    assert budget.exhausted(99.0)
    assert not budget.exhausted(50.0)
    budget.observe_step(1.0)
    assert budget.better_total(50.0, 100, 200, 20) == 100 + budget.steps_left(50.0, 20)
    possible = 100 + budget.steps_left(50.0, 20)
    assert budget.better_total(50.0, 100, possible - 1, 20) == possible - 1  # not worth a new plan


@given(st.floats(0.01, 2), st.floats(1e-7, 1e-4), st.integers(0, 10**7), st.floats(5, 1e5))
def test_a_timed_plan_keeps_within_its_limit(step: float, token: float, held_out: int, limit: float) -> None:
    planner = Planner(config(max_time=limit), 100, 32, held_out)
    state = Progress()
    planner.plan_time(state, Speed(step, token), 1.0, nbytes=4_000_000)
    (plan,) = state.plans
    assert planner.budget is not None
    interval = planner.interval(plan.total)
    cost = plan.total * step + plan.total // interval * (planner.budget.validation + planner.budget.save)
    # The interval was planned for nearly the same total, so there may be one validation more than was thought.
    spare = step + planner.budget.validation + planner.budget.save
    assert plan.total == 1 or 1.0 + cost + planner.budget.reserve <= limit + spare

"""A training run in progress: its plan, steps, validations, checkpoints and rollbacks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from charrnn.errors import CharrnnError, DivergedError
from charrnn.nn.dropout import DropoutKey
from charrnn.runtime.interrupts import uninterrupted
from charrnn.runtime.threads import single_threaded
from charrnn.settings import counted
from charrnn.training import advice, events
from charrnn.training.keeper import Keeper
from charrnn.training.meter import Meter
from charrnn.training.metrics import Metrics
from charrnn.training.plan import Planner
from charrnn.training.recorded import recorded_seconds
from charrnn.training.reports import describe_end, describe_start
from charrnn.training.schedule import learning_rate
from charrnn.training.speed import Speed, measure
from charrnn.training.state import Learner, Progress
from charrnn.training.task import Advice, Network, RunSpec

MAX_DIVERGENCES = 5  # after which a run fails


class Run:
    """A network, an optimiser and a plan.

    Wherever one of its generators can be interrupted, its state is that after a whole number of steps.
    """

    def __init__(self, spec: RunSpec, network: Network) -> None:
        self.spec, self.network, self.config = spec, network, spec.config
        self.task, self.validation = spec.task, spec.dataset.validation
        self.batches = self.task.batches(spec.dataset, spec.config)
        self.learner = Learner(network, spec.config, self.batches.batch_size, spec.processes)
        self.keeper = Keeper(spec, network, self.learner)
        self.progress = Progress(validated=-1 if self.task.fitted_at_start else 0)
        self.spent = 0.0  # seconds that the run took before it was resumed
        tokens_per_step = self.batches.batch_size * self.batches.seq_length
        held_out = 0 if self.validation is None else len(self.validation)
        self.planner = Planner(spec.config, self.batches.steps_per_epoch, tokens_per_step, held_out)
        self.meter = Meter(tokens_per_step, spec.elapsed)
        self.result: dict[str, Any] | None = None
        self._started = False
        self._ready = 0.0  # seconds before the first step under a time limit
        if spec.resumed is not None:
            self.progress = self.keeper.resume(spec.resumed)
            self.spent = recorded_seconds(spec.resumed)
        else:
            self.keeper.last_good.take(self.progress)

    def prepare(self) -> Iterator[events.Event]:
        """Turn the budgets into a plan; yields remarks, `Start` and advice.

        Raises UsageError when a resumed run is past its budget.
        """
        for remark in (*self.spec.remarks, *self.spec.dataset.notes):
            yield self._note(remark)
        if self.batches.note:
            yield self._note(self.batches.note)
        if self.config.max_time is not None:
            self._plan_time(self._measure(min(1.0, 0.01 * self.config.max_time)))
            self._ready = self.spec.elapsed()
        elif self.planner.plan_steps(self.progress):
            self.progress.validations_since_best = 0  # early stopping would end the new plan before it begins
            total = counted(self.progress.plans[-1].total, "step")
            yield self._note(
                f"the budget is now {total} and the schedule is computed anew: "
                "from here on this is not the run that it would have been without interruption"
            )
        self.keeper.last_good.progress.plans = list(self.progress.plans)
        yield self._begin()
        if self.progress.step == 0:
            yield from self._advise(self.task.advise_at_start(self.spec))

    def rehearse(self, seconds: float) -> tuple[events.Start, Speed]:
        """Plan, and measure the speed on training steps for about `seconds`; the weights stay as they are."""
        speed = self._measure(seconds)
        if self.config.max_time is not None:
            self._plan_time(speed)
        else:
            self.planner.plan_steps(self.progress)
        return self._begin(), speed

    def _measure(self, seconds: float) -> Speed:
        return measure(self.spec, self.learner, self.batches, seconds=seconds, first=self.progress.step)

    def _plan_time(self, speed: Speed) -> None:
        size = sum(array.nbytes for array in self.learner.arrays().values())
        completion = self.spec.processes.same(lambda: self.task.completion_seconds(self.network, self.spec.dataset))
        self.planner.plan_time(self.progress, speed, self.elapsed(), size, completion)

    def _begin(self) -> events.Start:
        interval = self.planner.interval(self.progress.plans[0].total)
        self.config = dataclasses.replace(self.config, eval_every=interval)
        return describe_start(self.spec, self.network, self.config, self.batches, self.progress)

    def agree(self, received: list[int]) -> None:
        """Meet the other processes, if there are any.

        Raises KeyboardInterrupt where one of all has `received` a signal, and adds it to those of this process.
        """
        if self.spec.processes.size > 1 and (number := self.spec.processes.agree(received[-1] if received else 0)):
            received.append(number)
            raise KeyboardInterrupt

    def finished(self) -> str | None:
        """The reason to end the run now, None to go on, see `Planner.finished`."""
        return self.planner.finished(self.progress, self.elapsed())

    def elapsed(self) -> float:
        """Seconds of the run, those before it was resumed included."""
        return self.spent + self.spec.elapsed()

    # Steps

    def step(self) -> Iterator[events.Event]:
        """One update of the weights, or a rollback where loss or gradient are not finite.

        Truncated backpropagation through time: the hidden state at the end of a window is carried to the next one, the
        gradient is not.
        """
        progress, config, step = self.progress, self.config, self.progress.step
        # Compiling in the first step may take long, and there is nothing to lose yet: one process defers no signals.
        with uninterrupted() if self._started else single_threaded():
            start = self.spec.elapsed()
            dropout = DropoutKey(config.dropout, config.seed, step) if config.dropout else None
            summed, count = self.learner.loss(self.batches.batch(step), dropout)
            loss, gradient = summed / count, self.network.gradient
            norm = self.learner.optimizer.gradient_norm(gradient, self.network.touched)
            healthy = math.isfinite(loss) and math.isfinite(norm)
            if healthy:
                rate = learning_rate(config, progress.plans, step, progress.halvings)
                self.learner.optimizer.update(gradient, norm, rate, self.network.touched)
                self.meter.rate, self.meter.norm = rate, norm
                self.network.invalidate()
                progress.step, progress.updates = step + 1, self.learner.optimizer.updates
                progress.note_step(loss, norm, rate)
                self.keeper.changed = self._started = True
            self.meter.add(loss, self.spec.elapsed() - start)
        if not healthy:
            yield self._roll_back(step)
        elif self.meter.due():
            yield self._describe_step()
        every = config.sample_every
        if healthy and every and progress.step % every == 0:
            yield from self._sample()

    def _describe_step(self) -> events.Event:
        loss, speed = self.meter.read()
        return events.Step(
            self.spec.elapsed(),
            step=self.progress.step,
            total_steps=self.progress.plans[-1].total,
            epoch=self.progress.step / self.batches.steps_per_epoch,
            loss=loss,
            learning_rate=self.meter.rate,
            gradient_norm=self.meter.norm,
            tokens_per_second=speed,
        )

    def _roll_back(self, step: int) -> events.Event:
        """Roll back to the last good state, with half the learning rate. Raises DivergedError after too many times."""
        with uninterrupted():
            times, halvings = self.progress.divergences + 1, self.progress.halvings + 1
            if times >= MAX_DIVERGENCES:
                clip = "a lower `clip_norm`" if self.config.clip_norm else "a `clip_norm` such as 1"
                raise DivergedError(
                    f"training diverged {times} times, the last time at step {step}; start again with a "
                    f"`learning_rate` below {self.config.learning_rate * 0.5**halvings:.2g} or {clip}"
                )
            self.progress = self.keeper.last_good.rollback()
            self.progress.divergences, self.progress.halvings = times, halvings
            self.meter.reset()
        return events.Diverged(self.spec.elapsed(), step=step, back_to=self.progress.step, times=times)

    def _sample(self) -> Iterator[events.Event]:
        if self.spec.processes.rank:
            return
        try:
            text = self.task.sample(self.network, self.spec.dataset, self.config.seed)
        except CharrnnError as error:  # training may go on: its resets bound a state that grows here
            yield self._note(f"no sample: {error}")
            return
        if text is not None:
            yield events.Sampled(self.spec.elapsed(), step=self.progress.step, text=text)

    # Validation and saving

    def validation_due(self, *, last: bool) -> bool:
        """Whether a validation is due at this step and not done yet; `last`: no steps will follow."""
        step = self.progress.step
        return self.progress.validated < step and (last or step % self.config.eval_every == 0)

    def validate(self, *, last: bool) -> Iterator[events.Event]:
        """Validate on the held-out part, store the weights if their loss is the lowest so far, write a checkpoint.

        Rolls back instead where weights or loss are not finite.
        """
        progress = self.progress
        if self.meter.pending():
            yield self._describe_step()
        evaluation = None
        if self.validation is not None:
            evaluation = self._timed_evaluation(self.planner.validation_tokens(progress))
        if not self.learner.finite() or (evaluation is not None and not math.isfinite(evaluation.loss)):
            yield self._roll_back(progress.step)
            return
        with uninterrupted():
            progress.validated = progress.step
            progress.close_interval()
            best = evaluation is not None and progress.record(evaluation, plateau=self.config.schedule == "plateau")
            if best:
                self.keeper.best_weights = self.network.tensors()
            seconds = self.meter.close_interval()
            replanned = not last and self.planner.replan(progress, self.elapsed(), seconds, self.config.eval_every)
            self.keeper.last_good.take(progress)
        if evaluation is not None:
            yield events.Validation(
                self.spec.elapsed(),
                step=progress.step,
                loss=evaluation.loss,
                figures=evaluation.figures,
                best=best,
            )
        if replanned:
            yield events.Replanned(self.spec.elapsed(), step=progress.step, total_steps=progress.plans[-1].total)
        if not last:  # `finish` saves
            yield self.save()
        if self.spec.samples:
            yield from self._sample()

    def _timed_evaluation(self, limit: int | None) -> Metrics:
        assert self.validation is not None
        start = self.spec.elapsed()
        with nullcontext() if self._started else single_threaded():  # see `step`
            evaluation = self.task.evaluate(self.network, self.validation, limit=limit, processes=self.spec.processes)
        if self.planner.budget is not None:
            self.planner.budget.observe_validation((self.spec.elapsed() - start) / evaluation.tokens)
        return evaluation

    def save(self) -> events.Event:
        """Write the checkpoint. Raises CharrnnError when that fails."""
        epoch = self.progress.step / self.batches.steps_per_epoch
        timings = {"seconds": self.elapsed(), "tokens_per_second": self.meter.mean_speed()}
        saved = self.keeper.save(self.progress, self.config, epoch, self.result, timings)
        if (budget := self.planner.budget) is not None:
            budget.save = max(budget.save, self.keeper.save_seconds)
        return saved

    def save_on_interrupt(self) -> Iterator[events.Event]:
        """Write a checkpoint if the state has changed since the last one; rolls back first if it is not finite."""
        if self.keeper.changed:
            if not self.learner.finite():  # the resumed run will diverge again at the same step, and count it then
                counts = self.progress.divergences, self.progress.halvings
                self.progress = self.keeper.last_good.rollback()
                self.progress.divergences, self.progress.halvings = counts
            yield self.save()

    def finish(self, reason: str) -> Iterator[events.Event]:
        """Evaluate the best weights on the whole held-out part, write the last checkpoint, yield advice and `End`."""
        progress = self.progress
        final = progress.best
        again = final is not None and self.validation is not None and not self.task.is_whole(final, self.validation)
        if again and self.planner.final_tokens != 0:  # which leaves time for it
            yield self.save()  # the evaluation may take long, with other weights in the network
            final = self._evaluate_best()
        figures = self._complete()
        end = describe_end(
            self.spec, self.network, self.batches, progress, final, figures, speed=self.meter.mean_speed(),
            reason=reason,
        )  # fmt: skip
        timed = ("seconds", "tokens_per_second")  # recorded under `timings`
        self.result = {name: value for name, value in end.result().items() if name not in timed}
        yield self.save()
        yield from self._advise(advice.at_end(progress, self.config, reason))
        yield from self._advise(self.task.advise_at_end(self.spec, final))
        if self.config.max_time:
            limit, resumed = self.config.max_time - self.spent, self.spec.resumed is not None
            if message := advice.late_start(self._ready, limit, resumed=resumed):
                yield events.Advice(self.spec.elapsed(), advice.LATE_START, message)
        yield dataclasses.replace(end, seconds=self.spec.elapsed())

    def _evaluate_best(self) -> Metrics:
        """The metrics of the best weights on the whole held-out part, or as much of it as a time limit allows."""
        with self._best_weights():
            return self._timed_evaluation(self.planner.final_tokens)

    def _complete(self) -> dict[str, float]:
        """Make what the task adds to the checkpoint with the best weights; returns the figures of it."""
        if self.spec.processes.rank:  # only the one that saves needs it
            return {}
        with self._best_weights():
            self.keeper.memory, figures = self.task.complete(self.network, self.spec.dataset)
        return figures

    @contextmanager
    def _best_weights(self) -> Iterator[None]:
        """The best weights in the network, as long as the block runs."""
        latest = self.network.parameters.copy()
        try:
            if self.keeper.best_weights is not None:
                self.network.load(self.keeper.best_weights)
            yield
        finally:
            self.network.parameters[:] = latest
            self.network.invalidate()

    def _note(self, message: str) -> events.Event:
        return events.Note(self.spec.elapsed(), message)

    def _advise(self, advices: Iterator[Advice]) -> Iterator[events.Event]:
        for topic, message in advices:
            yield events.Advice(self.spec.elapsed(), topic, message)

"""A training from the command line: begun or resumed, drawn and logged while it runs, estimated by --dry-run."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.cli import streams
from charrnn.cli.progress import duration_text, make_display, reason_text, start_lines
from charrnn.cli.signals import raise_if_received
from charrnn.cli.train_files import check_names
from charrnn.cli.train_log import TrainingLog
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import counted
from charrnn.training import events

if TYPE_CHECKING:
    from charrnn.runtime.processes import Processes
    from charrnn.training.task import Network, Request, RunSpec, Task


class Finished(NamedTuple):
    """A run that is finished already: its task, what its checkpoint stores of the data, its result."""

    task: Task[Any, Any]
    data: Any
    result: dict[str, Any]


def start_or_resume(
    request: Request, resume: bool, log: str | None, elapsed: Callable[[], float]
) -> tuple[RunSpec, Network] | Finished:
    """The run to train, new or resumed, or one that is finished already.

    Raises `UsageError` and `CharrnnError` as `setup.prepare` and `setup.resume` do.
    """
    from charrnn import checkpoint, tasks
    from charrnn.training import setup

    task, processes = tasks.task_named(request.task or tasks.DEFAULT), request.processes
    require_piped(request.corpora, processes)

    live = streams.wants_live_display() and "sample_every" not in request.given
    if resume and processes.same(request.output.exists):
        task = tasks.task_named(processes.same(lambda: tasks.task_of(request.output).format.task))
        if request.task not in (None, task.format.task):
            raise UsageError(f"--task is {request.task}, and {request.output} is of the task {task.format.task}")
        recorded = processes.same(lambda: checkpoint.load(request.output, task.format, with_training=True))
        source = setup.recorded_source(recorded)
        check_names(None, log, {"the corpus": source["corpora"], "--val": [source["val"]]}, source.get("init_from"))
        if (result := setup.finished_result(task, request, recorded)) is not None:
            further = "a larger budget lets it go on" if recorded.training_tensors else "--init-from takes its weights"
            streams.note(f"{request.output} is finished ({reason_text(result['stopped_by'])}); {further}")
            return Finished(task, recorded.data, result)
        if not recorded.training_tensors:
            raise CharrnnError(
                f"cannot resume {request.output}: it was saved without its training state; "
                "--init-from starts a new run from its weights"
            )
        streams.note(f"going on with {request.output}")
        return setup.resume(task, request, recorded, elapsed, samples=live)
    if resume:
        if not request.corpora:
            raise UsageError(
                f"there is no run to resume in {request.output}; name its checkpoint with --output, or give a corpus"
            )
        streams.note(f"{request.output} does not exist yet: training starts from the beginning")
    return setup.prepare(task, request, elapsed, samples=live)


def require_piped(corpora: Sequence[str], processes: Processes) -> None:
    """Raise `CharrnnError` where a corpus is to come from standard input and that is a terminal or closed, or that of
    one of several processes."""
    if "-" in corpora and processes.size > 1:
        raise CharrnnError("a corpus that is piped in reaches one process only; write it to a file that all can read")
    if "-" in corpora and (sys.stdin is None or sys.stdin.closed or sys.stdin.isatty()):
        found = "closed" if sys.stdin is None or sys.stdin.closed else "a terminal, so no corpus comes from it"
        raise CharrnnError(f"stdin is {found}; pipe the corpus in (zcat logs.gz | charrnn train -) or name a file")


def run(request: Request, spec: RunSpec, network: Network, log: str | None, *, repeat: bool) -> dict[str, Any]:
    """Train, drawing and logging the events; returns the result.

    `repeat`: print the command that repeats the run with a fixed number of steps, unless it had hardly time for any.
    """
    from charrnn.training.advice import LATE_START
    from charrnn.training.loop import train as train_model

    saved, late = spec.resumed is not None, False
    plan: list[events.Start | events.Replanned] = []
    training = train_model(spec, network)
    first = request.processes.rank == 0
    with TrainingLog(log if first else None, append=saved) as file:
        try:
            with make_display() as display:

                def handle(event: events.Event) -> None:
                    nonlocal saved, late
                    saved = saved or isinstance(event, events.Saved)
                    late = late or (isinstance(event, events.Advice) and event.topic == LATE_START)
                    if isinstance(event, events.Start | events.Replanned):
                        plan.append(event)
                    if first:
                        file.write(event)
                        display.show(event)

                end = follow(training, handle)
        except KeyboardInterrupt:
            streams.note(resume_command(spec) if saved else "interrupted before there was anything to save")
            raise
        except CharrnnError:
            # If the run goes on, it is the log that failed. Of several processes, the others are told first.
            with suppress(KeyboardInterrupt, CharrnnError):
                if request.processes.size == 1:
                    training.throw(KeyboardInterrupt())
                    streams.note(resume_command(spec))
            raise
    if repeat and not late and spec.resumed is None and isinstance(plan[0], events.Start):
        steps = plan[-1].total_steps if end.stopped_by == "patience" else end.steps
        exact = len(plan) == 1 and plan[0].total_steps == steps
        words = "the same again" if exact else "much the same again, as the plan changed on the way"
        streams.note(f"{words}: {repeat_command(request, plan[0], steps)}")
    return end.result()


def next_command(task: Task[Any, Any], data: Any, path: str) -> str:
    """The command that shows what a trained model does; `data` is what its checkpoint stores of the data."""
    verb, prompt = task.shown_by(data)
    return shlex.join(["charrnn", verb, "-c", path, *([] if prompt is None else ["-p", prompt])])


def follow(run: Generator[events.Event], handle: Callable[[events.Event], None]) -> events.End:
    """Handle all events and return the last. A KeyboardInterrupt while one is handled is raised in the run."""
    last: events.Event | None = None
    try:
        for last in run:
            handle(last)
            raise_if_received()
    except KeyboardInterrupt as interrupt:
        handle(run.throw(interrupt))  # raises it at once if it arose in the run, which has saved by now
        for event in run:
            handle(event)
        raise
    assert isinstance(last, events.End)
    return last


def show_estimate(request: Request, elapsed: Callable[[], float], as_json: bool) -> None:
    """Print the estimate of --dry-run."""
    from charrnn import tasks
    from charrnn.training import setup
    from charrnn.training.estimate import estimate

    found, start = estimate(*setup.prepare(tasks.task_named(request.task or tasks.DEFAULT), request, elapsed))
    for line in start_lines(start):
        streams.note(line)
    streams.note(f"memory    {found['memory'] / 1e9:.2f} GB")
    streams.note(f"speed     {found['tokens_per_second']:,.0f} tokens per second")
    streams.note(f"time      {duration_text(found['seconds'])} for {counted(found['steps'], 'step')}")
    if as_json and request.processes.rank == 0:
        with streams.Output() as out:
            out.write(json.dumps(found) + "\n")


def resume_command(spec: RunSpec) -> str:
    """The command that goes on with an interrupted run."""
    piped = "-" in spec.source["corpora"]
    command = ["charrnn", "train", *(["-"] if piped else []), "--resume", "-o", str(spec.output)]
    return "saved; to go on: " + ("… | " if piped else "") + shlex.join(command)


def repeat_command(request: Request, start: events.Start, steps: int) -> str:
    """The command with a fixed number of steps that repeats a run under a time limit."""
    from charrnn.training.options import typed

    skipped = ("max_time", "epochs", "steps", "eval_every", "sample_every")
    task = [] if request.task is None else ["--task", request.task]
    command = ["charrnn", "train", *request.corpora, *task, "-o", str(request.output), "--force"]
    # Chosen by the time limit; a number of steps would not choose the same.
    chosen = {"hidden_size": start.model["hidden_size"], "dropout": start.training["dropout"]}
    if start.training["patience"]:
        chosen["patience"] = start.training["patience"]
    if request.init_from is not None:
        del chosen["hidden_size"]  # which comes with the weights
    if request.processes.size > 1:
        chosen["shards"] = start.training["shards"]
    options = {"init_from": request.init_from, "val": request.val, **request.given, **chosen}
    for name, value in options.items():
        if value is None or name in skipped:
            continue
        command.append("--" + name.replace("_", "-"))
        if value is not True:
            command.append(typed(value))
    command += ["--steps", str(steps), "--eval-every", str(start.training["eval_every"])]
    return shlex.join(command)

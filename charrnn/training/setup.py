"""From a request to a run and its network, for a new run and for one that is resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from charrnn import checkpoint
from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.runtime.precision import resolve_precision
from charrnn.runtime.processes import Processes
from charrnn.training.machine import instruction_set, versions
from charrnn.training.options import BUDGETS, FREE_OPTIONS, Options, require_effect, require_known, require_same
from charrnn.training.recorded import recorded_digest, recorded_options, recorded_result, recorded_seconds
from charrnn.training.task import Dataset, Network, Request, RunSpec, Task

AnyTask = Task[Any, Any]


def prepare(
    task: AnyTask, request: Request, elapsed: Callable[[], float], *, samples: bool = False
) -> tuple[RunSpec, Network]:
    """A new run of `task`: reads the data, chooses the options that were not given, makes the network.

    `elapsed` returns the seconds since the start of the process; with `samples` the run shows one at every validation.
    Raises CharrnnError for data, checkpoints or memory, UsageError for options.
    """
    given, initial, processes = request.given, None, request.processes
    elapsed = processes.clock(elapsed)
    require_known(given, task.settings, task.format.task)
    if (path := request.init_from) is not None:
        initial = processes.same(lambda: checkpoint.load(path, task.format))
        require_same(given, dataclasses.asdict(initial.model), path, "leave it out")
    require_effect(given, {}, request.val)
    task.check_options(given, task.options(initial) if initial else {}, request.init_from)
    dataset = task.read(request, initial)
    require_same_work(processes, request, dataset)
    model, config = processes.same(lambda: task.configure(request, dataset, initial.model if initial else None))
    if "shards" not in given:
        config = dataclasses.replace(config, shards=processes.size)
    if dataset.validation is None:
        config = _without_validation(config, given)
    network = task.network(model, config, dataset, request.threads)
    if initial is None:
        network.initialise(config.seed)
    else:
        network.load(initial.weights)
    source = {
        "corpora": request.corpora,
        "val": request.val,
        "own_vocabulary": initial is None,
        "init_from": request.init_from,
    }
    return RunSpec(task, dataset, config, request.output, source, None, elapsed, samples, processes=processes), network


def require_same_work(processes: Processes, request: Request, dataset: Dataset) -> None:
    """Raise CharrnnError unless all processes have the same options and data, and compute with the same instructions
    and versions: with others, sums have other last bits, and what must be the same weights would soon differ."""
    processes.require_same(sorted(request.given.items()), "the options")
    processes.require_same(versions(), "the versions")
    processes.require_same(dataset.digest, "the digest of the data")
    processes.require_same(instruction_set(), "the instruction set")


def _without_validation(config: TrainingConfig, given: Options) -> TrainingConfig:
    if given.get("patience"):
        raise UsageError("`patience` needs held-out text and there is none; leave it out, or give `val`")
    if config.schedule == "plateau":
        raise UsageError("`schedule` plateau needs held-out text and there is none; use cosine, or give `val`")
    return dataclasses.replace(config, patience=0)


def resume(
    task: AnyTask, request: Request, run: Checkpoint, elapsed: Callable[[], float], *, samples: bool = False
) -> tuple[RunSpec, Network]:
    """Resume `run`, the checkpoint at `request.output` read with its training state. For the rest see `prepare`.

    Raises UsageError for an option, and CharrnnError for data or a processor, with which the result would not be that
    of the uninterrupted run. Another processor is allowed where `precision` is given.
    """
    processes, source = request.processes, recorded_source(run)
    elapsed = processes.clock(elapsed)
    config = resumed_config(task, request, run)
    limit, before = config.max_time, all_options(task, run).get("max_time")
    spent = recorded_seconds(run)
    if limit is not None and spent >= limit and limit != before:
        raise UsageError(f"the run has taken {spent:.0f} seconds and the limit is {limit:g}; give a larger `max_time`")
    remarks = _changed_versions(run)
    if limit is not None and limit != before:
        remarks.append(
            f"the time limit is now {limit:g} seconds and the schedule follows it: "
            "from here on this is not the run that it would have been without interruption"
        )
    if _moved(run):
        if "precision" not in request.given:
            raise CharrnnError(
                f"cannot resume {request.output}: it was trained on {run.training.get('instruction_set')} and this is "
                f"{instruction_set()}, where sums have other last bits; `precision` {config.precision} goes on all the "
                "same, `init_from` starts a new run with its weights"
            )
        config = dataclasses.replace(config, precision=resolve_precision(request.given["precision"]))
        remarks.append("another processor: from here on this is not the run it would have been without interruption")
    corpora = request.corpora or source["corpora"]
    if not request.corpora and "-" in corpora:
        raise UsageError(
            f"the corpus of {request.output} was piped in; pipe it again, as the corpus -, with `resume` and `output` "
            f"{request.output}"
        )
    given = {**task.options(run), **dataclasses.asdict(config)}
    again = dataclasses.replace(request, corpora=corpora, val=request.val or source["val"], given=given)
    dataset = task.read(again, None if source.get("own_vocabulary", True) else run)
    if dataset.digest != recorded_digest(run) or task.record(dataset) != run.data:
        raise CharrnnError(
            f"cannot resume {request.output}: {', '.join(corpora)} is not the text it was trained on; "
            "give that one, or start a new run with `init_from`"
        )
    require_same_work(processes, request, dataset)
    network = task.network(run.model, config, dataset, request.threads)
    source = {**source, "corpora": corpora, "val": again.val}
    return RunSpec(
        task, dataset, config, request.output, source, run, elapsed, samples, tuple(remarks), processes
    ), network


def _moved(run: Checkpoint) -> bool:
    """Whether a run was saved on a processor with another instruction set."""
    return bool(run.training.get("instruction_set") != instruction_set())


def _changed_versions(run: Checkpoint) -> list[str]:
    """A remark where Python or a package has another version than when the run was saved."""
    recorded = run.training.get("versions")
    recorded = recorded if isinstance(recorded, dict) else {}
    changed = [f"{name} {version} in place of {recorded.get(name)}" for name, version in versions().items()
               if recorded.get(name) != version]  # fmt: skip
    if not changed:
        return []
    return [f"{', '.join(changed)}: the last bits may differ from those of a run without interruption"]


def resumed_config(task: AnyTask, request: Request, run: Checkpoint) -> TrainingConfig:
    """The recorded training options with the new budgets. Raises UsageError when another option differs."""
    recorded, source = all_options(task, run), recorded_source(run)
    require_known(request.given, task.settings, task.format.task)
    require_effect(request.given, recorded, request.val or source["val"])
    init_from = None if source.get("own_vocabulary", True) else str(source.get("init_from"))
    task.check_options(request.given, recorded, init_from)
    may_differ = (*FREE_OPTIONS, *(("precision",) if _moved(run) else ()))
    require_same(
        {name: value for name, value in request.given.items() if name not in may_differ},
        recorded,
        str(request.output),
        "leave it out, or start anew with `force`",
    )
    if request.val is not None and request.val != source["val"]:
        raise UsageError(f"`val` is {request.val} and the run in {request.output} has another one; leave it out")
    if request.init_from not in (None, source.get("init_from", request.init_from)):
        raise UsageError(
            f"`init_from` is {request.init_from} and the run in {request.output} began otherwise; leave it out, or "
            "start anew with `force`"
        )
    free = {name: request.given[name] for name in FREE_OPTIONS if name in request.given}
    if any(budget in free for budget in BUDGETS):  # a new budget replaces the old ones
        free = dict.fromkeys(BUDGETS) | free
    return dataclasses.replace(recorded_options(run), **free)


def finished_result(task: AnyTask, request: Request, run: Checkpoint) -> dict[str, Any] | None:
    """The result of a finished run; None if it is unfinished, has a new budget, or another corpus is named."""
    if request.corpora and request.corpora != recorded_source(run)["corpora"]:
        return None
    result = recorded_result(run)
    if result is None or resumed_config(task, request, run) != recorded_options(run):
        return None
    return result | {"checkpoint": str(request.output)}  # which may have been moved


def recorded_source(run: Checkpoint) -> dict[str, Any]:
    """Where the data of the run came from: names of files. Raises CharrnnError when that is not recorded."""
    source = run.training.get("source", {})
    match source:
        case {"corpora": [str(), *names], "val": str() | None} if all(isinstance(name, str) for name in names):
            if isinstance(source.get("init_from"), str | None) and type(source.get("own_vocabulary", True)) is bool:
                return dict(source)
    raise CharrnnError(
        "cannot resume: the checkpoint does not say what it was trained on; `init_from` takes its weights"
    )


def all_options(task: AnyTask, run: Checkpoint) -> dict[str, Any]:
    """The options in a checkpoint: of data, model and training."""
    trained = dataclasses.asdict(recorded_options(run))
    return {**task.options(run), **dataclasses.asdict(run.model), **trained}

"""`charrnn train`: learn from text files and write a checkpoint."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer

from charrnn.cli import streams
from charrnn.cli import train_options as options
from charrnn.cli.many import together
from charrnn.cli.options import ConfigOption, QuietOption, ThreadsOption, resolve_threads
from charrnn.cli.table import given, with_settings
from charrnn.cli.train_files import check_names, choose_output
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import UsageError
from charrnn.runtime.lock import only_writer
from charrnn.task_config import (
    ClassifierConfig,
    ForecasterConfig,
    PairsConfig,
    RecordsConfig,
    SeriesConfig,
    TaggerConfig,
    TranslatorConfig,
)
from charrnn.training.clock import stopwatch


@with_settings(
    TextConfig, ModelConfig, RecordsConfig, ClassifierConfig, TaggerConfig, SeriesConfig, ForecasterConfig,
    PairsConfig, TranslatorConfig, TrainingConfig, groups=options.GROUPS,
)  # fmt: skip
def train(
    context: typer.Context,
    corpus: options.Corpora = None,
    output: options.Output = None,
    resume: options.Resume = False,
    force: options.Force = False,
    init_from: options.InitFrom = None,
    task: options.TaskName = None,
    cell: options.Cell = None,
    layers: options.Layers = None,
    val: options.Val = None,
    *,
    threads: ThreadsOption = None,
    dry_run: options.DryRun = False,
    log: options.Log = None,
    as_json: options.Json = False,
    config: ConfigOption = None,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Learn from text, or with --task from labels, tags, numbers or pairs, and write a checkpoint.

    What is not given is chosen to suit the corpus. The corpus is one text, whose last tenth is held out to choose the
    best weights, or with --lines a text per line, a tenth of which are. Ctrl-C saves, and --resume goes on to the same
    result.
    """
    elapsed = stopwatch(already=time.process_time())  # until now the process was busy with imports
    streams.set_quiet(quiet)
    options_given = given({"cell": cell, "layers": layers, **settings})
    if resume and (force or dry_run):
        raise UsageError(f"--resume and {'--force' if force else '--dry-run'} exclude each other; leave one out")
    if not resume and not corpus:
        streams.note(context.get_usage())
        raise UsageError("no corpus given; name a text file, or - for stdin")

    def choose() -> Path:
        path = choose_output(corpus, output, resume)
        written = str(path) if output is None else output
        check_names(written, log, {"the corpus": corpus or [], "--val": [val], "--config": [config]}, init_from)
        if not (resume or force or dry_run) and path.is_file():
            raise UsageError(f"{path} exists; --resume goes on with it, --force replaces it")
        return path

    with together() as processes:
        path = processes.same(choose)
        count = resolve_threads(threads, processes)

        from charrnn.cli import train_run
        from charrnn.cli.compiling import announce_compilation
        from charrnn.training.task import Request

        announce_compilation()
        request = Request(corpus or [], path, options_given, val, init_from, count, processes=processes, task=task)
        if dry_run:
            with tempfile.TemporaryDirectory() as temporary:
                train_run.show_estimate(dataclasses.replace(request, cache=Path(temporary)), elapsed, as_json)
            return
        with only_writer(path) if processes.rank == 0 else nullcontext():
            started = train_run.start_or_resume(request, resume, log, elapsed)
            if isinstance(started, train_run.Finished):
                learned, data, result = started
            else:
                spec, network = started
                learned, data = spec.task, spec.task.record(spec.dataset)
                result = train_run.run(request, spec, network, log, repeat="max_time" in options_given)
        if processes.rank == 0:
            if as_json:
                with streams.Output() as out:
                    out.show_json(result)
            streams.note(train_run.next_command(learned, data, result["checkpoint"]))

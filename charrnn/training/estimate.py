"""What a run would be like: for `dry_run`."""

from __future__ import annotations

from typing import Any

from charrnn.training.events import Start
from charrnn.training.run import Run
from charrnn.training.task import Network, RunSpec

SECONDS = 2.0  # of training steps that are timed


def estimate(spec: RunSpec, network: Network) -> tuple[dict[str, Any], Start]:
    """The task's counts, parameters, memory in bytes, tokens per second, steps and seconds to finish.

    Writes nothing.
    """
    run = Run(spec, network)
    start, speed = run.rehearse(SECONDS)
    validations = start.total_steps // start.training["eval_every"]
    tokens = validations * run.planner.validation_tokens(run.progress) + run.planner.held_out
    seconds = start.total_steps * speed.step + tokens * speed.validation_token
    found = {
        **start.counts,
        "parameters": start.parameters,
        "memory": spec.task.memory(network.config, run.config, spec.dataset),
        "tokens_per_second": start.batch_size * start.seq_length / speed.step,
        "steps": start.total_steps,
        "seconds": min(seconds, spec.config.max_time or seconds),
    }
    return found, start

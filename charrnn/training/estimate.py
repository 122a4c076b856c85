"""What a run would cost in memory and time, for `dry_run`."""

from __future__ import annotations

from typing import Any

from charrnn.training.events import Start
from charrnn.training.run import Run
from charrnn.training.task import Network, RunSpec

SECONDS = 2.0  # spent on training steps that are timed


def estimate(spec: RunSpec, network: Network) -> tuple[dict[str, Any], Start]:
    """The estimated cost of a run, and the event that it would start with.

    The cost has the task's counts (such as `vocabulary`), `parameters`, `memory` (bytes), `tokens_per_second`, `steps`
    and `seconds` to finish. Writes nothing, and leaves
    the weights as they are.
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

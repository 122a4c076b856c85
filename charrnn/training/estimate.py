"""What a run would be like: for `dry_run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charrnn.training.defaults import memory_needed
from charrnn.training.events import Start
from charrnn.training.run import Run
from charrnn.training.task import Task

if TYPE_CHECKING:
    from charrnn.models import LanguageModel

SECONDS = 2.0  # of training steps that are timed


def estimate(task: Task, model: LanguageModel) -> tuple[dict[str, Any], Start]:
    """Vocabulary, parameters, memory in bytes, tokens per second, steps and seconds to finish. Writes nothing."""
    run = Run(task, model)
    start, speed = run.rehearse(SECONDS)
    validations = start.total_steps // start.training["eval_every"]
    tokens = validations * run.planner.validation_tokens(run.progress) + run.planner.held_out
    seconds = start.total_steps * speed.step + tokens * speed.validation_token
    found = {
        "vocabulary": start.vocabulary,
        "parameters": start.parameters,
        "memory": memory_needed(model.config, run.config, len(task.corpus.train.ids)),
        "tokens_per_second": start.batch_size * start.seq_length / speed.step,
        "steps": start.total_steps,
        "seconds": min(seconds, task.config.max_time or seconds),
    }
    return found, start

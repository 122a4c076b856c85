"""Descriptions of a run: its first and last event, and the training metadata of its checkpoint."""

from __future__ import annotations

import dataclasses
from typing import Any

from charrnn.config import TrainingConfig
from charrnn.training.events import End, Start
from charrnn.training.machine import instruction_set, versions
from charrnn.training.metrics import Metrics
from charrnn.training.state import Progress
from charrnn.training.task import Batches, Network, RunSpec


def describe_start(
    spec: RunSpec, network: Network, config: TrainingConfig, batches: Batches, progress: Progress
) -> Start:
    """The `Start` event of a run, with its resolved configuration."""
    description = spec.task.describe(spec.dataset, network)
    return Start(
        spec.elapsed(),
        step=progress.step,
        total_steps=progress.plans[-1].total,
        steps_per_epoch=batches.steps_per_epoch,
        batch_size=batches.batch_size,
        seq_length=batches.seq_length,
        parameters=network.parameters.size,
        counts=description.counts,
        model=dataclasses.asdict(network.config),
        records=description.records,
        training=dataclasses.asdict(config),
        corpus=spec.dataset.sizes(),
        versions=versions(),
        threads=network.threads,
        precision=config.precision,
        lines=description.lines,
        examples=description.examples,
    )


def describe_end(
    spec: RunSpec, network: Network, batches: Batches, progress: Progress, final: Metrics | None,
    figures: dict[str, float], *, speed: float, reason: str,
) -> End:  # fmt: skip
    """The `End` event of a run that ended for `reason`.

    `final` are the metrics of its best weights, None without a held-out part; `figures` those of `Task.complete`;
    `speed` is in tokens per second.
    """
    return End(
        spec.elapsed(),
        checkpoint=str(spec.output),
        parameters=network.parameters.size,
        counts=spec.task.describe(spec.dataset, network).counts,
        steps=progress.step,
        epochs=progress.step / batches.steps_per_epoch,
        tokens_per_second=speed,
        train_loss=progress.train_loss,
        val_loss=final.loss if final else None,
        val_figures={name: final.figures.get(name) if final else None for name in spec.task.figures} | figures,
        best_step=progress.best_step,
        stopped_by=reason,
    )


def describe_run(spec: RunSpec, config: TrainingConfig, progress: Progress, epoch: float) -> dict[str, Any]:
    """The `training` object of the checkpoint's metadata. No times in it: the same run writes the same object."""
    return {
        "source": spec.source,
        "options": dataclasses.asdict(config),
        "corpus": spec.dataset.sizes(),
        "progress": progress.to_json(),
        "epoch": epoch,
        "versions": versions(),
        "instruction_set": instruction_set(),
    }

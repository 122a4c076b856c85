"""What a training run is given, and what it writes about itself in its log and its checkpoint."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import binding

from charrnn import __version__
from charrnn.checkpoint import Checkpoint
from charrnn.config import TextConfig, TrainingConfig
from charrnn.runtime import features
from charrnn.text.batches import Batches
from charrnn.text.corpus import Corpus
from charrnn.training.clock import stopwatch
from charrnn.training.evaluation import Evaluation
from charrnn.training.events import End, Start
from charrnn.training.state import Progress

if TYPE_CHECKING:
    from charrnn.models import LanguageModel


@dataclass(frozen=True)
class Task:
    """What is to be learned, how, and where the result goes.

    `source` is what has to be remembered to read the corpus again. `resumed` is the checkpoint to go on from, read with
    its training state, which is let go once it is copied. `elapsed` tells the seconds since the start of the command.
    `samples` asks for a sample of text at every validation, besides those of `config.sample_every`. `remarks` are what
    the user should know about resuming.
    """

    corpus: Corpus
    text: TextConfig
    config: TrainingConfig
    output: Path
    source: dict[str, Any] = field(default_factory=dict)
    resumed: Checkpoint | None = None
    elapsed: Callable[[], float] = field(default_factory=stopwatch)
    samples: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def initialised(self) -> bool:
        """Whether training began from the weights of another model."""
        return not self.source.get("own_vocabulary", True)


def corpus_sizes(corpus: Corpus) -> dict[str, Any]:
    """Digest, and of each part tokens, bytes, characters and the log-probability of unknown units' spelling."""
    sizes: dict[str, Any] = {"digest": corpus.digest}
    for name, part in (("training", corpus.train), ("validation", corpus.validation)):
        if part is not None:
            sizes[name] = {
                "tokens": len(part.ids),
                "bytes": part.bytes,
                "characters": part.characters,
                "spelling": part.spelling,
            }
    return sizes


def versions() -> dict[str, str]:
    """The versions that the bits of a result depend on."""
    return {
        "charrnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def instruction_set() -> str:
    """The processor that kernels are compiled for: its name decides how sums are cut up, and so on their last bits."""
    name = numba.config.CPU_NAME or binding.get_host_cpu_name()
    return (
        f"{platform.machine()} {name}, vectors of {features.VECTOR_BYTES} bytes{', bfloat16' * features.HAS_BFLOAT16}"
    )


def describe_start(
    task: Task, model: LanguageModel, config: TrainingConfig, batches: Batches, progress: Progress
) -> Start:
    """The event that opens a run, with everything that was resolved."""
    return Start(
        task.elapsed(),
        step=progress.step,
        total_steps=progress.plans[-1].total,
        steps_per_epoch=batches.steps_per_epoch,
        batch_size=batches.batch_size,
        seq_length=batches.seq_length,
        parameters=model.parameters.size,
        vocabulary=len(task.corpus.vocabulary),
        model=dataclasses.asdict(model.config),
        text=dataclasses.asdict(task.text),
        training=dataclasses.asdict(config),
        corpus=corpus_sizes(task.corpus),
        versions=versions(),
        threads=model.threads,
        precision=config.precision,
    )


def describe_end(
    task: Task, model: LanguageModel, batches: Batches, progress: Progress, final: Evaluation | None, *, speed: float,
    reason: str,
) -> End:  # fmt: skip
    """The event that closes a run, which ended for `reason`: `final` is the value of its best weights, `speed` in
    tokens per second."""
    return End(
        task.elapsed(),
        checkpoint=str(task.output),
        parameters=model.parameters.size,
        vocabulary=len(task.corpus.vocabulary),
        steps=progress.step,
        epochs=progress.step / batches.steps_per_epoch,
        tokens_per_second=speed,
        train_loss=progress.train_loss,
        val_loss=final.loss if final else None,
        val_bits_per_byte=final.bits_per_byte if final else None,
        val_bits_per_character=final.bits_per_character if final else None,
        best_step=progress.best_step,
        stopped_by=reason,
    )


def describe_run(task: Task, config: TrainingConfig, progress: Progress, epoch: float) -> dict[str, Any]:
    """The `training` object of the checkpoint: nothing in it is a time."""
    return {
        "source": task.source,
        "options": dataclasses.asdict(config),
        "corpus": corpus_sizes(task.corpus),
        "progress": progress.to_json(),
        "epoch": epoch,
        "versions": versions(),
        "instruction_set": instruction_set(),
    }

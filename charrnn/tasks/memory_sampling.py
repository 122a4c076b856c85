"""Samples of a model with its memory: unit by unit, each from the distribution of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.tasks.copies import Copies
from charrnn.text.vocabulary import EOS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charrnn.models import LanguageModel
    from charrnn.models.memory import Memory
    from charrnn.runtime.arrays import Array, Ids
    from charrnn.sampling_config import SamplingConfig

Contexts = NDArray[np.int64]


class MemorySampler:
    """Draws units with a memory. The context of a sample is the memory's state, then its last `max_copy` units."""

    def __init__(self, memory: Memory, config: SamplingConfig) -> None:
        self.memory, self.config, self.size = memory, config, len(memory.start)
        self.copies = Copies(memory.text, config.max_copy) if config.max_copy else None

    def contexts(self, prompts: Sequence[Ids]) -> Contexts:
        """The context (B, size) after each of B prompts."""
        result = np.full((len(prompts), self.size + self.config.max_copy), -1, np.int64)
        for context, prompt in zip(result, prompts, strict=True):
            context[: self.size] = self.memory.start
            for unit in prompt.tolist():
                self._note(context, unit)
        return result

    def _note(self, context: Contexts, unit: int) -> None:
        self.memory.note(context[: self.size], unit)
        recent = context[self.size :]
        recent[:-1], recent[-1:] = recent[1:].copy(), unit

    def advance(
        self, model: LanguageModel, state: Array, previous: Ids, contexts: Contexts, uniforms: NDArray[np.float64]
    ) -> Ids:  # fmt: skip
        """See `sampling.advance`; contexts (B, size) are updated, too."""
        from charrnn.models.generation import step_by_step

        config, V = self.config, model.config.vocabulary_size

        def choose(b: int, logits: Array, uniform: float) -> int:
            context = contexts[b]
            log_probs = self.memory.next_log_probs(logits, context[: self.size])
            if self.copies is not None:
                banned = self.copies.continued(context[self.size :], V)
                log_probs[banned] = -np.inf if not banned[1:].all() else 0
            unit = int(kernels.draw.draw(log_probs, uniform, config.temperature, config.top_k, config.top_p))
            self._note(context, unit)
            return unit

        line_end, reset_unit = (EOS if wanted else -1 for wanted in (config.one_line, config.lines))
        return step_by_step(model, previous, state, uniforms, choose, line_end, reset_unit)

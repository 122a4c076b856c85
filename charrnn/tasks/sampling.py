"""Sampling: prompts in, pieces of samples out, in order. Prints nothing.

The samples of a batch are drawn together, one unit at a time; pieces of the first unfinished one are yielded as it
grows, those of the others are buffered. A sample depends on the seed, its prompt and its index only: each has its own
counter-based generator (Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
doi:10.1145/2063384.2063405).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharrnnError, UsageError
from charrnn.sampling_config import SamplingConfig
from charrnn.tasks.memory_sampling import MemorySampler
from charrnn.text.stops import StopFilter
from charrnn.text.vocabulary import EOS, UNKNOWN

if TYPE_CHECKING:
    from charrnn.models import LanguageModel
    from charrnn.models.memory import Memory
    from charrnn.text.vocabulary import Decoder, Vocabulary

LINE_LIMIT = 10_000  # units after which a line without an end is cut
_PROMPT_WINDOW = 256  # steps of a prompt in one call
_BATCH_ROWS = 256
_BATCH_LOGITS = 4_000_000  # samples times vocabulary: 32 MB of float64


@dataclass(frozen=True, slots=True)
class Piece:
    """The next bytes of sample `index` of prompt number `prompt`, both counted from 0.

    `stopped_by` is None until the last piece of a sample, then "length", "line" or "stop". `tokens` counts the units
    drawn so far, also those of a stop text and the end-of-line that ended the sample.
    """

    prompt: int
    index: int
    data: bytes
    tokens: int
    stopped_by: str | None


def encode_prompt(vocabulary: Vocabulary, prompt: bytes) -> tuple[NDArray[np.int32], list[str]]:
    """The ids (T,) of a prompt, and its units that are out of vocabulary, which are read as the unknown token."""
    if vocabulary.unit == "byte":
        return vocabulary.encode(prompt), []
    text = prompt.decode("utf-8", "replace")
    ids = vocabulary.encode(text)
    if not (ids == UNKNOWN).any():
        return ids, []
    return ids, [unit for unit in vocabulary.split(text) if vocabulary.is_oov(unit)]


def samples_at_once(vocabulary: Vocabulary) -> int:
    """The largest number of samples drawn together; those after the first are buffered until it ends."""
    return max(1, min(_BATCH_ROWS, _BATCH_LOGITS // len(vocabulary)))


def sample(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompts: Sequence[bytes],
    config: SamplingConfig,
    *,
    count: int = 1,
    stride: int = 64,
    memory: Memory | None = None,
) -> Iterator[Piece]:
    """Yield `count` samples of every prompt, in order, in pieces of at most about `stride` units.

    The hidden state starts at zero, the end-of-line is the first input, then come the units of the prompt. With a
    `memory` of the corpus units are drawn from the distribution of both. Raises `CharrnnError` where the model computes
    numbers that are not finite, and `UsageError` for `max_copy` without a memory.
    """
    if config.max_copy and memory is None:
        raise UsageError("`max_copy` needs the corpus, which a model trained with `memory` has; leave it out")
    sampler = None if memory is None else MemorySampler(memory, config)
    rows, total = samples_at_once(vocabulary), len(prompts) * count
    for first in range(0, total, rows):
        jobs = [divmod(number, count) for number in range(first, min(first + rows, total))]
        yield from _sample_batch(model, vocabulary, prompts, jobs, config, stride, sampler)


def advance(
    model: LanguageModel,
    state: NDArray[np.floating],
    previous: NDArray[np.int32],
    uniforms: NDArray[np.float64],
    config: SamplingConfig,
) -> NDArray[np.int32]:
    """Draw up to n units for each of B samples; returns their ids (n, B).

    `state` (S, B, H) and `previous` (B,), the last unit of each sample, are updated in place. `uniforms` (n, B) in
    [0, 1) decide the draws. With `config.one_line` drawing stops once every sample has reached an end-of-line.
    Temperature: Ackley, Hinton and Sejnowski 1985, doi:10.1207/s15516709cog0901_7; top-k: Fan, Lewis and Dauphin 2018,
    arXiv:1805.04833; top-p: Holtzman et al. 2020, arXiv:1904.09751.
    """
    return model.generate(
        previous,
        state,
        uniforms,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        line_end=EOS if config.one_line else -1,
        reset_unit=EOS if config.lines else -1,
    )


@dataclass(slots=True)
class _Sample:
    prompt: int
    index: int
    decoder: Decoder
    stops: StopFilter
    random: np.random.Generator
    tokens: int = 0
    stopped_by: str | None = None
    ready: bytearray = field(default_factory=bytearray)

    def take(self, units: NDArray[np.int32], config: SamplingConfig) -> None:
        """Add drawn units (n,), up to the one that ends the sample."""
        for unit in units.tolist():
            self.tokens += 1
            if unit == UNKNOWN:  # drawn only where no unit has a finite probability
                raise CharrnnError(
                    "the model gives no unit a finite probability: its weights are too large or damaged; "
                    "use another one"
                )
            if config.one_line and unit == EOS:
                self.end("line")
                return
            data, stopped = self.stops.feed(self.decoder.feed(unit))
            self.ready += data
            if stopped:
                self.stopped_by = "stop"
                return

    def end(self, reason: str) -> None:
        """End the sample for `reason`, see `Piece.stopped_by`."""
        self.ready += self.stops.rest()
        self.stopped_by = reason

    def piece(self) -> Piece:
        """The bytes since the last call."""
        data = bytes(self.ready)
        self.ready.clear()
        return Piece(self.prompt, self.index, data, self.tokens, self.stopped_by)


def _sample_batch(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompts: Sequence[bytes],
    jobs: Sequence[tuple[int, int]],
    config: SamplingConfig,
    stride: int,
    sampler: MemorySampler | None,
) -> Iterator[Piece]:
    encoded = {prompt: encode_prompt(vocabulary, prompts[prompt])[0] for prompt in dict(jobs)}
    columns = {prompt: column for column, prompt in enumerate(encoded)}
    states, last = read_prompts(model, list(encoded.values()), lines=config.lines)
    rows = np.array([columns[prompt] for prompt, _ in jobs])
    state, previous = np.ascontiguousarray(states[:, rows]), last[rows]
    contexts = None if sampler is None else sampler.contexts(list(encoded.values()))[rows]
    samples = [
        _Sample(
            prompt,
            index,
            _decoder_after(vocabulary, prompts[prompt], encoded[prompt]),
            StopFilter(config.stops),
            _generator(config.seed, prompts[prompt], index),
        )
        for prompt, index in jobs
    ]
    running, head, drawn = list(samples), 0, 0
    while head < len(samples):
        steps = stride if config.length is None else min(stride, config.length - drawn)
        if running and steps:
            uniforms = np.stack([one.random.random(steps) for one in running], axis=1)
            if sampler is None or contexts is None:
                units = advance(model, state, previous, uniforms, config)
            else:
                units = sampler.advance(model, state, previous, contexts, uniforms)
            drawn += len(units)
            for one, column in zip(running, units.T, strict=True):
                one.take(column, config)
        if drawn == config.length:
            for one in running:
                if one.stopped_by is None:
                    one.end("length")
        unfinished = [row for row, one in enumerate(running) if one.stopped_by is None]
        if len(unfinished) < len(running):
            running = [running[row] for row in unfinished]
            state, previous = np.ascontiguousarray(state[:, unfinished]), previous[unfinished]
            contexts = None if contexts is None else contexts[unfinished]
        while head < len(samples):
            one = samples[head]
            if one.ready or one.stopped_by is not None:
                yield one.piece()
            if one.stopped_by is None:
                break
            head += 1


def read_prompts(
    model: LanguageModel, prompts: Sequence[NDArray[np.int32]], *, lines: bool = False
) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
    """The hidden state (S, B, H) after the end-of-line and all units of B prompts but the last, and those (B,).

    S counts the layers, LSTM layers twice. `lines`: the state is reset where a line begins. The prompts are read in
    order of falling length, so that the unfinished ones are always the leading columns.
    """
    order = sorted(range(len(prompts)), key=lambda column: -len(prompts[column]))
    lengths = [len(prompts[column]) for column in order]
    state = model.zero_state(len(prompts))
    last = np.empty(len(prompts), np.int32)
    step, active = 0, len(prompts)
    while active:
        if lengths[active - 1] == step:
            active -= 1
            continue
        until = min(lengths[active - 1], step + _PROMPT_WINDOW)
        inputs = np.stack([_inputs(prompts[column], step, until) for column in order[:active]], axis=1)
        part = np.ascontiguousarray(state[:, :active])
        model.forward(inputs, part, inputs == EOS if lines else None)
        state[:, :active] = part
        step = until
    for prompt, column in zip(prompts, range(len(prompts)), strict=True):
        last[column] = prompt[-1] if len(prompt) else EOS
    return state[:, np.argsort(order)], last


def _inputs(prompt: NDArray[np.int32], start: int, stop: int) -> NDArray[np.int32]:
    """Inputs `start` to `stop` of the sequence of an end-of-line and the prompt."""
    inputs = np.empty(stop - start, np.int32)
    skip = 1 if start == 0 else 0
    inputs[:skip] = EOS
    inputs[skip:] = prompt[start - 1 + skip : stop - 1]
    return inputs


def _decoder_after(vocabulary: Vocabulary, prompt: bytes, ids: NDArray[np.int32]) -> Decoder:
    """A decoder in the state after the prompt: whether a word needs a space before it depends on the unit before."""
    decoder = vocabulary.decoder()
    if not (vocabulary.pretokenized and prompt[-1:].isspace()):
        for unit in ids[-1:].tolist():
            decoder.feed(unit)
    return decoder


def _generator(seed: int, prompt: bytes, index: int) -> np.random.Generator:
    digest = hashlib.sha256(b"%d %d " % (seed, index) + prompt).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))

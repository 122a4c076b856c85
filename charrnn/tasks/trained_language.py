"""A trained language model: scores texts and draws samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.config import DEFAULT_LENGTH
from charrnn.errors import UsageError
from charrnn.formats import TextSide
from charrnn.runtime.seeds import random_seed
from charrnn.sampling_config import SamplingConfig
from charrnn.settings import require_whole
from charrnn.tasks.arguments import all_bytes
from charrnn.tasks.copies import Copies
from charrnn.tasks.line_scoring import score_lines
from charrnn.tasks.sampling import LINE_LIMIT, Piece, encode_prompt, sample
from charrnn.tasks.score_records import Line, Score

if TYPE_CHECKING:
    from charrnn.models import LanguageModel
    from charrnn.models.memory import Memory


class TrainedLanguageModel:
    """A trained language model. It is immutable, and several threads may use it at once: calls wait for each other.

    Results do not depend on the number of threads, nor on the other texts of a call.
    """

    task = "language"

    def __init__(self, network: LanguageModel, side: TextSide, memory: Memory | None = None) -> None:
        self.memory = memory
        self._copies: Copies | None = None
        self.network, self.vocabulary, self.text = network, side.vocabulary, side.config

    def __repr__(self) -> str:
        """What the model is made of, in short."""
        cells, size = ",".join(self.network.config.cells), self.network.config.hidden_size
        return f"<TrainedLanguageModel: {cells} of {size}, {len(self.vocabulary)} {self.text.unit} units>"

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, threads: int = 1, precision: str = "float32") -> TrainedLanguageModel:
        """The model of a checkpoint. `precision` is that of matrix products: float32, bfloat16, or auto, which is the
        faster one on this machine.

        Raises UsageError for `threads` out of range or an unknown `precision`, and CharrnnError for tensors that do not
        fit.
        """
        from charrnn.models import LanguageModel
        from charrnn.runtime.precision import uses_bfloat16

        bfloat16 = uses_bfloat16(threads, precision)
        network = LanguageModel(checkpoint.model, threads=threads, bfloat16=bfloat16)
        network.load(checkpoint.weights)
        memory = None
        if checkpoint.memory:
            from charrnn.models.memory import Memory

            memory = Memory.load(checkpoint.memory, checkpoint.vocabulary, lines=checkpoint.text.lines)
        return cls(network, checkpoint.data, memory)

    def without_memory(self) -> TrainedLanguageModel:
        """The network alone."""
        return TrainedLanguageModel(self.network, TextSide(self.vocabulary, self.text))

    def score(self, texts: Iterable[str | bytes], *, per_token: bool = False, adapt: bool = False) -> list[Score]:
        """Score each text as a line: one Score a text, in order, with its log-probability in nats.

        The hidden state starts at zero with an end-of-line as the first input, and an end-of-line is the last token. A
        text has no other: lines are scored one by one. With `per_token` a Score also lists its units. With `adapt` a
        copy of the model learns from each text, after it was scored. Bytes are UTF-8; invalid ones are scored as
        U+FFFD, except by a byte model.

        Raises UsageError for a single text, for one of several lines and for what is no text, and CharrnnError where
        the model computes numbers that are not finite.
        """
        lines = [Line(text) for text in all_bytes("`texts`", texts)]
        for line in lines:
            if b"\n" in line.data:
                raise UsageError(
                    f"a text has a line end in it: {line.data[:40]!r}; give its lines as texts of their own"
                )
        return [score for chunk in self.score_chunks([lines], per_token=per_token, adapt=adapt) for score in chunk]

    def sample(
        self,
        prompt: str | bytes = "",
        *,
        count: int = 1,
        length: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        stops: Sequence[str | bytes] = (),
        seed: int | None = None,
    ) -> list[str]:
        """`count` continuations of `prompt`, without it.

        `length` is in units; the default is 500, or one line for a model trained with `lines`. `temperature` 0 takes
        the most probable unit; `top_k` 0 and `top_p` 1 leave the distribution whole (top-k: Fan, Lewis and Dauphin
        2018, arXiv:1805.04833; top-p, nucleus sampling: Holtzman et al. 2020, "The curious case of neural text
        degeneration", arXiv:1904.09751). A sample ends before the first of `stops` that it contains. The same seed
        and precision give the same samples; seed None chooses one at random. Bytes that are not UTF-8 become U+FFFD.

        Raises UsageError for an argument out of range or of another type, and CharrnnError where the model computes
        numbers that are not finite.
        """
        require_whole("`count`", count, 1)
        if length is not None:
            require_whole("`length`", length, 0)
        require_whole("`top_k`", top_k, 0)
        if seed is not None:
            require_whole("`seed`", seed, 0)
        [start] = all_bytes("`prompt`", [prompt])
        config = self.sampling_config(
            length=length, temperature=temperature, top_k=top_k, top_p=top_p, stops=tuple(all_bytes("`stops`", stops)),
            seed=random_seed() if seed is None else seed,
        )  # fmt: skip
        samples = [bytearray() for _ in range(count)]
        for piece in self.pieces([start], config, count=count):
            samples[piece.index] += piece.data
        return [text.decode("utf-8", "replace") for text in samples]

    # In pieces, for commands

    def sampling_config(self, *, length: float | None = None, **options: Any) -> SamplingConfig:
        """The sampling options for this model; `length` may be infinite, and has its default where it is None.

        Raises UsageError for a value out of range.
        """
        one_line = self.text.lines and length is None
        if length is None:
            length = LINE_LIMIT if one_line else DEFAULT_LENGTH
        units = None if length == math.inf else int(length)
        return SamplingConfig(length=units, one_line=one_line, lines=self.text.lines, **options)

    def pieces(
        self, prompts: Sequence[bytes], config: SamplingConfig, *, count: int = 1, stride: int = 64
    ) -> Iterator[Piece]:
        """Pieces of `count` samples of each prompt, in order, see `sampling.sample`."""
        return sample(
            self.network, self.vocabulary, prompts, config, count=count, stride=stride, memory=self.memory
        )  # fmt: skip

    def copied(self, text: bytes, longest: int) -> tuple[int, int]:
        """How many units of a text lie in copies of more than `longest` units of the corpus, and of how many.

        Raises UsageError where the model has no memory of it.
        """
        if self.memory is None:
            raise UsageError("what is copied can be told by a model trained with `memory` only")
        if self._copies is None or self._copies.length != longest:
            self._copies = Copies(self.memory.text, longest)
        ids = encode_prompt(self.vocabulary, text)[0]
        return int(self._copies.copied(ids).sum()), len(ids)

    def score_chunks(
        self, chunks: Iterable[Sequence[Line]], *, stream: bool = False, per_token: bool = False, adapt: bool = False
    ) -> Iterator[list[Score]]:
        """The scores of each chunk of lines, in order, see `line_scoring.score_lines`."""
        return score_lines(
            self.network, self.vocabulary, chunks, stream=stream, lines=self.text.lines, per_token=per_token,
            memory=self.memory, adapt=adapt,
        )  # fmt: skip

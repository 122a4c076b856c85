"""A trained translator: makes outputs of sources, and says how probable outputs are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from charrnn.checkpoint import Checkpoint
from charrnn.errors import CharrnnError, NotFiniteError, UsageError
from charrnn.runtime.seeds import random_seed
from charrnn.sampling_config import SamplingConfig
from charrnn.settings import require_range, require_whole
from charrnn.task_config import MOST_BEAM
from charrnn.tasks.arguments import all_bytes, pairs_of_bytes
from charrnn.tasks.translate_format import TranslatorSides
from charrnn.tasks.translate_results import Output, PairScore, Sample
from charrnn.text.fields import SPACES
from charrnn.text.packing import by_length
from charrnn.text.pair_batches import POSITIONS, joined, pack_pairs
from charrnn.text.pair_corpus import Side, most_units
from charrnn.text.pair_gathering import unknown_label
from charrnn.text.pairs import normalized
from charrnn.text.units import REPLACEMENT
from charrnn.text.vocabulary import EOS, UNKNOWN, Vocabulary

if TYPE_CHECKING:
    from charrnn.models.decoding import Hypothesis
    from charrnn.models.translator import Translator

BEAM = 5
AT_ONCE = 1000  # samples that are drawn together
MOST_UNITS = 1_000_000  # of a sample

Ids = NDArray[np.int32]


class TrainedTranslator:
    """A trained translator. It is immutable, and several threads may use it at once: calls wait for each other.

    Results do not depend on the number of threads, nor on the other sources of a call. Where sources are labels,
    `labels` has all of them. Texts in bytes are UTF-8; invalid ones are read as U+FFFD, except by a byte model.
    """

    task = "translate"

    def __init__(self, network: Translator, sides: TranslatorSides) -> None:
        assert sides.target.vocabulary is not None
        self.network, self.sides, self.labels = network, sides, sides.source.labels
        self.vocabulary = sides.target.vocabulary
        self.unit = "char" if sides.source.vocabulary is None else sides.source.vocabulary.unit
        self.has_alignment = network.config.attention != "none"
        self._numbers = {label: number for number, label in enumerate(self.labels)}

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, threads: int = 1, precision: str = "float32") -> TrainedTranslator:
        """The translator of a checkpoint; `precision` as for language models.

        Raises UsageError for `threads` out of range or an unknown `precision`.
        """
        from charrnn.models.translator import Translator
        from charrnn.runtime.precision import uses_bfloat16

        network = Translator(checkpoint.model, threads=threads, bfloat16=uses_bfloat16(threads, precision))
        network.load(checkpoint.weights)
        return cls(network, checkpoint.data)

    def __repr__(self) -> str:
        """What the model is made of, in short."""
        config, read = self.network.config, self.sides.source
        source = f"{read.size} labels" if self.labels else f"{read.size} {self.unit} units"
        sides = f"{source} to {len(self.vocabulary)} {self.vocabulary.unit} units"
        return f"<TrainedTranslator: {','.join(config.cells)} of {config.hidden_size}, {sides}>"

    def predict(
        self, sources: Iterable[str | bytes], *, beam: int = BEAM, best: int = 1, copy_unknown: bool = False,
        alignment: bool = False,
    ) -> list[list[Output]]:  # fmt: skip
        """The `best` most probable outputs of each source, in order, found by a beam search that keeps `beam`, or
        `best` if that is more; 1 is greedy.

        An output has no unknown word, unless `copy_unknown`: it is then written as the word of the source to which it
        gives most attention, and `logprob` is that of the unknown word. `alignment`: with the attention.

        Raises UsageError for a single text, for what is no text, for a number out of range or where there is no
        attention, and CharrnnError for a label that the model does not know or numbers that are not finite.
        """
        from charrnn.models.decoding import decode

        require_whole("`beam`", beam, 1, MOST_BEAM)
        require_whole("`best`", best, 1, MOST_BEAM)
        for name, asked in (("copy_unknown", copy_unknown), ("alignment", alignment)):
            if asked and not self.has_alignment:
                raise UsageError(f"`{name}` follows the attention, and the model has none; leave it out")
        texts = all_bytes("`sources`", sources)
        ids = [self.source_ids(text) for text in texts]
        limits = np.array([self.limit(len(one)) for one in ids], np.int64)
        found = decode(
            self.network, ids, beam=max(beam, best), best=best, limits=limits, unknown=copy_unknown,
            attention=alignment or copy_unknown,
        )  # fmt: skip
        return [
            self._outputs(text, hypotheses, copy_unknown, alignment)
            for text, hypotheses in zip(texts, found, strict=True)
        ]

    def _outputs(
        self, text: str | bytes, found: Sequence[Hypothesis], copy_unknown: bool, alignment: bool
    ) -> list[Output]:  # fmt: skip
        """The outputs of a source that were found."""
        if not all(math.isfinite(one.log_prob) for one in found):
            raise NotFiniteError
        units = self.source_units(text) if copy_unknown or alignment else ()
        outputs = []
        for one in found:
            words = self._units(one.ids)
            if copy_unknown and len(units) > 1 and one.attention is not None:
                for step in np.flatnonzero(one.ids == UNKNOWN).tolist():
                    words[step] = units[int(one.attention[step, :-1].argmax())]
            data = self._written(words, one.ids)
            matrix = one.attention if alignment else None
            outputs.append(Output(data, one.log_prob, one.ended, tuple(words), units, matrix))
        return outputs

    def _units(self, ids: Ids) -> list[str]:
        """The units of ids as texts; an unknown character is U+FFFD."""
        units = [self.vocabulary.units[number] for number in ids.tolist()]
        if self.vocabulary.unit == "char":
            units = [REPLACEMENT if n == UNKNOWN else unit for n, unit in zip(ids.tolist(), units, strict=True)]
        return units

    def _written(self, units: Sequence[str], ids: Ids) -> bytes:
        data = written(units, ids.tolist(), self.vocabulary)
        return normalized(data.decode(), "nfc").encode() if self.sides.target.form == "nfd" else data

    def score(self, pairs: Iterable[tuple[str | bytes, str | bytes]]) -> list[PairScore]:
        """How probable each target is given its source, for pairs of both, in order.

        Raises UsageError for what is no pair of texts, CharrnnError for a label that the model does not know or numbers
        that are not finite.
        """
        both = pairs_of_bytes("`pairs`", pairs)
        sources = [self.source_ids(source) for source, _ in both]
        targets, spelled, oov = [], [], []
        for _, target in both:
            text = as_read(target, self.sides.target)
            ids = self.vocabulary.encode(text)
            targets.append(ids)
            unknown = [unit for unit, known in zip(self.vocabulary.split(text), ids.tolist(), strict=True)
                       if known == UNKNOWN] if (ids == UNKNOWN).any() else []  # fmt: skip
            spelled.append(float(self.vocabulary.spelling_log_probs(unknown).sum()))
            oov.append(sum(map(self.vocabulary.is_oov, unknown)))
        values = np.zeros(len(both))
        lengths = np.array([len(source) + len(target) + 1 for source, target in zip(sources, targets, strict=True)])
        for chosen in by_length(lengths.astype(np.int64), POSITIONS):
            some = chosen.tolist()
            batch, places = pack_pairs(joined([sources[n] for n in some]), joined([targets[n] for n in some]))
            with np.errstate(invalid="ignore"):  # numbers that are not finite are found below
                logprobs = self.network.log_probs(batch).reshape(-1)[places]
            steps = np.array([len(targets[n]) + 1 for n in some])
            values[chosen] = np.add.reduceat(logprobs, np.cumsum(steps) - steps)
        if not np.isfinite(values).all():
            raise NotFiniteError
        return [
            PairScore(value + more, len(target) + 1, unknown)
            for value, more, target, unknown in zip(values.tolist(), spelled, targets, oov, strict=True)
        ]

    def sample(
        self, source: str | bytes, *, count: int = 1, length: int | None = None, temperature: float = 1.0,
        top_k: int = 0, top_p: float = 1.0, seed: int | None = None,
    ) -> list[str]:  # fmt: skip
        """`count` outputs of a source, or label, drawn from their distribution; `temperature`, `top_k`, `top_p` and
        `seed` as for language models. An output has at most `length` units; None: as many as in `predict`.

        Raises UsageError for an argument out of range or of another type, CharrnnError as `predict`.
        """
        require_whole("`count`", count, 1)
        if length is not None:
            require_whole("`length`", length, 1)
        require_whole("`top_k`", top_k, 0)
        if seed is not None:
            require_whole("`seed`", seed, 0)
        config = SamplingConfig(
            length=length, temperature=temperature, top_k=top_k, top_p=top_p,
            seed=random_seed() if seed is None else seed,
        )  # fmt: skip
        [text] = all_bytes("`source`", [source])
        drawn = self.draw([text], config, count)
        return [one.data.decode("utf-8", "replace") for some in drawn for one in some]

    def draw(self, sources: Sequence[bytes], config: SamplingConfig, count: int) -> Iterator[list[Sample]]:
        """`count` samples of each source in turn, as many at a time as are drawn together, all of one source.

        Each depends on the seed, its source and its number only.

        Raises UsageError for a length beyond MOST_UNITS, CharrnnError as `predict`.
        """
        from charrnn.models.decoding import sample

        if config.length is not None:
            require_range("`length`", config.length, 1, MOST_UNITS)
        for source, text in enumerate(sources):
            ids = self.source_ids(text)
            limit = self.limit(len(ids)) if config.length is None else config.length
            rows = max(1, min(AT_ONCE, MOST_UNITS // limit))
            for first in range(0, count, rows):
                keys = [_key(config.seed, text, index) for index in range(first, min(first + rows, count))]
                drawn = sample(
                    self.network, [ids] * len(keys), temperature=config.temperature, top_k=config.top_k,
                    top_p=config.top_p, keys=keys, limits=np.full(len(keys), limit, np.int64),
                )  # fmt: skip
                yield [
                    Sample(source, first + n, self._written(self._units(one.ids), one.ids), len(one.ids), one.ended)
                    for n, one in enumerate(drawn)
                ]

    def limit(self, units: int) -> int:
        """The most units of an output whose source has so many, its end included."""
        return most_units(self.sides.ratio, units, labelled=bool(self.labels))

    def knows(self, source: str | bytes) -> bool:
        """Whether a source can be read: all texts can, and labels that the model knows."""
        side = self.sides.source
        return side.vocabulary is not None or str(as_read(source, side)).strip(SPACES) in self._numbers

    def source_ids(self, source: str | bytes) -> Ids:
        """The ids of a source, with an end; of a label, its number. Raises CharrnnError for an unknown label."""
        side = self.sides.source
        text = as_read(source, side)
        if side.vocabulary is None:
            assert isinstance(text, str)
            number = self._numbers.get(text.strip(SPACES))
            if number is None:
                raise CharrnnError(unknown_label(text.strip(SPACES), self.labels))
            return np.array([number], np.int32)
        return np.append(side.vocabulary.encode(text), EOS).astype(np.int32)

    def source_units(self, source: str | bytes) -> tuple[str, ...]:
        """The units of a source as texts; `<eos>` is the last."""
        side = self.sides.source
        text = as_read(source, side)
        return (str(text),) if side.vocabulary is None else (*side.vocabulary.split(text), side.vocabulary.units[EOS])


def as_read(text: str | bytes, side: Side) -> str | bytes:
    """A text as a side reads it."""
    if side.vocabulary is not None and side.vocabulary.unit == "byte":
        return text
    return normalized(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, side.form)


def written(units: Sequence[str], ids: Sequence[int], vocabulary: Vocabulary) -> bytes:
    """The text of units, of which the unknown ones may be others than those of their ids."""
    if vocabulary.unit == "byte":
        return vocabulary.decode_bytes(ids)
    if vocabulary.pretokenized:
        return " ".join(unit.strip() for unit in units).encode()
    if vocabulary.unit == "char":
        return "".join(units).encode()
    text = ""
    for unit, number in zip(units, ids, strict=True):
        if number == UNKNOWN and text and not text[-1].isspace() and not unit.startswith(" "):
            text += " "
        text += unit
    return text.encode()


def _key(seed: int, source: bytes, index: int) -> int:
    """The key of the random numbers of a sample."""
    return int.from_bytes(hashlib.sha256(b"%d %d " % (seed, index) + source).digest()[:16], "little")

"""Encoding: read texts into codes, learn the vocabulary, write the ids of the training and validation parts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.text.binary import remark_on_binary
from charrnn.text.coding import MOST_WORDS, UNSPELLED, Coder, Points, WordCoder, code_points, make_coder, smallest_type
from charrnn.text.holdout import LineSplit
from charrnn.text.reader import BYTES_AS_TEXT, Findings, Source, read_ahead, read_text, whole_lines, whole_words
from charrnn.text.spool import Spool
from charrnn.text.units import LINE_END, REPLACEMENT
from charrnn.text.vocabulary import UNIT_NAMES, UNKNOWN, Vocabulary

Stretch = tuple[Spool, int, int]  # the codes [start, stop) of a spool
Note = tuple[int | None, str]  # a remark for the user, with the number of the source that it is about


@dataclass(frozen=True)
class EncodedPart:
    """A file of ids: its name, their type and number, and the sizes of the text, see `corpus.Part`."""

    file: str
    dtype: str
    length: int
    bytes: int
    characters: int
    spelling: float


@dataclass(frozen=True)
class Encoded:
    """The result of `encode_sources`. `digests`: the number and the SHA-256 of each source's decompressed bytes."""

    vocabulary: Vocabulary
    train: EncodedPart
    validation: EncodedPart | None
    digests: list[tuple[int, str]]
    notes: list[Note]


class Digest:
    """Number and hash of the bytes of a source that were read so far."""

    def __init__(self) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()


@dataclass
class Reading:
    """The coder after all texts were read, and the stretches of their codes for training and for validation."""

    coder: Coder
    train: list[Stretch] = field(default_factory=list)
    validation: list[Stretch] = field(default_factory=list)
    digests: list[tuple[int, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def encode_sources(
    sources: Sequence[Source],
    work: Path,
    config: TextConfig,
    *,
    has_validation: bool,
    fraction: float,
    seed: int,
    given: Vocabulary | None,
) -> Encoded:
    """Encode `sources` into files in the folder `work`; with `has_validation`, the last one is the validation part.

    `fraction`, `seed`: of what is held out, see `corpus.load_corpus`; `given`: the vocabulary, if it is not learned.

    Raises:
        CharrnnError: a source cannot be read, or there is too little text.
    """
    main, held_out = Spool(work / "main.codes"), Spool(work / "held_out.codes")
    with contextlib.closing(main), contextlib.closing(held_out):
        by_line = LineSplit(fraction, seed) if config.lines and fraction > 0 else None
        reading = _read(sources, main, held_out, config, has_validation, fraction, by_line)
        if by_line is not None and by_line.mend():  # few lines: they are split again
            main.clear()
            held_out.clear()
            reading = _read(sources, main, held_out, config, has_validation, fraction, by_line)
        coder = reading.coder
        counts, spaces = _count(reading.train, coder)
        _check_enough(counts, coder, config, [source.name for source in sources], reading)
        if (remark := remark_on_binary(counts, coder, config)) is not None:
            reading.notes.append((None, remark))
        vocabulary = given or learn_vocabulary(counts, coder, config, reading.notes)
        ids = coder.ids(vocabulary).astype(smallest_type(len(vocabulary) - 1))
        train, validation = _part("train.ids", ids, counts, coder, spaces, vocabulary), None
        if reading.validation:
            counts, spaces = _count(reading.validation, coder)
            validation = _part("validation.ids", ids, counts, coder, spaces, vocabulary)
        _write(reading, ids, work / "train.ids", work / "validation.ids")
    return Encoded(vocabulary, train, validation, reading.digests, reading.notes)


def _read(
    sources: Sequence[Source],
    main: Spool,
    held_out: Spool,
    config: TextConfig,
    has_validation: bool,
    fraction: float,
    by_line: LineSplit | None,
) -> Reading:
    """Read all sources once into the spool `main`; lines that `by_line` holds out go into `held_out`."""
    reading = Reading(make_coder(config))
    coder = reading.coder
    for number, source in enumerate(sources):
        findings = Findings()
        digest = Digest()
        start = main.length
        for rest, out in read_ahead(_separated(_pieces(source, config, findings, digest), by_line)):
            main.append(*coder.encode(rest))
            held_out.append(*coder.encode(out))
        reading.digests.append((digest.size, digest.sha256.hexdigest()))
        reading.notes.extend((number, remark) for remark in findings.remarks())
        stop = main.length
        if has_validation and number == len(sources) - 1:
            if start == stop:
                raise CharrnnError(f"the validation file {source.name} is empty; give one with text, or `val_fraction`")
            reading.validation.append((main, start, stop))
            continue
        cut = stop if by_line is not None else start + int((1 - fraction) * (stop - start))
        reading.train.append((main, start, cut))
        if cut < stop:
            reading.validation.append((main, cut, stop))
    if by_line is not None:
        if held_out.length:
            reading.validation = [(held_out, 0, held_out.length)]
        else:
            reading.notes.append((None, "too few different lines to hold some out: there is no validation part"))
    if isinstance(coder, WordCoder) and coder.overflowed:
        reading.notes.append((None, f"words that first appear after {MOST_WORDS:,} different ones count as unknown"))
    return reading


def _pieces(source: Source, config: TextConfig, findings: Findings, digest: Digest) -> Iterator[str]:
    """The text of a source in pieces that can be split into units independently."""
    encoding = BYTES_AS_TEXT if config.unit == "byte" else config.encoding
    # Reading and hashing release the interpreter lock, so a thread does them in parallel.
    blocks = read_ahead(hashed(source.blocks(), digest))
    text = read_text(blocks, source.name, encoding, config.errors, findings)
    if config.lines:
        return whole_lines(text)
    return whole_words(text) if config.unit == "word" else text


def _separated(pieces: Iterator[str], by_line: LineSplit | None) -> Iterator[tuple[Points, Points]]:
    """The pieces as code points: what is to train on, and the lines that are held out."""
    for piece in pieces:
        text = code_points(piece)
        yield by_line.separate(text) if by_line is not None else (text, text[:0])


def hashed(blocks: Iterator[bytes], digest: Digest) -> Iterator[bytes]:
    """The same blocks; `digest` is updated."""
    for block in blocks:
        digest.size += len(block)
        digest.sha256.update(block)
        yield block


def _count(stretches: list[Stretch], coder: Coder) -> tuple[NDArray[np.int64], int]:
    """How often each code occurs (coder.size), and the bytes between units."""
    from charrnn.kernels.text import add_counts

    counts = np.zeros(coder.size, np.int64)
    total = 0
    for spool, start, stop in stretches:
        for codes, spaces in spool.read(start, stop):
            add_counts(codes.astype(np.uint32), counts)
            total += spaces
    return counts, total


def _check_enough(
    counts: NDArray[np.int64], coder: Coder, config: TextConfig, names: list[str], reading: Reading
) -> None:
    """Raise `CharrnnError` unless the training part has at least two different units."""
    corpus = ", ".join(names)
    name = UNIT_NAMES[config.unit]
    need = f"training needs at least two different {name}s, and a useful model thousands of them"
    if not any(stop > start for _, start, stop in [*reading.train, *reading.validation]):
        raise CharrnnError(f"{corpus} is empty; {need}")
    units = _different(counts, coder)
    if len(units) < 2:
        held_out_units = _different(_count(reading.validation, coder)[0], coder)
        found = f"one {name} only, {min(units)!r}," if units else "nothing but line ends"
        held_out = "; `val_fraction` 0 would add what is held out" if len(units | held_out_units) > 1 else ""
        raise CharrnnError(f"{corpus} has {found} to train on; {need}{held_out}")


def _different(counts: NDArray[np.int64], coder: Coder) -> set[str]:
    """The units that occur, except newlines."""
    return {coder.unit(int(code)) for code in np.flatnonzero(counts)} - {LINE_END}


def learn_vocabulary(counts: NDArray[np.int64], coder: Coder, config: TextConfig, notes: list[Note]) -> Vocabulary:
    """The vocabulary learned from counts (coder.size). May add to `notes`. Raises CharrnnError if no unit is left."""
    by_unit: dict[str, int] = {}
    unspelled = 0
    for code in np.flatnonzero(counts):
        unit, count = coder.unit(int(code)), int(counts[code])
        if unit == UNSPELLED:
            unspelled += count
        else:
            by_unit[unit] = count
    if config.pretokenized and (ends := by_unit.get("<eos>")):
        notes.append(
            (
                None,
                f"the word <eos> stands {ends:,} times in the text; it is an unknown word, not the end of a line",
            )
        )
    return Vocabulary.learn(by_unit, config, unspelled=unspelled)


def _spelling(
    ids: NDArray[np.unsignedinteger], counts: NDArray[np.int64], coder: Coder, vocabulary: Vocabulary
) -> float:
    """The summed log-probability, in nats, of the spellings of all unknown units, given that they are unknown."""
    unknown = np.flatnonzero((ids == UNKNOWN) & (counts > 0))
    characters = coder.lengths()[1]
    units = [coder.unit(int(code)) for code in unknown]
    spelled = [
        REPLACEMENT * int(characters[code]) if unit == UNSPELLED else unit
        for code, unit in zip(unknown, units, strict=True)
    ]
    return float(vocabulary.spelling_log_probs(spelled) @ counts[unknown])


def _part(
    name: str,
    ids: NDArray[np.unsignedinteger],
    counts: NDArray[np.int64],
    coder: Coder,
    spaces: int,
    vocabulary: Vocabulary,
) -> EncodedPart:
    """The record of the part with these counts (coder.size), in the file `name`; ids (coder.size): of each code."""
    unit_bytes, unit_characters = coder.lengths()
    length = int(counts.sum())
    size, characters = int(counts @ unit_bytes), int(counts @ unit_characters)
    spelling = _spelling(ids, counts, coder, vocabulary)
    return EncodedPart(name, ids.dtype.name, length, size + spaces, characters + spaces, spelling)


def _write(reading: Reading, ids: NDArray[np.unsignedinteger], train: Path, validation: Path) -> None:
    """Write the ids of both parts, and remove the codes that were read; ids (coder.size): of each code."""
    with contextlib.ExitStack() as stack:
        parts = [(stretch, train) for stretch in reading.train]
        parts += [(stretch, validation) for stretch in reading.validation]
        files = {path: stack.enter_context(path.open("wb")) for path in {path for _, path in parts}}
        # In the order in which they were read, so that each file of codes can be removed at its end.
        for (spool, start, stop), path in sorted(parts, key=lambda part: part[0][1]):
            for block in read_ahead(np.take(ids, codes) for codes, _ in spool.read(start, stop, remove=True)):
                files[path].write(block.data)

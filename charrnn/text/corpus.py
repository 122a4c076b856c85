"""A corpus: texts encoded once into memory-mapped files of ids, with the vocabulary of their training part."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import unicodedata
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.runtime.lock import try_lock
from charrnn.text.batches import IdBound, bound_of
from charrnn.text.encoding import EncodedPart, encode_sources
from charrnn.text.reader import STDIN, Source
from charrnn.text.vocabulary import EOS, Vocabulary

LAYOUT = 5  # version of the encoded files: those of another version are not read
RECORD = "corpus.json"
WORK_PREFIX = ".new-"
STALE_SECONDS = 24 * 3600
# An encoded corpus is removed this long after its last use, or when it and those used later exceed this size.
KEPT_SECONDS = 30 * 24 * 3600
KEPT_BYTES = 10e9


@dataclass
class Part:
    """The training or validation part. `ids` (tokens) is memory-mapped, of the smallest unsigned integer type.

    `bytes` (of UTF-8) and `characters` are those of the text as it was read; an end of line counts one of each.
    `spelling` is the log-probability, in nats, that the spellings of its unknown units add to that of the ids. `lines`:
    each line is a sequence by itself. `bound`: readers check every window of ids against it.
    """

    ids: NDArray[np.unsignedinteger]
    bytes: int
    characters: int
    spelling: float = 0.0
    lines: bool = False
    bound: IdBound | None = None

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    def sizes(self) -> dict[str, Any]:
        """Tokens, bytes, characters and `spelling`, for logs and checkpoints."""
        return {
            "tokens": len(self.ids), "bytes": self.bytes, "characters": self.characters, "spelling": self.spelling
        }  # fmt: skip


@dataclass
class Corpus:
    """An encoded corpus, cut into units as `config` says. `notes` are remarks for the user about the text.

    `digest` is the SHA-256 of the decompressed bytes; of several files, that of their digests, one a line.
    """

    vocabulary: Vocabulary
    config: TextConfig
    train: Part
    validation: Part | None
    digest: str
    notes: list[str] = field(default_factory=list)
    calibration: NDArray[np.unsignedinteger] | None = None  # of the training part: what the network never sees

    def hold_back(self, tokens: int) -> None:
        """Take `tokens` in the middle of the training part out of it: what a text is read for mostly goes on from its
        end. Of one of lines, whose order may say something, lines drawn at random are taken, about so many tokens."""
        ids = self.train.ids
        held = np.zeros(len(ids), np.bool_)
        held[(len(ids) - tokens) // 2 : (len(ids) + tokens) // 2] = True
        if self.train.lines:
            lengths = np.diff(np.flatnonzero(ids == EOS), prepend=-1, append=len(ids) - 1)
            held = np.repeat(np.random.default_rng(0).random(len(lengths)) < tokens / len(ids), lengths)
        kept = int(len(ids) - held.sum())
        if not 0 < kept < len(ids):
            raise CharrnnError(
                f"the training part has {len(ids):,} tokens, and a memory needs some to fit its weights with; give "
                "more text, or leave `memory` out"
            )
        share = kept / len(ids)
        self.calibration = ids[held]
        part = self.train
        self.train = replace(
            part, ids=ids[~held], bytes=round(part.bytes * share),
            characters=round(part.characters * share), spelling=part.spelling * share,
        )  # fmt: skip

    def sizes(self) -> dict[str, Any]:
        """The digest and the sizes of each part, for logs and checkpoints."""
        parts = {"training": self.train, "validation": self.validation}
        return {"digest": self.digest, **{name: part.sizes() for name, part in parts.items() if part is not None}}


def load_corpus(
    paths: Sequence[str],
    config: TextConfig,
    *,
    val_path: str | None,
    val_fraction: float,
    seed: int,
    cache_dir: Path,
    vocabulary: Vocabulary | None = None,
) -> Corpus:
    """Encode the files `paths` ("-" is stdin), or open them from the cache in `cache_dir` if they are there.

    The last `val_fraction` of the units of each file is the validation part; with `config.lines`, it is the lines whose
    content, hashed with `seed`, falls in that fraction. `val_path` names a file that is the validation part instead.
    The vocabulary is learned from the training part, unless a `vocabulary` is given. Memory is bounded. If `cache_dir`
    is not writable, the encoded files are temporary.

    Raises:
        CharrnnError: a file is missing, unreadable, damaged or not valid in its encoding, or there is too little text.
        UsageError: stdin is given twice, or `vocabulary` has another unit than `config`.
    """
    names = [*paths] if val_path is None else [*paths, val_path]
    require_readable_once(names)
    if vocabulary is not None:
        require_same_unit(vocabulary, config)
    fraction = 0.0 if val_path is not None else val_fraction
    settings: dict[str, Any] = {
        "layout": LAYOUT,
        "unicode": unicodedata.unidata_version if config.unit == "word" else "",
        "config": asdict(config),
        "validation_file": val_path is not None,
        "fraction": fraction,
        "seed": seed if config.lines and fraction else 0,
        "vocabulary": vocabulary.to_json() if vocabulary else None,
    }
    folder = _writable_folder(cache_dir)
    with contextlib.ExitStack() as stack:
        try:
            work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=folder))
            stack.callback(shutil.rmtree, work, ignore_errors=True)
            sources = [stack.enter_context(contextlib.closing(Source(name, work))) for name in names]
            shown = [source.name for source in sources]
            # Sources are hashed, which reads all of them, only if the cache has an entry of this size.
            sizes = [source.size() for source in sources]
            size = "*" if None in sizes else str(sum(filter(None, sizes)))
            if any(folder.glob(f"{_key(settings)}-{size}-*")):
                found = _open_entry(folder / _name(settings, [source.digest() for source in sources]), shown, config)
                if found is not None:
                    return found
            encoded = encode_sources(
                sources,
                work,
                config,
                has_validation=val_path is not None,
                fraction=fraction,
                seed=seed,
                given=vocabulary,
            )
            record = {
                "digest": combined_digest([digest for _, digest in encoded.digests]),
                "notes": encoded.notes,
                "train": asdict(encoded.train),
                "validation": asdict(encoded.validation) if encoded.validation else None,
                "text": encoded.vocabulary.to_json(),
            }
            (work / RECORD).write_text(json.dumps(record), encoding="utf-8")
            # With the digests of what was encoded: a file may have grown since it was opened.
            entry = folder / _name(settings, encoded.digests)
            shutil.rmtree(entry, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process may have encoded the same files meanwhile
                work.rename(entry)
        except OSError as error:
            raise CharrnnError(
                f"cannot write the encoded corpus in {folder}: {error.strerror}; make room there, "
                f"or name another folder in CHARRNN_CACHE_DIR"
            ) from error
        corpus = _open_entry(entry, shown, config)
        _prune(folder)
        if corpus is None:
            raise CharrnnError(f"the encoded corpus in {entry} cannot be read back; remove that folder and try again")
        return corpus


def require_readable_once(names: Sequence[str]) -> None:
    """Raise `UsageError` if stdin is one of `names` twice."""
    if names.count(STDIN) > 1:
        raise UsageError("- (stdin) is given twice, and it can be read once only; name a file for one of them")


def require_same_unit(vocabulary: Vocabulary, config: TextConfig) -> None:
    """Raise `UsageError` if `vocabulary`, that of another model, has not the unit of `config`."""
    if (vocabulary.unit, vocabulary.pretokenized) != (config.unit, config.pretokenized):
        raise UsageError(
            f"the model to start from has the unit {vocabulary.unit}{' (pretokenized)' * vocabulary.pretokenized}, not "
            f"{config.unit}{' (pretokenized)' * config.pretokenized}; choose the same `unit` and `pretokenized`"
        )


def _name(settings: dict[str, Any], contents: list[tuple[int, str]]) -> str:
    """The folder name of an entry, from its settings and the sizes and digests of its sources."""
    return f"{_key(settings)}-{sum(size for size, _ in contents)}-{_key([digest for _, digest in contents])}"


def _key(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def combined_digest(digests: Sequence[str]) -> str:
    """The digest of several files, from the SHA-256 of each: that of all of them, one a line. Of one file, its own."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def _writable_folder(cache_dir: Path) -> Path:
    """`cache_dir`/corpora, without the leftovers of killed runs; a temporary folder if it is not writable."""
    folder = cache_dir / "corpora"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return _temporary_folder()
    for left in folder.glob(f"{WORK_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    return folder


@functools.cache
def _temporary_folder() -> Path:
    """A folder that is removed when this process ends, the same for all calls."""
    folder = Path(tempfile.mkdtemp(prefix="charrnn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _prune(folder: Path) -> None:
    """Remove the encoded corpora that were not used for long or take too much space, but none that is in use."""
    total = 0
    with contextlib.suppress(OSError):  # another process may prune as well
        used = {entry: (entry / RECORD).stat().st_mtime for entry in folder.iterdir() if (entry / RECORD).exists()}
        for entry in sorted(used, key=used.__getitem__, reverse=True):
            total += sum(file.stat().st_size for file in entry.iterdir())
            if total > KEPT_BYTES or time.time() - used[entry] > KEPT_SECONDS:
                descriptor = os.open(entry / RECORD, os.O_RDONLY)
                try:
                    if try_lock(descriptor):
                        shutil.rmtree(entry, ignore_errors=True)
                finally:
                    os.close(descriptor)


def _open_entry(entry: Path, names: list[str], config: TextConfig) -> Corpus | None:
    """The corpus encoded in `entry`, locked as long as the result exists; None if it is missing or incomplete."""
    try:
        descriptor = os.open(entry / RECORD, os.O_RDONLY)
    except OSError:
        return None
    corpus = _read_entry(entry, names, config) if try_lock(descriptor, shared=True) else None
    if corpus is None:
        os.close(descriptor)
    else:
        weakref.finalize(corpus, os.close, descriptor)
        with contextlib.suppress(OSError):
            os.utime(entry / RECORD)
    return corpus


def _read_entry(entry: Path, names: list[str], config: TextConfig) -> Corpus | None:
    try:
        record = json.loads((entry / RECORD).read_text(encoding="utf-8"))
        vocabulary = Vocabulary.from_json(record["text"])
        units, held_out = len(vocabulary), record["validation"]
        train = _open_part(entry, record["train"], config, units)
        validation = _open_part(entry, held_out, config, units) if held_out else None
        notes = [f"{names[source]}: {text}" if source is not None else text for source, text in record["notes"]]
        return Corpus(vocabulary, config, train, validation, record["digest"], notes)
    except (OSError, ValueError, LookupError, TypeError, CharrnnError):
        return None


def _open_part(entry: Path, value: dict[str, Any], config: TextConfig, units: int) -> Part:
    part = EncodedPart(**value)
    path = entry / part.file
    if path.stat().st_size != part.length * np.dtype(part.dtype).itemsize:
        raise ValueError(f"{path} is not complete")
    ids = np.asarray(np.memmap(path, part.dtype, mode="r"))
    bound = bound_of(part.dtype, units, entry)
    return Part(ids, part.bytes, part.characters, part.spelling, config.lines, bound)

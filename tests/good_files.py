"""Good checkpoints, small ones of each kind, for `tests/fuzz.py` to change."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from charrnn import checkpoint as ckpt
from charrnn import tasks
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig
from charrnn.formats import TextSide
from charrnn.models.language import parameter_layout
from charrnn.task_config import ClassifierConfig, RecordsConfig
from charrnn.tasks.classify_format import CLASSIFY, ClassifierSides
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import keeper, setup
from charrnn.training.events import Saved
from charrnn.training.loop import train
from charrnn.training.task import Request

# What runs of each task learn from.
CORPORA = {
    "language": "".join(
        f"the {animal} {verb}s.\n" for animal in ("cat", "dog", "hen") for verb in ("sit", "run", "eat")
    )
    * 8,
    "classify": "".join(
        f"{'loud' if sound in 'ao' else 'quiet'}\tthe {animal} s{sound}t {n}\n"
        for animal in ("cat", "dog", "hen")
        for sound in "aeiou"
        for n in range(4)
    ),
    "tag": "".join(
        f"the O\n{size} O\n{name} B-PER\n{name}son I-PER\nsits O\nin O\n{place} B-LOC\n\n"
        for size in ("big", "old", "wet")
        for name in ("Tom", "Ann", "Zoë")
        for place in ("Rome", "Bath", "Oslo", "Lima")
    ),
    "forecast": "month,sold,wave\n"
    + "".join(
        f"{2000 + n // 12}-{n % 12 + 1:02d},{20 + n / 5 + 9 * math.sin(n * 0.52) + n * n % 7:.2f},{math.cos(n):.3f}\n"
        for n in range(80)
    ),
    "translate": "".join(
        f"{n:b}\t{' '.join(('zero', 'one', 'two')[n // 3**k % 3] for k in range(4))}\n" for n in range(40)
    ),
}
STYLES = "".join(f"{'xyz'[n % 3]}\t{'xyz'[n % 3] * (n % 4)}{n}\n" for n in range(40))
# Options of the runs of each task.
OPTIONS: dict[str, dict[str, Any]] = {
    "language": {"embedding_size": 4, "seq_length": 8},
    "classify": {"embedding_size": 4, "ngrams": 0, "unit": "char"},
    "tag": {"embedding_size": 4, "char_ngrams": 2},
    "forecast": {"horizon": 2, "val_fraction": 0.2, "window": 14},
    "translate": {"embedding_size": 4},
}
# Files without the state of a run, but with weights that one step has trained: of a task, a corpus, other options.
TRAINED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "memory": ("language", CORPORA["language"] * 4, {"memory": True, "memory_size": 100_000}),
    "spans": ("tag", CORPORA["tag"], {"cell": ("lstm", "gru"), "dense": (5, 4), "layers": 2}),
    "parts of speech": (
        "tag",
        CORPORA["tag"].replace("B-", "").replace("I-", ""),
        {"cell": ("gru",), "bidirectional": False, "char_ngrams": 0},
    ),
    "numbers by date": ("forecast", CORPORA["forecast"], {"cell": ("gru",), "dense": (5, 4)}),
    "numbers": (
        "forecast",
        "".join(f"{n % 9 + n * n % 5} {n % 4}\n" for n in range(80)),
        {"cell": ("rnn",), "distribution": "student"},
    ),
    "pairs": ("translate", CORPORA["translate"], {"cell": ("gru",), "layers": 2, "unit": "byte,word"}),
    "styles": ("translate", STYLES, {"cell": ("lstm",), "attention": "none"}),
}
# Of each task: files with random weights, and files of a training run.
FILES = {
    "language": ("char", "word", "byte", "adaptive", "memory"),
    "classify": ("labels", "labels by words"),
    "tag": ("spans", "parts of speech"),
    "forecast": ("numbers by date", "numbers"),
    "translate": ("pairs", "styles"),
}
RESUMABLE = {
    "language": ("training", "finished"),
    "classify": ("labels training", "labels finished"),
    "tag": ("tags training", "tags finished"),
    "forecast": ("numbers training", "numbers finished"),
    "translate": ("pairs training", "pairs finished"),
}


def good_files() -> dict[str, bytes]:
    """The bytes of a checkpoint of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        found = {**language_files(Path(folder)), **label_files(Path(folder))}
        found |= {kind: trained_file(Path(folder), kind) for kind in TRAINED}
        for task, (between, finished) in RESUMABLE.items():
            saved = trained_files(Path(folder), task)
            found |= {between: saved["training"], finished: saved["finished"]}
    return found


WORDS = {f" w{n}": 100 - n for n in range(40)} | {"\n": 50, "<unk>": 3, "rare": 1, "été": 1}


def language_files(folder: Path) -> dict[str, bytes]:
    """Language models with random weights."""
    kinds: dict[str, tuple[TextConfig, dict[str, int], dict[str, Any]]] = {
        "char": (TextConfig(lines=True), {"\n": 9, "a": 7, "é": 3, "b": 2}, {"cells": ("lstm",)}),
        "word": (TextConfig(unit="word", min_count=2), WORDS, {"cells": ("gru",), "embedding_size": 3}),
        "byte": (TextConfig(unit="byte"), {}, {"cells": ("rnn",), "activation": "relu", "embedding_size": 4}),
        "adaptive": (TextConfig(unit="word", max_vocab=40), WORDS, {"cells": ("gru", "lstm"), "cutoffs": (8, 20)}),
    }
    files = {}
    numbers = np.random.default_rng(0)
    for kind, (text, counts, options) in kinds.items():
        vocabulary = Vocabulary.learn(counts, text)
        config = ModelConfig(**{"vocabulary_size": len(vocabulary), "hidden_size": 16, **options})
        weights = {
            name: numbers.normal(size=shape).astype(np.float32)
            for name, shape in parameter_layout(config).tensor_shapes().items()
        }
        file = folder / kind
        ckpt.save(file, Checkpoint(config, TextSide(vocabulary, text), {"source": {}}, {"seconds": 1.5}, weights))
        files[kind] = file.read_bytes()
    return files


def label_files(folder: Path) -> dict[str, bytes]:
    """Classifiers with random weights. Only the first has a table of n-grams, which is large."""
    kinds: dict[str, tuple[TextConfig, dict[str, int], dict[str, Any]]] = {
        "labels": (TextConfig(), {"\n": 9, "a": 7, "é": 3, "b": 2}, {"cells": ("lstm",), "ngrams": 2}),
        "labels by words": (
            TextConfig(unit="word", min_count=2),
            WORDS,
            {"cells": ("gru", "lstm"), "embedding_size": 3, "pool": "attention", "dense": (5, 4), "peepholes": True},
        ),
    }
    files = {}
    numbers = np.random.default_rng(0)
    for kind, (text, counts, options) in kinds.items():
        vocabulary = Vocabulary.learn(counts, text)
        config = ClassifierConfig(
            **{"vocabulary_size": len(vocabulary), "hidden_size": 16, "labels": 3, **options}
        )  # fmt: skip
        weights = {
            name: numbers.normal(size=shape).astype(np.float32)
            for name, shape in CLASSIFY.tensor_shapes(config, 100).items()
        }
        sides = ClassifierSides(TextSide(vocabulary, text), ("spam", "ham", "été"), RecordsConfig())
        file = folder / kind
        ckpt.save(file, Checkpoint(config, sides, {"source": {}}, {"seconds": 1.5}, weights, format=CLASSIFY))
        files[kind] = file.read_bytes()
    return files


def trained_file(folder: Path, kind: str) -> bytes:
    """A file of `TRAINED`."""
    task, text, others = TRAINED[kind]
    corpus, output = folder / f"{kind}.txt", folder / kind
    corpus.write_text(text)
    options = {"hidden_size": 16, "layers": 1, "batch_size": 3, "steps": 1, **OPTIONS[task], **others}
    for _ in train(*setup.prepare(tasks.task_named(task), Request([str(corpus)], output, options), lambda: 0.0)):
        pass
    found = tasks.load_checkpoint(output)
    ckpt.save(output, dataclasses.replace(found, training={"source": {}}))
    return output.read_bytes()


def trained_files(folder: Path, task: str = "language") -> dict[str, bytes]:
    """Two files of one small run: saved between two validations, and at its end."""
    corpus = folder / f"{task}.txt"
    corpus.write_text(CORPORA[task])
    options: dict[str, Any] = {"hidden_size": 16, "layers": 1}
    options |= {"batch_size": 3, "steps": 20, "eval_every": 10, "dropout": 0.1, "precision": "float32"}
    options |= OPTIONS[task]
    output = folder / f"{task} run"
    files = {}
    asked = Request([str(corpus)], output, options, cache=folder)
    with mock.patch.multiple(keeper, SAVE_SECONDS=0.0, SAVE_SHARE=math.inf):
        for event in train(*setup.prepare(tasks.task_named(task), asked, lambda: 0.0)):
            if isinstance(event, Saved) and event.step == 13:
                files["training"] = output.read_bytes()
    return {**files, "finished": output.read_bytes()}

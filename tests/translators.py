"""Translators as tests use them: small ones with random weights, and batches of random pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from charrnn.models.translator import Translator
from charrnn.runtime.arrays import Ids
from charrnn.task_config import TranslatorConfig
from charrnn.text.batch import Batch, EncoderInput

V_SOURCE, V = 7, 6  # units of sources and of targets
# The pairs of each row of the targets, by the lengths of source and target; padding follows.
PAIRS = (((3, 2), (1, 4)), ((5, 7),), ((2, 1), (4, 1), (1, 1)), ((6, 3),))
Pair = tuple[Ids, Ids]


def make(
    *, threads: int = 2, dtype: Any = np.float64, bfloat16: bool = False, noise: float = 0.3, **options: Any
) -> Translator:  # fmt: skip
    """A translator with random weights and biases."""
    sizes: dict[str, Any] = {"cells": ("gru",), "hidden_size": 6, "embedding_size": 4, **options}
    config = TranslatorConfig(vocabulary_size=V, source_vocabulary_size=V_SOURCE, **sizes)
    network = Translator(config, threads=threads, dtype=dtype, bfloat16=bfloat16)
    network.initialise(1)
    network.parameters += noise * np.random.default_rng(0).standard_normal(network.parameters.size).astype(dtype)
    network.invalidate()
    return network


def pairs(lengths: Sequence[Sequence[tuple[int, int]]] = PAIRS, seed: int = 0) -> list[list[Pair]]:
    """Random pairs of source and target for each row."""
    rng = np.random.default_rng(seed)

    def text(length: int, size: int) -> Ids:
        return rng.integers(2, size, length).astype(np.int32)

    return [[(text(source, V_SOURCE), text(target, V)) for source, target in row] for row in lengths]


def pack(rows: Sequence[Sequence[Pair]], T: int = 8, *, wide: bool = False, first: int = 0) -> Batch:
    """The targets row by row from step `first` on; their sources in the rows of a window of another shape, in another
    order. Padding is arbitrary. `wide`: each source has a row of its own."""
    rng, B = np.random.default_rng(5), len(rows)
    inputs, targets = rng.integers(0, V, (T, B)).astype(np.int32), rng.integers(0, V, (T, B)).astype(np.int32)
    reset, ends, weights = np.zeros((T, B), np.bool_), np.zeros((T, B), np.bool_), np.zeros((T, B))
    sources = []
    for b, row in enumerate(rows):
        t = first
        for source, target in row:
            inputs[t : t + target.size, b] = np.append(1, target[:-1])
            targets[t : t + target.size, b] = target
            reset[t, b] = ends[t + target.size - 1, b] = True
            weights[t : t + target.size, b] = rng.integers(1, 3, target.size)
            sources.append(source)
            t += target.size
    return Batch(inputs, targets, reset, ends, weights, source=pack_sources(sources, wide=wide))


def pack_sources(sources: Sequence[Ids], *, wide: bool = False) -> EncoderInput:
    """Sources, the last first, in as few rows as their longest allows, or each in a row of its own."""
    T = max(map(len, sources)) + wide
    rows: list[list[int]] = [[]]
    for s in reversed(range(len(sources))):
        if wide or sum(sources[other].size for other in rows[-1]) + sources[s].size > T:
            rows.append([])
        rows[-1].append(s)
    B, lengths = len(rows), np.array([source.size for source in sources], np.int64)
    inputs = np.random.default_rng(6).integers(0, V_SOURCE, (T, B)).astype(np.int32)
    places, reset, ends = np.zeros(len(sources), np.int64), np.zeros((T, B), np.bool_), np.zeros((T, B), np.bool_)
    for b, row in enumerate(rows):
        t = 0
        for s in row:
            places[s] = t * B + b
            inputs[t : t + lengths[s], b] = sources[s]
            reset[t, b] = ends[t + lengths[s] - 1, b] = True
            t += int(lengths[s])
    return EncoderInput(inputs, reset, ends, places, lengths)

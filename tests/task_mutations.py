"""All that is changed in a checkpoint by `tests/fuzz.py`, and what only files of some tasks have: labels, columns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from tests.mutations import (
    VALUES,
    flipped,
    header_length,
    metadata_key,
    metadata_text,
    metadata_value,
    pieces_moved,
    put_together,
    sizes,
    take_apart,
    tensor_entry,
    tensor_names,
    training_entry,
    training_tensors,
    truncated,
    vocabulary,
    weights,
)  # fmt: skip


def labels(data: bytes, choose: Random) -> bytes:
    """Labels that are missing, twice there, no text, or such that a terminal obeys; other records than were read."""
    header, metadata, body = take_apart(data)
    found = metadata["output"]["labels"]
    strange = ["", "\n", "a\tb", "\x1b]0;owned\x07", "\x9b31m", "\ud800", "\u202e", "x" * 5000, *found, *VALUES]
    if metadata["task"] == "tag":
        strange += ["B-", "I", "-", "-PER", "B-PER-LOC", "E-PER", "S-PER", "L-PER", "I-LOC"]
        if choose.random() < 0.3:
            metadata["output"]["scheme"] = choose.choice(["none", "iob1", "iob2", "iobes", "IOB2", "bilou", *VALUES])
        if choose.random() < 0.3:
            usual = metadata["usual_labels"]
            usual[choose.randrange(len(usual))] = choose.choice([-1, len(found), len(found) - 1, 2**31, True, 0.0])
    match choose.randrange(5):
        case 0 | 1:
            found[choose.randrange(len(found))] = copy.deepcopy(choose.choice(strange))
        case 2:
            metadata["output"]["labels"] = choose.choice([found[:-1], found[:1], found * 2, found[::-1], [], "ab"])
            metadata["model"]["labels"] = choose.choice([1, 2, len(found), len(metadata["output"]["labels"])])
        case 3:
            metadata["records"]["columns"] = choose.choice([["1"], ["a", "b"], ["1", "1"], [1, 2], "ab", None])
        case _:
            metadata["records"]["max_length"] = choose.choice([-1, 1, 2**40, 10**30, 1.5, None, "1"])
    return put_together(header, metadata, body)


def columns(data: bytes, choose: Random) -> bytes:
    """Columns of a table, their scales, the errors of baselines or the time between rows are others."""
    header, metadata, body = take_apart(data)
    table = metadata["columns"]
    for _ in range(choose.choice([1, 1, 2])):
        section = table[choose.choice(["columns", "config", "scales", "scales", "errors", "spacing"])]
        key = choose.choice(list(section))
        value = section[key]
        numbers = [0.0, -1.0, 1e-320, 1e-300, 1e-30, 1e30, 1e154, 1e300, 1.7e308, 5, 10**15, 2**40]
        strange = [
            "year",
            "month",
            "date",
            "time",
            "week",
            "sold",
            "month",
            "1",
            "\x1b[2J",
            "\ud800",
            *numbers,
            *VALUES,
        ]
        if isinstance(value, list) and value and choose.random() < 0.7:
            floats = isinstance(value[0], float)
            nearby = [value[0] * factor for factor in (1e-20, 1e-6, 0.5, 2.0, 1e6, 1e20)] if floats else []
            of_kind = [*nearby, *nearby, *numbers] if nearby else strange
            if choose.random() < 0.3:
                section[key] = [choose.choice(of_kind)] * len(value)
            else:
                value[choose.randrange(len(value))] = copy.deepcopy(choose.choice(of_kind))
        elif isinstance(value, bool):
            section[key] = not value
        else:
            section[key] = copy.deepcopy(choose.choice(strange))
    if choose.random() < 0.2:
        table["season"] = choose.choice([0, 1, 2, 13, 70, 10_000, *VALUES])
    return put_together(header, metadata, body)


def pairs(data: bytes, choose: Random) -> bytes:
    """Another form, entry or unit of a side, labels that are not, records or a ratio of lengths that cannot be."""
    header, metadata, body = take_apart(data)
    read = metadata["input"]
    match choose.randrange(5):
        case 0:
            side = choose.choice([read, metadata["output"]])
            side[choose.choice(list(side))] = choose.choice(["nfc", "nfd", "NFD", "text", "source", "labels", *VALUES])
        case 1 if "labels" in read:
            strange = ["", "\n", "a\tb", "\x1b]0;owned\x07", "\ud800", "\u202e", "x" * 5000, *VALUES]
            read["labels"][choose.randrange(len(read["labels"]))] = copy.deepcopy(choose.choice(strange))
        case 1 | 2:
            sizes = [1, 2, 3, 5, metadata["model"]["vocabulary_size"], 2**40]
            metadata["model"][choose.choice(["source_vocabulary_size", "hidden_size"])] = choose.choice(sizes)
        case 3:
            units = ["", "char", "char,word", "word,word,word", ",", "letter"]
            numbers = [-2, -1, 0, 1]
            changes: list[tuple[str, list[Any]]] = [
                ("unit", units),
                ("max_vocab", numbers),
                ("normalize", ["nfd", "x"]),
            ]
            key, values = choose.choice(changes)
            metadata["records"][key] = choose.choice(values)
        case _:
            metadata["length_ratio"] = choose.choice([1e-9, 0.0, -1.0, 1, 500, 501, 1e300, 10**400, *VALUES])
    return put_together(header, metadata, body)


MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    truncated, flipped, pieces_moved, header_length, tensor_entry, tensor_names, metadata_value, metadata_value,
    metadata_key, metadata_text, vocabulary, labels, columns, pairs, sizes, weights, training_entry, training_entry,
    training_tensors,
)  # fmt: skip
# The tasks whose files have what these change; of the others it is all tasks.
OF_TASKS: dict[Callable[[bytes, Random], bytes], tuple[str, ...]] = {
    vocabulary: ("language", "classify", "tag", "translate"),
    labels: ("classify", "tag"),
    columns: ("forecast",),
    pairs: ("translate",),
}

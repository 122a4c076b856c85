"""What a stranger or a bad disk can change in a checkpoint. Labels and columns: `tests/task_mutations.py`."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

# Values of every type, small and huge; texts that a terminal would obey, that no encoding can write, that end a line.
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, -1, 7, 255, 257, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 10**400, 10**4000,
    0.0, -0.0, 0.5, 1.0, 1e308, -1e-308, "", "1", "lstm", "char", "a", "\n", "\x1b]0;owned\x07\x1b[2J", "\x9b31m",
    "\ud800", "é" * 50, "x" * 5000, "utf-8", "base64", "../evil", "encodings", [], [1], [None], [0] * 300,
    ["lstm"] * 300, [[]], {}, {"": 0}, {"a": {"b": [1]}},
]  # fmt: skip


# Parts of the metadata; the last ones are of tasks other than language models.
SECTIONS = ("model", "text", "source", "training", "timings", "input", "output", "records", "columns")


def take_apart(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header without its metadata, the metadata, and the bytes of the tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    return header, json.loads(header.pop("__metadata__")["charrnn"]), data[end:]


def put_together(header: dict[str, Any], metadata: Any, body: bytes) -> bytes:
    """The reverse; the header may come out as something that no good program writes."""
    inside = metadata if isinstance(metadata, str) else json.dumps(metadata)
    return with_header(json.dumps({"__metadata__": {"charrnn": inside}, **header}).encode(), body)


def with_header(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def truncated(data: bytes, choose: Random) -> bytes:
    return data[: choose.choice([choose.randrange(len(data)), choose.randrange(40), len(data) - choose.randrange(9)])]


def flipped(data: bytes, choose: Random) -> bytes:
    changed = bytearray(data)
    end = 8 + int.from_bytes(data[:8], "little")
    limit = choose.choice([8, end, len(data)])
    for _ in range(choose.choice([1, 1, 2, 8, 64])):
        changed[choose.randrange(limit)] ^= 1 << choose.randrange(8)
    return bytes(changed)


def pieces_moved(data: bytes, choose: Random) -> bytes:
    one, two = sorted(choose.randrange(len(data)) for _ in range(2))
    two = min(two, one + 500)
    return choose.choice([data[:one] + data[two:], data[:two] + data[one:], data[:one] + bytes(two - one) + data[two:]])


def header_length(data: bytes, choose: Random) -> bytes:
    true = int.from_bytes(data[:8], "little")
    length = choose.choice([0, 1, true - 1, true + 1, true + 8, 2**20, 10**8, 10**8 + 1, 2**40, 2**63, 2**64 - 1])
    return length.to_bytes(8, "little") + data[8:]


def tensor_entry(data: bytes, choose: Random) -> bytes:
    header, metadata, body = take_apart(data)
    name = choose.choice(list(header))
    entry = header[name]
    match choose.randrange(6):
        case 0:
            entry["dtype"] = choose.choice(["F16", "BF16", "F64", "I8", "U64", "BOOL", "f32", "", *VALUES])
        case 1:
            entry["shape"] = choose.choice([entry["shape"][::-1], [*entry["shape"], 1], [-1], [2**40, 2**40], *VALUES])
        case 2:
            entry["data_offsets"] = choose.choice([[0, 0], [0, 2**50], [-4, 0], [0], [0.0, 4.0], *VALUES])
        case 3:
            place = choose.randrange(len(entry["shape"]))
            entry["shape"][place] = choose.choice([0, 1, -1, 2**32, 2**62, 10**30, *VALUES])
        case 4:
            entry["data_offsets"][choose.randrange(2)] += choose.choice([-4, 4, 1, 2**33, -(2**33)])
        case _:
            header[name] = choose.choice(VALUES)
    return put_together(header, metadata, body)


def tensor_names(data: bytes, choose: Random) -> bytes:
    header, metadata, body = take_apart(data)
    name, other = choose.choice(list(header)), choose.choice(list(header))
    match choose.randrange(5):
        case 0:
            del header[name]
        case 1:
            strange = [name + "x", "training." + name, "", "\x1b[2J", "\ud800", "a" * 3000, "training.\ud800"]
            header[choose.choice(strange)] = header.pop(name)
        case 2:
            header[name], header[other] = header[other], header[name]
        case 3:
            header["training.again"] = header[name]
        case _:  # the same key twice, which json.dumps does not write
            text = json.dumps({"__metadata__": {"charrnn": json.dumps(metadata)}, **header})
            return with_header((text[:-1] + f", {json.dumps(name)}: {json.dumps(header[other])}}}").encode(), body)
    return put_together(header, metadata, body)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every table or list inside `value`, with each of its keys."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, item in items:
        yield value, key
        yield from places(item)


def metadata_value(data: bytes, choose: Random) -> bytes:
    header, metadata, body = take_apart(data)
    section = metadata[choose.choice([name for name in SECTIONS if name in metadata])]
    for _ in range(choose.choice([1, 1, 1, 2])):
        everything = list(places(choose.choice([metadata, section, section])))
        table, key = choose.choice(everything)
        table[key] = copy.deepcopy(choose.choice(VALUES))
    return put_together(header, metadata, body)


def metadata_key(data: bytes, choose: Random) -> bytes:
    header, metadata, body = take_apart(data)
    table, key = choose.choice(list(places(metadata)))
    if choose.random() < 0.5:
        del table[key]
    elif isinstance(table, dict):
        table[choose.choice([str(key) + "x", "", "\x1b[2J", "vocabulary_size", "cells", "__class__"])] = table[key]
    else:
        table.insert(key, table[choose.randrange(len(table))])
    return put_together(header, metadata, body)


def metadata_text(data: bytes, choose: Random) -> bytes:
    header, metadata, body = take_apart(data)
    text = json.dumps(metadata)
    depth = choose.choice([5, 90, 99, 100, 150, 900, 5000, 100000])
    nested = choose.choice(["[" * depth + "]" * depth, '{"a":' * depth + "0" + "}" * depth, "[" * depth])
    table = choose.choice(["training", "timings", "model", "text"])
    strange = [
        "", "null", "[]", "{}", "NaN", nested, text[:-1], text + "x", "\ufeff" + text,
        text.encode("utf-16").decode("latin-1"), text.replace(": 1", ": NaN", 1), text.replace("16", "1e999", 1),
        text.replace("16", "1" * 5000, 1), text[:-1] + f', "{table}": {nested}}}', text[:-1] + f', "new": {nested}}}',
        text.replace(f'"{table}": {{', f'"{table}": {{"deep": {nested}, ', 1),
    ]  # fmt: skip
    inside: Any = choose.choice(strange)
    if choose.random() < 0.1:
        header["__metadata__"] = choose.choice([*VALUES, {"charrnn": {}}, {"charrnn": 1}, {"other": inside}])
    return put_together(header, inside, body)


def vocabulary(data: bytes, choose: Random) -> bytes:
    header, metadata, body = take_apart(data)
    text = metadata["text"]
    units = text["vocabulary"]
    fallback = text["fallback"]
    one, two = choose.randrange(len(units)), choose.randrange(len(units))
    strange = ["", "\n", " ", "\x1b[2J", "\x9b", "\x07", "\x00", "\ud800", "\udc80", "\u202e", "a\nb", "<unk>", "00", 5]
    units[one] = choose.choice([*strange, units[two]])
    if choose.random() < 0.3:
        fallback["characters"] = choose.choice(["", "aa", "\n", "\ud800", "a\ud800", 5, ["a"]])
    if choose.random() < 0.3 and isinstance(fallback.get("counts"), list):
        fallback["counts"][0] = choose.choice([0, -1, 2**53, 2**53 - 1, 1.5, "1"])
    if choose.random() < 0.2:
        fallback[choose.choice(list(fallback))] = choose.choice([0, 1, 2**53 - 1, 0.0, 1.0, 0.999999999999, -1.0])
    return put_together(header, metadata, body)


def sizes(data: bytes, choose: Random) -> bytes:
    """A model, or tensors, of terabytes; or another model than that of the tensors."""
    header, metadata, body = take_apart(data)
    model = metadata["model"]
    huge = choose.choice([0, 1, 15, 17, 2**20, 2**31, 2**40, 2**62, 10**25, -1])
    key = choose.choice(["hidden_size", "vocabulary_size", "embedding_size"])
    if metadata["task"] == "tag" and choose.random() < 0.4:
        key = choose.choice(["labels", "buckets", "char_ngrams"])
    if metadata["task"] == "forecast":
        key = choose.choice(["hidden_size", "series", "lags", "features", "baseline_lags", "degrees"])
    model[key] = huge
    if choose.random() < 0.3:
        model["cells"] = choose.choice([[], ["lstm"] * 100_000, ["rnn"], ["lstm", "gru", "rnn"]])
    if choose.random() < 0.3:
        model["cutoffs"] = choose.choice([[], [1], [2, 3], [1] * 1000, list(range(1, 5000)), [huge], [-1]])
    if metadata["task"] == "classify" and choose.random() < 0.5:
        wide: list[Any] = [[], [huge], [16] * 100_000, [1, 2]]
        model[choose.choice(["labels", "ngrams"])] = choose.choice([huge, 3])
        model["dense"] = choose.choice(wide)
        model["bidirectional"], model["pool"] = choose.random() < 0.5, choose.choice(["last", "mean", "attention"])
    if choose.random() < 0.3:
        for entry in header.values():
            entry["shape"] = [huge if size == 16 else size for size in entry["shape"]]
    return put_together(header, metadata, body)


def weights(data: bytes, choose: Random) -> bytes:
    start = 8 + int.from_bytes(data[:8], "little")
    numbers = np.frombuffer(data[start:], np.float32).copy()
    value = choose.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e-45, 1e10, 1e4])
    match choose.randrange(4):
        case 0:
            numbers[choose.randrange(len(numbers))] = value
        case 1:
            numbers[:] = value
        case 2:
            with np.errstate(all="ignore"):
                numbers *= np.float32(value)
        case _:
            numbers[:: choose.randrange(1, 9)] = value
    return data[:start] + numbers.tobytes()


def training_entry(data: bytes, choose: Random) -> bytes:
    """An entry of what resuming reads, of another type, out of range or missing."""
    header, metadata, body = take_apart(data)
    training = metadata["training"]
    names = ("progress", "progress", "last_good", "options", "source", "corpus", "result")
    section = training.get(choose.choice(names)) or training["progress"]
    for _ in range(choose.choice([1, 1, 2])):
        table, key = choose.choice([(training, name) for name in training] + [*places(section)] * 3)
        value = table[key]
        if choose.random() < 0.2:
            del table[key]
        elif type(value) in (int, float) and abs(value) < 2**53 and choose.random() < 0.7:
            table[key] = choose.choice(
                [-value, value + 1, value - 1, value * 1000, value + 0.5, float(value), str(value)]
            )
        else:
            table[key] = copy.deepcopy(choose.choice(VALUES))
    if choose.random() < 0.1:
        metadata["timings"][choose.choice(["seconds", "tokens_per_second"])] = copy.deepcopy(choose.choice(VALUES))
    return put_together(header, metadata, body)


def training_tensors(data: bytes, choose: Random) -> bytes:
    """The state that training goes on from: numbers, shapes and names of its tensors."""
    header, metadata, body = take_apart(data)
    names = [name for name, entry in header.items() if name.startswith("training.") and 0 not in entry["shape"]]
    name = choose.choice(names)
    entry = header[name]
    first, last = entry["data_offsets"]
    match choose.randrange(5):
        case 0 | 1:
            numbers = np.frombuffer(body[first:last], np.float32).copy()
            where = slice(None) if choose.random() < 0.5 else choose.randrange(len(numbers))
            numbers[where] = choose.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e-45, -1.0, 0.0])
            body = body[:first] + numbers.tobytes() + body[last:]
        case 2:
            entry["shape"] = choose.choice(
                [entry["shape"][::-1], [*entry["shape"], 1], [1, *entry["shape"]], [2, -1], []]
            )
        case 3:
            other = choose.choice(names)
            header[name], header[other] = header[other], header[name]
        case _:
            header[choose.choice([name + "x", "training." + name, "training.good", "training."])] = header.pop(name)
    return put_together(header, metadata, body)

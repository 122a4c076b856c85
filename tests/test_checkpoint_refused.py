"""What is no good checkpoint is refused in one line, before any memory is taken for it."""

from __future__ import annotations

import contextlib
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn import checkpoint as ckpt
from charrnn.errors import CharrnnError
from charrnn.models.language import parameter_layout
from charrnn.runtime import safefile
from tests.test_checkpoint import GOLDEN, make_checkpoint, write_golden

NEWEST = GOLDEN / f"version-{ckpt.FORMAT_VERSION}.safetensors"

# ---- what is not good is refused

Entries = dict[str, Any]


def split_file(data: bytes) -> tuple[Entries, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join_file(entries: Entries, body: bytes) -> bytes:
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + body


def edit_metadata(change: Callable[[dict[str, Any]], Any]) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        metadata = json.loads(entries["__metadata__"]["charrnn"])
        change(metadata)
        entries["__metadata__"]["charrnn"] = json.dumps(metadata)

    return apply


def rename(entries: Entries, old: str, new: str) -> None:
    entries[new] = entries.pop(old)


WRONG_ENTRIES: dict[str, tuple[Callable[[Entries], Any], str]] = {
    "not ours": (lambda e: e.pop("__metadata__"), "not a charrnn checkpoint"),
    "other metadata": (lambda e: e.update(__metadata__={"format": "pt"}), "not a charrnn checkpoint"),
    "metadata types": (lambda e: e.update(__metadata__={"charrnn": 1}), "not a table of texts"),
    "metadata not JSON": (lambda e: e.update(__metadata__={"charrnn": "{"}), "damaged"),
    "metadata no object": (lambda e: e.update(__metadata__={"charrnn": "[]"}), "damaged"),
    "metadata too deep": (lambda e: e.update(__metadata__={"charrnn": "[" * 100_000}), "nested too deeply"),
    "metadata NaN": (lambda e: e.update(__metadata__={"charrnn": '{"format_version": NaN}'}), "NaN"),
    "metadata huge": (lambda e: e.update(__metadata__={"charrnn": '{"format_version": 1e999}'}), "too large"),
    "metadata repeated": (lambda e: e.update(__metadata__={"charrnn": '{"a":1,"a":2}'}), "twice"),
    "missing tensor": (lambda e: rename(e, "output.bias", "training.bias"), "output.bias is missing"),
    "foreign tensor": (lambda e: rename(e, "training.moments", "extra"), "'extra' does not belong"),
    "dtype": (lambda e: e["output.bias"].update(dtype="F64"), "'F64'; it must be one of F32"),
    "dtype of a weight": (lambda e: e["output.bias"].update(dtype="U32"), "is uint32; it must be float32"),
    "memory": (lambda e: rename(e, "training.moments", "memory.slots"), "memory.slots' does not belong to its model"),
    "shape": (lambda e: e["output.weight"].update(shape=[3, 6]), r"has the shape \(3, 6\); its model needs \(6, 3\)"),
    "shape product": (lambda e: e["output.bias"].update(shape=[7]), "has 24 bytes"),
    "shape enormous": (lambda e: e["output.bias"].update(shape=[2**62, 4]), "has 24 bytes"),
    "shape negative": (lambda e: e["output.bias"].update(shape=[-6]), "not whole numbers"),
    "shape boolean": (lambda e: e["output.bias"].update(shape=[True]), "not whole numbers"),
    "offsets text": (lambda e: e["output.bias"].update(data_offsets="ab"), "not whole numbers"),
    "offsets overlap": (lambda e: e["output.bias"].update(data_offsets=[0, 24]), "begins at byte 0"),
    "offsets far": (
        lambda e: e["output.bias"].update(shape=[2**60], data_offsets=[0, 2**62]),
        "begins at byte|are announced",
    ),
    "entry": (lambda e: e.update({"output.bias": 3}), "is not a dtype, a shape and two offsets"),
    "newer": (edit_metadata(lambda m: m.update(format_version=3)), "written by a newer charrnn.*upgrade charrnn"),
    "version type": (edit_metadata(lambda m: m.update(format_version="1")), "format_version is 1"),
    "version zero": (edit_metadata(lambda m: m.update(format_version=0)), "format_version is 0"),
    "task": (
        edit_metadata(lambda m: m.update(task="classify")),
        "a model of the task classify, and one of the task language",
    ),
    "no task": (edit_metadata(lambda m: m.pop("task")), "its task is 'None'; it must be the name"),
    "task type": (edit_metadata(lambda m: m.update(task=["language"])), "it must be the name of a task"),
    "task not a name": (edit_metadata(lambda m: m.update(task="a\nb")), "it must be the name of a task"),
    "no input": (edit_metadata(lambda m: m.pop("input")), "input is None; of a language model it is"),
    "output": (edit_metadata(lambda m: m.update(output={"kind": "labels"})), "output is {'kind': 'labels'}; of a"),
    "no model": (edit_metadata(lambda m: m.pop("model")), "model is missing"),
    "no text": (edit_metadata(lambda m: m.update(text=[])), "text is missing or is not a table"),
    "no training": (edit_metadata(lambda m: m.pop("training")), "training is missing"),
    "hidden size type": (edit_metadata(lambda m: m["model"].update(hidden_size="3")), "not of the type int"),
    "hidden size boolean": (edit_metadata(lambda m: m["model"].update(hidden_size=True)), "not of the type int"),
    "hidden size": (edit_metadata(lambda m: m["model"].update(hidden_size=10**9)), "its model needs"),
    "hidden size 2**53": (edit_metadata(lambda m: m["model"].update(hidden_size=2**53)), "its model needs"),
    "hidden size above": (edit_metadata(lambda m: m["model"].update(hidden_size=2**53 + 1)), "which is too large"),
    "cutoffs far below": (edit_metadata(lambda m: m["model"].update(cutoffs=[-(2**53) - 1])), "which is too large"),
    "hidden size 0": (edit_metadata(lambda m: m["model"].update(hidden_size=0)), "`hidden_size` is 0"),
    "no hidden size": (edit_metadata(lambda m: m["model"].pop("hidden_size")), "lacks the entry 'hidden_size'"),
    "cell": (edit_metadata(lambda m: m["model"].update(cells=["lstn"])), "'lstn'; it must be one of"),
    "cell types": (edit_metadata(lambda m: m["model"].update(cells=[1])), "not of the type tuple"),
    "cutoff types": (edit_metadata(lambda m: m["model"].update(cutoffs=["3"])), "not of the type tuple"),
    "cutoff booleans": (edit_metadata(lambda m: m["model"].update(cutoffs=[True])), "not of the type tuple"),
    "cutoffs": (
        edit_metadata(lambda m: m["model"].update(cutoffs=[9])),
        "`cutoffs` is 9; it must",
    ),
    "many cutoffs": (edit_metadata(lambda m: m["model"].update(cutoffs=[2, 3])), "for the last"),
    "many cells": (edit_metadata(lambda m: m["model"].update(cells=["lstm"] * 1000)), "1000 layers"),
    "unknown entry": (edit_metadata(lambda m: m["model"].update(depth=1)), "unknown entry 'depth'"),
    "vocabulary size": (edit_metadata(lambda m: m["text"]["vocabulary"].append("z")), "7 units.*made for 6"),
    "vocabulary twice": (edit_metadata(lambda m: m["text"]["vocabulary"].__setitem__(3, "a")), "twice"),
    "vocabulary surrogate": (edit_metadata(lambda m: m["text"]["vocabulary"].__setitem__(3, "\ud800")), "vocabulary"),
    "fallback": (edit_metadata(lambda m: m["text"].pop("fallback")), "fallback"),
    "encoding": (edit_metadata(lambda m: m["text"].update(encoding="no\0such")), "damaged"),
    "unit": (edit_metadata(lambda m: m["text"].update(unit="syllable")), "`unit` is 'syllable'"),
}


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_wrong_headers_are_refused(tmp_path: Path, name: str) -> None:
    change, message = WRONG_ENTRIES[name]
    entries, body = split_file(NEWEST.read_bytes())
    change(entries)
    path = tmp_path / "bad.safetensors"
    path.write_bytes(join_file(entries, body))
    with pytest.raises(CharrnnError, match=message) as caught:
        ckpt.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 1


WRONG_BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda d: b"", "not a .safetensors file"),
    "seven bytes": (lambda d: d[:7], "not a .safetensors file"),
    "text": (lambda d: b"It was the best of times, it was the worst of times", "not a .safetensors file"),
    "zeros": (lambda d: bytes(len(d)), "not a .safetensors file"),
    "header length": (lambda d: (2**63).to_bytes(8, "little") + d[8:], "not a .safetensors file"),
    "header beyond the end": (lambda d: (len(d)).to_bytes(8, "little") + d[8:], "truncated"),
    "cut in the header": (lambda d: d[:100], "truncated"),
    "cut in the tensors": (lambda d: d[:-1], "truncated"),
    "one byte more": (lambda d: d + b"\0", "1 bytes follow its last tensor"),
    "invalid UTF-8": (lambda d: d[:12] + b"\xff" + d[13:], "not valid JSON"),
    "repeated tensor": (lambda d: with_header(d, lambda h: h.replace(b'"training.state"', b'"output.bias"')), "twice"),
    "number of many digits": (
        lambda d: with_header(d, lambda h: h.replace(b'"shape":[6]', b'"shape":[' + b"6" * 5000 + b"]")),
        "damaged",
    ),
}


def with_header(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


@pytest.mark.parametrize("name", WRONG_BYTES)
def test_wrong_bytes_are_refused(tmp_path: Path, name: str) -> None:
    change, message = WRONG_BYTES[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(change(NEWEST.read_bytes()))
    with pytest.raises(CharrnnError, match=message) as caught:
        ckpt.load(path)
    assert "\n" not in str(caught.value)


def test_json_is_as_deep_as_its_readers_can_go() -> None:
    assert safefile.strict_json('[{"a":' * 49 + "[1]" + "}]" * 49)
    with pytest.raises(ValueError, match="nested too deeply"):
        safefile.strict_json('[{"a":' * 50 + "1" + "}]" * 50)


def test_tensors_that_cannot_be_read_after_all(tmp_path: Path) -> None:
    """Another process may change the file between its header and its tensors."""
    with pytest.raises(CharrnnError, match=r"cannot read the checkpoint .*a"):
        safefile.read_tensors(tmp_path / "a", ["output.bias"])
    (tmp_path / "a").write_bytes(b"It was the best of times")
    with pytest.raises(CharrnnError, match="a is damaged"):
        safefile.read_tensors(tmp_path / "a", ["output.bias"])


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    made = make_checkpoint()
    ckpt.save(tmp_path / "a", made)
    before = (tmp_path / "a").read_bytes()
    made.weights["output.bias"][2] = np.nan
    with pytest.raises(CharrnnError, match=r"output\.bias are not finite"):
        ckpt.save(tmp_path / "a", made)
    assert (tmp_path / "a").read_bytes() == before
    finite = np.arange(6, dtype=np.float32) / 8 - np.float32(5 / 8)
    start = before.rindex(finite.tobytes())
    (tmp_path / "a").write_bytes(before[:start] + np.float32(np.inf).tobytes() + before[start + 4 :])
    with pytest.raises(CharrnnError, match=r"is damaged: the weights .* are not finite"):
        ckpt.load(tmp_path / "a")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_one_error_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    golden = bytearray(NEWEST.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        golden[data.draw(st.integers(0, len(golden) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(golden[: data.draw(st.integers(0, len(golden))) if data.draw(st.booleans()) else None])
    with contextlib.suppress(CharrnnError):
        loaded = ckpt.load(path, with_training=True)
        assert {k: v.shape for k, v in loaded.weights.items()} == parameter_layout(loaded.model).tensor_shapes()


def test_no_memory_is_allocated_for_what_a_header_only_announces(tmp_path: Path) -> None:
    entries, body = split_file(NEWEST.read_bytes())
    edit_metadata(lambda m: m["model"].update(hidden_size=2**40, embedding_size=2**40))(entries)
    end = len(body) + 2**50
    entries["training.more"] = {"dtype": "F32", "shape": [2**48], "data_offsets": [len(body), end]}
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(join_file(entries, body))
    tracemalloc.start()
    try:
        with pytest.raises(CharrnnError, match="truncated"):
            ckpt.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(CharrnnError, match=r"there is no checkpoint .*; check the name"):
        ckpt.load(tmp_path / "missing.safetensors")
    with pytest.raises(CharrnnError, match="is a directory"):
        ckpt.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CharrnnError, match="not a regular file"):
            ckpt.load(tmp_path / "pipe")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_golden(tmp_path / "a")

    def refuse(*args: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CharrnnError, match=r"cannot read the checkpoint .*a: Permission denied"):
        ckpt.load(tmp_path / "a")

"""The checkpoint file: what is written comes back, and nothing damaged, hostile or foreign is let in."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn import checkpoint as ckpt
from charrnn import safefile
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig
from charrnn.errors import CharrnnError
from charrnn.models.layout import tensor_shapes
from charrnn.text.vocabulary import Vocabulary

GOLDEN = Path(__file__).parent / "golden"


def make_checkpoint(
    model: ModelConfig | None = None, text: TextConfig | None = None, counts: dict[str, int] | None = None
) -> Checkpoint:
    """A small checkpoint whose every number is a function of its place."""
    text = text or TextConfig(lines=True)
    vocabulary = Vocabulary.learn(counts or {"\n": 9, "a": 7, "é": 3, "\x1b": 2, '"': 1}, text)
    if model is None:
        model = ModelConfig(vocabulary_size=len(vocabulary), cells=("lstm",), hidden_size=3, embedding_size=2)
    weights = {
        name: (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 5) / 8
        for name, shape in tensor_shapes(model).items()
    }
    return Checkpoint(
        model=model,
        vocabulary=vocabulary,
        text=text,
        training={"step": 20, "options": {"learning_rate": 0.002}, "history": [{"step": 10, "loss": 2.5}]},
        timings={"seconds": 1.5},
        weights=weights,
        training_tensors={"moments": np.full((2, 4), 0.25, np.float32), "state": np.zeros((0, 3), np.float32)},
    )


def write_golden(path: Path) -> None:
    """Made tests/golden/version-1.safetensors. A new format version gets a new file; this one stays as it is."""
    ckpt.save(path, make_checkpoint())


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    for name in ("model", "vocabulary", "text", "training", "timings"):
        assert getattr(found, name) == getattr(wanted, name)
    for name in ("weights", "training_tensors"):
        one, two = getattr(found, name), getattr(wanted, name)
        assert one.keys() == two.keys()
        for key in one:
            assert one[key].dtype == np.float32
            np.testing.assert_array_equal(one[key], two[key])


# ---- what is written comes back


@pytest.mark.parametrize(
    "options",
    [
        {"cells": ("lstm", "lstm"), "embedding_size": 0},
        {"cells": ("gru",), "reset_gate": "none", "embedding_size": 4},
        {"cells": ("gru", "rnn"), "reset_gate": "before", "activation": "relu"},
        {"cells": ("lstm",), "peepholes": True, "embedding_size": 3, "tie_weights": True},
        {"cells": ("lstm", "gru"), "rms_norm": True},
        {"cells": ("gru",), "hidden_size": 16, "cutoffs": (2, 3)},
    ],
)
def test_round_trip(tmp_path: Path, options: dict[str, Any]) -> None:
    wanted = make_checkpoint(ModelConfig(**{"vocabulary_size": 6, "hidden_size": 3, **options}))
    path = tmp_path / "new" / "folder" / "é model.safetensors"
    ckpt.save(path, wanted)
    assert_same(ckpt.load(path, with_training=True), wanted)
    assert ckpt.load(path).training_tensors == {}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (TextConfig(unit="byte"), {}),
        (TextConfig(unit="word", pretokenized=True, min_count=2), {"the": 4, "<unk>": 3, "rare": 1, "\n": 2}),
        (TextConfig(unit="word"), {" the": 4, "odd": 1, "\n": 2}),
    ],
)
def test_round_trip_of_units(tmp_path: Path, text: TextConfig, counts: dict[str, int]) -> None:
    wanted = make_checkpoint(text=text, counts=counts)
    ckpt.save(tmp_path / "a.safetensors", wanted)
    assert_same(ckpt.load(tmp_path / "a.safetensors", with_training=True), wanted)


def test_golden_file_of_version_1() -> None:
    path = GOLDEN / "version-1.safetensors"
    assert_same(ckpt.load(path, with_training=True), make_checkpoint())
    assert ckpt.load(path).model.cutoffs == ()  # the file is older than the adaptive softmax
    header = safefile.read_header(path)
    metadata = header.metadata[ckpt.METADATA_KEY]
    assert header.metadata.keys() == {"charrnn"}
    assert metadata == json.dumps(json.loads(metadata), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(metadata)["text"]["vocabulary"] == ["<unk>", "<eos>", "a", "é", "\x1b", '"']
    assert header.shapes["rnn.weight_ih_l0"] == (12, 2)
    assert header.shapes["training.moments"] == (2, 4)


def test_same_checkpoint_same_bytes(tmp_path: Path) -> None:
    write_golden(tmp_path / "a")
    write_golden(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_timings_are_apart(tmp_path: Path) -> None:
    metadata = []
    for seconds in (1.0, 2.0):
        made = make_checkpoint()
        made.timings = {"seconds": seconds}
        ckpt.save(tmp_path / "a", made)
        metadata.append(json.loads(safefile.read_header(tmp_path / "a").metadata["charrnn"]))
    assert metadata[0] != metadata[1]
    assert {**metadata[0], "timings": {}} == {**metadata[1], "timings": {}}


def test_transposed_and_strided_weights_are_stored_as_they_read(tmp_path: Path) -> None:
    made = make_checkpoint()
    weight = made.weights["output.weight"]
    made.weights["output.weight"] = np.asfortranarray(weight)
    ckpt.save(tmp_path / "a", made)
    np.testing.assert_array_equal(ckpt.load(tmp_path / "a").weights["output.weight"], weight)


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
    "dtype": (lambda e: e["output.bias"].update(dtype="F64"), "'F64'; it must be F32"),
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
    "newer": (edit_metadata(lambda m: m.update(format_version=2)), "written by a newer charrnn.*upgrade charrnn"),
    "version type": (edit_metadata(lambda m: m.update(format_version="1")), "format_version is 1"),
    "version zero": (edit_metadata(lambda m: m.update(format_version=0)), "format_version is 0"),
    "no model": (edit_metadata(lambda m: m.pop("model")), "model is missing"),
    "no text": (edit_metadata(lambda m: m.update(text=[])), "text is missing or is not a table"),
    "no training": (edit_metadata(lambda m: m.pop("training")), "training is missing"),
    "hidden size type": (edit_metadata(lambda m: m["model"].update(hidden_size="3")), "not of the type int"),
    "hidden size boolean": (edit_metadata(lambda m: m["model"].update(hidden_size=True)), "not of the type int"),
    "hidden size": (edit_metadata(lambda m: m["model"].update(hidden_size=10**9)), "its model needs"),
    "hidden size 2**53": (edit_metadata(lambda m: m["model"].update(hidden_size=2**53)), "its model needs"),
    "hidden size above": (edit_metadata(lambda m: m["model"].update(hidden_size=2**53 + 1)), "which is too large"),
    "cutoffs far below": (edit_metadata(lambda m: m["model"].update(cutoffs=[-(2**53) - 1])), "which is too large"),
    "hidden size 0": (edit_metadata(lambda m: m["model"].update(hidden_size=0)), "--hidden-size is 0"),
    "no hidden size": (edit_metadata(lambda m: m["model"].pop("hidden_size")), "lacks the entry 'hidden_size'"),
    "cell": (edit_metadata(lambda m: m["model"].update(cells=["lstn"])), "'lstn'; it must be one of"),
    "cell types": (edit_metadata(lambda m: m["model"].update(cells=[1])), "not of the type tuple"),
    "cutoff types": (edit_metadata(lambda m: m["model"].update(cutoffs=["3"])), "not of the type tuple"),
    "cutoff booleans": (edit_metadata(lambda m: m["model"].update(cutoffs=[True])), "not of the type tuple"),
    "cutoffs": (
        edit_metadata(lambda m: m["model"].update(cutoffs=[9])),
        "--cutoffs is 9; it must",
    ),
    "many cutoffs": (edit_metadata(lambda m: m["model"].update(cutoffs=[2, 3])), "for the last"),
    "many cells": (edit_metadata(lambda m: m["model"].update(cells=["lstm"] * 1000)), "1000 layers"),
    "unknown entry": (edit_metadata(lambda m: m["model"].update(depth=1)), "unknown entry 'depth'"),
    "vocabulary size": (edit_metadata(lambda m: m["text"]["vocabulary"].append("z")), "7 units.*made for 6"),
    "vocabulary twice": (edit_metadata(lambda m: m["text"]["vocabulary"].__setitem__(3, "a")), "twice"),
    "vocabulary surrogate": (edit_metadata(lambda m: m["text"]["vocabulary"].__setitem__(3, "\ud800")), "vocabulary"),
    "fallback": (edit_metadata(lambda m: m["text"].pop("fallback")), "fallback"),
    "encoding": (edit_metadata(lambda m: m["text"].update(encoding="no\0such")), "damaged"),
    "unit": (edit_metadata(lambda m: m["text"].update(unit="syllable")), "--unit is 'syllable'"),
}


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_wrong_headers_are_refused(tmp_path: Path, name: str) -> None:
    change, message = WRONG_ENTRIES[name]
    entries, body = split_file((GOLDEN / "version-1.safetensors").read_bytes())
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
    path.write_bytes(change((GOLDEN / "version-1.safetensors").read_bytes()))
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
    golden = bytearray((GOLDEN / "version-1.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        golden[data.draw(st.integers(0, len(golden) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(golden[: data.draw(st.integers(0, len(golden))) if data.draw(st.booleans()) else None])
    with contextlib.suppress(CharrnnError):
        loaded = ckpt.load(path, with_training=True)
        assert {k: v.shape for k, v in loaded.weights.items()} == tensor_shapes(loaded.model)


def test_no_memory_is_allocated_for_what_a_header_only_announces(tmp_path: Path) -> None:
    entries, body = split_file((GOLDEN / "version-1.safetensors").read_bytes())
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
    with pytest.raises(CharrnnError, match=r"there is no checkpoint .*charrnn train"):
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


# ---- writing


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    write_golden(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CharrnnError, match=r"cannot write .*a\.safetensors: No space left on device"):
        ckpt.save(path, make_checkpoint())

    def stop(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        ckpt.save(path, make_checkpoint())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "a.safetensors"):
        for attempt in (lambda p: ckpt.save(p, make_checkpoint()), ckpt.check_writable):
            with pytest.raises(CharrnnError, match=f"cannot write {path}"):
                attempt(path)
    ckpt.check_writable(tmp_path / "sub" / "a.safetensors")
    assert list((tmp_path / "sub").iterdir()) == []
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.name == "nt", reason="symbolic links and modes")
def test_links_and_permissions_are_kept(tmp_path: Path) -> None:
    write_golden(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    old = os.umask(0o027)
    try:
        write_golden(tmp_path / "link")
    finally:
        os.umask(old)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_killed_while_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.test_checkpoint import make_checkpoint\n"
        "from charrnn import checkpoint\n"
        "while True:\n"
        "    checkpoint.save(sys.argv[1], make_checkpoint()); print('saved', flush=True)\n"
    )
    path = tmp_path / "a.safetensors"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(Path(__file__).parent.parent)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline() == b"saved\n"
        process.send_signal(signal.SIGKILL)
    assert_same(ckpt.load(path, with_training=True), make_checkpoint())


def test_a_vocabulary_too_large_for_the_header(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = make_checkpoint()
    ckpt.check_header_size(made.vocabulary)
    size = len(json.dumps(safefile.canonical_json(made.vocabulary.to_json()), ensure_ascii=False).encode())
    monkeypatch.setattr(ckpt, "MAX_VOCABULARY_BYTES", size)
    ckpt.check_header_size(made.vocabulary)
    monkeypatch.setattr(ckpt, "MAX_VOCABULARY_BYTES", size - 1)
    with pytest.raises(CharrnnError, match=r"vocabulary of 6 units takes .* --max-vocab"):
        ckpt.check_header_size(made.vocabulary)
    with pytest.raises(CharrnnError, match="vocabulary of 6 units"):
        ckpt.save(tmp_path / "a", made)
    assert list(tmp_path.iterdir()) == []


def test_float64_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    made = make_checkpoint()
    made.weights["output.bias"] = made.weights["output.bias"].astype(np.float64)
    with pytest.raises(TypeError, match=r"output\.bias is float64"):
        ckpt.save(tmp_path / "a", made)


# ---- which checkpoint


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHARRNN_CHECKPOINT", raising=False)
    with pytest.raises(CharrnnError, match=r"there is no checkpoint in checkpoints.*charrnn train corpus\.txt"):
        ckpt.find(None)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "folder.safetensors").mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "nothing.safetensors").symlink_to("gone")
    with pytest.raises(CharrnnError, match="there is no checkpoint"):
        ckpt.find(None)
    for time, name in enumerate(("old", "new", "demo")):
        (folder / f"{name}.safetensors").write_text("")
        os.utime(folder / f"{name}.safetensors", (time, time))
    assert ckpt.find(None) == Path("checkpoints/new.safetensors")
    os.utime(folder / "old.safetensors", (5, 5))
    assert ckpt.find(None) == Path("checkpoints/old.safetensors")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "elsewhere")
    assert ckpt.find(None) == Path("elsewhere")
    assert ckpt.find("this one") == Path("this one")
    with pytest.raises(CharrnnError, match="is empty; give one"):
        ckpt.find("")
    monkeypatch.setenv("CHARRNN_CHECKPOINT", "")
    (folder / "old.safetensors").unlink()
    (folder / "new.safetensors").unlink()
    assert ckpt.find(None) == Path("checkpoints/demo.safetensors")


def test_reading_contents_leaves_the_tensors(tmp_path: Path) -> None:
    write_golden(tmp_path / "a")
    contents = ckpt.read_contents(tmp_path / "a")
    assert contents.checkpoint.weights == {}
    assert contents.file_size == (tmp_path / "a").stat().st_size
    wanted = make_checkpoint()
    assert dataclasses.asdict(contents.checkpoint.model) == dataclasses.asdict(wanted.model)
    assert {k: v for k, v in contents.shapes.items() if not k.startswith("training.")} == tensor_shapes(wanted.model)

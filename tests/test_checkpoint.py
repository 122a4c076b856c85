"""The checkpoint file: what is written comes back, and nothing damaged, hostile or foreign is let in."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn import checkpoint as ckpt
from charrnn import formats
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig
from charrnn.errors import CharrnnError
from charrnn.formats import TextSide
from charrnn.models.language import parameter_layout
from charrnn.runtime import safefile
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
        for name, shape in parameter_layout(model).tensor_shapes().items()
    }
    return Checkpoint(
        model=model,
        data=TextSide(vocabulary, text),
        training={"step": 20, "options": {"learning_rate": 0.002}, "history": [{"step": 10, "loss": 2.5}]},
        timings={"seconds": 1.5},
        weights=weights,
        training_tensors={"moments": np.full((2, 4), 0.25, np.float32), "state": np.zeros((0, 3), np.float32)},
    )


def write_golden(path: Path) -> None:
    """Made the files of tests/golden, each in its time. A new format version gets a new file; the others stay."""
    ckpt.save(path, make_checkpoint())


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    for name in ("model", "data", "training", "timings"):
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


@pytest.mark.parametrize("version", [1, 2])
def test_golden_files(version: int) -> None:
    path = GOLDEN / f"version-{version}.safetensors"
    assert_same(ckpt.load(path, with_training=True), make_checkpoint())
    assert ckpt.load(path).model.cutoffs == ()  # the first file is older than the adaptive softmax
    assert ckpt.read_contents(path).format_version == version
    assert ckpt.task_of(path) == "language"
    header = safefile.read_header(path)
    metadata = header.metadata[ckpt.METADATA_KEY]
    assert header.metadata.keys() == {"charrnn"}
    assert metadata == json.dumps(json.loads(metadata), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(metadata)["text"]["vocabulary"] == ["<unk>", "<eos>", "a", "é", "\x1b", '"']
    assert header.shapes["rnn.weight_ih_l0"] == (12, 2)
    assert header.shapes["training.moments"] == (2, 4)


def test_a_file_says_its_task_and_what_its_sides_are_made_of() -> None:
    metadata = json.loads(safefile.read_header(GOLDEN / "version-2.safetensors").metadata[ckpt.METADATA_KEY])
    assert metadata["format_version"] == 2
    assert metadata["task"] == "language"
    assert metadata["input"] == metadata["output"] == {"kind": "vocabulary", "entry": "text"}
    assert metadata.keys() == {"format_version", "task", "input", "output", "model", "text", "training", "timings"}


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
    formats.check_header_size(made.vocabulary)
    size = len(json.dumps(safefile.canonical_json(made.vocabulary.to_json()), ensure_ascii=False).encode())
    monkeypatch.setattr(formats, "MAX_VOCABULARY_BYTES", size)
    formats.check_header_size(made.vocabulary)
    monkeypatch.setattr(formats, "MAX_VOCABULARY_BYTES", size - 1)
    with pytest.raises(CharrnnError, match=r"vocabulary of 6 units takes .* `max_vocab`"):
        formats.check_header_size(made.vocabulary)
    with pytest.raises(CharrnnError, match="vocabulary of 6 units"):
        ckpt.save(tmp_path / "a", made)
    assert list(tmp_path.iterdir()) == []


def test_float64_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    made = make_checkpoint()
    made.weights["output.bias"] = made.weights["output.bias"].astype(np.float64)
    with pytest.raises(TypeError, match=r"output\.bias is float64"):
        ckpt.save(tmp_path / "a", made)


def test_reading_contents_leaves_the_tensors(tmp_path: Path) -> None:
    write_golden(tmp_path / "a")
    contents = ckpt.read_contents(tmp_path / "a")
    assert contents.checkpoint.weights == {}
    assert contents.file_size == (tmp_path / "a").stat().st_size
    wanted = make_checkpoint()
    assert dataclasses.asdict(contents.checkpoint.model) == dataclasses.asdict(wanted.model)
    assert {k: v for k, v in contents.shapes.items() if not k.startswith("training.")} == parameter_layout(
        wanted.model
    ).tensor_shapes()

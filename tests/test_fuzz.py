"""Checkpoints from strangers are refused with one line, or work; a bounded run of `tests/fuzz.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn import tasks
from charrnn.errors import CharrnnError
from tests import fuzz, task_mutations

pytestmark = pytest.mark.slow  # the first of them compiles what every kind of network needs


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_what_strangers_send_is_refused_or_works() -> None:
    found = fuzz.fuzz(300, seed=0)
    assert {result for _, result in found} == {"refused", "works", "resumes"}
    assert {name for name, _ in found} == {mutation.__name__ for mutation in task_mutations.MUTATIONS}


def test_what_must_not_happen_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer is of use only if it notices."""
    file = tmp_path / "m"
    file.write_bytes(fuzz.prepared()["char"])
    assert fuzz.outcome(file) == "works"

    for kind in ("training", "labels finished", "tags training", "numbers training", "pairs training"):
        file.write_bytes(fuzz.prepared()[kind])
        assert fuzz.outcome(file) == "resumes"

    def crash(path: Path) -> None:
        raise KeyError("a")

    def take_memory(path: Path) -> None:
        np.ones(500_000_000)  # more than earlier tests may have left to be freed meanwhile

    def hang(path: Path) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz, "use", crash)
    assert fuzz.outcome(file) == "DEFECT: KeyError: 'a'"
    if sys.platform == "linux":
        monkeypatch.setattr(fuzz, "use", take_memory)
        assert "MemoryError" in fuzz.outcome(file)
    if sys.platform != "win32":
        monkeypatch.setattr(fuzz, "use", hang)
        monkeypatch.setattr(fuzz, "SECONDS", 0.01)
        assert "Hung" in fuzz.outcome(file)


@pytest.mark.parametrize(
    "kind",
    [
        *("char", "byte", "adaptive", "training", "finished", "labels", "labels by words", "labels training"),
        *("spans", "parts of speech", "tags training", "numbers", "numbers by date", "numbers training"),
        *("styles", "pairs", "pairs training"),
    ],
)
def test_weights_that_overflow_end_in_one_error(kind: str, tmp_path: Path) -> None:
    """Finite weights of which no finite probability comes: neither a number nor text is made up."""
    file = tmp_path / "m"
    data = fuzz.prepared()[kind]
    start = 8 + int.from_bytes(data[:8], "little")
    weights = np.frombuffer(data[start:], np.float32)
    file.write_bytes(data[:start] + np.full_like(weights, 3e38).tobytes())
    tasks.load_checkpoint(file)
    with pytest.raises(CharrnnError, match="weights are too large"):
        fuzz.use(file)

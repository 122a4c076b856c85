"""Lines held out: which they are, and how they are separated from the others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import TextConfig
from charrnn.text import holdout
from charrnn.text.coding import code_points
from charrnn.text.holdout import LineSplit
from tests.test_text_corpus import cache as cache
from tests.test_text_corpus import load, text_of


@pytest.mark.parametrize("config", [TextConfig(lines=True), TextConfig(unit="word", pretokenized=True, lines=True)])
def test_held_out_lines_depend_on_seed_and_content_only(tmp_path: Path, config: TextConfig) -> None:
    lines = [f"line {number} é" for number in range(2000)]

    def held_out(lines: list[str], seed: int) -> set[str]:
        loaded = load(tmp_path, "\n".join(lines), config, seed=seed, vocabulary=vocabulary)
        return set(text_of(loaded, loaded.validation).split("\n")[:-1])

    vocabulary = load(tmp_path, "\n".join(lines), config, val_fraction=0).vocabulary
    chosen = held_out(lines, 1)
    assert 150 < len(chosen) < 250
    assert held_out(lines[::-1], 1) == chosen
    assert held_out([*lines, *lines[:50]], 1) == chosen
    other = held_out(lines, 2)
    assert len(other & chosen) < 60


def test_lines_never_all_go_to_validation(tmp_path: Path) -> None:
    found = set()
    for seed in range(40):
        loaded = load(tmp_path, "ab\n" * 5, TextConfig(lines=True), seed=seed, val_fraction=0.5)
        assert len(loaded.train.ids) == 15
        assert loaded.validation is None
        assert "no validation part" in loaded.notes[0]
        found.add(loaded.notes[0])
    assert len(found) == 1


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.9])
def test_of_few_lines_some_are_held_out_but_never_all(tmp_path: Path, fraction: float) -> None:
    names = ["Aardonyx", "Abelisaurus", "", "Achelousaurus", "Abelisaurus", ""]
    text = "\n".join(names) + "\n"
    for seed in range(15):
        loaded = load(tmp_path, text, TextConfig(lines=True), seed=seed, val_fraction=fraction)
        train, held_out = (text_of(loaded, part).split("\n")[:-1] for part in (loaded.train, loaded.validation))
        assert set(train) - {""}
        # What is held out may have letters that are not in the other names.
        assert set(held_out) - {""}
        assert sorted(map(len, train + held_out)) == sorted(map(len, names))
        assert train.count("Abelisaurus") in (0, 2)
        assert loaded.notes == []


def test_the_hash_of_a_line_is_the_same_for_ever() -> None:
    """On it depends which lines are held out, so whether a run can be resumed."""
    for value in (0, 1, 0xDEADBEEF, 2**64 - 1):
        mixed = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        assert int(holdout.mixed(np.array([value], np.uint64))[0]) == mixed ^ (mixed >> 31)


def separated(split: LineSplit, text: str) -> tuple[str, str]:
    kept, held_out = ("".join(map(chr, part)) for part in split.separate(code_points(text)))
    return kept, held_out


def reference_hash(line: str, seed: int) -> int:
    value = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "little")
    for character in line:
        value = (value ^ ord(character)) * 0x100000001B3 % 2**64
    return int(holdout.mixed(np.array([value], np.uint64))[0])


@given(st.text(st.sampled_from("abé😀 \n"), max_size=60), st.integers(0, 5))
def test_compiled_code_separates_lines_by_their_hash(text: str, seed: int) -> None:
    lines = text.split("\n")
    out = [reference_hash(line, seed) < 2**62 for line in lines]
    kept, held_out = separated(LineSplit(0.25, seed), text + "\n")
    assert kept == "".join(f"{line}\n" for line, chosen in zip(lines, out, strict=True) if not chosen)
    assert held_out == "".join(f"{line}\n" for line, chosen in zip(lines, out, strict=True) if chosen)


def test_a_line_at_the_very_bound_changes_its_part() -> None:
    split = LineSplit(0.5, 0)
    separated(split, "a\nb\nc\n")
    for bound, held_out in ((split._least, 1), (split._least + 1, 1), (split._greatest, 2), (split._greatest + 1, 2)):
        split._bound = bound
        assert split.mend() == (bound in (split._least, split._greatest + 1))
        assert separated(split, "a\nb\nc\n")[1].count("\n") == held_out


def test_of_lines_that_are_all_empty_none_changes_its_part() -> None:
    split = LineSplit(0.5, 0)
    kept, held_out = separated(split, "\n\n")
    assert sorted((kept, held_out)) == ["", "\n\n"]
    assert not split.mend()
    assert separated(split, "\n\n") == (kept, held_out)


def test_empty_lines_alone_are_no_validation(tmp_path: Path) -> None:
    for seed in range(15):
        loaded = load(tmp_path, "\nab\n\nab\n", TextConfig(lines=True), seed=seed, val_fraction=0.5)
        assert loaded.validation is None
        assert text_of(loaded, loaded.train) == "\nab\n\nab\n"

"""The benchmark of labels: its split and figures, and that other programs answer what they are asked."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks import labels, peers, rivals
from charrnn.errors import CharrnnError

RECORDS = [(f"{'aeiou'[n % 5] * 3} w{n}", "low" if n % 5 < 2 else "high") for n in range(400)]


def test_equal_texts_are_in_one_part() -> None:
    train, test = labels.split(RECORDS * 2)
    assert len(train) + len(test) == 800
    assert 30 < len(test) < 150
    assert not {text for text, _ in train} & {text for text, _ in test}
    assert labels.split(RECORDS)[1] == test[: len(test) // 2]


def test_figures_count_unknown_labels_as_wrong(tmp_path: Path) -> None:
    test = [("a", "x"), ("b", "y"), ("c", "new"), ("d", "x")]
    found = labels.measure(["x", "x", "y", "x"], test, ["x", "y"])
    assert found == {"accuracy": 50.0, "macro_f1": pytest.approx(100 * (4 / 5 + 0) / 2)}
    file = labels.lines_of(test, tmp_path / "records.tsv")
    assert labels.read(str(file), tmp_path) == test
    file.write_text("no label\n")
    with pytest.raises(CharrnnError, match="no TAB"):
        labels.read(str(file), tmp_path)


def test_programs_are_compared_by_the_median_of_their_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    def ask(name: str, seed: int) -> rivals.Answer:
        return rivals.Answer(f"{name} 1.0", [len(name) + seed**2])

    sides = [*peers.compared(("one", "three"), 3, ask, lambda outputs: {"sum": float(sum(outputs))}, once=("three",))]
    assert [side.row() for side in sides] == [["one", "one 1.0", "4.00 (3.00 to 7.00)"], ["three", "three 1.0", "5.00"]]
    assert [len(side.seconds) for side in sides] == [3, 1]
    assert capsys.readouterr().err.splitlines()[2].startswith("one, seed 2: sum 7.00, ")


def test_the_best_way_is_chosen_on_what_is_held_out() -> None:
    """And it then learns from all records, of which the test part is none."""
    asked = rivals.Request(RECORDS, ["aaa w", "ooo w"], 0, 1, 1000.0)
    learned: list[int] = []

    def always(label: str) -> rivals.Learn:
        def learn(pairs: rivals.Pairs) -> Any:
            learned.append(len(pairs))
            return lambda texts: [label] * len(texts)

        return learn

    assert rivals.best_of(asked, [always("low"), always("high")]) == ["high", "high"]
    assert learned == [360, 360, 400]


def test_batches_of_similar_length() -> None:
    lengths = [n % 37 for n in range(500)]
    found = rivals.similar_batches(lengths, Random(0))
    assert sorted(n for batch in found for n in batch) == list(range(500))
    assert max(len(batch) for batch in found) == rivals.BATCH
    assert max(max(lengths[n] for n in batch) - min(lengths[n] for n in batch) for batch in found) < 8


@pytest.mark.peers
@pytest.mark.parametrize("name", labels.RIVALS)
@pytest.mark.parametrize("by_characters", [False, True])
def test_other_programs_learn(name: str, by_characters: bool, tmp_path: Path) -> None:
    if not peers.PEERS.exists():
        pytest.skip("needs the environment that `make peers` sets up")
    train, test = labels.split(RECORDS)
    texts = [*(text for text, _ in test), "", "__LABEL__0 __label__1"]
    request = {"train": train, "test": texts, "threads": 1, "seconds": 20.0, "seed": 0}
    answer = peers.rival("rivals", name, request | {"by_characters": by_characters}, peers.PEERS, tmp_path)
    assert answer.package.split()[-1][0].isdigit()
    assert len(answer.outputs) == len(texts)
    assert labels.measure(answer.outputs[: len(test)], test, ["high", "low"])["accuracy"] > 90

"""Gradients of shards, added up along one tree by any number of processes."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import ModelConfig, TrainingConfig
from charrnn.errors import CharrnnError, DivergedError, NotFiniteError, UsageError
from charrnn.models import LanguageModel
from charrnn.nn.dropout import DropoutKey
from charrnn.runtime import processes
from charrnn.runtime.processes import Processes
from charrnn.text.batch import Batch, Shard
from charrnn.training.reduction import Node, Reduction, add_up

CONFIGS = {
    "one-hot": ModelConfig(11, ("lstm",), 9, 0),
    "two layers": ModelConfig(11, ("gru", "lstm"), 9, 4),
    "rows of a table": ModelConfig(5000, ("rnn",), 9, 4),
}


class Some(Processes):
    """Process `rank` of `size`, which meets nobody."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


class Relay(Some):
    """Several processes, played one after the other: first each records what it sends, then each receives all."""

    def __init__(self, rank: int, size: int, sent: dict[Any, Any]) -> None:
        super().__init__(rank, size)
        self.sent, self._turn = sent, itertools.count()
        self.complete = True

    def _exchange(self, mine: Any, senders: Sequence[int]) -> list[Any]:
        turn = next(self._turn)
        self.sent[turn, self.rank] = np.array(mine)
        self.complete &= all((turn, rank) in self.sent for rank in senders)
        return [self.sent.get((turn, rank), np.zeros_like(mine)) for rank in senders]

    def spread(self, values: Any, counts: Sequence[int], senders: Sequence[int]) -> Any:
        begin = sum(counts[: self.rank])
        return np.array([one[begin : begin + counts[self.rank]] for one in self._exchange(values, senders)])

    def collect(self, part: Any, counts: Sequence[int], whole: Any) -> None:
        pieces = self._exchange(part, range(self.size))
        whole[:] = np.concatenate([np.resize(piece, count) for piece, count in zip(pieces, counts, strict=True)])

    def sum_disjoint(self, numbers: Any) -> Any:
        return np.sum(self._exchange(numbers, range(self.size)), axis=0)


def windows(vocabulary: int) -> Batch:
    numbers = np.random.default_rng(0)
    ids = numbers.integers(0, vocabulary, (7, 10)).astype(np.int32)
    return Batch(ids[:-1], ids[1:], fresh=np.arange(10) % 3 == 0)


def computed(config: ModelConfig, shards: int, size: int = 1) -> list[tuple[Any, ...]]:
    """Loss, gradient, state and touched rows of a step on each of so many processes."""
    sent: dict[Any, Any] = {}
    found: list[tuple[Any, ...]] = []
    for _ in range(4 if size > 1 else 1):  # each time, more of what the processes send is known
        model = LanguageModel(config)
        model.initialise(0)
        batch = windows(config.vocabulary_size)
        state = np.ones_like(model.zero_state(10))
        found = []
        for other in range(size):
            group = Relay(other, size, sent) if size > 1 else Processes()
            model.gradient[:] = 0
            own = Batch(batch.inputs, batch.targets, fresh=batch.fresh, state=state.copy())
            loss = Reduction(model, shards, group).loss(own, DropoutKey(0.3, 1, 2))
            found.append((loss, model.gradient.copy(), own.state, model.touched))
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shards_add_up_to_the_gradient(name: str) -> None:
    """Without dropout, whose masks depend on the shards, up to the order of the sum."""
    config = CONFIGS[name]
    model = LanguageModel(config)
    model.initialise(0)
    batch = windows(config.vocabulary_size)
    for shards in (2, 3, 4, 10, 16):
        states, gradients, losses = [], [], []
        for count in (1, shards):
            state = np.ones_like(model.zero_state(10))
            own = Batch(batch.inputs, batch.targets, fresh=batch.fresh, state=state)
            losses.append(Reduction(model, count, Processes()).loss(own, None))
            gradients.append(model.gradient.copy())
            states.append(state)
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        assert np.abs(gradients[0]).max() > 0.01
        np.testing.assert_allclose(gradients[1], gradients[0], atol=1e-6)
        np.testing.assert_array_equal(states[1], states[0])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shards", [2, 3, 5])
def test_processes_change_no_bit(name: str, shards: int) -> None:
    [(loss, gradient, _, touched)] = computed(CONFIGS[name], shards)
    for size in range(2, shards + 1):
        for other in computed(CONFIGS[name], shards, size):
            assert other[0] == loss
            np.testing.assert_array_equal(other[1], gradient)
            np.testing.assert_array_equal(other[3], touched)


def test_every_process_has_whole_nodes_of_the_tree() -> None:
    for shards in range(1, 20):
        for size in range(1, shards + 1):
            model = LanguageModel(CONFIGS["one-hot"])
            nodes = Reduction(model, shards, Some(0, size)).nodes
            numbers = [n for node in itertools.chain(*nodes) for n in range(node.first, node.last)]
            assert numbers == list(range(shards))
            known = {node: np.ones(1) * (node.last - node.first) for node in itertools.chain(*nodes)}
            assert add_up(Node(0, shards), known.get)[0] == shards


def test_rows_of_a_shard_depend_on_its_place_only() -> None:
    for B, total in ((64, 4), (10, 3), (2, 5)):
        rows = [n for number in range(total) for n in range(B)[Shard(number, total).rows(B)]]
        assert rows == list(range(B))


def test_more_processes_than_shards_are_too_many() -> None:
    model = LanguageModel(CONFIGS["one-hot"])
    with pytest.raises(UsageError, match="3 processes and `shards` is 2"):
        Reduction(model, 2, Some(0, 3))


def test_a_launcher_is_recognised_by_the_environment() -> None:
    assert processes.join({"PATH": "/bin"}) is processes.ALONE
    for variables in ({"OMPI_COMM_WORLD_SIZE": "2"}, {"PMI_SIZE": "4", "PMI_RANK": "0"}, {"PMIX_RANK": "1"}):
        assert processes.launched(variables)
    for variables in ({}, {"OMPI_COMM_WORLD_SIZE": "1", "PMIX_RANK": "0"}, {"SLURM_JOB_ID": "7"}):
        assert not processes.launched(variables)


def test_without_a_launcher_nothing_of_mpi_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc\n" * 100, encoding="utf-8")
    code = (
        "import sys; from charrnn.cli.main import main; "
        "status = main(['train', 'a.txt', '-o', 'm', '--steps', '1', '--hidden-size', '8']); "
        "print(status, *sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in processes.LAUNCHERS}
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert found.stdout.decode().startswith("0 ")
    assert "mpi4py" not in found.stdout.decode()
    assert "charrnn.runtime.mpi" not in found.stdout.decode()


def test_without_mpi4py_a_launcher_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "charrnn.runtime.mpi", raising=False)
    with pytest.raises(CharrnnError, match=r"install charrnn\[mpi\]"):
        processes.join({"OMPI_COMM_WORLD_SIZE": "2"})


def test_shards_are_an_option() -> None:
    assert TrainingConfig(8, 16, 0.1, shards=4).shards == 4
    with pytest.raises(UsageError, match="`shards`"):
        TrainingConfig(8, 16, 0.1, shards=-1)


def test_errors_survive_the_way_to_another_process() -> None:
    for error in (NotFiniteError(), UsageError("a"), CharrnnError("b"), DivergedError("c")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))

"""The evaluation of translators during training: which sources are decoded, and numbers that are not finite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from charrnn.models.translator import Translator, parameter_layout
from charrnn.tasks import translate_evaluation
from charrnn.tasks.translate import TASK
from charrnn.text.pair_corpus import PairPart
from charrnn.training import events, setup
from charrnn.training.loop import train
from tests.test_translate import model_of, pairs, request


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sounds.tsv"
    path.write_text(pairs(400))
    return path


def test_numbers_that_are_not_finite_are_a_divergence(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path, "m", steps=20, eval_every=10)
    spec, network = setup.prepare(TASK, asked, lambda: 0.0)
    part = spec.dataset.validation
    assert isinstance(network, Translator)
    assert isinstance(part, PairPart)
    training = train(spec, network)
    diverged: list[events.Event] = []
    for event in training:
        if isinstance(event, events.Validation) and not diverged:
            network.parameters[:] = 3e38  # finite, and too large
            network.invalidate()
        diverged += [event] if isinstance(event, events.Diverged) else []
    assert diverged
    assert TASK.evaluate(network, part).error is not None
    network.parameters[:] = np.nan
    network.invalidate()
    assert not np.isfinite(TASK.evaluate(network, part).loss)


def test_a_sample_of_sources_is_decoded_until_the_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated = tmp_path / "repeated.tsv"
    repeated.write_text(data.read_text() + "".join(f"{line}\n" for line in data.read_text().splitlines()))
    monkeypatch.setattr(translate_evaluation, "DECODED", 7)
    asked = request(repeated, tmp_path, "m", steps=20, eval_every=10)
    happened = list(train(*setup.prepare(TASK, asked, lambda: 0.0)))
    part = TASK.read(asked, None).validation
    assert part is not None
    sources = translate_evaluation.by_source(part)
    assert all(len(one.records) % 2 == 0 for one in sources)
    assert 7 < len(sources) < len(part.targets.lengths)
    assert {event.figures["decoded_sources"] for event in happened if isinstance(event, events.Validation)} == {7}
    network = model_of(asked.output).network
    whole, some = TASK.evaluate(network, part), TASK.evaluate(network, part, limit=len(part))
    assert (TASK.is_whole(whole, part), TASK.is_whole(some, part), some.loss) == (True, False, whole.loss)
    end = happened[-1]
    assert isinstance(end, events.End)
    assert end.result()["val_token_error_rate"] == whole.figures["token_error_rate"]
    [(_, advice)] = TASK.advise_at_end(setup.prepare(TASK, asked, lambda: 0.0)[0], some)
    assert f"those of 7 of {len(sources)}" in advice


def test_memory_is_that_of_the_logits_of_some_outputs(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path, "m")
    dataset = TASK.read(asked, None)
    model, config = TASK.configure(asked, dataset, None)
    needed = [
        TASK.memory(dataclasses.replace(model, vocabulary_size=size), config, dataset)
        - 36 * parameter_layout(dataclasses.replace(model, vocabulary_size=size)).size
        for size in (100_000, 200_000)
    ]
    assert needed[1] - needed[0] < 8 * 300_000 * 24  # the logits stay as many; their weights are copied

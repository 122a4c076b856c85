"""Trained models of labels, tags, numbers and pairs in Python: what they refuse, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.errors import UsageError
from tests.conftest import run_command
from tests.test_classify import records
from tests.test_forecast import monthly
from tests.test_tag import sentences
from tests.test_translate import labelled, pairs

DATA = {
    "classify": records(60), "tag": sentences(30), "forecast": "\n".join(monthly()) + "\n", "translate": pairs(60),
    "styles": labelled(60),
}  # fmt: skip
SHOWN = {
    "classify": "<TrainedClassifier: lstm of 8, 6 char units, 2 labels>",
    "tag": r"<TrainedTagger: lstm of 8, \d+ words, 5 tags>",
    "forecast": r"<TrainedForecaster: lstm of 8, \d+ rows of history, 2 columns>",
    "translate": r"<TrainedTranslator: lstm of 8, \d+ char units to \d+ word units>",
    "styles": r"<TrainedTranslator: lstm of 8, 3 labels to \d+ char units>",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tasks")
    found = {}
    for name, data in DATA.items():
        path, task = folder / name, "translate" if name == "styles" else name
        Path(path).write_text(data)
        args = ("--task", task, "--hidden-size", "8", "--steps", "2", "--threads", "1", "-q", "--seed", "1")
        result = run_command("train", path, *args, "-o", folder / f"{name}.model")
        assert result.status == 0, result.err
        found[name] = charrnn.load(folder / f"{name}.model", threads=1)
    return found


HISTORIES = np.ones((2, 60, 2))
MONTH = datetime(2020, 1, 1)
Call = Callable[[Any], object]


def predict(given: Any, model: Any, **options: Any) -> object:
    return model.predict(given, **options)


def score(given: Any, model: Any) -> object:
    return model.score(given)


REFUSED: dict[str, list[tuple[Call, str]]] = {
    "classify": [
        (partial(predict, "text"), "`texts` is one text; give a list of texts"),
        (partial(predict, b"text"), "`texts` is one text"),
        (partial(predict, 1), "`texts` is 1; give a list of texts"),
        (partial(predict, ["a", None]), "`texts` has None, which is no text; it must be str or bytes"),
        (partial(predict, ["a"], count=1.5), "`count` is 1.5; it must be a whole number"),
        (lambda model: model.log_probs("text"), "`texts` is one text"),
        (lambda model: model.log_probs([3]), "`texts` has 3"),
    ],
    "tag": [
        (partial(predict, "text"), "`sentences` is one text; give a list of texts, or of lists of words"),
        (partial(predict, None), "`sentences` is None; give a list"),
        (partial(predict, [b"a b"]), "`sentences` has b'a b', which is no sentence; it must be str or a list of words"),
        (partial(predict, [1]), "`sentences` has 1, which is no sentence"),
        (partial(predict, [["a", 2]]), "`sentences` has the word 2, which is no text; it must be str"),
    ],
    "forecast": [
        (lambda model: model.next_rows("text"), "`histories` is 'text', which are no numbers of one shape; give an"),
        (lambda model: model.next_rows(None), r"`histories` has the shape \(\)"),
        (lambda model: model.next_rows([[[1, 2]], [[1]]]), "which are no numbers of one shape"),
        (lambda model: model.next_rows(HISTORIES[:, :1]), r"has the shape \(2, 1, 2\); give an array"),
        (lambda model: model.next_rows(HISTORIES[0]), r"has the shape \(60, 2\)"),
        (lambda model: model.next_rows(HISTORIES[:, :, :1]), "2 columns"),
        (lambda model: model.next_rows(HISTORIES, [MONTH]), "`dates` is .*; give a list of 2 datetimes"),
        (lambda model: model.next_rows(HISTORIES, ["2020", "2021"]), "give a list of 2 datetimes"),
    ],
    "translate": [
        (partial(predict, "text"), "`sources` is one text; give a list of texts"),
        (partial(predict, [1]), "`sources` has 1, which is no text"),
        (partial(predict, ["a"], best="2"), "`best` is '2'; it must be a whole number"),
        (partial(score, ["ab"]), "`pairs` has 'ab', which is no pair"),
        (partial(score, [("a",)]), r"`pairs` has \('a',\), which is no pair; it must be \(source, target\)"),
        (partial(score, [("a", 1)]), "`pairs` has 1, which is no text"),
        (partial(score, 1), "`pairs` is 1; give a list of pairs of texts"),
        (lambda model: model.sample(1), "`source` has 1"),
        (lambda model: model.sample("a", seed="b"), "`seed` is 'b'; it must be a whole number"),
        (lambda model: model.sample("a", top_k=1.5), "`top_k` is 1.5"),
    ],
    "styles": [(partial(predict, [None]), "`sources` has None")],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_values_of_other_types_are_refused(models: dict[str, Any], name: str) -> None:
    for call, says in REFUSED[name]:
        with pytest.raises(UsageError, match=says):
            call(models[name])


@pytest.mark.parametrize("name", SHOWN)
def test_a_model_is_shown_in_short(models: dict[str, Any], name: str) -> None:
    assert re.fullmatch(SHOWN[name], repr(models[name])), repr(models[name])


def test_surrogates_are_unknown_characters(models: dict[str, Any]) -> None:
    broken, replaced = models["classify"].log_probs(["a\ud800b", "a\ufffdb"])
    assert broken.tolist() == replaced.tolist()
    one, other = models["translate"].score([("a\ud800b", "A"), ("a\ufffdb", "A")])
    assert one == other
    assert models["tag"].predict([["a\ud800b"]])[0].words == ("a\ud800b",)


def test_lists_of_numbers_are_histories(models: dict[str, Any]) -> None:
    model = models["forecast"]
    dates = [MONTH, MONTH]
    found = model.next_rows((100 + HISTORIES).tolist(), dates)
    assert found.location.tolist() == model.next_rows(100 + HISTORIES, dates).location.tolist()

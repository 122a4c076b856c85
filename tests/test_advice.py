"""Advice after training: the rules on made-up numbers, and a run that takes them from what happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charrnn.config import TextConfig, TrainingConfig
from charrnn.tasks import language_advice
from charrnn.text.corpus import Part, load_corpus
from charrnn.training import advice
from charrnn.training.metrics import Metrics
from charrnn.training.state import Progress


def overfitting(train: float, losses: list[float], dropout: float = 0.0) -> str | None:
    history = [[10 * number, train, loss] for number, loss in enumerate(losses, 1)]
    best = min(losses)
    return advice.overfitting(train, history, best, 10 * (losses.index(best) + 1), dropout)


def underfitting(train: float, losses: list[float], dropout: float = 0.0) -> str | None:
    history = [[10 * number, train, loss] for number, loss in enumerate(losses, 1)]
    return advice.underfitting(train, history, 10 * (losses.index(min(losses)) + 1), dropout, "`epochs`")


def test_overfitting_is_a_wide_gap_and_a_validation_that_got_worse() -> None:
    said = overfitting(1.0, [2.0, 1.6, 1.9])
    assert said is not None
    assert "training loss is 1.000, the validation loss 1.900, and it was 1.600 at step 20" in said
    assert "`dropout` than 0 or" in said
    assert "`hidden_size`" in said
    assert overfitting(1.75, [2.0, 1.6, 1.9]) is None  # worse, but no gap
    assert overfitting(1.0, [2.0, 1.9, 1.6]) is None  # a gap, and still improving
    assert overfitting(1.0, [2.0, 1.6, 1.601]) is None  # no worse than by chance


def test_dropout_hides_overfitting_but_does_not_feign_it() -> None:
    said = overfitting(1.0, [2.0, 1.6, 1.9], dropout=0.3)
    assert said is not None
    assert "more `dropout` than 0.3" in said
    assert "`dropout`" not in (overfitting(1.0, [2.0, 1.6, 1.9], dropout=0.5) or "`dropout`")
    assert overfitting(2.1, [2.0, 1.6, 1.9], dropout=0.5) is None


def test_underfitting_is_no_gap_and_a_validation_that_still_improved() -> None:
    said = underfitting(1.99, [3.0, 2.2, 2.1, 2.0])
    assert said is not None
    assert "from 2.200 to 2.000" in said
    assert "larger `epochs`" in said
    assert "larger `hidden_size`" in said
    assert underfitting(1.5, [3.0, 2.2, 2.1, 2.0]) is None  # training is ahead: more of it would overfit
    assert underfitting(1.99, [3.0, 2.03, 2.01, 2.0]) is None  # as little as the end of a schedule brings
    assert underfitting(1.99, [3.0, 2.2, 2.0, 2.01]) is None  # the best is over
    assert underfitting(1.99, [2.0]) is None  # nothing to compare with


def test_with_dropout_nothing_is_concluded_about_the_size() -> None:
    said = underfitting(2.3, [3.0, 2.2, 2.1, 2.0], dropout=0.3)
    assert said is not None
    assert "less `dropout`" in said
    assert "`hidden_size`" not in said


def test_no_run_is_both() -> None:
    for train in (1.0, 1.5, 1.9, 2.0, 2.5):
        for losses in ([3.0, 2.2, 2.1, 2.0], [3.0, 2.0, 2.1, 2.2], [2.0, 2.0, 2.0]):
            assert not (overfitting(train, losses) and underfitting(train, losses))


def test_unknown_units() -> None:
    said = language_advice.unknown_units(0.123, "word", 2, 10_000, initialised=False)
    assert said is not None
    assert "12% of the words" in said
    assert all(way in said for way in ("more text", "`min_count` 1", "`max_vocab` than 10,000", "`unit` char"))
    said = language_advice.unknown_units(0.123, "word", 1, None, initialised=False)
    assert said is not None
    assert "`min_count`" not in said
    assert "`max_vocab`" not in said
    said = language_advice.unknown_units(0.89, "char", 1, None, initialised=True)
    assert said is not None
    assert "89% of the characters" in said
    assert "without `init_from`" in said
    assert language_advice.unknown_units(0.04, "word", 2, None, initialised=False) is None


def test_copies_of_a_line_that_are_held_out_together() -> None:
    said = language_advice.uneven_lines(0.4, 0.1)
    assert said is not None
    assert "40% of the text is held out, not 10%" in said
    assert language_advice.uneven_lines(0.15, 0.1) is None
    assert language_advice.uneven_lines(0.4, 0.0) is None


def test_a_limit_of_time_that_was_over_before_the_first_step() -> None:
    said = advice.late_start(35.2, 20) or ""
    assert "35 of 20 seconds" in said
    assert said.endswith("The same command with `force` has more time to learn")
    assert "A larger `max_time`" in (advice.late_start(35.2, 20, resumed=True) or "")
    assert advice.late_start(5, 20) is None


def test_the_share_of_unknown_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_advice, "CHUNK", 2)
    assert language_advice.unknown_share(Part(np.array([0, 2, 3, 0, 5], np.uint8), 9, 9)) == 0.4


def test_little_text() -> None:
    assert "16,000 bytes" in (language_advice.little_text(16_000) or "")
    assert language_advice.little_text(200_000) is None


@pytest.mark.parametrize(
    ("text", "config", "topics"),
    [
        ("a b c a b c a b\n" * 30 + "x y z w\n" * 3, TextConfig(unit="word"), ["unknown words"]),
        ("a b c a b c a b\n" * 30 + "x y z w\n" * 3, TextConfig(), ["unknown characters"]),
        ("a b c a b c a b\n" * 30 + "x y z w\n" * 3, TextConfig(unit="byte"), []),
        ("a b <unk> a b c\n" * 30 + "x y z w\n" * 3, TextConfig(unit="word", pretokenized=True), []),
        ("a b c a b c a b\n" * 30, TextConfig(unit="word"), []),
    ],
)
def test_what_a_run_says_about_its_words(tmp_path: Path, text: str, config: TextConfig, topics: list[str]) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text)
    corpus = load_corpus([str(path)], config, val_path=None, val_fraction=0.1, seed=0, cache_dir=tmp_path)
    for initialised in (False, True):
        found = language_advice.at_end(corpus, initialised=initialised)
        assert [topic for topic, _ in found] == topics
    assert [topic for topic, _ in language_advice.at_start(corpus, 0.0, initialised=False)] == ["little text"]
    assert list(language_advice.at_start(corpus, 0.0, initialised=True)) == []
    assert [topic for topic, _ in language_advice.at_start(corpus, 0.01, initialised=True)] == ["uneven lines"]


def test_a_vocabulary_that_came_with_the_weights_is_not_chosen_anew(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a b c a b c a b\n" * 30 + "x y z w\n" * 3)
    config = TextConfig(unit="word", min_count=2, max_vocab=6)
    corpus = load_corpus([str(path)], config, val_path=None, val_fraction=0.1, seed=0, cache_dir=tmp_path)
    for initialised in (False, True):
        ((_, said),) = language_advice.at_end(corpus, initialised=initialised)
        assert ("`min_count`" in said, "`max_vocab`" in said) == (not initialised, not initialised)


def test_what_a_run_says_about_its_losses() -> None:
    def topics(train: float, losses: list[float], figures: dict[str, float] | None = None) -> list[str]:
        progress = Progress()
        for loss in losses:
            progress.step += 10
            progress.note_step(train, 1.0, 0.1)
            progress.close_interval()
            figures = figures or {}
            progress.record(Metrics(loss, 10, figures, figures.get("token_error_rate")), plateau=False)
        config = TrainingConfig(4, 8, 0.01)
        found = advice.at_end(progress, config, "steps")
        return [topic for topic, _ in found]

    assert topics(1.0, [3.0, 2.0, 2.5]) == ["overfitting"]
    assert topics(2.0, [3.0, 2.4, 2.2, 2.0]) == ["underfitting"]
    for name, good, fair in (("accuracy", 0.998, 0.98), ("token_error_rate", 0.002, 0.02)):
        assert topics(2.0, [3.0, 2.4, 2.2, 2.0], {name: good}) == []  # nothing is left to learn
        assert topics(2.0, [3.0, 2.4, 2.2, 2.0], {name: fair}) == ["underfitting"]
    assert topics(1.9, [3.0, 2.02, 2.01, 2.0]) == []
    assert topics(1.9, []) == []


def test_log_densities_have_no_shares() -> None:
    """A loss of numbers may be negative, and then nothing can be said of how far two of them are apart."""
    config = TrainingConfig(batch_size=1, seq_length=1, learning_rate=0.1, steps=30)
    for train, best, last, said in ((0.5, 1.0, 1.3, ["overfitting"]), (-7.6, -7.5, -7.3, [])):
        progress = Progress(step=30, train_loss=train, best=Metrics(best, 10), best_step=10)
        progress.history = [[10, 1.1, best], [20, 0.8, last], [30, train, last]]
        assert [topic for topic, _ in advice.at_end(progress, config, "steps")] == said

"""Sampling: what is drawn, what it depends on, where samples stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from charrnn.errors import UsageError
from charrnn.kernels import draw as kernel
from charrnn.sampling_config import SamplingConfig
from charrnn.tasks.sampling import encode_prompt, read_prompts, sample
from charrnn.text.stops import StopFilter
from charrnn.text.vocabulary import EOS, UNKNOWN
from tests.toy_model import ToyModel, learn, toy_model

CHARS = learn("the quick brown fox\njumps over the lazy dog, naïve café\n")
WORDS = learn("the cat sat on the mat\nthe dog ran\n", "word", pretokenized=True)
BYTES = learn("", "byte")


def draw(logits: NDArray[np.float32], uniforms: NDArray[np.float64], config: SamplingConfig) -> NDArray[np.int64]:
    """One unit for each row of logits (B, V) and uniform number (B,)."""
    rows = zip(logits.copy(), uniforms, strict=True)
    return np.array([kernel.draw(row, u, config.temperature, config.top_k, config.top_p) for row, u in rows])


def texts(prompts: Sequence[bytes], vocabulary: Any = CHARS, stride: int = 64, count: int = 1, **options: Any) -> Any:
    """The whole samples, as (prompt, index, bytes, tokens, stopped_by)."""
    model = toy_model(vocabulary)
    samples: list[Any] = []
    written = b""
    for piece in sample(model, vocabulary, prompts, SamplingConfig(**options), count=count, stride=stride):
        written += piece.data
        if piece.stopped_by is not None:
            samples.append((piece.prompt, piece.index, written, piece.tokens, piece.stopped_by))
            written = b""
    assert written == b""
    return samples


def test_samples_come_in_order_and_have_the_length_asked_for() -> None:
    result = texts([b"the", b"a ", b""], count=3, length=30, seed=1)
    assert [(prompt, index) for prompt, index, *_ in result] == [(p, i) for p in range(3) for i in range(3)]
    assert {(tokens, reason) for *_, tokens, reason in result} == {(30, "length")}
    assert {len(data.decode()) for _, _, data, *_ in result} == {30}
    assert len({data for _, _, data, *_ in result}) == 9


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**40),
    st.lists(st.sampled_from([b"", b"the", b"quick brown fox and ", b"x"]), min_size=1, max_size=4, unique=True),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_a_sample_depends_on_seed_prompt_and_index_only(
    seed: int, prompts: list[bytes], count: int, stride: int
) -> None:
    batch = texts(prompts, count=count, stride=stride, length=13, seed=seed, stops=(b"e", b"qu"))
    for prompt, index, *rest in batch:
        alone = texts([prompts[prompt]], count=index + 1, length=13, seed=seed, stops=(b"e", b"qu"))
        assert list(alone[-1][2:]) == rest


def test_a_longer_sample_begins_like_a_shorter_one() -> None:
    short, long = (texts([b"a"], length=n, seed=3)[0][2] for n in (20, 90))
    assert long.startswith(short)


def test_the_batch_limit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = texts([b"the", b"a"], count=7, length=20, seed=5)
    monkeypatch.setattr("charrnn.tasks.sampling._BATCH_ROWS", 3)
    assert texts([b"the", b"a"], count=7, length=20, seed=5) == whole


def test_pieces_stream_before_the_sample_ends() -> None:
    pieces = sample(toy_model(CHARS), CHARS, [b""], SamplingConfig(length=None), stride=1)
    assert [len(next(pieces).data.decode()) for _ in range(5)] == [1] * 5


def test_the_first_sample_streams_while_the_others_are_held() -> None:
    pieces = list(sample(toy_model(CHARS), CHARS, [b""], SamplingConfig(length=6), count=3, stride=2))
    assert [(piece.index, len(piece.data.decode())) for piece in pieces] == [(0, 2), (0, 2), (0, 2), (1, 6), (2, 6)]


def test_the_unknown_unit_is_never_drawn() -> None:
    logits = np.zeros((1, 4), np.float32)
    logits[0, UNKNOWN] = 80.0
    for uniform in (0.0, 0.3, 0.6, np.nextafter(1.0, 0.0)):
        for options in ({}, {"top_k": 2}, {"top_p": 0.5}, {"temperature": 0.0}, {"temperature": 1e-300}):
            assert draw(logits, np.array([uniform]), SamplingConfig(**options))[0] != UNKNOWN


def test_draws_follow_the_softmax_without_the_unknown_unit() -> None:
    logits = np.log(np.array([[0.5, 0.1, 0.25, 0.15]], np.float32))
    uniforms = (np.arange(1000) + 0.5) / 1000
    counts = np.bincount(draw(np.repeat(logits, 1000, axis=0), uniforms, SamplingConfig()), minlength=4)
    np.testing.assert_allclose(counts / 1000, [0, 0.2, 0.5, 0.3], atol=0.002)
    halved = draw(np.repeat(logits, 1000, axis=0), uniforms, SamplingConfig(temperature=0.5))
    weights = np.array([0, 0.2, 0.5, 0.3]) ** 2
    np.testing.assert_allclose(np.bincount(halved, minlength=4) / 1000, weights / weights.sum(), atol=0.002)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"top_k": 1}, {2}),
        ({"top_k": 2}, {2, 3}),
        ({"top_k": 99}, {1, 2, 3}),
        ({"top_p": 1e-9}, {2}),
        ({"top_p": 0.49}, {2}),
        ({"top_p": 0.55}, {2, 3}),
        ({"top_p": 0.85}, {1, 2, 3}),
        ({"top_k": 2, "top_p": 0.6}, {2}),  # top-p on what top-k left: 0.625 and 0.375
        ({"temperature": 0.0}, {2}),
        ({"temperature": 1e-320}, {2}),
    ],
)
def test_top_k_and_top_p(options: dict[str, Any], allowed: set[int]) -> None:
    logits = np.repeat(np.log(np.array([[0.5, 0.1, 0.25, 0.15]], np.float32)), 200, axis=0)
    uniforms = np.append(np.arange(199) / 199, np.nextafter(1.0, 0.0))
    assert set(draw(logits, uniforms, SamplingConfig(**options)).tolist()) == allowed


@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=12), st.integers(0, 13), st.floats(0.01, 1), st.floats(0, 0.999)
)
def test_draws_are_those_of_a_sorted_list(values: list[int], top_k: int, top_p: float, uniform: float) -> None:
    logits = np.array([values], np.float32)
    ranked = sorted(range(1, len(values)), key=lambda unit: (-values[unit], unit))[: top_k or None]
    weights = [math.exp(values[unit]) for unit in ranked]
    kept = [unit for i, unit in enumerate(ranked) if top_p == 1 or sum(weights[:i]) < top_p * sum(weights) * (1 - 1e-9)]
    chosen = draw(logits, np.array([uniform]), SamplingConfig(top_k=top_k, top_p=top_p))[0]
    cumulative = np.cumsum([math.exp(values[unit]) for unit in sorted(kept)])
    target = uniform * cumulative[-1]
    if np.abs(cumulative - target).min() > 1e-6 and np.abs(np.cumsum(weights) - top_p * sum(weights)).min() > 1e-6:
        assert chosen == sorted(kept)[int((cumulative <= target).sum())]


def test_greedy_is_the_most_probable_unit_at_every_step() -> None:
    model = ToyModel(len(CHARS))
    state, unit, expected = model.zero_state(1), EOS, []
    for _ in range(12):
        logits = model.logits(model.forward(np.array([[unit]], np.int32), state)[0])[0]
        logits[UNKNOWN] = -np.inf
        unit = int(logits.argmax())
        expected.append(unit)
    assert texts([b""], length=12, temperature=0.0)[0][2] == CHARS.decode_bytes(expected)


def test_prompts_of_all_lengths_are_read_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.tasks.sampling._PROMPT_WINDOW", 4)
    prompts = [CHARS.encode(text) for text in ("the fox", "", "a", "the quick brown fox jumps", "dog")]
    model = ToyModel(len(CHARS))
    states, last = read_prompts(model, prompts)  # type: ignore[arg-type]
    for column, prompt in enumerate(prompts):
        inputs = np.append(np.int32(EOS), prompt).astype(np.int32)
        state = model.zero_state(1)
        if len(prompt):
            model.forward(inputs[:-1, None], state)
        np.testing.assert_array_equal(states[:, column], state[:, 0])
        assert last[column] == inputs[-1]


def test_lines_end_at_the_end_of_line_which_is_not_part_of_them() -> None:
    result = texts([b""], count=20, one_line=True, length=200, lines=True, seed=2)
    ended = [data for _, _, data, _, reason in result if reason == "line"]
    assert len(ended) >= 15
    assert not any(b"\n" in data for data in ended)
    assert all(tokens == len(data.decode()) + 1 for _, _, data, tokens, reason in result if reason == "line")


def test_with_a_length_lines_follow_each_other() -> None:
    assert b"\n" in texts([b""], length=400, lines=True)[0][2]


def test_a_stop_text_is_not_part_of_the_sample() -> None:
    whole = texts([b"the "], length=200, seed=7)[0][2]
    stop = whole[100:103]
    first = whole.index(stop)
    result = texts([b"the "], length=200, seed=7, stops=(stop, b"never there"))
    assert result[0][2] == whole[:first]
    assert result[0][4] == "stop"
    assert result[0][3] == len(whole[: first + len(stop)].decode())


def test_a_stop_text_in_the_prompt_does_not_count() -> None:
    assert texts([b"the quick"], length=5, stops=(b"quick",))[0][4] == "length"


def test_what_was_held_back_before_a_stop_text_is_gone_with_it() -> None:
    stop_filter = StopFilter([b"stop"])
    assert stop_filter.feed(b"one st") == (b"one ", False)
    assert stop_filter.feed(b"op two") == (b"", True)
    assert stop_filter.rest() == b""


@given(st.text("ab", max_size=40), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_stop_texts_are_found_however_the_text_is_cut(text: str, stops: list[str], data: st.DataObject) -> None:
    patterns = [stop.encode() for stop in stops]
    stop_filter = StopFilter(patterns)
    written, stopped = b"", False
    for character in text.encode():
        piece, stopped = stop_filter.feed(bytes([character]))
        written += piece
        if stopped:
            break
        # Nothing is held back longer than it must be.
        assert len(stop_filter._held) < max(map(len, patterns))
    ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
    assert stopped == bool(ends)
    expected = text[: min(ends)[1]] if ends else text
    assert written + (b"" if stopped else stop_filter.rest()) == expected.encode()
    # In larger pieces the first stop text to be complete wins as well.
    cut = data.draw(st.integers(0, len(text)))
    pieces = StopFilter(patterns)
    first, found = pieces.feed(text[:cut].encode())
    if not found:
        second, found = pieces.feed(text[cut:].encode())
        first += second
    assert first + (b"" if found else pieces.rest()) == expected.encode()


def test_pretokenized_words_are_joined_by_spaces() -> None:
    for prompt, after in ((b"the cat", b" "), (b"the cat ", b"")):
        text = texts([prompt], WORDS, length=40, seed=1, temperature=3.0)[0][2]
        assert text.startswith((after, b"\n"))
        assert b"  " not in text
        assert text == after + text.removeprefix(after).lstrip(b" ")
        assert b"<unk>" not in text
    assert not texts([b""], WORDS, length=40, seed=1)[0][2].startswith(b" ")


def test_byte_models_write_every_byte() -> None:
    data = texts([b"\xff\x00"], BYTES, length=3000, temperature=9.0)[0][2]
    assert len(data) == 3000
    assert len(set(data)) > 200


def test_unknown_units_of_a_prompt_are_named() -> None:
    ids, unknown = encode_prompt(CHARS, "the 漢 \xe9".encode())
    assert unknown == ["漢"]
    assert ids.tolist().count(UNKNOWN) == 1
    assert encode_prompt(CHARS, b"the \xff")[1] == ["\ufffd"]
    assert encode_prompt(BYTES, b"\xff")[1] == []
    assert encode_prompt(learn("a <unk> b\n", "word", pretokenized=True), b"a <unk> zz")[1] == ["zz"]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"stops": (b"",)},
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SamplingConfig(**options)

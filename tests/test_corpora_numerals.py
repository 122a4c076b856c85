"""The pairs of corpora/numerals.py: that both sides say the same, and that the parts share nothing."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from tests.test_corpora import CORPORA, load

numerals = load("numerals")

UNITS = {word: n for n, word in enumerate(numerals.SMALL)}
TENS = {word: 10 * n for n, word in enumerate(numerals.TENS) if n > 1}


def value(words: str) -> int:
    """The number that words say, read another way than they are written."""
    total = part = 0
    for word in words.replace("-", " ").split():
        if word == "thousand":
            total, part = 1000 * part, 0
        elif word == "hundred":
            part *= 100
        else:
            part += UNITS[word] if word in UNITS else TENS[word]
    return total + part


def test_numbers_in_words() -> None:
    assert numerals.in_words(0) == "zero"
    assert numerals.in_words(342) == "three hundred forty-two"
    assert numerals.in_words(999_999) == "nine hundred ninety-nine thousand nine hundred ninety-nine"
    generator = random.Random(1)
    numbers = [*range(2000), 10_000, 100_000, *(generator.randrange(1_000_000) for _ in range(3000))]
    found = [numerals.in_words(number) for number in numbers]
    assert [value(words) for words in found] == numbers
    assert all(word in {*UNITS, *TENS, "hundred", "thousand"} for words in found for word in re.split("[ -]", words))


def test_ordinals() -> None:
    expected = {1: "first", 2: "second", 12: "twelfth", 19: "nineteenth", 20: "twentieth", 30: "thirtieth"}
    assert {n: numerals.ordinal(n) for n in expected} == expected
    assert [numerals.ordinal(n) for n in (23, 28, 31)] == ["twenty-third", "twenty-eighth", "thirty-first"]
    assert [numerals.short_ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 31)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "30th", "31st",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("year", "words"),
    [
        (1900, "nineteen hundred"), (1905, "nineteen oh five"), (1987, "nineteen eighty-seven"), (2000, "two thousand"),
        (2009, "two thousand nine"), (2010, "twenty ten"), (2099, "twenty ninety-nine"),
    ],
)  # fmt: skip
def test_years_in_words(year: int, words: str) -> None:
    assert numerals.year_in_words(year) == words


# How Python reads the ways of writing a date that are not in words, endings of ordinals taken away.
LAYOUTS = (
    "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%b %d, %Y", "%d of %B %Y", "%A, %B %d, %Y", "%A the %d of %B %Y",
    "%a, %d %b %Y",
)  # fmt: skip


def read_date(text: str) -> date | None:
    """The date that a text in digits says, and whose day of the week it says."""
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text)
    for layout in LAYOUTS:
        try:
            found = datetime.strptime(plain, layout).date()
        except ValueError:
            continue
        weekday = re.match(r"(\w{3})\w*day,? |(\w{3}), ", text)
        assert weekday is None or found.strftime("%a") in weekday.groups()
        return found
    return None


def test_dates_say_their_day() -> None:
    day, texts = numerals.FIRST_DAY, dict[str, date]()
    ways = len(numerals.dates_in_english(day))
    while day <= numerals.LAST_DAY:
        found = numerals.dates_in_english(day)
        assert [read_date(text) for text in found] == [day] * (ways - 2) + [None] * 2
        for text in found:
            assert texts.setdefault(text, day) == day
        day += timedelta(days=97)
    words = numerals.dates_in_english(date(2012, 3, 31))[-2:]
    assert words == ["March thirty-first, twenty twelve", "the thirty-first of March twenty twelve"]


def test_no_text_has_two_times() -> None:
    texts: dict[str, int] = {}
    for minute in range(24 * 60):
        found = numerals.times_in_english(minute)
        for text in found:
            assert texts.setdefault(text, minute) == minute
        assert datetime.strptime(found[0], "%I:%M %p").strftime("%H%M hours") == found[2]
    for text, clock in {
        "noon": (12, 0), "midnight": (0, 0), "half past three in the afternoon": (15, 30), "ten to midnight": (23, 50),
        "one minute past noon": (12, 1), "quarter to one in the morning": (0, 45), "twelve oh five am": (0, 5),
        "twenty-nine minutes to eight in the evening": (19, 31), "six o'clock in the evening": (18, 0),
        "12 pm": (12, 0),
    }.items():  # fmt: skip
        assert divmod(texts[text], 60) == clock


@pytest.mark.parametrize("kind", ["numbers", "dates", "times"])
def test_what_is_held_out_is_in_no_training_part(kind: str) -> None:
    """Whatever the seeds; neither source nor target of it."""
    count = min(4000, numerals.most_pairs(kind, held_out=True))
    training = [*numerals.pairs(kind, 4000, 1), *numerals.pairs(kind, 4000, 2)]
    held_out = [*numerals.pairs(kind, count, 1, held_out=True), *numerals.pairs(kind, count, 3, held_out=True)]
    for side in range(2):
        assert not {pair[side] for pair in training} & {pair[side] for pair in held_out}
    assert len(set(training[:4000])) == 4000
    assert len(set(held_out[:count])) == count
    names = {word for pair in training for word in re.split("[ -]", pair[0] + " " + pair[1]) if word.isalpha()}
    assert {word for pair in held_out for word in re.split("[ -]", pair[0] + " " + pair[1]) if word.isalpha()} <= names


def test_numbers_of_any_length() -> None:
    found = list(numerals.pairs("numbers", 3000, 5))
    lengths = [len(digits) for digits, _ in found]
    assert {str(n) for n in range(100)} <= {digits for digits, _ in found}
    assert min(lengths.count(n) for n in (3, 4, 5, 6)) > 300
    assert all(value(words) == int(digits) for digits, words in found)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three, four = (tmp_path / name for name in ("one", "two", "three", "four"))
    asked = ["numbers", "--pairs", "50"]
    assert numerals.main([*asked, "--seed", "4", "-o", str(one)]) == 0
    assert numerals.main([*asked, "--seed", "4", "-o", str(two)]) == 0
    assert numerals.main([*asked, "--seed", "5", "-o", str(three)]) == 0
    assert numerals.main([*asked, "--seed", "4", "--reverse", "-o", str(four)]) == 0
    assert one.read_bytes() == two.read_bytes() != three.read_bytes()
    lines, turned = (path.read_text().splitlines() for path in (one, four))
    assert len(lines) == 50
    assert [line.split("\t") for line in lines] == [line.split("\t")[::-1] for line in turned]
    assert numerals.main(["times", "--held-out", "-o", str(one)]) == 0
    assert len(one.read_bytes().splitlines()) == numerals.most_pairs("times", held_out=True)
    assert numerals.main(["dates", "-o", str(tmp_path / "missing" / "file")]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["numbers", "--pairs", "0"], "is not from 1 to 500000"),
        (["times", "--held-out", "--pairs", "501"], "is not from 1 to 500"),
        (["dates", "--reverse"], "only for numbers"),
        (["words"], "invalid choice"),
    ],
)
def test_wrong_options(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        numerals.main(arguments)
    assert reason in capsys.readouterr().err


def test_no_script_hides_a_module_of_python() -> None:
    """Python looks for modules beside a script first: `corpora/numbers.py` would be what `fractions` imports."""
    assert not {path.stem for path in CORPORA.glob("*.py")} & sys.stdlib_module_names


def test_a_closed_pipe_ends_it_quietly() -> None:
    command = [sys.executable, str(CORPORA / "numerals.py"), "numbers", "--pairs", "20000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0

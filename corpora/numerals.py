#!/usr/bin/env python3
"""Numbers in digits and in words, and dates and times in English with their ISO forms: pairs, to learn to translate.

    python3 corpora/numerals.py numbers -o numbers.tsv
    python3 corpora/numerals.py numbers --held-out --pairs 1000 -o unseen.tsv
    python3 corpora/numerals.py numbers --reverse | dates | times

A line is `342 TAB three hundred forty-two`, with --reverse the other way round; `3rd of May 1987 TAB 1987-05-03`;
`half past three in the afternoon TAB 15:30`. No line comes twice. A tenth of all numbers, dates and times is held out,
whatever the seed: they come with --held-out only, the others never with it. What cannot be told from others stays in
the training part: the numbers below 100, midnight and noon.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path

SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DIGITS = 6  # of the largest number
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2099, 12, 31)
MINUTES = 24 * 60
HELD_OUT = 0.1
# So many pairs are drawn without waiting long for new ones; of those held out a tenth.
MOST = {"numbers": 500_000, "dates": 500_000, "times": 5_000}
USUAL = 10_000

Pair = tuple[str, str]


def in_words(number: int) -> str:
    """A number from 0 to 999,999, as Americans say it."""
    if number < 20:
        return SMALL[number]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            start, rest = f"{in_words(number // size)} {name}", number % size
            return f"{start} {in_words(rest)}" if rest else start
    return TENS[number // 10] + (f"-{SMALL[number % 10]}" if number % 10 else "")


def ordinal(number: int) -> str:
    """`first` for 1, up to 99."""
    start, hyphen, last = in_words(number).rpartition("-")
    return start + hyphen + ORDINALS.get(last, (last.removesuffix("y") + "ie" if last[-1] == "y" else last) + "th")


def short_ordinal(number: int) -> str:
    """`1st` for 1, up to 99."""
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def year_in_words(year: int) -> str:
    """From 1000 to 9999: `nineteen oh five`, `two thousand five`, `twenty ten`."""
    century, rest = divmod(year, 100)
    if century % 10 == 0 and rest < 10:
        return in_words(year)
    return f"{in_words(century)} {'hundred' if rest == 0 else f'oh {SMALL[rest]}' if rest < 10 else in_words(rest)}"


def dates_in_english(day: date) -> list[str]:
    """Ways of writing a date; of all, the date can be told for certain."""
    month, weekday = MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    number, year = short_ordinal(day.day), day.year
    return [
        f"{day.day} {month} {year}",
        f"{month} {day.day}, {year}",
        f"{day.day:02}-{month[:3]}-{year}",
        f"{month[:3]} {day.day}, {year}",
        f"{number} of {month} {year}",
        f"{month} {number}, {year}",
        f"{weekday}, {month} {day.day}, {year}",
        f"{weekday} the {number} of {month} {year}",
        f"{weekday[:3]}, {day.day:02} {month[:3]} {year}",
        f"{month} {ordinal(day.day)}, {year_in_words(year)}",
        f"the {ordinal(day.day)} of {month} {year_in_words(year)}",
    ]


def spoken_hour(hour: int, after: str = "") -> str:
    """Midnight, noon, or an hour, what comes after it, and the part of the day."""
    if hour % 12 == 0:
        return "noon" if hour == 12 else "midnight"
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    return f"{SMALL[hour % 12]} {after}{part}"


def times_in_english(minute: int) -> list[str]:
    """Ways of writing a minute of the day."""
    hour, past = divmod(minute, 60)
    half, twelve = "am" if hour < 12 else "pm", (hour + 11) % 12 + 1
    found = [f"{twelve}:{past:02} {half}", f"{twelve}.{past:02} {half[0]}.m.", f"{hour:02}{past:02} hours"]
    if past == 0:
        return [*found, f"{twelve} {half}", f"{SMALL[twelve]} {half}", spoken_hour(hour, "o'clock ")]
    found.append(f"{SMALL[twelve]} {'oh ' if past < 10 else ''}{in_words(past)} {half}")
    less, word, named = (past, "past", hour) if past <= 30 else (60 - past, "to", (hour + 1) % 24)
    size = {15: "quarter", 30: "half"}.get(less, in_words(less))
    minutes = "" if less % 5 == 0 else " minute" if less == 1 else " minutes"
    return [*found, f"{size}{minutes} {word} {spoken_hour(named)}"]


def is_held_out(name: str) -> bool:
    """Whether a number, date or time is of the part held out: by a hash of its digits."""
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    return number < HELD_OUT * 2**64


def number_pair(generator: random.Random, wanted: bool) -> Pair | None:
    """A number in digits, and in words; none where it is of the other part. Each number of digits is as frequent."""
    number = generator.randrange(10 ** generator.randint(1, DIGITS))
    held_out = number >= 100 and is_held_out(str(number))
    return (str(number), in_words(number)) if held_out == wanted else None


def date_pair(generator: random.Random, wanted: bool) -> Pair | None:
    """A date in English, and as YYYY-MM-DD."""
    day = date.fromordinal(generator.randint(FIRST_DAY.toordinal(), LAST_DAY.toordinal()))
    text = generator.choice(dates_in_english(day))
    return (text, day.isoformat()) if is_held_out(day.isoformat()) == wanted else None


def time_pair(generator: random.Random, wanted: bool) -> Pair | None:
    """A time in English, and as HH:MM."""
    minute = generator.randrange(MINUTES)
    text, clock = generator.choice(times_in_english(minute)), f"{minute // 60:02}:{minute % 60:02}"
    held_out = minute % (MINUTES // 2) != 0 and is_held_out(clock)
    return (text, clock) if held_out == wanted else None


DRAW: dict[str, Callable[[random.Random, bool], Pair | None]] = {
    "numbers": number_pair,
    "dates": date_pair,
    "times": time_pair,
}


def most_pairs(kind: str, *, held_out: bool) -> int:
    """How many pairs can be asked for."""
    return MOST[kind] // 10 if held_out else MOST[kind]


def pairs(kind: str, count: int, seed: int, *, held_out: bool = False) -> Iterator[Pair]:
    """So many pairs, all different, of `numbers`, `dates` or `times`; at most `most_pairs`."""
    generator, seen = random.Random(seed), set[Pair]()
    while len(seen) < count:
        pair = DRAW[kind](generator, held_out)
        if pair is not None and pair not in seen:
            seen.add(pair)
            yield pair


def main(arguments: Iterable[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write pairs of numbers, dates or times in two forms, one a line.")
    parser.add_argument("kind", choices=tuple(DRAW), help="which pairs")
    parser.add_argument("--pairs", type=int, metavar="N", help=f"how many (default: {USUAL}, or as many as there are)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: %(default)s)")
    parser.add_argument("--reverse", action="store_true", help="numbers: words first, then digits")
    parser.add_argument("--held-out", action="store_true", help="of the tenth held out, otherwise of all others")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")
    options = parser.parse_args(None if arguments is None else list(arguments))
    most = most_pairs(options.kind, held_out=options.held_out)
    count = min(USUAL, most) if options.pairs is None else options.pairs
    if not 1 <= count <= most:
        parser.error(f"argument --pairs: {count} is not from 1 to {most}")
    if options.reverse and options.kind != "numbers":
        parser.error(f"argument --reverse: only for numbers; {options.kind} are written in several ways")
    try:
        with Path(options.output).open("wb") if options.output else os.fdopen(os.dup(1), "wb") as stream:
            for pair in pairs(options.kind, count, options.seed, held_out=options.held_out):
                stream.write("\t".join(reversed(pair) if options.reverse else pair).encode() + b"\n")
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(f"numerals.py: {options.output or 'standard output'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

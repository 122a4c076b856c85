"""Dates of the rows of a table: reading them, their spacing, the dates that follow, and their places in cycles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

YEAR, MONTH, DATE, TIME = "year", "month", "date", "time"
KINDS = (YEAR, MONTH, DATE, TIME)
_YEAR = re.compile(r"[12]\d{3}")
_MONTH = re.compile(r"(\d{4})-(\d{1,2})")
_EPOCH = datetime(1970, 1, 1)
DAY = 86400.0
YEAR_DAYS = 365.2425
# Cycles with their length in days, and how many harmonics of each a model has.
CYCLES = {"day": (1.0, 3), "week": (7.0, 3), "year": (YEAR_DAYS, 2)}
LEAST_CYCLES = 2  # of a cycle in the training part, for it to be learned


def kind_of(text: str) -> str | None:
    """How a date is written: `year` (1949), `month` (1949-01), `date` (ISO 8601) or `time` (ISO 8601, with a time)."""
    for kind in KINDS:
        if parse(text, kind) is not None:
            return kind
    return None


def parse(text: str, kind: str) -> datetime | None:
    """The date that is written so, None if it is none. Times of a zone are those of UTC."""
    try:
        if kind == YEAR:
            return datetime(int(text), 1, 1) if _YEAR.fullmatch(text) else None
        if kind == MONTH:
            match = _MONTH.fullmatch(text)
            return datetime(int(match[1]), int(match[2]), 1) if match else None
        if _YEAR.fullmatch(text) or _is_number(text):
            return None
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if (kind == DATE) != (len(text) <= 10):
        return None
    if (offset := found.utcoffset()) is not None:
        found = found.replace(tzinfo=None) - offset
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Spacing:
    """The time between rows: `months`, or `seconds` where that is 0."""

    months: int = 0
    seconds: float = 0.0

    def after(self, date: datetime, count: int = 1) -> datetime:
        """The date `count` rows later. Raises OverflowError beyond the year 9999."""
        if not self.months:
            return date + timedelta(seconds=self.seconds * count)
        month = date.year * 12 + date.month - 1 + self.months * count
        if month >= 120_000:
            raise OverflowError("a date beyond the year 9999")
        day = date.day
        while True:
            try:
                return date.replace(year=month // 12, month=month % 12 + 1, day=day)
            except ValueError:  # a shorter month
                day -= 1

    @property
    def days(self) -> float:
        """The length in days, of a month on average."""
        return self.months * YEAR_DAYS / 12 if self.months else self.seconds / DAY


def spacing_of(dates: Sequence[datetime]) -> Spacing:
    """The median spacing of dates that rise, in months where all are on the same day of their months."""
    if len(dates) < 2:
        return Spacing(seconds=DAY)
    pairs = list(pairwise(dates))
    months = [(b.year - a.year) * 12 + b.month - a.month for a, b in pairs]
    same = all(a.day == b.day and a.time() == b.time() for a, b in pairs)
    if same and median(months) >= 1:
        return Spacing(months=round(median(months)))
    return Spacing(seconds=median((b - a).total_seconds() for a, b in pairs) or DAY)


def written(date: datetime, kind: str, like: str) -> str:
    """A date as the kind says, and a time as `like`, another of its column."""
    if kind == YEAR:
        return str(date.year)
    if kind == MONTH:
        return f"{date.year}-{date.month:02d}"
    if kind == DATE:
        return date.date().isoformat() if "-" in like else date.strftime("%Y%m%d")
    separator = "T" if "T" in like else " "
    minutes = like.count(":") == 1 and not date.second
    return date.isoformat(separator, "minutes" if minutes else "auto")


def usual_season(spacing: Spacing) -> int:
    """How many rows a season usually has: 12 months, 4 quarters, 52 weeks, 7 days, 24 hours; 0 where none is usual."""
    if spacing.months:
        return 12 // spacing.months if 12 % spacing.months == 0 and spacing.months < 12 else 0
    for cycle in (1.0, 7.0, 364.0):
        rows = cycle / spacing.days
        if spacing.days < cycle and abs(rows - round(rows)) < 1e-6 and 2 <= rows <= 400:
            return round(rows)
    return 0


def cycles_of(spacing: Spacing, rows: int) -> tuple[tuple[str, int], ...]:
    """The cycles that `rows` rows of this spacing show, with their harmonics: longer than two rows, and seen twice."""
    found = []
    for name, (days, harmonics) in CYCLES.items():
        length = days / spacing.days
        if spacing.months and name != "year":
            continue
        most = int(min(5 if spacing.months else harmonics, (length - 1e-6) // 2))
        if most >= 1 and rows >= LEAST_CYCLES * length:
            found.append((name, most))
    return tuple(found)


def features(dates: Sequence[datetime], cycles: Sequence[tuple[str, int]]) -> NDArray[np.float64]:
    """Sines and cosines (dates, 2 · harmonics) of the places of dates in `cycles`."""
    seconds = np.array([(date - _EPOCH).total_seconds() for date in dates], np.float64)
    columns = []
    for name, harmonics in cycles:
        if name == "year":
            year = np.array([date.year for date in dates])
            begin = np.array([(datetime(int(y), 1, 1) - _EPOCH).total_seconds() for y in year])
            leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
            place = (seconds - begin) / (DAY * (365 + leap))
        else:
            place = seconds / (CYCLES[name][0] * DAY) % 1.0
        for k in range(1, harmonics + 1):
            columns += [np.sin(2 * np.pi * k * place), np.cos(2 * np.pi * k * place)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(dates), 0))

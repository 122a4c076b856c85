"""What is said of a setting, once: its meaning, its values, what is taken when it is not given.

A setting is a field of a frozen dataclass, declared with `setting`. The dataclass calls `check_settings` when it is
made. The command line makes its options from the same fields, and `docs/options.md` is written from them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from numbers import Real
from typing import Any, NamedTuple

from charrnn.errors import UsageError

_KEY = "setting"


class Setting(NamedTuple):
    """What is said of a field, whose type says the rest: a whole number, a number, a text, a list or a flag.

    A number is finite and in [`low`, `high`], or in (`low`, `high`] with `above`; a text, or each item of a list, is
    one of `choices` where there are any. `keywords` may stand in place of a list: the program then chooses it.
    `seconds` is a number that may be given as a time, such as 10m, `size` one of bytes, such as 100MB. `group` is the
    heading under which the setting is listed, and `default` says in words what is taken when it is not given. `names`
    are all its names where the field's own is not the only one; `placeholder` stands for its value in a list of
    settings.
    `sides`: a task with two sides of text takes two of the choices, with a comma between them.
    """

    help: str
    group: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    choices: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    seconds: bool = False
    size: bool = False
    default: str = ""
    names: tuple[str, ...] = ()
    placeholder: str = ""
    sides: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise `UsageError`, which begins with `name`, unless `value` is one of `choices` and in range."""
        if self.choices:
            for item in value if isinstance(value, tuple) else (value,):
                require_choice(name, item, self.choices)
        elif self.low is not None or self.high is not None:
            for item in value if isinstance(value, tuple) else (value,):
                require_range(name, item, self.low, self.high, above=self.above)


def setting(default: Any = dataclasses.MISSING, *, help: str, group: str, shown: str = "", **said: Any) -> Any:
    """A field of a dataclass that is a setting; `shown` and the other arguments are the fields of `Setting`.

    The `default` of the field itself is always allowed: it may be a value, such as None or 0, that stands for a choice
    of the program and that nobody else may give. It is what is shown as the default where `shown` is empty.
    """
    if not shown and isinstance(default, str | int | float) and not isinstance(default, bool):
        shown = f"{default:g}" if isinstance(default, float) else str(default)
    return dataclasses.field(default=default, metadata={_KEY: Setting(help, group, default=shown, **said)})


def settings_of(kind: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Setting]]:
    """The fields of a dataclass that are settings, in order."""
    for entry in dataclasses.fields(kind):
        if (found := entry.metadata.get(_KEY)) is not None:
            yield entry, found


def check_settings(record: Any) -> None:
    """Raise `UsageError` for the first setting of `record`, a dataclass, whose value is not allowed."""
    for entry, found in settings_of(type(record)):
        value = getattr(record, entry.name)
        if value != entry.default:
            found.check(f"`{entry.name}`", value)


def range_words(low: float | None, high: float | None, *, above: bool = False) -> str:
    """`at least 0 and at most 1`; with `above`, `more than 0`; empty where there is no limit."""
    parts = []
    if low is not None and low != -math.inf:
        parts.append(f"more than {low:g}" if above else f"at least {low:g}")
    if high is not None and high != math.inf:
        parts.append(f"at most {high:g}")
    return " and ".join(parts)


def counted(number: float, noun: str) -> str:
    """`1 step`, `2,000 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(texts: Sequence[str], most: int) -> str:
    """The first texts, at most `most`, with commas between them and `…` in place of the others."""
    return ", ".join([*texts[:most], *["…"] * (len(texts) > most)])


def in_range(value: float, low: float | None, high: float | None, *, above: bool = False) -> bool:
    """Whether `value` is finite and in [low, high], or in (low, high] with `above`. None is no limit."""
    if not math.isfinite(value) or (high is not None and value > high):
        return False
    return low is None or value > low or (value == low and not above)


def require_range(
    name: str, value: float, low: float | None, high: float | None = None, *, above: bool = False
) -> None:  # fmt: skip
    """Raise `UsageError` unless `value` is a number in range, see `in_range`."""
    if not isinstance(value, Real):
        raise UsageError(f"{name} is {value!r:.40}; it must be a number, {range_words(low, high, above=above)}")
    if not in_range(value, low, high, above=above):
        raise UsageError(f"{name} is {value:g}; it must be {range_words(low, high, above=above)}")


def require_whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise `UsageError` unless `value` is a whole number, at least `low` and at most `high`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UsageError(f"{name} is {value!r:.40}; it must be a whole number, {range_words(low, high)}")
    require_range(name, value, low, high)


def require_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise `UsageError` unless `value` is one of `choices`."""
    if value not in choices:
        raise UsageError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")


def require_equal(what: str, name: str, value: int, other: str, other_value: int) -> None:
    """Raise `UsageError` unless two options have the same value, as `what` needs it."""
    if value != other_value:
        raise UsageError(f"{what} needs {name} and {other} to be equal, and they are {value} and {other_value}")

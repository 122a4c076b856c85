"""The options of sampling, see `config.py`."""

from __future__ import annotations

from dataclasses import dataclass

from charrnn.config import DEFAULT_LENGTH, DISTRIBUTION
from charrnn.errors import UsageError
from charrnn.settings import check_settings, require_range, setting


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How samples are drawn.

    `length` is the number of new units, None is unlimited. `one_line` ends a sample at the end of a line, which is not
    part of it. `lines`: the hidden state is reset at the start of each line, as in training. `temperature` 0 takes the
    most probable unit; `top_k` 0 and `top_p` 1 do not truncate the distribution. A sample ends before the first of
    `stops` that it contains.

    Raises:
        UsageError: a value is out of range, or one of `stops` is empty.
    """

    length: int | None = DEFAULT_LENGTH
    one_line: bool = False
    lines: bool = False
    temperature: float = setting(
        1.0, help="Below 1 safer, above 1 wilder, 0 greedy.", group=DISTRIBUTION, low=0, names=("t", "temperature")
    )
    top_k: int = setting(0, help="Only the N best units.", group=DISTRIBUTION, low=1, shown="all", names=("k", "top_k"))
    top_p: float = setting(
        1.0,
        help="Only the best units that make up P of all.",
        group=DISTRIBUTION,
        low=0,
        high=1,
        above=True,
        placeholder="P",
    )
    max_copy: int = setting(
        0,
        help="Never more than N units in a row as they stand in the corpus, which the model's memory has.",
        group=DISTRIBUTION,
        low=1,
        high=10_000,
        shown="no limit",
    )
    stops: tuple[bytes, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length is not None:
            require_range("`length`", self.length, 0)
        check_settings(self)
        require_range("`seed`", self.seed, 0)
        if b"" in self.stops:
            raise UsageError("`stop` is empty; it must be at least one character")

"""Tables of numbers: how columns are found, what is wrong with a row, dates and what follows them."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config import TextConfig
from charrnn.errors import CharrnnError
from charrnn.text import dates
from charrnn.text.series import Columns, Row, TableReader
from charrnn.text.series_table import joined, load_table, split


def read(text: str, name: str = "x", **options: object) -> tuple[Columns, list[Row]]:
    reader = TableReader(enumerate(text.split("\n"), 1), name, **options)  # type: ignore[arg-type]
    rows = list(reader)
    assert reader.columns is not None
    return reader.columns, rows


@pytest.mark.parametrize(
    ("text", "names", "values", "kind"),
    [
        ('"Month","n"\n"1949-01",112\n"1949-02",118\n', ("n",), [[112], [118]], "month"),
        ("1949-01-03\t1.5\t2\n1949-01-04\t-2e3\t3\n", ("2", "3"), [[1.5, 2], [-2000, 3]], "date"),
        ("1 2\n\n 3   4\n", ("1", "2"), [[1, 2], [3, 4]], ""),
        ("5\n6\n", ("1",), [[5], [6]], ""),
        ("t;v\n2020-01-01 10:00;1\n2020-01-01 11:00;2\n", ("v",), [[1], [2]], "time"),
        ("year,v\n1900,7\n1901,8\n", ("v",), [[7], [8]], "year"),
        ("place,v\nhere,7\nthere,8\n", ("v",), [[7], [8]], ""),
        ("a,b\n,1\n2,3\n", ("a", "b"), None, ""),
    ],
)
def test_columns_are_found(text: str, names: tuple[str, ...], values: list[list[float]] | None, kind: str) -> None:
    if values is None:
        with pytest.raises(CharrnnError, match="line 2: the column 'a' has no number"):
            read(text)
        return
    columns, rows = read(text)
    assert (columns.names, [row.values for row in rows], columns.kind) == (names, values, kind)


def test_columns_that_are_not_read_are_named_with_the_reason() -> None:
    text = "d,a,note,end,empty\n2020-01-01,1,x,2021-05-01,\n2020-01-02,3,y,2021-06-01,\n"
    for chosen, unused in (
        ((), ["'note' (text: 'x')", "'end' (dates are those of 'd')", "'empty' (no numbers)"]),
        (("a",), []),
    ):
        reader = TableReader(enumerate(text.split("\n"), 1), "x", chosen=chosen)
        assert len(list(reader)) == 2
        assert reader.unused == unused


def test_columns_are_chosen() -> None:
    text = "d,a,b,g\n2020-01-01,1,2,x\n2020-01-02,3,4,x\n2020-01-01,5,6,y\n"
    columns, rows = read(text, chosen=("b", "2"), group="g")
    assert (columns.names, columns.time_name, columns.group_name) == (("b", "a"), "d", "g")
    assert [(row.values, row.group, row.time) for row in rows][1:] == [
        ([4, 3], "x", "2020-01-02"), ([6, 5], "y", "2020-01-01")
    ]  # fmt: skip
    again, moved = read("b,x,d,a,g\n9,0,2020-03-01,8,z\n", known=columns)
    assert (again.places, again.time, moved[0].values) == ((0, 3), 2, [9, 8])


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("a,b\n1,2\n3\n", {}, "line 3: '3' has 1 columns, and the first line has 2"),
        ("a,b\n1,2\n3,x\n", {}, "line 3: the column 'b' has 'x', which is no number"),
        ("a,b\n1,2\n3,nan\n", {}, "line 3: the column 'b' has no number"),
        ("a\n\n1\n1e999\n", {}, "line 4: the column 'a' has '1e999', which is no number"),
        ("d,a\n2020-01-02,1\n2020-01-01,2\n", {}, "line 3: the date goes back from 2020-01-02 to 2020-01-01"),
        ("d,a\n2020-01-02,1\n2020-01-02,2\n", {}, "line 3: the date 2020-01-02 comes twice"),
        ("g,a\nx,1\ny,2\nx,3\n", {"group": "g"}, "line 4: the rows of 'x' are not together; sort the table"),
        ("a;b\n1;2\n3;4,5\n", {}, "(a decimal point is needed, not a comma)"),
        ("d,a\n2020-01-02,1\nsoon,2\n", {}, "line 3: the column 'd' has 'soon'"),
        ("a,b\n1,2\n", {"chosen": ("c",)}, "no column 'c', it has 'a', 'b'"),
        ("a,b\n1,2\n", {"chosen": ("a", "1")}, "name a column twice"),
        ("a,b\nx,y\n", {}, "has no column of numbers"),
        ('a,b\n1,"2\n', {}, "line 2: not a row of a table"),
        ("a,b\n,2\n1,3\n", {"replace": True}, "there is none before it"),
    ],
)
def test_what_is_wrong_is_said(text: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(CharrnnError) as error:
        read(text, **options)
    assert says in str(error.value)


def test_missing_numbers_are_replaced() -> None:
    _, rows = read("a,b\n1,2\n,3\nNA,\n", replace=True)
    assert [row.values for row in rows] == [[1, 2], [1, 3], [1, 3]]


def test_files_one_after_the_other(tmp_path: Path) -> None:
    lines = ["v", *map(str, range(20))]
    plain, packed = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_bytes(("\r\n".join(lines) + "\r\n").encode())
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = load_table([str(plain), str(packed)], TextConfig())
    assert found.table.starts.tolist() == [0, 20, 40]
    np.testing.assert_array_equal(found.table.values[20:, 0], np.arange(20))
    assert any("Windows line ends" in note for note in found.notes)
    assert split(found.table, 0.25) == 30
    assert joined(found.table.rows(0, 20), found.table.rows(20, 40)).starts.tolist() == [0, 40]
    plain.write_text("v\n1\n2\n3\n")
    with pytest.raises(CharrnnError, match="there are 3 rows, too little history"):
        load_table([str(plain)], TextConfig())


@pytest.mark.parametrize(
    ("first", "second", "after", "season"),
    [
        ("1949-11", "1949-12", "1950-01", 12),
        ("1949-10", "1950-01", "1950-04", 4),
        ("2020-01-31", "2020-02-01", "2020-02-02", 7),
        ("2020-01-01", "2020-01-08", "2020-01-15", 52),
        ("2020-01-01 22:00", "2020-01-01 23:00", "2020-01-02 00:00", 24),
        ("2020-01-01T22:00:00", "2020-01-01T22:30:00", "2020-01-01T23:00:00", 48),
        ("1900", "1901", "1902", 0),
    ],
)
def test_dates_go_on(first: str, second: str, after: str, season: int) -> None:
    kind = dates.kind_of(first)
    assert kind is not None
    both = [dates.parse(text, kind) for text in (first, second)]
    assert both[0] is not None
    assert both[1] is not None
    spacing = dates.spacing_of([both[0], both[1]])
    assert dates.written(spacing.after(both[1]), kind, second) == after
    assert dates.usual_season(spacing) == season


def test_what_is_no_date() -> None:
    for text in ("12", "1.5", "20200101.5", "x", "2020-13", "2020-02-30", ""):
        assert dates.kind_of(text) is None, text


def test_places_in_cycles() -> None:
    when = [datetime(2021, 1, 1), datetime(2021, 7, 2, 12), datetime(2022, 1, 1)]
    found = dates.features(when, [("year", 1)])
    np.testing.assert_allclose(found, [[0, 1], [0, -1], [0, 1]], atol=1e-9)
    assert dates.cycles_of(dates.Spacing(months=1), 23) == ()
    assert dates.cycles_of(dates.Spacing(months=1), 24) == (("year", 5),)
    assert [name for name, _ in dates.cycles_of(dates.Spacing(seconds=3600.0), 24 * 20)] == ["day", "week"]

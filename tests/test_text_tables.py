"""Records with labels in the columns of a table."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_text_labelled import read, write

TABLE = '"id",text,label\n1,"Hello, ""you""",ham\n\n2,"two\nlines",spam\n3,,ham\n'


@pytest.mark.parametrize("columns", [("text", "label"), ("2", 3), (2, "label")])
@pytest.mark.parametrize("name", ["table.csv", "table.data", "table.CSV.gz"])
def test_tables(tmp_path: Path, columns: Any, name: str) -> None:
    path = write(tmp_path, gzip.compress(TABLE.encode(), mtime=0) if name.endswith("gz") else TABLE, name)
    numbers = columns == ("2", 3)  # without a header, so that the first row is a record
    expected = [('Hello, "you"', "ham", path, 2), ("two\nlines", "spam", path, 4), ("", "ham", path, 6)]
    assert read(path, tmp_path, columns) == [("text", "label", path, 1)] * numbers + expected
    tabbed = write(tmp_path, "\nlabel\ttext, long\nx\ta, b\n", "table.tsv")
    assert read(tabbed, tmp_path, ("text, long", "label")) == [("a, b", "x", tabbed, 3)]


@given(rows=st.lists(st.tuples(st.text(alphabet='ab",\t\né \r', max_size=9), st.sampled_from("xyz")), min_size=1))
def test_tables_as_the_csv_module_writes_them(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("text", "label"), *rows])
    folder = tmp_path_factory.mktemp("csv")
    path = write(folder, file.getvalue(), "table.csv")
    found = [(record.text, record.label) for record in read(path, folder, ("text", "label"))]
    assert found == [(text.replace("\r\n", "\n"), label) for text, label in rows]


def test_a_field_may_be_long(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = write(tmp_path, f"x,{'a' * 200_000}\n", "table.csv")
    assert len(read(path, tmp_path, (2, 1))[0].text) == 200_000
    assert csv.field_size_limit() == limit

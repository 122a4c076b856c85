"""The report on a model: one page in HTML with what it is, what it learned and where it is wrong.

`SECTIONS` names the file that has `sections(model, records)` for each task; `draw.py` draws figures with matplotlib,
`page.py` writes the page with jinja2. Both packages are imported only where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.report.page import Section

PACKAGES = ("matplotlib", "jinja2")
SECTIONS = {
    "language": "charrnn.report.language",
    "classify": "charrnn.report.classify",
    "tag": "charrnn.report.tag",
    "forecast": "charrnn.report.forecast",
    "translate": "charrnn.report.translate",
}


def sections(model: Any, records: Sequence[Any] | None, seed: int = 0) -> Iterator[Section]:
    """The sections of a page on a trained model, from held-out `records` of its task; None for what it knows alone.

    The records are those of the task's file; `seed` is that of what is drawn at random. A task without a file has none.
    Raises CharrnnError where the model computes numbers that are not finite.
    """
    if model.task in SECTIONS:
        yield from import_module(SECTIONS[model.task]).sections(model, records, seed)

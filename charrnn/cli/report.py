"""`charrnn report`: one page in HTML on what a model is, what it learned and where it is wrong."""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import streams
from charrnn.cli.info_lines import sized
from charrnn.cli.line_options import ColumnsOption, EncodingOption
from charrnn.cli.model import find_checkpoint, require_file
from charrnn.cli.options import CheckpointOption, QuietOption, ThreadsOption, option, resolve_threads
from charrnn.config import require_encoding
from charrnn.errors import CharrnnError, UsageError

DEFAULT = "report.html"
TITLE = 120  # characters of the title


def report(
    path: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="A file made by charrnn train.", show_default=False)
    ] = None,
    checkpoint: CheckpointOption = None,
    input: Annotated[
        str | None,
        option(
            "-i",
            "--input",
            metavar="FILE|-",
            group="Input",
            help="Held-out text or records to look at, as train reads them, plain or compressed.",
            default="what the model knows of itself",
        ),
    ] = None,
    encoding: EncodingOption = None,
    columns: ColumnsOption = None,
    output: Annotated[
        str, option("-o", "--output", metavar="FILE.html", group="Output", help="The page to write.")
    ] = DEFAULT,
    force: Annotated[bool, option("--force", group="Output", help="Replace the page if it exists.")] = False,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Draw what a model is, what it learned and where it is wrong, as one page to open in a browser."""
    streams.set_quiet(quiet)
    if path and checkpoint:
        raise UsageError(f"two checkpoints are named, {path} and {checkpoint}; leave one out")
    for name, value in (("--encoding", encoding), ("--columns", columns)):
        if value is not None and input is None:
            raise UsageError(f"{name} is for -i FILE; name the file or leave it out")
    if encoding is not None:
        require_encoding(encoding)
    count = resolve_threads(threads)
    named = checkpoint if path is None else path
    file, page = find_checkpoint(named), Path(output)
    require_file(file, named)
    if page.is_file() and not force:
        raise UsageError(f"{page} exists; --force replaces it, -o FILE.html writes another")
    _require_packages()
    streams.note(f"checkpoint {file}")
    text = make(file, input, encoding, columns, count)
    _write(page, text)
    streams.note(f"{page}: {sized(len(text.encode()))}, to be opened in a browser")


def make(file: Path, input: str | None, encoding: str | None, columns: str | None, threads: int) -> str:
    """The page on a checkpoint."""
    from charrnn import report, tasks
    from charrnn.cli.compiling import announce_compilation
    from charrnn.cli.info import describe, summary
    from charrnn.cli.report_input import read
    from charrnn.report.page import Section, render
    from charrnn.report.text import visible
    from charrnn.report.training import overview

    description = describe(str(file), tasks.read_contents(file))
    pairs = [(name, visible(line, 2000)) for name, line in summary(description)]
    sections = [overview(pairs, description["training"])]
    announce_compilation()
    model = tasks.task_of(file).trained(tasks.load_checkpoint(file), threads=threads, precision="float32")
    records = None if input is None else read(model, input, encoding, columns)
    sections += report.sections(model, records)
    if input is None:
        sections.append(Section("What is not here", MORE.get(model.task, MORE_OF_ANY)))
    of = f", looked at with {visible(input, TITLE)}" if input not in (None, "-") else ""
    return render(visible(file.name, TITLE), f"A model of the task {model.task}{of}.", sections)


MORE_OF_ANY = "With -i FILE, held-out records of the model's task, the page also says how it does on them."
MORE = {
    "language": "The text above is the model's own. With -i FILE, a held-out text, the page shows where the model is "
    "surprised by real text, which lines are most surprising, and whether its probabilities can be trusted.",
    "classify": "With -i FILE, held-out records as in training, the page adds the confusion matrix, calibration, the "
    "records that are most certain and wrong, and what the pooling attends to.",
    "tag": "With -i FILE, held-out sentences as in training, the page adds a table by type and errors in context.",
    "forecast": "With -i FILE, a held-out table as in training, the page adds forecasts with their intervals beside "
    "baselines, residuals and coverage.",
    "translate": "With -i FILE, held-out pairs as in training, the page adds attention maps and errors by length.",
}


def _require_packages() -> None:
    """Raise CharrnnError unless the packages that draw are there."""
    from charrnn.report import PACKAGES

    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise CharrnnError(
            f"a report needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'charrnn[report]'"
        )


def _write(page: Path, text: str) -> None:
    """Write the page to a temporary file beside it, which is then renamed. Raises CharrnnError where that fails."""
    temporary = page.with_name(f".{page.name[:100]}.{os.getpid()}")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        if page.exists() and not page.is_file():  # a device
            page.write_text(text, "utf-8")
            return
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(page)
        finally:
            with suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise CharrnnError(f"cannot write {page}: {error.strerror or error}") from error

"""The names of the files that training reads and writes."""

from __future__ import annotations

import os
from pathlib import Path

from charrnn.cli.model import DEFAULT_FOLDER, DEMOS, find_checkpoint
from charrnn.errors import CharrnnError, UsageError


def check_names(
    output: str | None, log: str | None, inputs: dict[str, list[str] | list[str | None]], init_from: str | None
) -> None:
    """Raise `UsageError` where --output or --log would overwrite what is read, or each other, or names no file, and
    where a name is not UTF-8, which a checkpoint could not record."""
    forbidden = [(name, path) for name, paths in inputs.items() for path in paths]
    for name, path in [*forbidden, ("--init-from", init_from), ("--output", output), ("--log", log)]:
        shown = os.fsencode(path or "").decode("utf-8", "replace")
        if path and shown != path:
            raise UsageError(f"{name} is {shown}, a name that is not UTF-8 and cannot be recorded; rename the file")
    for option, written, read in (
        ("--output", output, forbidden),
        ("--log", log, [*forbidden, ("--init-from", init_from), ("--output", output)]),
    ):
        if written in ("", "-"):
            raise UsageError(f"{option} is '{written}'; it must name a file")
        for name, path in read:
            if written and path and path != "-" and same_file(written, path):
                raise UsageError(f"{option} is {written}, which is {name} too and would be overwritten; name another")


def same_file(first: str, second: str) -> bool:
    """Whether both are paths of one file, which need not exist."""
    return Path(first).resolve() == Path(second).resolve()


def choose_output(corpora: list[str] | None, output: str | None, resume: bool) -> Path:
    """The checkpoint to write: --output, else after the first corpus, else (--resume only) the newest one."""
    if output is not None:
        return Path(output)
    if corpora:
        return default_output(corpora[0])
    if resume:
        try:
            path = find_checkpoint(None)
        except CharrnnError:
            raise CharrnnError("there is no run to resume in checkpoints; name its file with --output") from None
        if path.name not in DEMOS:
            return path
    return DEFAULT_FOLDER / "stdin.safetensors"


def default_output(corpus: str) -> Path:
    """checkpoints/<name without its endings>.safetensors: `books/emma.txt.gz` gives `emma`."""
    name = "stdin" if corpus == "-" else Path(corpus).name
    if name.lower().endswith((".gz", ".bz2", ".xz")):
        name = Path(name).stem
    return DEFAULT_FOLDER / f"{Path(name).stem or 'corpus'}.safetensors"

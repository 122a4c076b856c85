"""Writes the man page, from the commands and their options: `python -m charrnn.cli.man_page docs/charrnn.1`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from charrnn.cli.commands import COMMANDS, load_function
from charrnn.cli.options_page import parts

_HEAD = """\
.\\" Written by `make options-page` from the options themselves: change those, not this page.
.TH CHARRNN 1
.nh
.ad l
.SH NAME
charrnn \\- recurrent networks that learn from text, labels, tags, numbers and pairs of texts
.SH SYNOPSIS"""
_STATUS = {
    "0": "done", "1": "bad data, file or checkpoint, or a failed write", "2": "wrong usage", "3": "training diverged",
    "129, 130, 143": "the terminal was closed, interrupted by Ctrl-C, or terminated; what was learned is saved",
}  # fmt: skip
_VARIABLES = {
    "CHARRNN_CHECKPOINT": "the checkpoint of all commands but train when -c is not given",
    "CHARRNN_THREADS": "the threads to compute with; otherwise all processors",
    "CHARRNN_CACHE_DIR": "the folder of compiled code and encoded corpora",
    "CHARRNN_DEBUG": "1 shows where an error came from",
    "NO_COLOR": "no colours on a terminal",
}


def man_page(commands: Mapping[str, Callable[..., Any]]) -> str:
    """The page for the functions behind the `commands`, for man(1)."""
    return "".join(f"{line}\n" for line in _lines(commands))


def _lines(commands: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    yield _HEAD
    for name, function in commands.items():
        arguments, _ = parts(function)
        yield from (f".B charrnn {name}", escaped(" ".join(["[OPTIONS]", *(usage for usage, _ in arguments)])), ".br")
    for name, function in commands.items():
        yield f".SH CHARRNN {name.upper()}"
        yield escaped(inspect.getdoc(function) or "").replace("\n\n", "\n.PP\n")
        arguments, groups = parts(function)
        for _, info in arguments:
            yield from (".TP", f".I {escaped(info.metavar)}", escaped(info.help))
        for group, options in groups.items():
            yield f".SS {escaped(group)}"
            for info, default in options:
                flag = isinstance(default, bool) or not info.metavar
                names = escaped(", ".join(info.param_decls))
                yield from (".TP", rf"\fB{names}\fR" + ("" if flag else rf" \fI{escaped(info.metavar)}\fR"))
                yield escaped(" ".join(str(info.help).split()))
    for title, entries in (("EXIT STATUS", _STATUS), ("ENVIRONMENT", _VARIABLES)):
        yield f".SH {title}"
        for name, meaning in entries.items():
            yield from (".TP", f".B {escaped(name)}", escaped(meaning))


def escaped(text: str) -> str:
    """A text as groff shows it as it is: hyphens that can be copied, and no line that begins a request."""
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in plain.split("\n"))


def main() -> None:
    """Write the page to the file named on the command line."""
    page = man_page({name: load_function(name) for name in COMMANDS})
    Path(sys.argv[1]).write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

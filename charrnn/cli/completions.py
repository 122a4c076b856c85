"""Writes the files by which shells complete commands: `python -m charrnn.cli.completions docs/completions`.

They are what `--show-completion` prints. An installation puts them where shells look for them (`pyproject.toml`), so
that nobody has to run `--install-completion` where the prefix is one that the shell knows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from typer._completion_shared import get_completion_script

# The name that each shell looks for.
FILES = {"bash": "charrnn", "zsh": "_charrnn", "fish": "charrnn.fish"}
# zsh runs the file when something is to be completed for the first time: that is answered as well.
_ZSH_END = '\nif [[ $funcstack[1] == _charrnn ]]; then\n  _charrnn_completion "$@"\nfi'


def completion(shell: str) -> str:
    """The text of the file for a shell of `FILES`."""
    text = get_completion_script(prog_name="charrnn", complete_var="_CHARRNN_COMPLETE", shell=shell).strip()
    return text + (_ZSH_END if shell == "zsh" else "") + "\n"


def main() -> None:
    """Write the files to the folder named on the command line."""
    for shell, name in FILES.items():
        Path(sys.argv[1], name).write_text(completion(shell), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""The man page has every option, is up to date, and is what groff reads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from charrnn.cli import commands
from charrnn.cli.commands import COMMANDS
from charrnn.cli.man_page import escaped, man_page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "charrnn.1"


def test_the_page_is_up_to_date() -> None:
    wanted = man_page({name: commands.load_function(name) for name in COMMANDS})
    assert PAGE.read_text(encoding="utf-8") == wanted, "make options-page writes it again"


def test_text_is_escaped() -> None:
    assert escaped(".TH x\n'y\n--stop \\n") == "\\&.TH x\n\\&'y\n\\-\\-stop \\en"


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_shows_it() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-k", "-ww", "-P-cbou", str(PAGE)],
        capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert done.stderr == ""
    for name in COMMANDS:
        for parameter in commands.load_command(name).params:
            for written in parameter.opts if parameter.param_type_name == "option" else ():
                assert written in done.stdout

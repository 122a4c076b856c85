"""docs/tour.md can be followed: all its commands, one after the other in one folder, with training that ends soon."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.runtime.compile import kernel_cache
from charrnn.runtime.folders import user_cache_directory
from tests.test_readme import CODE_BLOCK, POSIX, ROOT, environment, runnable, script

PAGE = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
INSTALLING = ["python3 -m venv .venv", ". .venv/bin/activate", "pip install ."]
SHORT = "--steps 3 --hidden-size 8 --threads 1"


def commands() -> list[str]:
    """The commands of the page in their order, those within a sentence at the end."""
    found: list[str] = []
    for language, block in CODE_BLOCK.findall(PAGE):
        assert language in ("sh", "console")
        lines = block.splitlines()
        found += lines if language == "sh" else [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    spoken = re.findall(r"`(charrnn [^`]+)`", CODE_BLOCK.sub("", PAGE))
    return found + [" ".join(text.split()) for text in spoken]


def test_installing_is_what_readme_says() -> None:
    assert commands()[:3] == INSTALLING
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(line.removeprefix(". ").split(" -m ")[-1] in readme for line in INSTALLING)


@POSIX
@pytest.mark.slow
def test_the_tour_in_its_order(tmp_path: Path) -> None:
    for name in ("bin", "cache", "work"):
        (tmp_path / name).mkdir()
    if kernel_cache():
        (tmp_path / "cache" / "kernels").symlink_to(user_cache_directory() / "kernels")
    script(tmp_path / "bin" / "python3", f'exec "{sys.executable}" "$@"')
    script(
        tmp_path / "bin" / "charrnn",
        f'[ "$1" != train ] || set -- "$@" {SHORT}\nexec "{sys.executable}" -m charrnn "$@"',
    )
    work = tmp_path / "work"
    shutil.copytree(ROOT / "corpora", work / "corpora", ignore=shutil.ignore_patterns("__pycache__"))
    (work / "corpora" / "python-docs.txt").unlink(missing_ok=True)
    for text in commands()[3:]:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {runnable(text)}"], cwd=work, env=environment(tmp_path), timeout=300,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert (done.returncode, "charrnn: error" in done.stderr) == (0, False), f"{text}\n{done.stderr}"
        redirected = re.search(r">>? ([\w.]+)$", text)
        if redirected:
            assert (work / redirected[1]).stat().st_size > 0
        elif "awk" not in text:  # a filter may leave nothing, of a model that has learned nothing
            assert (done.stdout + done.stderr).strip(), text
    assert {path.name for path in (work / "checkpoints").iterdir()} == {"docs.safetensors", "kinds.safetensors"}
    assert len((work / "mixed.txt").read_text(encoding="utf-8").splitlines()) == 12
    labels = {line.split("\t")[0] for line in (work / "kinds.tsv").read_text(encoding="utf-8").splitlines()}
    assert labels == {"name", "sentence", "code"}

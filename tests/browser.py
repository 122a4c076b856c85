"""Looks at a page in a headless browser: what overflows, what can hardly be read, what the keyboard does, what fails.

The page is shown in a frame of the wanted width; its policy stays in force.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AA = 4.5  # contrast of text: Web Content Accessibility Guidelines 2.1, 1.4.3

_WRAPPER = Path(__file__).with_name("look.html")


@dataclass
class Look:
    """What was seen: pixels of overflow, the least contrast by kind of element, keyboard and console."""

    overflow: int
    wide: list[str]
    contrast: dict[str, float]
    keyboard: dict[str, bool]
    hover: bool
    stops: int
    hacked: bool
    text: int
    console: list[str]


def look(page: Path, width: int, *, dark: bool, folder: Path) -> Look:
    """Open a page in a frame of `width` pixels."""
    assert CHROMIUM is not None
    wrapper = folder / f"wrapper-{width}-{dark}.html"
    text = _WRAPPER.read_text("utf-8").replace("@width@", str(width)).replace("@page@", page.resolve().as_uri())
    wrapper.write_text(text, "utf-8")
    ran = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 800)},1300",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--allow-file-access-from-files",
            "--virtual-time-budget=4000", "--dump-dom", wrapper.resolve().as_uri(),
        ],
        capture_output=True, text=True, encoding="utf-8", check=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found, ran.stderr[-2000:]
    assert found[1], ran.stderr[-2000:]
    seen = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    console = [line for line in ran.stderr.splitlines() if ":CONSOLE" in line]
    return Look(
        seen["overflow"], seen["wide"], seen["contrast"], seen.get("keyboard", {}), seen.get("hover", True),
        seen.get("stops", 1), seen["hacked"], seen["text"], console,
    )  # fmt: skip

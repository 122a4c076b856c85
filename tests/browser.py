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

_WRAPPER = """<!doctype html><meta charset="utf-8"><iframe id="f" style="border:0;width:%(width)dpx;height:1200px"></iframe>
<pre id="result"></pre><script>
const frame = document.getElementById("f");
const parse = text => { const n = (text.match(/[\\d.]+/g) || []).map(Number); return n.length < 3 ? [0, 0, 0, 0] : n.length < 4 ? [...n, 1] : n; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * r + .7152 * g + .0722 * b; };
frame.onload = () => {
  const page = frame.contentDocument, view = frame.contentWindow, found = { contrast: {}, wide: [] };
  const root = page.documentElement;
  found.overflow = root.scrollWidth - root.clientWidth;
  for (const element of page.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || ["SCRIPT", "STYLE"].includes(element.tagName.toUpperCase())) continue;
    const chain = []; for (let e = element; e; e = e.parentElement) chain.unshift(e);
    let back = [255, 255, 255, 1];
    for (const e of chain) back = over(parse(view.getComputedStyle(e).backgroundColor), back);
    const style = view.getComputedStyle(element), svg = element.namespaceURI.endsWith("svg");
    const ink = over(parse(svg ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    const key = element.tagName + "." + (element.className.baseVal ?? element.className);
    if (!(ratio >= found.contrast[key])) found.contrast[key] = ratio;
    const box = element.getBoundingClientRect();
    if (!element.closest(".wide") && box.right > root.clientWidth + 1) found.wide.push(key);
  }
  const box = page.querySelector(".units");
  if (box) {
    const first = box.querySelector("pre span"), press = key =>
      page.activeElement.dispatchEvent(new view.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const said = () => box.querySelector("output").textContent;
    first.focus(); const one = said(); press("ArrowRight"); const two = said(); press("ArrowLeft");
    found.keyboard = { back: said() === one, first: one === first.dataset.d, second: two === first.nextElementSibling.dataset.d };
    const later = box.querySelectorAll("pre span")[5];
    if (later) { later.dispatchEvent(new view.MouseEvent("mouseover", { bubbles: true })); found.hover = said() === later.dataset.d; }
    found.stops = box.querySelectorAll('[tabindex="0"]').length;
  }
  found.hacked = Boolean(view.hacked || window.hacked || page.querySelector("main script, main iframe, main img, main object"));
  found.text = page.body.innerText.length;
  document.getElementById("result").textContent = JSON.stringify(found);
};
frame.src = "%(page)s";
</script>"""


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
    wrapper.write_text(_WRAPPER % {"width": width, "page": page.resolve().as_uri()}, "utf-8")
    ran = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 800)},1300",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--allow-file-access-from-files",
            "--virtual-time-budget=4000", "--dump-dom", wrapper.resolve().as_uri(),
        ],
        capture_output=True, text=True, encoding="utf-8", check=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found and found[1], ran.stderr[-2000:]
    seen = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    console = [line for line in ran.stderr.splitlines() if ":CONSOLE" in line]
    return Look(
        seen["overflow"], seen["wide"], seen["contrast"], seen.get("keyboard", {}), seen.get("hover", True),
        seen.get("stops", 1), seen["hacked"], seen["text"], console,
    )  # fmt: skip

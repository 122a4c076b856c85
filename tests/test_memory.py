"""How much memory there is, and what is said where there is not enough."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charrnn.errors import CharrnnError
from charrnn.runtime import memory
from charrnn.runtime.memory import available_memory, readable, require_memory


def test_available_memory_is_told_here() -> None:
    found = available_memory()
    assert found is None or found > 0


@pytest.mark.parametrize(
    ("files", "pages", "expected"),
    [
        ({"/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"}, 7, 5000 * 1024),
        ({"/proc/meminfo": "MemAvailable: 5000 kB", "/sys/fs/cgroup/memory.max": "max\n"}, 7, 5000 * 1024),
        ({"/proc/meminfo": "MemAvailable: 5 kB", "memory.max": "9000\n", "memory.current": "2000\n"}, 7, 5 * 1024),
        ({"/proc/meminfo": "MemAvailable: 9 kB", "memory.max": "9000\n", "memory.current": "2000\n"}, 7, 7000),
        ({"/proc/meminfo": "MemAvailable: 9 kB", "memory.max": "9000\n", "memory.current": "9001\n"}, 7, 0),
        (
            {
                "/proc/meminfo": "MemAvailable: 9 kB",
                "memory.max": "9000\n",
                "memory.current": "9000\n",
                "memory.stat": "anon 7000\nfile 2000\ninactive_file 900\nactive_file 50\n",
            },
            7,
            950,
        ),
        ({}, 7, 7 * 7),
        ({}, None, None),
    ],
)
def test_available_memory_is_the_least_of_what_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], pages: int | None, expected: int | None
) -> None:
    def read_text(path: Path, *args: str) -> str:
        for name, text in files.items():
            if str(path).endswith(name):
                return text
        raise FileNotFoundError(str(path))

    def sysconf(name: str) -> int:
        if pages is None:
            raise ValueError("unrecognized configuration name")
        return pages

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "sysconf", sysconf)
    assert available_memory() == expected


def test_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2_000_000_000)
    require_memory(2_000_000_000, "a", "b")
    with pytest.raises(CharrnnError, match=r"^a needs about 2\.5 GB of memory and 2\.0 GB are free; b$"):
        require_memory(2_500_000_000, "a", "b")
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    require_memory(10**30, "a", "b")


def test_readable() -> None:
    assert [readable(1234), readable(1234.56, 1), readable(10**30)] == ["1,234", "1,234.6", "1e+30"]

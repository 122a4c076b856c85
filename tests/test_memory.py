"""How much memory there is, and what is said where there is not enough."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from charrnn.errors import CharrnnError
from charrnn.runtime import memory
from charrnn.runtime.memory import available_memory, readable, require_memory


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_available_memory_of_this_machine_is_in_bytes() -> None:
    lines = (line.split() for line in Path("/proc/meminfo").read_text("ascii").splitlines())
    total = next(int(line[1]) * 1024 for line in lines if line[0] == "MemTotal:")
    found = available_memory()
    assert found is not None
    assert total / 1000 < found < total  # kilobytes would be less, and twice the unit more


def lay_out(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "ascii")


def group(path: str, limit: str, used: str, stat: str = "", *, version: int = 2) -> dict[str, str]:
    """The files of a control group."""
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    found = {f"cgroup/{path}/{names[0]}": f"{limit}\n", f"cgroup/{path}/{names[1]}": f"{used}\n"}
    return found | ({f"cgroup/{path}/memory.stat": stat} if stat else {})


MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    50 kB\nMemFree: 3 kB\n"}
SECOND = {"proc/self/cgroup": "0::/user/me/shell\n"}
FIRST = {"proc/self/cgroup": "9:cpuset:/\n5:cpu,memory,x:/user/me\n1:name=systemd:/other\n0::/\n"}
CACHED = "anon 7000\nfile 2000\ninactive_file 900\nactive_file 50\n"
HUGE = str(2**63 - 4096)  # which is how version 1 says that there is no limit


@pytest.mark.parametrize(
    ("files", "pages", "expected"),
    [
        pytest.param(MACHINE, 7, 50 * 1024, id="machine"),
        pytest.param({**MACHINE, **SECOND}, 7, 50 * 1024, id="no files of the group"),
        pytest.param({**MACHINE, **SECOND, **group("user/me/shell", "max", "3")}, 7, 50 * 1024, id="no limit"),
        pytest.param({**MACHINE, **SECOND, **group("user/me/shell", "90000", "2")}, 7, 50 * 1024, id="loose limit"),
        pytest.param({**MACHINE, **SECOND, **group("user/me/shell", "9000", "2000")}, 7, 7000, id="own limit"),
        pytest.param({**MACHINE, **SECOND, **group("user/me/shell", "9000", "9001")}, 7, 0, id="nothing left"),
        pytest.param(
            {**MACHINE, **SECOND, **group("user/me/shell", "max", "3"), **group("user", "9000", "2500")},
            *(7, 6500), id="limit of a group above",
        ),
        pytest.param(
            {**MACHINE, **SECOND, **group("user/me/shell", "9000", "0"), **group("user/me", "800", "100")},
            *(7, 700), id="the tightest of two, above",
        ),
        pytest.param(
            {**MACHINE, **SECOND, **group("user/me/shell", "90", "5"), **group("user/me", "800", "100")},
            *(7, 85), id="the tightest of two, own",
        ),
        pytest.param({**MACHINE, **SECOND, **group("", "9000", "2000")}, 7, 7000, id="root"),
        pytest.param(
            {**MACHINE, "proc/self/cgroup": "0::/../outside\n", **group("", "9000", "2000")}, 7, 7000, id="container"
        ),
        pytest.param({**MACHINE, **SECOND, **group("user/me", "9000", "9000", CACHED)}, 7, 950, id="pages of files"),
        pytest.param({**SECOND, **group("user/me", "9000", "2000")}, 7, 7000, id="no meminfo"),
        pytest.param(
            {**MACHINE, **FIRST, **group("memory/user/me", HUGE, "5", version=1)}, 7, 50 * 1024, id="version 1, none"
        ),
        pytest.param(
            {**MACHINE, **FIRST, **group("memory/user", "900", "5", version=1)}, 7, 895, id="version 1, above"
        ),
        pytest.param(
            {
                **MACHINE, **FIRST,
                **group("memory/user/me", "900", "890", "active_file 1\ntotal_active_file 30\n", version=1),
                **group("other", "1", "1"),
            },
            *(7, 40), id="version 1, pages of files",
        ),
        pytest.param({}, 7, 7 * 7, id="neither"),
        pytest.param({}, None, None, id="unknown"),
    ],
)  # fmt: skip
def test_available_memory_is_the_least_of_what_the_system_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], pages: int | None, expected: int | None
) -> None:
    def sysconf(name: str) -> int:
        if pages is None:
            raise ValueError("unrecognized configuration name")
        return pages

    lay_out(tmp_path, files)
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
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

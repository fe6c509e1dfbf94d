# SPDX-License-Identifier: Apache-2.0
"""Rows, medians and the description of the machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("psutil", "prometheus-client", "pyroute2", "sdnotify")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what was measured, the figure, what is to be reached (empty: nothing is promised)."""

    what: str
    figure: str
    goal: str = ""


def table(title: str, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [f"### {title}", "", "| measured | figure | to reach |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.goal} |" for row in rows]
    return "\n".join(lines) + "\n"


def median_seconds(work: Callable[[], object], times: int, warm_up: int = 10) -> float:
    """The median wall time of one call."""
    for _ in range(warm_up):
        work()
    return statistics.median(_timed(work) for _ in range(times))


def paired_seconds(one: Callable[[], object], other: Callable[[], object], times: int) -> tuple[float, float]:
    """The medians of two works done in turn, so that both see the same machine."""
    for _ in range(5):
        one(), other()
    taken = [(_timed(one), _timed(other)) for _ in range(times)]
    return statistics.median(first for first, _ in taken), statistics.median(second for _, second in taken)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def milliseconds(seconds: float) -> str:
    """`0.42 ms`."""
    return f"{seconds * 1000:.2f} ms"


def mebibytes(size: float) -> str:
    """`43.1 MiB`."""
    return f"{size / 2**20:.1f} MiB"


def machine() -> str:
    """One line: processor, kernel, Python, packages."""
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}, {packages}"


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()

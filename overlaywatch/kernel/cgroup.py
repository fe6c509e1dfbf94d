# SPDX-License-Identifier: Apache-2.0
"""Memory limits of cgroups, v2 and v1: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.

This file must not know who writes what. Two levels are looked at: the root of the hierarchy that is seen here (it has a
limit only inside of a container), and the slices and scopes right below it. What one service may use is its own affair.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.kernel.blockdev import ReadFile, parse_count
from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.machine import Machine

_STAT_LINE: Final = re.compile(rf"^([a-z_]+) ({NUMBER})$", re.MULTILINE)
_UNITS: Final = (".slice", ".scope")
_NO_LIMIT: Final = 1 << 60
"""Without a limit v1 prints the largest number of pages in bytes."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where the memory controller is, and how it calls its files; `cache` are the keys of its statistics."""

    folder: tuple[str, ...]
    limit: str
    current: str
    swap_limit: str | None
    swap_current: str | None
    cache: frozenset[str]


_V2: Final = Hierarchy(
    ("fs", "cgroup"),
    "memory.max",
    "memory.current",
    "memory.swap.max",
    "memory.swap.current",
    frozenset({"active_file", "inactive_file", "slab_reclaimable"}),
)
_V1: Final = Hierarchy(
    ("fs", "cgroup", "memory"),
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    None,
    None,
    frozenset({"total_active_file", "total_inactive_file"}),
)


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A cgroup that has a limit, in bytes. `available` is what is left of it; file cache that can be dropped is left.

    `swap` is what it may still swap out (None: no limit of its own). `cgroup` is its path in the hierarchy seen here.
    """

    cgroup: str
    limit: int
    available: int
    swap: int | None


def parse_limit(content: bytes) -> int | None:
    """A limit in bytes; None for `max`, and for the number that v1 prints instead."""
    if content.strip() == b"max":
        return None
    limit = parse_count("memory limit", content)
    return limit if limit < _NO_LIMIT else None


def parse_stat(text: str) -> Mapping[str, int]:
    """memory.stat: a name and a number on each line."""
    return {name: int(figure) for name, figure in _STAT_LINE.findall(text)}


def find_cgroups(machine: Machine) -> tuple[tuple[str, Hierarchy], ...]:
    """The cgroups that could have a limit: the root, if it is not the machine's, and what is right below it."""
    for hierarchy in (_V2, _V1):
        folder = machine.root.sys.joinpath(*hierarchy.folder)
        units = [f"/{name}" for name in _names(machine, folder) if name.endswith(_UNITS)]
        found = [(name, hierarchy) for name in ("/", *units) if _has_limit_file(machine, folder, name, hierarchy)]
        if found:
            return tuple(found)
    return ()


def read_limit(machine: Machine, name: str, hierarchy: Hierarchy, read: ReadFile) -> MemoryLimit | None:
    """The limit of one of them; None if it has none, or is gone."""
    folder = machine.root.in_sys(*hierarchy.folder, name.lstrip("/"))
    try:
        limit = parse_limit(read(folder / hierarchy.limit))
        if limit is None:
            return None
        current = parse_count(hierarchy.current, read(folder / hierarchy.current))
        stat = parse_stat(read(folder / "memory.stat").decode("ascii", "replace"))
        swap = _swap_left(folder, hierarchy, read)
    except OSError:
        return None
    cache = sum(figure for key, figure in stat.items() if key in hierarchy.cache)
    return MemoryLimit(name, limit, min(limit, max(0, limit - current + cache)), swap)


def _swap_left(folder: Path, hierarchy: Hierarchy, read: ReadFile) -> int | None:
    if hierarchy.swap_limit is None or hierarchy.swap_current is None:
        return None
    try:
        limit = parse_limit(read(folder / hierarchy.swap_limit))
        used = parse_count(hierarchy.swap_current, read(folder / hierarchy.swap_current))
    except OSError:
        return None  # no swap on this machine, or swap is not accounted
    return None if limit is None else max(0, limit - used)


def _has_limit_file(machine: Machine, folder: Path, name: str, hierarchy: Hierarchy) -> bool:
    try:
        machine.read(folder / name.lstrip("/") / hierarchy.limit)
    except OSError:
        return False
    return True


def _names(machine: Machine, folder: Path) -> list[str]:
    try:
        return sorted(machine.names(folder))
    except OSError:
        return []

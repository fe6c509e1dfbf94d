# SPDX-License-Identifier: Apache-2.0
"""Who has written most: the question that is asked first when something fills.

This file must not know what fills. psutil reads /proc/PID/io (proc_pid_io(5)) with all that may go wrong on the way:
processes that end meanwhile, or that may not be looked into. It takes some 10 ms for 200 processes, so it is for the
moment in which a stage becomes true, not for every look, and has an end where there are thousands. (Memory is read
without psutil, see meminfo.py.)

Names are those of /proc/PID/comm. psutil looks for longer ones in /proc/PID/cmdline, and reading that takes the memory
map lock of the process: one that waits for a dead or suspended device while it holds the lock would hold us up, too.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import psutil

from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import format_size

PATIENCE: Final = 0.05
"""Seconds for all processes: a tick must not be late for the sake of a line in the journal."""

_PROC: Final = KernelRoot().proc
_INIT: Final = 1
_KTHREADD: Final = 2


@dataclass(frozen=True, slots=True)
class Writer:
    """A process and the bytes that it, and its children that have ended, have written since it began."""

    pid: int
    name: str
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Who has written most, the greatest first, and how many processes, all older ones, were not looked at."""

    writers: tuple[Writer, ...]
    not_seen: int


def most(writers: Iterable[Writer], limit: int) -> tuple[Writer, ...]:
    """Those who have written most, the greatest first; who has written nothing is left out."""
    ranked = sorted(writers, key=lambda writer: (-writer.written_bytes, writer.pid))
    return tuple(writer for writer in ranked[:limit] if writer.written_bytes)


def describe(writers: Iterable[Writer]) -> str:
    """In one line for people: `journald (431) 1.2 GiB, dockerd (812) 300.0 MiB`; empty if nobody is known."""
    return ", ".join(f"{one.name} ({one.pid}) {format_size(one.written_bytes)}" for one in writers)


def read_writers(
    limit: int = 3, into_memory: bool = False, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
) -> Ranking:
    """The processes that have written most, among those that may be looked into.

    Counted is what goes to block devices (`write_bytes`). Writes into a tmpfs are not in that count: with
    `into_memory` it is all that was written anywhere (`wchar`), also to pipes and terminals. After `patience`
    seconds of the `clock` the rest is not looked at: the newest processes come first.
    """
    counter, deadline = "write_chars" if into_memory else "write_bytes", clock() + patience
    newest_first = sorted(psutil.pids(), reverse=True)
    found: list[Writer | None] = []
    for pid in newest_first:
        if clock() >= deadline:
            break
        found.append(_writer(pid, counter))
    named = tuple(replace(one, name=_name(one.pid)) for one in most(filter(None, found), limit))
    return Ranking(named, len(newest_first) - len(found))


def _writer(pid: int, counter: str) -> Writer | None:
    """Without its name, which is wanted of a few only. None: it writes for others, has ended, or is not for us."""
    try:
        process = psutil.Process(pid)
        if pid in (_INIT, _KTHREADD) or process.ppid() == _KTHREADD:
            return None
        return Writer(pid, "", getattr(process.io_counters(), counter))
    except (psutil.Error, OSError, RuntimeError, ValueError):  # the last two: it ended while it was read
        return None


def _name(pid: int) -> str:
    """What the kernel calls it (TASK_COMM_LEN: 15 bytes at most); `?` if it has ended meanwhile."""
    try:
        return (_PROC / str(pid) / "comm").read_text("utf-8", "surrogateescape").rstrip("\n")
    except OSError:
        return "?"

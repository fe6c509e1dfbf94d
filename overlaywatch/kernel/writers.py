# SPDX-License-Identifier: Apache-2.0
"""Who has written most: the question that is asked first when something fills.

This file must not know what fills. psutil reads /proc/PID/io (proc_pid_io(5)) with all that may go wrong on the way:
processes that end meanwhile, or that may not be looked into. It takes some 10 ms for 200 processes, so it is for the
moment in which a stage becomes true, not for every look. (Memory is read without psutil, see meminfo.py.)

Names are those of /proc/PID/comm. psutil looks for longer ones in /proc/PID/cmdline, and reading that takes the memory
map lock of the process: one that waits for a dead or suspended device while it holds the lock would hold us up, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import psutil

from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import format_size

_PROC: Final = KernelRoot().proc
_INIT: Final = 1
_KTHREADD: Final = 2


@dataclass(frozen=True, slots=True)
class Writer:
    """A process and the bytes that it, and its children that have ended, have written since it began."""

    pid: int
    name: str
    written_bytes: int


def most(writers: Iterable[Writer], limit: int) -> tuple[Writer, ...]:
    """Those who have written most, the greatest first; who has written nothing is left out."""
    ranked = sorted(writers, key=lambda writer: (-writer.written_bytes, writer.pid))
    return tuple(writer for writer in ranked[:limit] if writer.written_bytes)


def describe(writers: Iterable[Writer]) -> str:
    """In one line for people: `journald (431) 1.2 GiB, dockerd (812) 300.0 MiB`; empty if nobody is known."""
    return ", ".join(f"{one.name} ({one.pid}) {format_size(one.written_bytes)}" for one in writers)


def read_writers(limit: int = 3, into_memory: bool = False) -> tuple[Writer, ...]:
    """The processes that have written most, among those that may be looked into.

    Counted is what goes to block devices (`write_bytes`). Writes into a tmpfs are not in that count: with
    `into_memory` it is all that was written anywhere (`wchar`), also to pipes and terminals.
    """
    found = most(_all_writers("write_chars" if into_memory else "write_bytes"), limit)
    return tuple(replace(one, name=_name(one.pid)) for one in found)


def _all_writers(counter: str) -> Iterable[Writer]:
    """Without names: they are wanted of a few only."""
    for process in psutil.process_iter(["pid", "ppid", "io_counters"]):
        facts = process.info
        everybodys = facts["pid"] in (_INIT, _KTHREADD) or facts["ppid"] == _KTHREADD
        if facts["io_counters"] is not None and not everybodys:
            yield Writer(facts["pid"], "", getattr(facts["io_counters"], counter))


def _name(pid: int) -> str:
    """What the kernel calls it (TASK_COMM_LEN: 15 bytes at most); `?` if it has ended meanwhile."""
    try:
        return (_PROC / str(pid) / "comm").read_text("utf-8", "surrogateescape").rstrip("\n")
    except OSError:
        return "?"

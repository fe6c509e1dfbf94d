# SPDX-License-Identifier: Apache-2.0
"""Who has written most: the question that is asked first when something fills.

This file must not know what fills. psutil reads /proc/PID/io (proc_pid_io(5)) with all that may go wrong on the way:
processes that end meanwhile, or that may not be looked into. It takes some 10 ms for 200 processes, so it is for the
moment in which a stage becomes true, not for every look. (Memory is read without psutil, see meminfo.py.)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil

from overlaywatch.units import format_size

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
    return most(_all_writers("write_chars" if into_memory else "write_bytes"), limit)


def _all_writers(counter: str) -> Iterable[Writer]:
    for process in psutil.process_iter(["pid", "ppid", "name", "io_counters"]):
        facts = process.info
        everybodys = facts["pid"] in (_INIT, _KTHREADD) or facts["ppid"] == _KTHREADD
        if facts["io_counters"] is not None and not everybodys:
            yield Writer(facts["pid"], facts["name"], getattr(facts["io_counters"], counter))

# SPDX-License-Identifier: Apache-2.0
"""Whether a process is still the one that it was: its number alone may belong to another by now.

Must not know what the process is for. Source: proc_pid_stat(5); number 22 is when it started, in clock
ticks after boot, so that number and start together name one process of one boot.
"""

import re
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.root import KernelRoot

_STARTTIME: Final = 22 - 3
"""Counted from the state, the first that comes after the name in parentheses, which may hold anything."""

_STATE: Final = 0
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_DEAD: Final = frozenset("ZX")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this boot."""

    pid: int
    started_ticks: int


def parse_stat(text: str) -> tuple[str, int] | None:
    """State and start of `/proc/PID/stat`; None for a text that is none."""
    words = text.rpartition(")")[2].split()
    if len(words) <= _STARTTIME or not _NUMBER.fullmatch(words[_STARTTIME]):
        return None
    return words[_STATE], int(words[_STARTTIME])


def identify(pid: int, root: KernelRoot | None = None) -> Process | None:
    """The process that has this number now; None if none has, or it is only waited for by its parent."""
    try:
        text = ((root or KernelRoot()).proc / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    found = parse_stat(text)
    return None if found is None or found[_STATE] in _DEAD else Process(pid, found[1])


def is_alive(process: Process, root: KernelRoot | None = None) -> bool:
    """Whether it still runs."""
    return identify(process.pid, root) == process

# SPDX-License-Identifier: Apache-2.0
"""The file that says "hold still": written by `pause`, removed by `resume`, looked at by the daemon.

This file must not know how a pause is told to people. `until` is on the monotonic clock (null: until
resumed), `at` is Unix seconds. The folder is on a tmpfs, which may be full when the pause is needed
most: then an empty file is left, and that, too, means paused (engine/pause.py), until resumed.
"""

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.engine.pause import PAUSE_FILE, expired

_LATEST: Final = 253402300799
"""The end of the year 9999 in Unix seconds: what a calendar has."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that holds: `until` None is until resumed; `by` is empty if it is not known."""

    until: float | None = None
    by: str = ""
    at: float | None = None


def read_pause(folder: Path, now: float) -> Pause | None:
    """The pause that holds at the monotonic time `now`, or None. A file that makes no sense is a pause."""
    try:
        text = (folder / PAUSE_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return Pause()
    return None if expired(text, now) else parse_pause(text)


def parse_pause(text: str) -> Pause:
    """What the file says of the pause; nothing is known of one that makes no sense."""
    try:
        said = json.loads(text)
        until, by, at = said.get("until"), said.get("by"), said.get("at")
    except (ValueError, AttributeError, RecursionError):
        return Pause()
    return Pause(_number(until), by if isinstance(by, str) else "", _number(at))


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LATEST:
        return None
    return float(value)


def write_pause(folder: Path, pause: Pause) -> Pause:
    """Make it hold, all at once; what really holds, which is until resumed if there is no room. Raises OSError."""
    folder.mkdir(mode=0o755, exist_ok=True)
    new = folder / f".{PAUSE_FILE}.{os.getpid()}"
    body = json.dumps({"until": pause.until, "by": pause.by, "at": pause.at}).encode()
    with suppress(FileNotFoundError):
        new.unlink()
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        held = pause if _write_all(fd, body) else Pause()
    finally:
        os.close(fd)
    new.replace(folder / PAUSE_FILE)
    return held


def _write_all(fd: int, body: bytes) -> bool:
    """Whether all was written; else there was no room, and the file is empty. Raises OSError for anything else."""
    try:
        if os.write(fd, body) == len(body):
            return True
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
    os.ftruncate(fd, 0)
    return False


def remove_pause(folder: Path) -> bool:
    """Whether there was one. Raises OSError."""
    try:
        (folder / PAUSE_FILE).unlink()
    except FileNotFoundError:
        return False
    return True

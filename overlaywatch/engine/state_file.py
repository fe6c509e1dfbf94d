# SPDX-License-Identifier: Apache-2.0
"""What must survive a crash of the daemon: two slots in a file on /run, overwritten in place.

Must not know what it keeps. The file is allocated whole when it is opened, so a write needs no new
page of a tmpfs that may be full by then. A slot holds a sequence number, a checksum and JSON; the
slots are written in turn, so a write that is cut off by a crash leaves the other one whole.
"""

import errno
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from overlaywatch.engine.fitting import encoded

SLOT_BYTES: Final = 128 * 1024
HEADER: Final = struct.Struct(">8sQII")
MAGIC: Final = b"ovlwatch"
MOST_BYTES: Final = SLOT_BYTES - HEADER.size
"""Of a state as it is written."""


class StateTooLargeError(Exception):
    """The state does not fit into a slot; nothing was written."""


class AlreadyRunningError(Exception):
    """Another daemon holds the file: two of them would each do what the other one does."""


class StateFile:
    """An open state file, locked (flock(2)) until it is closed. Use `load()` once, then `save()`.

    Raises AlreadyRunningError, or OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._fd, 0, 2 * SLOT_BYTES)
        except BlockingIOError:
            os.close(self._fd)
            raise AlreadyRunningError(str(path)) from None
        except OSError:
            os.close(self._fd)
            raise
        self._sequence = 0

    def load(self) -> Mapping[str, object]:
        """The newest state that was written whole; empty if there is none."""
        self._sequence, state = _newest(self._fd)
        return state

    def save(self, state: Mapping[str, object]) -> None:
        """Write the other slot. Raises StateTooLargeError or OSError; the last state then still stands."""
        body = encoded(state)
        if len(body) > MOST_BYTES:
            raise StateTooLargeError(
                f"{len(body)} bytes of state do not fit into {SLOT_BYTES}; have fewer policies, or fewer mount points"
            )
        sequence = self._sequence + 1
        slot = HEADER.pack(MAGIC, sequence, len(body), zlib.crc32(body)) + body
        if os.pwrite(self._fd, slot, sequence % 2 * SLOT_BYTES) != len(slot):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # Only now: a slot that was not written whole is the one to be written next.
        self._sequence = sequence

    def close(self) -> None:
        """Release the file; the state stays."""
        os.close(self._fd)


def read_state(path: Path) -> Mapping[str, object]:
    """The newest whole state in a file that another process may be writing. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _newest(fd)[1]
    finally:
        os.close(fd)


def _newest(fd: int) -> tuple[int, Mapping[str, object]]:
    slots = [slot for slot in (_read(fd, 0), _read(fd, 1)) if slot is not None]
    return max(slots, key=lambda slot: slot[0], default=(0, {}))


def _read(fd: int, slot: int) -> tuple[int, Mapping[str, object]] | None:
    return parse_slot(os.pread(fd, SLOT_BYTES, slot * SLOT_BYTES))


def parse_slot(raw: bytes) -> tuple[int, Mapping[str, object]] | None:
    """(sequence number, state) of one slot; None if it was not written whole, or by somebody else."""
    if len(raw) < HEADER.size:
        return None
    magic, sequence, length, checksum = HEADER.unpack_from(raw)
    body = raw[HEADER.size : HEADER.size + length]
    if magic != MAGIC or len(body) != length or zlib.crc32(body) != checksum:
        return None
    try:
        state = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return (sequence, state) if isinstance(state, dict) else None

# SPDX-License-Identifier: Apache-2.0
"""mount(2), umount2(2) and fsconfig(2) without a program around them, for who measures what comes after.

Must not know what is mounted. Everything raises OSError.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

_MNT_DETACH: Final = 2
_MS_REMOUNT: Final = 32
# The newer system calls have the same numbers on every architecture (include/uapi/asm-generic/unistd.h).
_FSCONFIG: Final = 431
_FSPICK: Final = 433
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_RECONFIGURE: Final = 7
_AT_FDCWD: Final = -100

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _checked(answer: int, place: Path) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))
    return answer


def mount(source: str, place: Path, fstype: str, options: str = "", flags: int = 0) -> None:
    """mount(2)."""
    words = (os.fsencode(source), os.fsencode(place), fstype.encode())
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()), place)


def remount(place: Path, options: str) -> None:
    """mount(2) with MS_REMOUNT."""
    mount("none", place, "tmpfs", options, _MS_REMOUNT)


def unmount(place: Path, *, lazily: bool = False) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(os.fsencode(place), _MNT_DETACH if lazily else 0), place)


def reconfigure(place: Path, key: str, value: str) -> None:
    """fspick(2) and fsconfig(2), as newer versions of mount(8) remount: the mount table tells nobody of it."""
    fd = _checked(_libc.syscall(_FSPICK, _AT_FDCWD, os.fsencode(place), 0), place)
    try:
        _checked(_libc.syscall(_FSCONFIG, fd, _FSCONFIG_SET_STRING, key.encode(), value.encode(), 0), place)
        _checked(_libc.syscall(_FSCONFIG, fd, _FSCONFIG_CMD_RECONFIGURE, None, None, 0), place)
    finally:
        os.close(fd)

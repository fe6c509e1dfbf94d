# SPDX-License-Identifier: Apache-2.0
"""Which files are in use: open in a process, mapped into one, or under a loop device.

This file must not know why it is asked. Removing such a file gives no room back until its last user
lets go. The answer may be incomplete, never wrong: the look is bounded, because any user may hold
half a million descriptors, and what another user's process holds is seen with privilege only.
Sources: /proc/PID/fd and /proc/PID/maps (proc(5)), /sys/block/loopN/loop/backing_file.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.kernel.mountinfo import unescape
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import MIB

_AT_FDCWD: Final = -100
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_INO: Final = 0x100
_STATX: Final = struct.Struct("=32xQ96xII")  # linux/stat.h: stx_ino at 32, stx_dev_major at 136, _minor at 140
_STATX_BYTES: Final = 256
_MAPS_FIELDS: Final = 6
_MOST_MAPS_BYTES: Final = 4 * MIB
_ASK_EVERY: Final = 512

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class InUse:
    """Files in use by (st_dev, st_ino), and mapped or backing files by their path as well."""

    identities: frozenset[tuple[int, int]]
    paths: frozenset[str]

    def __contains__(self, file: tuple[int, int, str]) -> bool:
        device, inode, path = file
        return (device, inode) in self.identities or path in self.paths


def read_in_use(root: KernelRoot, enough: Callable[[], bool]) -> InUse:
    """One pass over all processes and loop devices, until `enough()`; some ten milliseconds for a hundred processes."""
    identities: set[tuple[int, int]] = set()
    paths = set(_backing_files(root))
    for process in _processes(root):
        if enough():
            break
        identities.update(_open_files(process, enough))
        with contextlib.suppress(OSError):
            paths.update(mapped_paths(_read_maps(process)))
    return InUse(frozenset(identities), frozenset(paths))


def mapped_paths(text: str) -> Iterator[str]:
    """The paths in the text of /proc/PID/maps. Not their inodes: a union shows those of its branches there."""
    for line in text.split("\n"):
        fields = line.split(None, _MAPS_FIELDS - 1)
        if len(fields) == _MAPS_FIELDS and fields[-1].startswith("/"):
            yield unescape(fields[-1])


def _processes(root: KernelRoot) -> Iterator[Path]:
    with os.scandir(root.proc) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                yield root.proc / entry.name


def _open_files(process: Path, enough: Callable[[], bool]) -> Iterator[tuple[int, int]]:
    folder = process / "fd"
    # The process may end at any moment, and those of others are closed to the unprivileged.
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for index, entry in enumerate(entries):
            if index % _ASK_EVERY == _ASK_EVERY - 1 and enough():
                return
            with contextlib.suppress(OSError):
                if os.readlink(entry.path).startswith("/"):  # not a pipe, a socket or an anonymous inode
                    yield identity(entry.path)


def identity(path: str) -> tuple[int, int]:
    """(st_dev, st_ino) without asking a server: a hung network mount must not hang us (AT_STATX_DONT_SYNC)."""
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if not hasattr(_libc, "statx"):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    if _libc.statx(_AT_FDCWD, os.fsencode(path), _AT_STATX_DONT_SYNC, _STATX_INO, buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    inode, major, minor = _STATX.unpack_from(buffer)
    return os.makedev(major, minor), inode


def _read_maps(process: Path) -> str:
    with open(process / "maps", encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_MOST_MAPS_BYTES)


def _backing_files(root: KernelRoot) -> Iterator[str]:
    for file in (root.sys / "block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            yield file.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n")

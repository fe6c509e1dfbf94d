# SPDX-License-Identifier: Apache-2.0
"""How much a loop's backing file really holds, wherever it can still be reached.

This file must not know what the file is for. The path that the loop reports may lead nowhere, or to another file: only
one that leads to the very (device, inode) counts.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.calls import Call
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.mountinfo import MountInfo

STAT_BLOCK: Final = 512
"""Bytes of the unit of st_blocks, whatever the file system's own is (inode(7))."""

_MOST_MOUNTS: Final = 8


@dataclass(frozen=True, slots=True)
class FileStat:
    """What the daemon asks of stat(2): st_dev, st_ino, st_size, and st_blocks in bytes."""

    device: tuple[int, int]
    inode: int
    size: int
    allocated: int


def read_stat(path: str) -> FileStat:
    """stat(2). Raises OSError."""
    found = os.stat(path)
    device = os.major(found.st_dev), os.minor(found.st_dev)
    return FileStat(device, found.st_ino, found.st_size, found.st_blocks * STAT_BLOCK)


STAT: Final = Call("stat", FileStat, read_stat, takes_path=True)


class BackingFiles:
    """Remembers under which path each loop's file was found, and which could not be found, until forget()."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._paths: dict[tuple[int, int], str | None] = {}

    def allocation(self, loop: LoopDevice, mounts: Sequence[MountInfo]) -> tuple[int, int] | None:
        """(size, allocated bytes) of the backing file; None if no path leads to it or its inode is not known."""
        if loop.device in self._paths:
            path = self._paths[loop.device]
            found = None if path is None else self._stat(path, loop)
        else:
            path, found = self._find(loop, mounts)
            self._paths[loop.device] = path
        return None if found is None else (found.size, found.allocated)

    def super_block(self, loop: LoopDevice, mounts: Sequence[MountInfo]) -> tuple[int, int] | None:
        """The mount table's number of the file system that the file lies on; that of the file itself if none is found.

        Files on an overlay may report a device number of their own (ovl_map_dev_ino in fs/overlayfs/inode.c).
        """
        if loop.backing_device is None or any(mount.device == loop.backing_device for mount in mounts):
            return loop.backing_device
        if loop.device not in self._paths:
            self.allocation(loop, mounts)
        path = self._paths.get(loop.device)
        return loop.backing_device if path is None else _holder(path, mounts, loop.backing_device)

    def forget(self) -> None:
        """Look for the paths again: mounts or loops have changed."""
        self._paths.clear()

    def _find(self, loop: LoopDevice, mounts: Sequence[MountInfo]) -> tuple[str | None, FileStat | None]:
        for path in candidate_paths(loop, mounts):
            found = self._stat(path, loop)
            if found is not None:
                return path, found
        return None, None

    def _stat(self, path: str, loop: LoopDevice) -> FileStat | None:
        try:
            found = self._machine.ask(STAT, path)
        except OSError:
            return None
        return found if (found.device, found.inode) == (loop.backing_device, loop.backing_inode) else None


def _holder(path: str, mounts: Sequence[MountInfo], otherwise: tuple[int, int]) -> tuple[int, int]:
    """The number of the mount that a path leads through: the longest mount point, the last of equals."""
    above = [mount for mount in mounts if f"{path}/".startswith(f"{mount.mount_point.rstrip('/')}/")]
    return max(reversed(above), key=lambda mount: len(mount.mount_point)).device if above else otherwise


def candidate_paths(loop: LoopDevice, mounts: Sequence[MountInfo]) -> Iterator[str]:
    """Where the backing file may be seen now: under its own path, or below a mount of the file system it lies on.

    An initramfs sets loops up under paths like `/live/medium/x` and moves the mount to `/run/live/medium` later.
    """
    if loop.deleted or loop.backing_device is None or not loop.backing_file.startswith("/"):
        return
    yield loop.backing_file
    parts = loop.backing_file.split("/")[1:]
    holding = [mount.mount_point.rstrip("/") for mount in mounts if mount.device == loop.backing_device]
    for mount_point in holding[:_MOST_MOUNTS]:
        for index in range(len(parts)):
            yield "/".join((mount_point, *parts[index:]))

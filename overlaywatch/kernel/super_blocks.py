# SPDX-License-Identifier: Apache-2.0
"""Which mounted file systems have the same room as a union: the way to an upper that no path leads to.

This file must not know what a union is. A file system that stayed in the initramfs, or was unmounted lazily, has no
line in the mount table, but answers ustat(2) by its device number (user_get_super in fs/super.c). Numbers of network
file systems are never asked: statfs of one whose server is gone hangs.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import Room, StatVfs, Ustat

Number = tuple[int, int]
Place = Number | str
"""A file system by its device number, or by a path on it."""

LOCAL: Final = frozenset(
    {"tmpfs", "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "jffs2", "ubifs", "bcachefs"}
)
"""File systems that can hold the upper of a union and answer from memory."""

_NUMBER: Final = re.compile(rf"({NUMBER}):({NUMBER})")
_TRIES: Final = 3
_BLOCKS_MODULO: Final = 1 << 32
"""ustat(2) cuts the count of blocks to 32 bits."""

_BEYOND: Final = 32
"""How far past the highest number of the mount table the unmounted ones are looked for."""

_HIGHEST_ANONYMOUS: Final = 4096


def alike(
    path: str, others: Sequence[Place], statvfs: Callable[[str], StatVfs], ustat: Callable[[int, int], Ustat | None]
) -> tuple[Place, ...]:
    """Those of `others` that have the room of `path` now: while that changes, what lies between before and after.

    Raises OSError if `path` cannot be asked; others that cannot are not alike.
    """
    for _ in range(_TRIES):
        before = statvfs(path).room
        rooms = [_room(one, statvfs, ustat) for one in others]
        after = statvfs(path).room
        found = tuple(one for one, room in zip(others, rooms, strict=True) if room and _is_between(before, room, after))
        if found:
            return found
    return ()


def _room(one: Place, statvfs: Callable[[str], StatVfs], ustat: Callable[[int, int], Ustat | None]) -> Room | None:
    try:
        answer = statvfs(one) if isinstance(one, str) else ustat(*one)
    except OSError:
        return None
    return None if answer is None else answer.room


def _is_between(before: Room, answer: Room, after: Room) -> bool:
    blocks, inodes = sorted((before[0], after[0])), sorted((before[1], after[1]))
    distance = (answer[0] - blocks[0]) % _BLOCKS_MODULO
    return distance <= blocks[1] - blocks[0] and inodes[0] <= answer[1] <= inodes[1]


def read_numbers(machine: Machine, mounts: Sequence[MountInfo]) -> tuple[Number, ...]:
    """The device numbers that the file system of a union's upper may have, mounted or not."""
    mounted = {info.device: info.fstype for info in mounts}
    highest = max((minor for major, minor in mounted if major == 0), default=0)
    anonymous = {(0, minor) for minor in range(1, min(highest + _BEYOND, _HIGHEST_ANONYMOUS))}
    remote = _nfs(machine) | _fuse(machine)
    possible = (anonymous | _block_devices(machine)) - remote
    return tuple(sorted(number for number in possible if mounted.get(number, "tmpfs") in LOCAL))


def _block_devices(machine: Machine) -> set[Number]:
    try:
        names = machine.names(machine.root.sys / "dev" / "block")
    except OSError:
        return set()
    return {number for number in map(parse_number, names) if number}


def _nfs(machine: Machine) -> set[Number]:
    try:
        text = machine.read(machine.root.proc / "fs" / "nfsfs" / "volumes").decode("utf-8", "replace")
    except OSError:
        return set()
    return parse_nfs_volumes(text)


def _fuse(machine: Machine) -> set[Number]:
    """fs/fuse/control.c names the folder of a connection by its device number."""
    try:
        names = machine.names(machine.root.sys / "fs" / "fuse" / "connections")
    except OSError:
        return set()
    return {(int(name) >> 20, int(name) & 0xFFFFF) for name in names if name.isascii() and name.isdigit()}


def parse_nfs_volumes(text: str) -> set[Number]:
    """The numbers in the column DEV of /proc/fs/nfsfs/volumes (nfs_volume_list_show in fs/nfs/client.c)."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return {number for row in rows if len(row) > 3 and (number := parse_number(row[3]))}


def parse_number(text: str) -> Number | None:
    """`8:1`; None for anything else."""
    match = _NUMBER.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None

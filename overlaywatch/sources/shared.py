# SPDX-License-Identifier: Apache-2.0
"""What several sources do in the same way: statvfs to a Reading, and reuse of what did not change.

Must not know any single kind of layer.
"""

import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from overlaywatch.kernel.dm_target import parse_devices
from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import NO_DETAILS, Layer, LayerId, LayerState, Reading
from overlaywatch.ports import Found

Device = tuple[int, int]

READ_ONLY_OPTION: Final = "ro"

_NOTHING: Final = -1
"""Stands for the mount that the topmost ones hang on."""

FSTYPES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "vfat", "exfat", "ntfs3", "jffs2", "ubifs"}
)
"""File systems on block devices, and those on raw flash, below which there is nothing."""


STACKED: Final = ("dm-", "loop", "zram", "ram")
"""Names that the kernel gives to block devices which lie on others (drivers/md/dm.c, drivers/block/)."""


class Pending(NamedTuple):
    """Dirty data in bytes, and whether it is that of the whole machine because nobody tells that of one device."""

    bytes: int | None = None
    of_all: bool = False


NOTHING_PENDING: Final = Pending()


class Memo:
    """Readings by layer, each with the raw figures it was made of: the same figures, the same object."""

    def __init__(self) -> None:
        self._kept: dict[LayerId, tuple[object, Reading]] = {}

    def reading(self, layer: LayerId, raw: object, make: Callable[[], Reading]) -> Reading:
        """The Reading made of `raw`, made anew only if `raw` is not what it was."""
        kept = self._kept.get(layer)
        if kept is not None and (kept[0] is raw or kept[0] == raw):
            return kept[1]
        reading = make()
        self._kept[layer] = (raw, reading)
        return reading


def by_super_block(view: KernelView, fstypes: frozenset[str]) -> dict[Device, list[MountInfo]]:
    """The writable mounts of some types that a path leads to, by st_dev: several mounts of one are one layer."""
    groups: dict[Device, list[MountInfo]] = {}
    for info in reachable(view.mounts):
        if info.fstype in fstypes and (READ_ONLY_OPTION not in info.super_options or was_made_read_only(info)):
            groups.setdefault((info.major, info.minor), []).append(info)
    return groups


def was_made_read_only(info: MountInfo) -> bool:
    """Whether the file system itself has given up writing: who mounts read-only sets both options, an error one.

    Older kernels do it (ext4_handle_error() in fs/ext4/super.c sets SB_RDONLY); 6.1.176 and 6.12 go on showing `rw`.
    """
    return info.fstype in FSTYPES and READ_ONLY_OPTION in info.super_options and READ_ONLY_OPTION not in info.options


def reachable(mounts: Sequence[MountInfo]) -> list[MountInfo]:
    """The mounts that are not covered by another one: statvfs of a covered path speaks of what covers it.

    The order of the table is not that in which mounts lie on one another (live-boot of Debian 8 moves two tmpfs from
    one place to another, and the lower one comes last): what a mount hangs on says its parent.
    """
    hanging = _by_parent(mounts)
    seen, waiting = set(), hanging.pop(_NOTHING, [])
    while waiting:
        info = waiting.pop()
        children = hanging.pop(info.mount_id, [])
        points = {child.mount_point for child in children}
        if info.mount_point in points:
            waiting += [child for child in children if child.mount_point == info.mount_point]
        else:
            seen.add(info.mount_id)
            waiting += [child for child in children if not _is_beneath(child.mount_point, info.mount_point, points)]
    return [info for info in mounts if info.mount_id in seen]


def _by_parent(mounts: Sequence[MountInfo]) -> dict[int, list[MountInfo]]:
    """The mounts by what they hang on; the topmost ones, whose parent is not in the table, by _NOTHING."""
    ids = {info.mount_id for info in mounts}
    hanging: dict[int, list[MountInfo]] = {}
    for info in mounts:
        known = info.parent_id in ids and info.parent_id != info.mount_id
        hanging.setdefault(info.parent_id if known else _NOTHING, []).append(info)
    return hanging


def _is_beneath(mount_point: str, above: str, points: set[str]) -> bool:
    """Whether one of `points` lies on the way from the folder `above` down to a mount point."""
    folder = posixpath.dirname(mount_point)
    while len(folder) > len(above):
        if folder in points:
            return True
        folder = posixpath.dirname(folder)
    return False


def hidden_super_blocks(view: KernelView) -> frozenset[Device]:
    """The file systems that hold the files of writable loops and are in no mount table: left in the initramfs."""
    files = [loop for loop in view.loops.values() if not loop.read_only and loop.backing_block is None]
    below = {view.super_block_of(loop) for loop in files} - {None}
    seen = {info.device for info in view.mounts} if below else set()
    return frozenset(device for device in below if device is not None and device not in seen)


def best_known(mounts: list[MountInfo]) -> str:
    """The path that people know a super block by: the shortest, then the first in the alphabet."""
    return min((len(info.mount_point), info.mount_point) for info in mounts)[1]


def paths(mounts: list[MountInfo]) -> tuple[str, ...]:
    """All mount points of one super block, each once, in the order of the table."""
    return tuple(dict.fromkeys(info.mount_point for info in mounts))


def statvfs_reading(
    layer: LayerId,
    stat: StatVfs,
    pending: Pending = NOTHING_PENDING,
    state: LayerState = LayerState.OK,
    reason: str = "",
) -> Reading:
    """What statvfs(3) says. Headroom is what an ordinary user gets: the reserved blocks are not in it."""
    size, free = stat.blocks * stat.block_size, stat.blocks_free * stat.block_size
    available = stat.blocks_available * stat.block_size
    reserved = max(0, free - available)
    return Reading(
        layer=layer,
        state=state,
        size_bytes=size,
        used_bytes=max(0, size - free),
        headroom_bytes=available,
        inodes=stat.files or None,
        inodes_free=stat.files_free if stat.files else None,
        pending_bytes=pending.bytes,
        pending_of_all=pending.of_all,
        reserved_bytes=reserved,
        reason=reason,
        details={"reserved_bytes": reserved} if reserved else NO_DETAILS,
    )


def pending_of(reading: Reading) -> Pending:
    """What an earlier look found."""
    return Pending(reading.pending_bytes, reading.pending_of_all)


def peek_by_statvfs(view: KernelView, layer: Layer, before: Reading) -> Reading | None:
    """A reading by one statvfs; None for what no path leads to."""
    if not layer.mount_points or before.size_bytes is None:
        return None
    return statvfs_reading(layer.id, view.statvfs(layer.mount_points[0]), pending_of(before), before.state)


def lies_on_others(view: KernelView, device: Device) -> bool:
    """Whether a block device is made of others, or of RAM: what is written to it is taken from there.

    One that has no name (no /sys, a capture that lost it) may be anything, so it may be that; major 0 is no device.
    """
    name = view.device_name(*device)
    return device[0] != 0 if name is None else name.startswith(STACKED)


def pending_below(view: KernelView, device: Device) -> Pending:
    """Dirty data that is not yet on the device: its own where that can be read, else all of the machine's."""
    own = view.pending_bytes(*device)
    return Pending(own, False) if own is not None else Pending(view.meminfo.dirty + view.meminfo.writeback, True)


def devices_below(view: KernelView) -> frozenset[Device]:
    """The block devices that are mounted writable, or that device-mapper devices or a btrfs lie on."""
    mounted = {info.device for info in view.mounts if READ_ONLY_OPTION not in info.super_options}
    of_btrfs = {device for devices in view.btrfs.values() for device in devices}
    lines = [target.params for device in view.dm.values() for target in device.table]
    of_tables = {device for line in lines for device in parse_devices(line)}
    of_loops = {loop.backing_block for loop in view.loops.values() if loop.backing_block is not None}
    return frozenset(mounted | of_btrfs | of_tables | of_loops)


def unreadable(layer: LayerId, reason: str) -> Reading:
    """A layer that is there but cannot be looked at, and why."""
    return Reading(layer=layer, state=LayerState.UNREADABLE, reason=reason)


def found(pairs: Iterator[tuple[Layer, Reading]]) -> Found:
    """Layers and readings side by side."""
    both = list(pairs)
    return Found(layers=[layer for layer, _ in both], readings=[reading for _, reading in both])

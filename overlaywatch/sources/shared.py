# SPDX-License-Identifier: Apache-2.0
"""What several sources do in the same way: statvfs to a Reading, and reuse of what did not change.

Must not know any single kind of layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Layer, LayerId, LayerState, Reading
from overlaywatch.ports import Found

Device = tuple[int, int]

READ_ONLY_OPTION: Final = "ro"

FSTYPES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "vfat", "exfat", "ntfs3"}
)
"""File systems on block devices."""


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
    """The mounts that are not covered by another one: statvfs of a covered path speaks of what covers it."""
    top = {info.mount_point: info for info in mounts}
    by_id = {info.mount_id: info for info in mounts}
    return [info for info in mounts if top[info.mount_point] is info and _uncovered(info, top, by_id)]


def _uncovered(info: MountInfo, top: Mapping[str, MountInfo], by_id: Mapping[int, MountInfo]) -> bool:
    """Whether on each folder above the mount point the topmost mount is one that this mount hangs on."""
    ancestors = set()
    above = by_id.get(info.parent_id)
    while above is not None and above.mount_id not in ancestors:
        ancestors.add(above.mount_id)
        above = by_id.get(above.parent_id)
    parts = info.mount_point.rstrip("/").split("/")
    folders = ("/".join(parts[:length]) or "/" for length in range(1, len(parts)))
    return all(top[folder].mount_id in ancestors for folder in folders if folder in top)


def hidden_super_blocks(view: KernelView) -> frozenset[Device]:
    """The file systems that hold the files of writable loops and are in no mount table: left in the initramfs."""
    below = {view.super_block_of(loop) for loop in view.loops.values() if not loop.read_only} - {None}
    seen = {info.device for info in view.mounts} if below else set()
    return frozenset(device for device in below if device is not None and device not in seen)


def best_known(mounts: list[MountInfo]) -> str:
    """The path that people know a super block by: the shortest, then the first in the alphabet."""
    return min((len(info.mount_point), info.mount_point) for info in mounts)[1]


def paths(mounts: list[MountInfo]) -> tuple[str, ...]:
    """All mount points of one super block, each once, in the order of the table."""
    return tuple(dict.fromkeys(info.mount_point for info in mounts))


def statvfs_reading(
    layer: LayerId, stat: StatVfs, pending: int | None = None, state: LayerState = LayerState.OK, reason: str = ""
) -> Reading:
    """What statvfs(3) says. Headroom is what an ordinary user gets: the reserved blocks are not in it."""
    size, free = stat.blocks * stat.block_size, stat.blocks_free * stat.block_size
    return Reading(
        layer=layer,
        state=state,
        size_bytes=size,
        used_bytes=max(0, size - free),
        headroom_bytes=stat.blocks_available * stat.block_size,
        inodes=stat.files or None,
        inodes_free=stat.files_free if stat.files else None,
        pending_bytes=pending,
        reason=reason,
    )


def peek_by_statvfs(view: KernelView, layer: Layer, before: Reading) -> Reading | None:
    """A reading by one statvfs; None for what no path leads to."""
    if not layer.mount_points or before.size_bytes is None:
        return None
    return statvfs_reading(layer.id, view.statvfs(layer.mount_points[0]), before.pending_bytes, before.state)


def unreadable(layer: LayerId, reason: str) -> Reading:
    """A layer that is there but cannot be looked at, and why."""
    return Reading(layer=layer, state=LayerState.UNREADABLE, reason=reason)


def found(pairs: Iterator[tuple[Layer, Reading]]) -> Found:
    """Layers and readings side by side."""
    both = list(pairs)
    return Found(layers=[layer for layer, _ in both], readings=[reading for _, reading in both])

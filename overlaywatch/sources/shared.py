# SPDX-License-Identifier: Apache-2.0
"""What several sources do in the same way: statvfs to a Reading, and reuse of what did not change.

Must not know any single kind of layer.
"""

from collections.abc import Callable, Iterator
from typing import Final

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Layer, LayerId, LayerState, Reading
from overlaywatch.ports import Found

Device = tuple[int, int]

READ_ONLY_OPTION: Final = "ro"


class Memo:
    """Readings by layer, each with the raw figures it was made of: the same figures, the same object."""

    def __init__(self) -> None:
        self._kept: dict[LayerId, tuple[object, Reading]] = {}

    def reading(self, layer: LayerId, raw: object, make: Callable[[], Reading]) -> Reading:
        """The Reading made of `raw`, made anew only if `raw` is not what it was."""
        kept = self._kept.get(layer)
        if kept is not None and kept[0] == raw:
            return kept[1]
        reading = make()
        self._kept[layer] = (raw, reading)
        return reading


def by_super_block(view: KernelView, fstypes: frozenset[str]) -> dict[Device, list[MountInfo]]:
    """The writable mounts of some types, grouped by st_dev: several mounts of one are one layer."""
    groups: dict[Device, list[MountInfo]] = {}
    for info in view.mounts:
        if info.fstype in fstypes and READ_ONLY_OPTION not in info.super_options:
            groups.setdefault((info.major, info.minor), []).append(info)
    return groups


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


def unreadable(layer: LayerId, reason: str) -> Reading:
    """A layer that is there but cannot be looked at, and why."""
    return Reading(layer=layer, state=LayerState.UNREADABLE, reason=reason)


def found(pairs: Iterator[tuple[Layer, Reading]]) -> Found:
    """Layers and readings side by side."""
    both = list(pairs)
    return Found(layers=[layer for layer, _ in both], readings=[reading for _, reading in both])

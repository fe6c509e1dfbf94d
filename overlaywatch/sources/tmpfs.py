# SPDX-License-Identifier: Apache-2.0
"""tmpfs: limited by its own size, and by RAM and swap below it.

Must not know what is mounted on top. A tmpfs that stayed behind in the initramfs, or was unmounted
lazily, is in no mount table, but lives on under a loop device; its free blocks are still told by
ustat(2), by device number. Its size is not: unknown.
"""

import resource
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from overlaywatch.kernel.statfs import StatVfs, Ustat
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import SWAPPABLE_RAM, Failure, Layer, LayerId, LayerKind, LayerState, Reading, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import (
    Device,
    Memo,
    best_known,
    by_super_block,
    found,
    hidden_super_blocks,
    paths,
    peek_by_statvfs,
    statvfs_reading,
    unreadable,
)

ANONYMOUS: Final = 0
"""The major number of file systems without a block device."""

PAGE_SIZE: Final = resource.getpagesize()


class TmpfsSource:
    """`tmpfs:/run`, and `tmpfs:0:31` for a hidden one."""

    name = "tmpfs"
    kinds = frozenset({LayerKind.TMPFS})

    def __init__(self) -> None:
        self._table: object = None
        self._layers: list[Layer] = []
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """One layer per super block, visible or hidden under a writable loop."""
        del now
        if view.mounts is not self._table:
            self._table = view.mounts
            groups = by_super_block(view, frozenset({"tmpfs"}))
            self._layers = [_layer(device, paths(mounts), best_known(mounts)) for device, mounts in groups.items()]
        return found(self._look(view))

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """statvfs alone; of a hidden one ustat."""
        if layer.mount_points:
            return peek_by_statvfs(view, layer, before)
        major, _, minor = layer.device.partition(":")
        ustat = view.ustat(int(major), int(minor))
        if ustat is None:
            return None
        free = ustat.blocks_free * PAGE_SIZE
        used = None if before.size_bytes is None else max(0, before.size_bytes - free)
        return replace(before, headroom_bytes=free, used_bytes=used, inodes_free=ustat.files_free)

    def _look(self, view: KernelView) -> Iterator[tuple[Layer, Reading]]:
        for layer in self._layers:
            yield layer, self._reading(view, layer)
        for device in sorted(hidden_super_blocks(view)):
            if device[0] != ANONYMOUS:
                continue  # a disk that is mounted nowhere any more: its figures are in blocks of unknown size
            ustat = view.ustat(*device)
            if ustat is not None and (ustat.blocks_free or ustat.files_free):
                yield self._hidden(device, ustat)

    def _hidden(self, device: Device, ustat: Ustat) -> tuple[Layer, Reading]:
        layer = _layer(device, (), f"{device[0]}:{device[1]}")
        return layer, self._memo.reading(layer.id, ustat, lambda: _hidden(layer.id, ustat))

    def _reading(self, view: KernelView, layer: Layer) -> Reading:
        try:
            stat = view.statvfs(layer.mount_points[0])
        except OSError as error:
            return unreadable(layer.id, f"statvfs: {error.strerror}")
        return self._memo.reading(layer.id, stat, lambda: _visible(layer.id, stat))


def _visible(layer: LayerId, stat: StatVfs) -> Reading:
    if stat.blocks:
        return statvfs_reading(layer, stat)
    # size=0: no limit of its own, and zeros in statvfs (mm/shmem.c, shmem_statfs). RAM is the limit.
    return Reading(layer=layer, state=LayerState.OK, cannot_overflow=True, details={"size": "unlimited"})


def _hidden(layer: LayerId, ustat: Ustat) -> Reading:
    return Reading(
        layer=layer,
        state=LayerState.OK,
        headroom_bytes=ustat.blocks_free * PAGE_SIZE,
        inodes_free=ustat.files_free,
        details={"hidden": True},
    )


def _layer(device: Device, mount_points: tuple[str, ...], name: str) -> Layer:
    return Layer(
        id=LayerId(f"tmpfs:{name}"),
        kind=LayerKind.TMPFS,
        provides=(super_block_ref(*device),),
        rests_on=(SWAPPABLE_RAM,),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=f"{device[0]}:{device[1]}",
        mount_points=mount_points,
    )

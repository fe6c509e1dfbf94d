# SPDX-License-Identifier: Apache-2.0
"""Ordinary file systems on a block device: the first thing that fills under a mount point.

Must not know what lies below the device. What statvfs says here is the whole truth only for a
plain disk; over a dm-snapshot, a thin device or a loop it is the upper bound.
"""

from collections.abc import Iterator
from dataclasses import replace

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Failure, Layer, LayerId, LayerKind, LayerState, Reading, block_ref, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import (
    FSTYPES,
    Device,
    Memo,
    best_known,
    by_super_block,
    found,
    lies_on_others,
    paths,
    peek_by_statvfs,
    pending_bytes,
    statvfs_reading,
    unreadable,
    was_made_read_only,
)


class FilesystemSource:
    """`filesystem:/`: blocks, inodes, dirty data not yet written, and errors that the kernel counted."""

    name = "filesystem"
    kinds = frozenset({LayerKind.FILESYSTEM})

    def __init__(self) -> None:
        self._table: object = None
        self._layers: list[tuple[Layer, Device]] = []
        self._given_up: frozenset[Device] = frozenset()
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """One layer per writable super block, however often it is mounted."""
        del now
        if view.mounts is not self._table:
            self._table = view.mounts
            groups = by_super_block(view, FSTYPES)
            self._layers = [(_layer(device, mounts), device) for device, mounts in groups.items()]
            self._given_up = frozenset(device for device, mounts in groups.items() if was_made_read_only(mounts[0]))
        seen = found(self._look(view))
        return replace(seen, stacked=[block_ref(*device) for _, device in self._layers if lies_on_others(view, device)])

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """statvfs alone."""
        return peek_by_statvfs(view, layer, before)

    def _look(self, view: KernelView) -> Iterator[tuple[Layer, Reading]]:
        for layer, device in self._layers:
            yield layer, self._reading(view, layer, device)

    def _reading(self, view: KernelView, layer: Layer, device: Device) -> Reading:
        try:
            stat = view.statvfs(layer.mount_points[0])
        except OSError as error:
            return unreadable(layer.id, f"statvfs: {error.strerror}")
        errors = view.errors_count(*device)
        pending = pending_bytes(view, device) if lies_on_others(view, device) else None
        given_up = device in self._given_up
        raw = (stat, errors, pending, given_up)
        return self._memo.reading(layer.id, raw, lambda: _reading(layer.id, *raw))


def _reading(layer: LayerId, stat: StatVfs, errors: int | None, pending: int | None, given_up: bool) -> Reading:
    if given_up:
        reason = "the file system made itself read-only after an error"
        return statvfs_reading(layer, stat, pending, LayerState.READ_ONLY, reason)
    if not errors:
        return statvfs_reading(layer, stat, pending)
    return statvfs_reading(layer, stat, pending, LayerState.ERRORS, f"the kernel counted {errors} file system errors")


def _layer(device: Device, mounts: list[MountInfo]) -> Layer:
    return Layer(
        id=LayerId(f"filesystem:{best_known(mounts)}"),
        kind=LayerKind.FILESYSTEM,
        provides=(super_block_ref(*device),),
        rests_on=(block_ref(*device),),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=f"{device[0]}:{device[1]}",
        mount_points=(best_known(mounts), *(path for path in paths(mounts) if path != best_known(mounts))),
        details={"fstype": mounts[0].fstype},
    )

# SPDX-License-Identifier: Apache-2.0
"""Ordinary file systems on a block device: the first thing that fills under a mount point.

Must not know what lies below the device. What statvfs says here is the whole truth only for a
plain disk; over a dm-snapshot, a thin device or a loop it is the upper bound.
"""

from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.shutdown import Trouble
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Failure, Layer, LayerId, LayerKind, LayerState, Reading, Ref, block_ref, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import (
    FSTYPES,
    NOTHING_PENDING,
    Device,
    Memo,
    best_known,
    by_super_block,
    found,
    lies_on_others,
    paths,
    pending_below,
    pending_of,
    statvfs_reading,
    unreadable,
    was_made_read_only,
)

DATA_SHARES: Final = {"ext2": 63 / 64, "xfs": 63 / 64}
OTHERS_DATA_SHARE: Final = 31 / 32
"""Of what a file system with a journal writes, if a fsync comes after each MiB: ext4 then puts eight blocks into its
journal for a new file (3.1 %), xfs one or two. Fewer fsyncs cost less. Measured on 6.1: docs/accuracy.md."""

METADATA_SHARE: Final = 1 / 8
"""Of what a btrfs writes, for each copy of its metadata: what small files with a sync now and then take. Measured on
6.1 with two copies, of a store of 64 MiB: files of 1 MiB and a fsync after each take 11 % (48 KiB for each MiB and
copy), files of 32 to 128 KiB and a sync after 2 to 8 MiB up to 25 %; a fsync after each 256 KiB 31 %, after each 64 KiB
66 %."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of one super block: its layer, the devices below, and which btrfs it is, if any."""

    layer: Layer
    device: Device
    below: tuple[Device, ...]
    mount: MountInfo
    uuid: str | None = None


class FilesystemSource:
    """`filesystem:/`: blocks, inodes, dirty data not yet written, and errors that the kernel counted."""

    name = "filesystem"
    kinds = frozenset({LayerKind.FILESYSTEM})

    def __init__(self) -> None:
        self._seen: tuple[object, object] = (None, None)
        self._kept: dict[LayerId, Kept] = {}
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """One layer per writable super block, however often it is mounted."""
        del now
        seen = (view.mounts, view.btrfs)
        if seen[0] is not self._seen[0] or seen[1] is not self._seen[1]:
            self._seen = seen
            groups = by_super_block(view, FSTYPES)
            self._kept = {one.layer.id: one for one in (_keep(view, *group) for group in groups.items())}
        pairs = found((kept.layer, self._reading(view, kept)) for kept in self._kept.values())
        devices = {device for kept in self._kept.values() for device in kept.below}
        return replace(pairs, stacked=[block_ref(*one) for one in sorted(devices) if lies_on_others(view, one)])

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """statvfs alone."""
        kept = self._kept.get(layer.id)
        if kept is None or before.size_bytes is None:
            return None
        return statvfs_reading(layer.id, _statvfs(view, kept), pending_of(before), before.state)

    def _reading(self, view: KernelView, kept: Kept) -> Reading:
        try:
            stat = _statvfs(view, kept)
        except OSError as error:
            return unreadable(kept.layer.id, f"statvfs: {error.strerror}")
        stacked = any(lies_on_others(view, device) for device in kept.below)
        pending = pending_below(view, kept.device) if stacked else NOTHING_PENDING
        raw = (stat, pending, *_condition(view, kept))
        return self._memo.reading(kept.layer.id, raw, lambda: statvfs_reading(kept.layer.id, *raw))


def _statvfs(view: KernelView, kept: Kept) -> StatVfs:
    """statvfs, less what a btrfs has accepted since the commit that it counts."""
    stat = view.statvfs(kept.layer.mount_points[0])
    promised = view.btrfs_promised_bytes(kept.uuid) if kept.uuid is not None else None
    if not promised:
        return stat
    blocks = -(-promised // stat.block_size)
    free, available = max(0, stat.blocks_free - blocks), max(0, stat.blocks_available - blocks)
    return replace(stat, blocks_free=free, blocks_available=available)


def _condition(view: KernelView, kept: Kept) -> tuple[LayerState, str]:
    """Its state and the reason, by all that the kernel tells: statvfs and the mount table may go on looking well."""
    if was_made_read_only(kept.mount):
        return LayerState.READ_ONLY, "the file system made itself read-only after an error"
    try:
        trouble = view.trouble(kept.mount)
    except OSError:
        trouble = Trouble()
    if trouble.shut_down:
        return LayerState.FAILED, "the file system has shut itself down after an error: all access gets I/O errors"
    errors = view.btrfs_errors_count(kept.uuid) if kept.uuid is not None else view.errors_count(*kept.device)
    if errors:
        return LayerState.ERRORS, f"the kernel counted {errors} file system errors"
    return (LayerState.ERRORS, "it has to be checked (fsck)") if trouble.needs_check else (LayerState.OK, "")


def _keep(view: KernelView, device: Device, mounts: list[MountInfo]) -> Kept:
    is_btrfs = mounts[0].fstype == "btrfs"
    uuid = view.btrfs_uuid(mounts[0]) if is_btrfs else None
    below = view.btrfs[uuid] if uuid is not None else () if is_btrfs else (device,)
    share = btrfs_data_share(view, uuid) if is_btrfs else DATA_SHARES.get(mounts[0].fstype, OTHERS_DATA_SHARE)
    layer = replace(_layer(device, below, mounts), data_share=share)
    return Kept(layer, device, below, mounts[0], uuid)


def btrfs_data_share(view: KernelView, uuid: str | None) -> float:
    """How much of what it writes is data: it writes metadata to a new place each time, and maybe all things twice."""
    if uuid is None:
        return 1.0
    return (1 - METADATA_SHARE * view.btrfs_copies(uuid, "metadata")) / view.btrfs_copies(uuid, "data")


def _layer(device: Device, below: tuple[Device, ...], mounts: list[MountInfo]) -> Layer:
    # A btrfs whose devices cannot be told rests on something that nothing provides: unknown, not boundless.
    unknown = Ref(f"unknown:btrfs {device[0]}:{device[1]}")
    return Layer(
        id=LayerId(f"filesystem:{best_known(mounts)}"),
        kind=LayerKind.FILESYSTEM,
        provides=(super_block_ref(*device),),
        rests_on=tuple(block_ref(*one) for one in below) or (unknown,),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=f"{device[0]}:{device[1]}",
        mount_points=(best_known(mounts), *(path for path in paths(mounts) if path != best_known(mounts))),
        details={"fstype": mounts[0].fstype},
    )

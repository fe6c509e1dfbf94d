# SPDX-License-Identifier: Apache-2.0
"""How much of a file system's free space a dm-snapshot has copied before, so that it can be written again for nothing.

Expensive, and so no source: it is looked at when a person asks. Must not know who asks.

The store is read first, then the free space: what was copied stays copied, so the figure is never larger than the
truth. If the snapshot or the file system has moved in between, both are read again. Free blocks that were promised to
data still in memory (delayed allocation) are taken off. The file system's count leaves them out and its map does not;
but the count of xfs leaves out its reserve as well, so no more than what is dirty is taken off.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.dm_target import SECTOR, SnapshotTable, parse_snapshot_status, parse_snapshot_table
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.exception_store import ChunkMap, DirectFile, read_store
from overlaywatch.kernel.fsmap import cannot_tell, read_free
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Layer, LayerKind, LayerState, Survey, Verdict

ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class AlreadyCopied:
    """The answer. `already_copied_free_bytes` is None where it cannot be known, and `reason` says why.

    `copied_bytes` is what the snapshot has copied of its origin, `free_bytes` what the file system has free.
    `read_bytes` and `took_seconds` are what the question cost.
    """

    already_copied_free_bytes: int | None
    copied_bytes: int | None = None
    free_bytes: int | None = None
    reason: str = ""
    read_bytes: int = 0
    took_seconds: float = 0.0


class CannotKnowError(Exception):
    """Why there is no answer, in words for people."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What is to be read: the store of a snapshot, and the file system that lies directly on it."""

    snapshot: tuple[int, int]
    table: SnapshotTable
    origin_bytes: int
    store: str
    path: str


def already_copied(look: Callable[[], KernelView], verdict: Verdict, survey: Survey) -> AlreadyCopied:
    """Ask the kernel about one mount point; `look` takes a new look at it. Never raises for what cannot be known."""
    started = time.monotonic()
    try:
        found = _read_until_still(look, _place(look(), verdict, survey))
    except CannotKnowError as error:
        found = AlreadyCopied(None, reason=str(error))
    except KernelTextError as error:
        found = AlreadyCopied(None, reason=f"the store was not understood: {error}")
    except OSError as error:
        found = AlreadyCopied(None, reason=f"{error.filename or 'the store'}: {error.strerror}")
    return replace(found, took_seconds=time.monotonic() - started)


def _place(view: KernelView, verdict: Verdict, survey: Survey) -> _Place:
    layers = {layer.id: layer for layer in survey.layers}
    upper = [layers[one] for one in verdict.chain[:2]]
    if len(upper) < 2 or not _lies_on(*upper):
        raise CannotKnowError("not a file system directly on a dm-snapshot")
    snapshot = upper[1]
    number = _number(snapshot.device)
    device = view.dm.get(number)
    if device is None or not device.table or device.table[0].type != "snapshot":
        raise CannotKnowError(f"{snapshot.id} is gone, or is being merged")
    table = parse_snapshot_table(device.table[0].params)
    if table.persistent == "N":
        raise CannotKnowError("an N store keeps the list of what it has copied in the kernel's memory only")
    name = view.device_name(*table.cow)
    if name is None or not view.root.is_live:
        raise CannotKnowError("the COW device cannot be read from here")
    path = verdict.mount.mount_point
    return _Place(number, table, device.table[0].length * SECTOR, str(view.root.dev / name), path)


def _lies_on(filesystem: Layer, snapshot: Layer) -> bool:
    return (
        filesystem.kind is LayerKind.FILESYSTEM
        and snapshot.kind is LayerKind.DM_SNAPSHOT
        and filesystem.rests_on == snapshot.provides
    )


def _number(device: str) -> tuple[int, int]:
    major, _, minor = device.partition(":")
    return int(major), int(minor)


def _read_until_still(look: Callable[[], KernelView], place: _Place) -> AlreadyCopied:
    read_bytes = 0
    for _ in range(ATTEMPTS):
        before = _standing(view := look(), place)
        with DirectFile(place.store) as store:
            copied = read_store(store.read_at, place.origin_bytes)
            read_bytes += store.bytes_read
        free, both = _free(place, copied)
        if _standing(look(), place) == before:
            promised = max(0, min(free - before[1], _dirty(view, place)))
            return AlreadyCopied(max(0, both - promised), copied.total_bytes, before[1], read_bytes=read_bytes)
    raise CannotKnowError("it is being written to: what was read did not stand still; ask again when it is calm")


def _standing(view: KernelView, place: _Place) -> tuple[str, int]:
    """What changes when anything is written: the snapshot's status, and the free bytes of the file system."""
    stat = view.statvfs(place.path)
    return _status(view.dm.get(place.snapshot)), stat.blocks_free * stat.block_size


def _dirty(view: KernelView, place: _Place) -> int:
    """Bytes in memory that belong on the device, at most."""
    own = view.pending_bytes(*place.snapshot)
    return own if own is not None else view.meminfo.dirty + view.meminfo.writeback


def _status(device: DmDevice | None) -> str:
    text = device.status[0].params if device and device.status else ""
    state = parse_snapshot_status(text).state
    if state not in {LayerState.OK, LayerState.OVERFLOW}:
        raise CannotKnowError(f"the kernel says {text!r} of the snapshot")
    return text


def _free(place: _Place, copied: ChunkMap) -> tuple[int, int]:
    """Free bytes, and those of them that lie in copied chunks."""
    free = both = 0
    try:
        for start, length in read_free(place.path, os.makedev(*place.snapshot)):
            free += length
            both += copied.copied_bytes(start, length)
    except OSError as error:
        if cannot_tell(error):
            raise CannotKnowError("this file system does not tell where it is free") from error
        raise
    return free, both

# SPDX-License-Identifier: Apache-2.0
"""dm-snapshot: the overlay that fills block by block while df shows gigabytes.

Must not know what the COW device lies on, or what is mounted on top. Facts (drivers/md/dm-snap.c,
dm-snap-persistent.c): used and total are 512-byte sectors and both contain the metadata; used only
grows; a status word carries no numbers, so the last ones are kept, with their age.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.dm_target import SnapshotStatus, SnapshotTable, parse_snapshot_status, parse_snapshot_table
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Failure, Layer, LayerId, LayerKind, LayerState, Reading, block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import unreadable

SECTOR: Final = 512
EXCEPTION_BYTES: Final = 16
"""struct disk_exception: two 64-bit chunk numbers for each copied chunk."""

TARGETS: Final = frozenset({"snapshot", "snapshot-merge"})


@dataclass(slots=True)
class Kept:
    """What is remembered of one device: the record it was made of, and the last numbers.

    `numbers_at` is their time once a word has followed them.
    """

    device: DmDevice
    layer: Layer
    table: SnapshotTable | None
    reading: Reading
    numbers: Reading | None
    numbers_at: float


class DmSnapshotSource:
    """`dm-snapshot:live-rw`, one per device with a snapshot target."""

    name = "dm-snapshot"
    kinds = frozenset({LayerKind.DM_SNAPSHOT})

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Kept] = {}
        self._devices: Mapping[tuple[int, int], DmDevice] | None = None
        self._found = Found()
        self._looked_at = 0.0

    def survey(self, view: KernelView, now: float) -> Found:
        """All snapshots; what was found last time if no device has changed."""
        if view.dm is not self._devices:
            self._devices = view.dm
            self._kept = {key: self._look(device) for key, device in view.dm.items() if is_snapshot(device)}
            self._found = self._all()
        self._looked_at = now
        return self._found

    def _all(self) -> Found:
        kept = self._kept
        return Found(
            layers=[one.layer for one in kept.values()],
            readings=[one.reading for one in kept.values()],
            unknown_statuses=sum(one.reading.state is LayerState.UNKNOWN for one in kept.values()),
        )

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """The status alone: the table is believed. A word gives a state without numbers."""
        kept = next((one for one in self._kept.values() if one.layer.id == layer.id), None)
        text = view.dm_status(kept.device.major, kept.device.minor) if kept else None
        if kept is None or kept.table is None or text is None:
            return None
        status = parse_snapshot_status(text)
        if status.sectors_allocated is None:
            return replace(before, state=status.state)
        return as_reading(layer.id, kept.table, status, kept.device)

    def _look(self, device: DmDevice) -> Kept:
        before = self._kept.get((device.major, device.minor))
        if before is None or (before.device is not device and _identity(before.device) != _identity(device)):
            before = _first_sight(device)
        elif before.device is device:
            return before
        if before.reading is before.numbers:
            # Until the last look they were the truth.
            before = replace(before, numbers_at=self._looked_at)
        return _read(before, device)


def _identity(device: DmDevice) -> tuple[object, ...]:
    """What makes it another layer: `dmsetup rename` leaves the number and the table as they are."""
    return device.name, device.uuid, device.table


def is_snapshot(device: DmDevice) -> bool:
    """Whether the device is a snapshot, or one that is being merged."""
    return bool(device.table) and device.table[0].type in TARGETS


def _first_sight(device: DmDevice) -> Kept:
    layer, table = as_layer(device)
    return Kept(device, layer, table, unreadable(layer.id, "not read yet"), None, 0.0)


def _read(before: Kept, device: DmDevice) -> Kept:
    status = parse_snapshot_status(device.status[0].params) if device.status else None
    if before.table is None or status is None:
        reading = unreadable(before.layer.id, f"table line not understood: {device.table[0].params!r}")
        return replace(before, device=device, reading=reading)
    if status.sectors_allocated is None:
        return replace(before, device=device, reading=_with_kept_numbers(before, status))
    reading = as_reading(before.layer.id, before.table, status, device)
    return Kept(device, before.layer, before.table, reading, reading, before.numbers_at)


def _with_kept_numbers(before: Kept, status: SnapshotStatus) -> Reading:
    """A word (`Invalid`, or one no kernel has printed yet): the last numbers, and the time they are of."""
    reason = f"the kernel says {status.word!r}"
    if before.numbers is None:
        return Reading(before.layer.id, status.state, reason=reason, details={"status": status.word})
    details = {**before.numbers.details, "status": status.word}
    headroom = None if status.state is LayerState.UNKNOWN else 0
    return replace(
        before.numbers,
        state=status.state,
        headroom_bytes=headroom,
        numbers_at=before.numbers_at,
        reason=reason,
        details=details,
    )


def as_layer(device: DmDevice) -> tuple[Layer, SnapshotTable | None]:
    """The layer of a snapshot, and its table line; None if that line is not understood."""
    try:
        table = parse_snapshot_table(device.table[0].params)
    except KernelTextError:
        table = None
    overflows = table is not None and table.persistent == "PO"
    layer = Layer(
        id=LayerId(f"dm-snapshot:{device.name}"),
        kind=LayerKind.DM_SNAPSHOT,
        provides=(block_ref(device.major, device.minor),),
        rests_on=(block_ref(*table.cow),) if table else (),
        failure=Failure.READ_ONLY if overflows else Failure.DEAD_ROOT,
        reclaimable=False,
        device=f"{device.major}:{device.minor}",
        details=_details(table) if table else {},
    )
    return layer, table


def _details(table: SnapshotTable) -> dict[str, str | int | tuple[str, ...]]:
    return {
        "origin": f"{table.origin[0]}:{table.origin[1]}",
        "cow_device": f"{table.cow[0]}:{table.cow[1]}",
        "persistent": table.persistent,
        "chunk_size_sectors": table.chunk_size_sectors,
        "features": table.features,
    }


def as_reading(layer: LayerId, table: SnapshotTable, status: SnapshotStatus, device: DmDevice) -> Reading:
    """The figures of one status line with numbers."""
    allocated, total = status.sectors_allocated or 0, status.total_sectors or 0
    metadata = status.metadata_sectors or 0
    data_room = room_in_chunks(table, allocated, total)
    demand = demand_in_chunks(table, device.table[0].length, allocated - metadata)
    return Reading(
        layer=layer,
        state=status.state,
        size_bytes=total * SECTOR,
        used_bytes=allocated * SECTOR,
        headroom_bytes=data_room * table.chunk_size_sectors * SECTOR,
        metadata_bytes=metadata * SECTOR,
        cannot_overflow=data_room >= demand,
        details={
            "sectors_allocated": allocated,
            "total_sectors": total,
            "metadata_sectors": metadata,
            "suspended": device.suspended,
        },
    )


def room_in_chunks(table: SnapshotTable, allocated: int, total: int) -> int:
    """How many chunks of new data still fit, at least: of P and PO one chunk in n + 1 is metadata."""
    chunk = table.chunk_size_sectors
    room = max(0, total // chunk - -(-allocated // chunk))
    if table.persistent == "N":
        return room
    exceptions_per_area = chunk * SECTOR // EXCEPTION_BYTES
    return room - -(-room // (exceptions_per_area + 1))


def demand_in_chunks(table: SnapshotTable, origin_sectors: int, data_sectors: int) -> int:
    """How many chunks can still be copied at most: each chunk of the origin is copied once."""
    chunk = table.chunk_size_sectors
    return max(0, -(-origin_sectors // chunk) - data_sectors // chunk)

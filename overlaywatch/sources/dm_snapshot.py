# SPDX-License-Identifier: Apache-2.0
"""dm-snapshot: the overlay that fills block by block while df shows gigabytes.

Must not know what the COW device lies on, or what is mounted on top. Facts (drivers/md/dm-snap.c,
dm-snap-persistent.c): used and total are 512-byte sectors and both contain the metadata; used only
grows; a status word carries no numbers.
"""

from typing import Final

from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.dm_target import SnapshotStatus, SnapshotTable, parse_snapshot_status, parse_snapshot_table
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Failure, Layer, LayerId, LayerKind, Reading, block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.dm_kept import SECTOR, DmLayers, word_reading

EXCEPTION_BYTES: Final = 16
"""struct disk_exception: two 64-bit chunk numbers for each copied chunk."""

TARGETS: Final = frozenset({"snapshot", "snapshot-merge"})
"""A snapshot, and one that is being merged."""


class DmSnapshotSource:
    """`dm-snapshot:live-rw`, one per device with a snapshot target."""

    name = "dm-snapshot"
    kinds = frozenset({LayerKind.DM_SNAPSHOT})

    def __init__(self) -> None:
        self._layers = DmLayers(TARGETS, as_layer, as_reading)

    def survey(self, view: KernelView, now: float) -> Found:
        """All snapshots; what was found last time if no device has changed."""
        return self._layers.survey(view, now)

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """The status alone: the table is believed. A word gives a state without numbers."""
        return self._layers.peek(view, layer, before)


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


def as_reading(layer: LayerId, table: SnapshotTable, text: str, device: DmDevice) -> Reading:
    """What one status line says."""
    status = parse_snapshot_status(text)
    if status.sectors_allocated is None:
        return word_reading(layer, status.state, status.word)
    return _with_numbers(layer, table, status, device)


def _with_numbers(layer: LayerId, table: SnapshotTable, status: SnapshotStatus, device: DmDevice) -> Reading:
    allocated, total = status.sectors_allocated or 0, status.total_sectors or 0
    metadata = status.metadata_sectors
    data_room = room_in_chunks(table, allocated, total)
    copied = allocated - (most_metadata(table, allocated) if metadata is None else metadata)
    demand = demand_in_chunks(table, device.table[0].length, max(0, copied))
    return Reading(
        layer=layer,
        state=status.state,
        size_bytes=total * SECTOR,
        used_bytes=allocated * SECTOR,
        headroom_bytes=data_room * table.chunk_size_sectors * SECTOR,
        metadata_bytes=None if metadata is None else metadata * SECTOR,
        # Nobody writes to one that is read-only, such as live-ro, the persistent overlay below a temporary one.
        cannot_overflow=data_room >= demand or device.read_only,
        failure=Failure.DEAD_ROOT if ends_in_metadata(table, total) else None,
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
    return room - -(-room // chunks_per_area(table))


def most_metadata(table: SnapshotTable, allocated: int) -> int:
    """Sectors of metadata in so many allocated ones, at most: the header, and a chunk for each area, begun or not."""
    if table.persistent == "N":
        return 0
    areas = allocated // table.chunk_size_sectors // chunks_per_area(table) + 1
    return (areas + 1) * table.chunk_size_sectors


def chunks_per_area(table: SnapshotTable) -> int:
    """A chunk of metadata, and the chunks of data that it tells of (P and PO)."""
    return 1 + table.chunk_size_sectors * SECTOR // EXCEPTION_BYTES


def ends_in_metadata(table: SnapshotTable, total: int) -> bool:
    """Whether a P or PO of `total` sectors turns Invalid at its end, even one that would overflow in another size.

    With the last exception of an area the next one is wiped (persistent_commit_exception): if the store ends just
    there, as 256 MiB of 4 KiB chunks do, that is an I/O error. Seen on 6.1.
    """
    return table.persistent != "N" and total // table.chunk_size_sectors % chunks_per_area(table) == 1


def demand_in_chunks(table: SnapshotTable, origin_sectors: int, data_sectors: int) -> int:
    """How many chunks can still be copied at most: each chunk of the origin is copied once."""
    chunk = table.chunk_size_sectors
    return max(0, -(-origin_sectors // chunk) - data_sectors // chunk)

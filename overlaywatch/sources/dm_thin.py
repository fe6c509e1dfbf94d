# SPDX-License-Identifier: Apache-2.0
"""dm-thin: a pool whose data and whose metadata can end, and the volumes that promise more than it has.

Must not know what the pool's two devices lie on, or what is mounted on a volume. Facts (drivers/md/dm-thin.c,
dm-thin-metadata.c): data is counted in blocks of the pool, metadata in blocks of 4 KiB, of which the kernel keeps a
tenth, 4096 at most, for itself and shows it as used. Deleting files gives room back only with a discard (fstrim,
or the mount option): then the pool's use falls, and so does that of a tmpfs below. What a volume reads from an
external origin takes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.dm_target import (
    SECTOR,
    THIN_METADATA_BLOCK,
    ThinPoolStatus,
    ThinPoolTable,
    ThinStatus,
    ThinTable,
    parse_thin_pool_status,
    parse_thin_pool_table,
    parse_thin_status,
    parse_thin_table,
)
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import (
    BROKEN,
    Detail,
    Failure,
    Layer,
    LayerId,
    LayerKind,
    LayerState,
    Link,
    Reading,
    Ref,
    block_ref,
)
from overlaywatch.ports import Found
from overlaywatch.sources.dm_kept import DmLayers, word_reading

POOL: Final = frozenset({"thin-pool"})
VOLUME: Final = "thin"

MAPPINGS_PER_BLOCK: Final = 60
"""How many data blocks a free block of metadata can map, at least.

A leaf holds 252 mappings, after a split half of them (drivers/md/persistent-data/dm-btree.c), and each leaf that a
transaction changes is there twice until it is committed. Measured on 6.1: 250 in order, 94 at random, 67 at worst.
"""

SPARE_METADATA_BLOCKS: Final = 8
"""The roots, the path to the leaf and the space maps, rewritten in each transaction."""

IGNORE_DISCARD: Final = "ignore_discard"
"""The word in the table line of a pool that takes nothing back."""

_SUSPENDED: Final = "-"


class DmThinSource:
    """`dm-thin-pool:live-overlay-pool`, and a link for each volume of a pool."""

    name = "dm-thin"
    kinds = frozenset({LayerKind.DM_THIN_POOL})

    def __init__(self) -> None:
        self._pools = DmLayers(POOL, as_layer, as_reading)
        self._devices: Mapping[tuple[int, int], DmDevice] | None = None
        self._volumes: tuple[Volume, ...] = ()

    def survey(self, view: KernelView, now: float) -> Found:
        """All pools and volumes; what was found last time if no device has changed."""
        pools = self._pools.survey(view, now)
        if view.dm is not self._devices:
            self._devices = view.dm
            self._volumes = tuple(_volumes(view.dm))
        unknown = sum(volume.is_strange for volume in self._volumes)
        links = _links(self._volumes, pools)
        return replace(pools, links=links, unknown_statuses=pools.unknown_statuses + unknown)

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """The status alone: the table is believed."""
        return self._pools.peek(view, layer, before)


def as_layer(device: DmDevice) -> tuple[Layer, ThinPoolTable | None]:
    """The layer of a pool, and its table line; None if that line is not understood."""
    try:
        table = parse_thin_pool_table(device.table[0].params)
    except KernelTextError:
        table = None
    layer = Layer(
        id=LayerId(f"dm-thin-pool:{device.name}"),
        kind=LayerKind.DM_THIN_POOL,
        provides=(block_ref(*device.device),),
        rests_on=(block_ref(*table.data), block_ref(*table.metadata)) if table else (),
        failure=Failure.IO_ERROR,
        reclaimable=table is None or IGNORE_DISCARD not in table.features,
        device=f"{device.major}:{device.minor}",
        grain_bytes=table.block_size_sectors * SECTOR if table else 0,
        details=_facts(table) if table else {},
    )
    return layer, table


def _facts(table: ThinPoolTable) -> dict[str, Detail]:
    return {
        "data_device": f"{table.data[0]}:{table.data[1]}",
        "metadata_device": f"{table.metadata[0]}:{table.metadata[1]}",
        "block_size_sectors": table.block_size_sectors,
        "low_water_blocks": table.low_water_blocks,
        "features": table.features,
        "room_returns": "never: the pool ignores discards"
        if IGNORE_DISCARD in table.features
        else "with discard only (fstrim)",
    }


def as_reading(layer: LayerId, table: ThinPoolTable, text: str, device: DmDevice) -> Reading:
    """What one status line says."""
    del device
    status = parse_thin_pool_status(text)
    if status.data_total_blocks is None or status.data_used_blocks is None:
        return word_reading(layer, status.state, status.word)
    block = table.block_size_sectors * SECTOR
    return Reading(
        layer=layer,
        state=status.state,
        size_bytes=status.data_total_blocks * block,
        used_bytes=status.data_used_blocks * block,
        headroom_bytes=_headroom(status, block),
        metadata_bytes=(status.metadata_used_blocks or 0) * THIN_METADATA_BLOCK,
        reason=_reason(table, status),
        details=_figures(status),
    )


def _headroom(status: ThinPoolStatus, block: int) -> int | None:
    if status.state in BROKEN:
        return 0
    return None if status.state is LayerState.UNKNOWN else min(free_blocks(status), mappable_blocks(status)) * block


def free_blocks(status: ThinPoolStatus) -> int:
    """Blocks of data that nobody has yet."""
    return max(0, (status.data_total_blocks or 0) - (status.data_used_blocks or 0))


def mappable_blocks(status: ThinPoolStatus) -> int:
    """Blocks of data that the free metadata can map, at least."""
    free = (status.metadata_total_blocks or 0) - (status.metadata_used_blocks or 0)
    return max(0, free - SPARE_METADATA_BLOCKS) * MAPPINGS_PER_BLOCK


def _reason(table: ThinPoolTable, status: ThinPoolStatus) -> str:
    if status.state is LayerState.OUT_OF_DATA_SPACE:
        waited = status.error_if_no_space and "error_if_no_space" not in table.features
        return "out of data blocks" + (
            ": the time in which writers wait is over, they get I/O errors" if waited else ""
        )
    if status.state is LayerState.NEEDS_CHECK:
        return "its metadata has to be repaired (thin_check, thin_repair) before it can be written to"
    if status.state is LayerState.READ_ONLY:
        return "read-only: out of metadata, or an error in it"
    return "" if status.state is LayerState.OK else f"the kernel says {status.word!r}"


def _figures(status: ThinPoolStatus) -> dict[str, Detail]:
    return {
        "mode": status.mode,
        "transaction_id": status.transaction_id,
        "data_used_blocks": status.data_used_blocks,
        "data_total_blocks": status.data_total_blocks,
        "metadata_used_blocks": status.metadata_used_blocks,
        "metadata_total_blocks": status.metadata_total_blocks,
        "error_if_no_space": status.error_if_no_space,
        "needs_check": status.needs_check,
    }


# --- volumes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Volume:
    """A thin device: its number, its pool's, its size in sectors, and what it says of itself."""

    number: tuple[int, int]
    table: ThinTable
    sectors: int
    status: ThinStatus

    @property
    def is_strange(self) -> bool:
        """Whether it says a word that no kernel has printed yet."""
        return self.status.state is LayerState.UNKNOWN and self.status.word != _SUSPENDED


def _volumes(devices: Mapping[tuple[int, int], DmDevice]) -> Iterator[Volume]:
    """The thin devices whose table is understood; what the others lie on stays unknown."""
    for number, device in devices.items():
        if device.table and device.table[0].type == VOLUME and device.status:
            try:
                table = parse_thin_table(device.table[0].params)
            except KernelTextError:
                continue
            yield Volume(number, table, device.table[0].length, parse_thin_status(device.status[0].params))


def _links(volumes: tuple[Volume, ...], pools: Found) -> list[Link]:
    used = {layer.provides[0]: reading.used_bytes for layer, reading in zip(pools.layers, pools.readings, strict=True)}
    mapped: dict[Ref, int] = {}
    for volume in volumes:
        pool = block_ref(*volume.table.pool)
        mapped[pool] = mapped.get(pool, 0) + (volume.status.mapped_sectors or 0) * SECTOR
    # Blocks that are shared with a snapshot are copied when they are written to, and more is taken than the holes.
    shared = {pool for pool, total in mapped.items() if total != used.get(pool)}
    return [_link(volume, block_ref(*volume.table.pool), shared) for volume in volumes]


def _link(volume: Volume, pool: Ref, shared: set[Ref]) -> Link:
    """`Fail` is told by the pool as well; with `Error` alone the pool is well, and this volume is not."""
    lost = volume.is_strange or volume.status.state is LayerState.ERRORS
    below = Ref(f"unknown:thin {volume.number[0]}:{volume.number[1]}") if lost else pool
    size, mapped = volume.sectors * SECTOR, volume.status.mapped_sectors
    holes = None if mapped is None or pool in shared else max(0, size - mapped * SECTOR)
    return Link(block_ref(*volume.number), (below,), size, holes)

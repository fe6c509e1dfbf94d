# SPDX-License-Identifier: Apache-2.0
"""Ticks made by hand, one for each machine that the command line has to show well.

Verdicts come from the real topology, so that a tick cannot show what no machine could be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from overlaywatch.livesystem import recognise
from overlaywatch.model import (
    RAM,
    RAM_LAYER,
    SWAPPABLE_RAM,
    Carrier,
    Failure,
    Forecast,
    Host,
    Layer,
    LayerId,
    LayerKind,
    LayerState,
    Link,
    Mount,
    Reading,
    Ref,
    SourceReport,
    StageStatus,
    Survey,
    Tick,
    block_ref,
    super_block_ref,
)
from overlaywatch.topology import Topology, judge
from overlaywatch.units import GIB, KIB, MIB

NOW: Final = 5000.0
UNIX: Final = 1_767_268_804.0
HOST: Final = Host("live-7", "6.12.57-amd64", "3f1c", privileged=True)

COW: Final = block_ref(7, 2)
LIVE_RW: Final = block_ref(253, 1)
ROOT_SB: Final = super_block_ref(253, 1)
RUN_SB: Final = super_block_ref(0, 23)
INITRAMFS_SB: Final = super_block_ref(0, 2)

LIVE_RW_LAYER: Final = Layer(
    LayerId("dm-snapshot:live-rw"),
    LayerKind.DM_SNAPSHOT,
    provides=(LIVE_RW,),
    rests_on=(COW,),
    failure=Failure.READ_ONLY,
    reclaimable=False,
    device="253:1",
    details={"origin": "7:1", "cow_device": "7:2", "persistent": "PO", "chunk_size_sectors": 8, "features": ()},
)
EXT4_LAYER: Final = Layer(
    LayerId("filesystem:/"),
    LayerKind.FILESYSTEM,
    provides=(ROOT_SB,),
    rests_on=(LIVE_RW,),
    failure=Failure.ENOSPC,
    reclaimable=True,
    device="253:1",
    mount_points=("/",),
    details={"fstype": "ext4"},
)
RAMFS_LAYER: Final = Layer(
    LayerId("ramfs:rootfs"),
    LayerKind.RAMFS,
    provides=(INITRAMFS_SB,),
    rests_on=(RAM,),
    failure=Failure.OOM,
    reclaimable=False,
    device="0:2",
)
RUN_LAYER: Final = Layer(
    LayerId("tmpfs:/run"),
    LayerKind.TMPFS,
    provides=(RUN_SB,),
    rests_on=(SWAPPABLE_RAM,),
    failure=Failure.ENOSPC,
    reclaimable=True,
    device="0:23",
    mount_points=("/run",),
)
THE_RAM: Final = Layer(
    RAM_LAYER,
    LayerKind.RAM,
    provides=(RAM, SWAPPABLE_RAM),
    rests_on=(),
    failure=Failure.OOM,
    reclaimable=True,
)

ROOT_MOUNT: Final = Mount("/", "ext4", "/dev/mapper/live-rw", ROOT_SB, carrier=Carrier("snapshot", "live-rw"))
RUN_MOUNT: Final = Mount("/run", "tmpfs", "tmpfs", RUN_SB)


def snapshot_reading(allocated: int, total: int, metadata: int = 16) -> Reading:
    """What the status line `allocated/total metadata` (sectors) of a PO snapshot with 4 KiB chunks says."""
    return Reading(
        LIVE_RW_LAYER.id,
        LayerState.OK,
        size_bytes=total * 512,
        used_bytes=allocated * 512,
        headroom_bytes=(total - allocated) * 512 * 256 // 257,
        metadata_bytes=metadata * 512,
        details={"sectors_allocated": allocated, "total_sectors": total, "metadata_sectors": metadata},
    )


def plain_reading(layer: Layer, used: int, size: int) -> Reading:
    """A layer that is well, `used` of `size` bytes."""
    return Reading(layer.id, LayerState.OK, size_bytes=size, used_bytes=used, headroom_bytes=size - used)


EXT4_READING: Final = replace(plain_reading(EXT4_LAYER, 1100 * MIB, 2 * GIB), inodes=131072, inodes_free=90000)
RUN_READING: Final = replace(plain_reading(RUN_LAYER, 38 * MIB, 390 * MIB), inodes=819200, inodes_free=818000)
RAM_READING: Final = plain_reading(THE_RAM, 1600 * MIB, 3800 * MIB)
RAMFS_READING: Final = Reading(RAMFS_LAYER.id, LayerState.OK, cannot_overflow=True, details={"size": "unlimited"})

LIVE_LAYERS: Final = (EXT4_LAYER, LIVE_RW_LAYER, RAMFS_LAYER, RUN_LAYER, THE_RAM)
LIVE_MOUNTS: Final = (ROOT_MOUNT, RUN_MOUNT)


def loop(size: int, holes: int | None, below: Ref = INITRAMFS_SB) -> Link:
    """The loop device that carries the COW, its backing file on `below`."""
    return Link(COW, (below,), size_bytes=size, holes_bytes=holes)


def tick_of(
    layers: Sequence[Layer],
    readings: Sequence[Reading],
    links: Sequence[Link],
    mounts: Sequence[Mount],
    *,
    host: Host = HOST,
    sources: Sequence[SourceReport] = (),
    forecasts: Mapping[str, Forecast] | None = None,
    stages: Sequence[StageStatus] = (),
) -> Tick:
    """One look at this machine, all its mounts watched."""
    by_layer = {reading.layer: reading for reading in readings}
    topology = Topology(layers, links)
    system = recognise(mounts)
    verdicts = tuple(judge(mount, topology.chain(mount.rests_on), by_layer, system) for mount in mounts)
    return Tick(
        now=NOW,
        unix_time=UNIX,
        host=host,
        survey=Survey(tuple(layers), by_layer, tuple(links), tuple(mounts), tuple(sources)),
        verdicts=verdicts,
        forecasts=forecasts or {},
        stages=tuple(stages),
    )


def live_tick(
    snapshot: Reading,
    cow_bytes: int,
    *,
    ram: Reading = RAM_READING,
    ext4: Reading = EXT4_READING,
    forecasts: Mapping[str, Forecast] | None = None,
    stages: Sequence[StageStatus] = (),
) -> Tick:
    """The classic: ext4 on a snapshot whose COW is a sparse file in the initramfs' RAM, and /run."""
    holes = cow_bytes - (snapshot.used_bytes or 0)
    readings = (ext4, snapshot, RAMFS_READING, RUN_READING, ram)
    links = (loop(cow_bytes, holes),)
    return tick_of(LIVE_LAYERS, readings, links, LIVE_MOUNTS, forecasts=forecasts, stages=stages)


def fresh() -> Tick:
    """A COW of 64 MiB just after boot."""
    return live_tick(snapshot_reading(816, 131072), 64 * MIB)


def filling() -> Tick:
    """The same, two thirds full and full in eight minutes."""
    stage = StageStatus("root", "warn", "/", True, NOW - 130, "used 84.6% is above 80%", ("page",))
    return live_tick(
        snapshot_reading(110_888, 131_072, 448),
        64 * MIB,
        forecasts={"/": Forecast(20.3 * KIB, 500.0), "/run": Forecast()},
        stages=(stage,),
    )


def overflowed() -> Tick:
    """The same after Overflow: the kernel prints a word, the last numbers are 42 s old."""
    last = snapshot_reading(131_072, 131_072, 512)
    reading = replace(
        last,
        state=LayerState.OVERFLOW,
        headroom_bytes=0,
        numbers_at=NOW - 42,
        reason="the kernel says 'Overflow'",
        details={**last.details, "status": "Overflow"},
    )
    return live_tick(reading, 64 * MIB)


def invalid() -> Tick:
    """Invalid since before anybody looked: no numbers at all, and ext4 has begun to count errors."""
    reading = Reading(
        LIVE_RW_LAYER.id, LayerState.INVALID, reason="the kernel says 'Invalid'", details={"status": "Invalid"}
    )
    ext4 = replace(EXT4_READING, state=LayerState.ERRORS, reason="errors_count is 4")
    return live_tick(reading, 64 * MIB, ext4=ext4)


def sparse() -> Tick:
    """A COW of 32 GiB, nearly empty, in a machine that has 300 MB of RAM."""
    ram = plain_reading(THE_RAM, 214 * MIB, 286 * MIB)
    ext4 = plain_reading(EXT4_LAYER, 1100 * MIB, 8 * GIB)
    return live_tick(snapshot_reading(309 * 2048, 32 * GIB // 512, 2480), 32 * GIB, ram=ram, ext4=ext4)


OVERLAY_LAYER: Final = Layer(
    LayerId("overlay:/"),
    LayerKind.OVERLAY,
    provides=(super_block_ref(0, 30),),
    rests_on=(RUN_SB,),
    failure=Failure.ENOSPC,
    reclaimable=True,
    device="0:30",
    mount_points=("/",),
    details={"upperdir": "/run/overlayfs", "upper_hidden": False},
)


def overlay_on_tmpfs() -> Tick:
    """dracut's overlayfs mode: the upper lies on /run, and both share its room."""
    mounts = (Mount("/", "overlay", "LiveOS_rootfs", super_block_ref(0, 30), upperdir="/run/overlayfs"), RUN_MOUNT)
    readings = (replace(RUN_READING, layer=OVERLAY_LAYER.id), RUN_READING, RAM_READING)
    return tick_of((OVERLAY_LAYER, RUN_LAYER, THE_RAM), readings, (), mounts)


DISK_SB: Final = super_block_ref(254, 0)
DISK_LAYER: Final = Layer(
    LayerId("filesystem:/"),
    LayerKind.FILESYSTEM,
    provides=(DISK_SB,),
    rests_on=(block_ref(254, 0),),
    failure=Failure.ENOSPC,
    reclaimable=True,
    device="254:0",
    mount_points=("/",),
    details={"fstype": "ext4"},
)


def unprivileged() -> Tick:
    """The classic as a user sees it: device-mapper is closed, so what / stands on is unknown."""
    host = replace(
        HOST,
        privileged=False,
        notes=("snapshots and thin pools: /dev/mapper/control is open to root only; run it with sudo to see them",),
    )
    hidden = Layer(
        LayerId("dm-snapshot:live-rw"), LayerKind.DM_SNAPSHOT, (LIVE_RW,), (), Failure.DEAD_ROOT, reclaimable=False
    )
    unread = Reading(hidden.id, LayerState.UNREADABLE, reason="device-mapper is open to root only")
    readings = (EXT4_READING, unread, RUN_READING, RAM_READING)
    source = SourceReport("dm-snapshot", False, 0.0001, "/dev/mapper/control: Permission denied; run as root")
    layers = (EXT4_LAYER, hidden, RUN_LAYER, THE_RAM)
    return tick_of(layers, readings, (), LIVE_MOUNTS, host=host, sources=(source,))


def nothing_watched() -> Tick:
    """A machine whose every file system is read-only."""
    return tick_of((THE_RAM,), (RAM_READING,), (), ())


def many() -> Tick:
    """A server with a root on disk, five tmpfs, and one mount point that is longer than the screen."""
    names = ("/run", "/tmp", "/dev/shm", "/var/lib/containers/storage/volumes/registry-cache/_data", "/srv/cow")
    tmpfs = [_tmpfs(name, 40 + index) for index, name in enumerate(names)]
    mounts = [Mount("/", "ext4", "/dev/vda1", DISK_SB)]
    mounts += [Mount(layer.mount_points[0], "tmpfs", "tmpfs", layer.provides[0]) for layer in tmpfs]
    readings = [plain_reading(DISK_LAYER, 11 * GIB, 40 * GIB), plain_reading(THE_RAM, 5 * GIB, 16 * GIB)]
    readings += [plain_reading(layer, (7 * index + 1) * 50 * MIB, 2 * GIB) for index, layer in enumerate(tmpfs)]
    return tick_of((DISK_LAYER, *tmpfs, THE_RAM), readings, (), mounts)


def _tmpfs(mount_point: str, minor: int) -> Layer:
    return replace(
        RUN_LAYER,
        id=LayerId(f"tmpfs:{mount_point}"),
        provides=(super_block_ref(0, minor),),
        device=f"0:{minor}",
        mount_points=(mount_point,),
    )

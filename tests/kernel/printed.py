# SPDX-License-Identifier: Apache-2.0
"""What kernels print, by second hands: records to the text or the bytes that the parsers read back.

This file must not use any parser. Each function names the one of the kernel that it follows.
"""

import struct
from collections.abc import Mapping, Sequence

from overlaywatch.kernel import dm_wire
from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_target import LinearTable, SnapshotTable, ThinPoolTable, ThinTable
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.meminfo import MemInfo, Swap
from overlaywatch.kernel.mountinfo import MountInfo

SWAPS_HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
_MEMINFO = {
    "total": "MemTotal",
    "free": "MemFree",
    "available": "MemAvailable",
    "swap_total": "SwapTotal",
    "swap_free": "SwapFree",
    "dirty": "Dirty",
    "writeback": "Writeback",
    "shmem": "Shmem",
    "unevictable": "Unevictable",
    "mlocked": "Mlocked",
    "active_file": "Active(file)",
    "inactive_file": "Inactive(file)",
    "slab_reclaimable": "SReclaimable",
}


def escaped(text: str, special: str = " \t\n\\#") -> str:
    """As seq_escape() spells it."""
    return "".join(f"\\{ord(character):03o}" if character in special else character for character in text)


def options_of(options: Sequence[str]) -> str:
    """As seq_show_option() spells them: a comma or an equals sign within a name or a value is escaped."""
    return ",".join(escaped(option, ",= \t\n\\") for option in options)


def line_of(mount: MountInfo, tags: Sequence[str] = ()) -> str:
    """As show_mountinfo() of fs/proc_namespace.c prints it."""
    fields = [str(mount.mount_id), str(mount.parent_id), f"{mount.major}:{mount.minor}"]
    fields += [escaped(mount.root), escaped(mount.mount_point), ",".join(mount.options), *tags, "-"]
    fields += [escaped(mount.fstype), escaped(mount.source), options_of(mount.super_options)]
    return " ".join(fields) + "\n"


def meminfo_of(memory: MemInfo) -> str:
    """As meminfo_proc_show() prints it; fields that this kernel does not know are left out."""
    known = {name: getattr(memory, field) for field, name in _MEMINFO.items()}
    return "".join(f"{f'{name}:':16}{size // 1024:8} kB\n" for name, size in known.items() if size is not None)


def swap_line(swap: Swap) -> str:
    """As swap_show() of mm/swapfile.c prints it."""
    name = escaped(swap.name, " \t\n\\")
    gap = " " * max(1, 40 - len(name))
    tabs = "\t\t" if swap.type == "file" else "\t"
    return f"{name}{gap}{swap.type}{tabs}{swap.size // 1024}\t\t{swap.used // 1024}\t\t{swap.priority}\n"


def loop_attributes(loop: LoopDevice) -> dict[str, bytes]:
    """The files of /sys/block/loopN, as drivers/block/loop.c and block/genhd.c print them."""
    path = loop.backing_file + " (deleted)" * loop.deleted
    texts = {
        "size": str((loop.size_bytes or 0) // 512),
        "ro": str(int(loop.read_only)),
        "dev": f"{loop.major}:{loop.minor}",
        "loop/backing_file": path,
        "loop/offset": str(loop.offset),
        "loop/sizelimit": str(loop.sizelimit),
        "loop/autoclear": str(int(loop.autoclear)),
    }
    return {name: text.encode("utf-8", "surrogateescape") + b"\n" for name, text in texts.items()}


# --- device-mapper --------------------------------------------------------------------------------


def number_of(device: tuple[int, int]) -> str:
    """As format_dev_t() prints it."""
    return f"{device[0]}:{device[1]}"


def with_features(line: str, features: Sequence[str]) -> str:
    """As features are appended: nothing if there are none."""
    return " ".join([line, str(len(features)), *features]) if features else line


def snapshot_table(table: SnapshotTable) -> str:
    """As snapshot_status() of dm-snap.c prints it."""
    words = [number_of(table.origin), number_of(table.cow), table.persistent, str(table.chunk_size_sectors)]
    return with_features(" ".join(words), table.features)


def linear_table(table: LinearTable) -> str:
    """As linear_status() of dm-linear.c prints it."""
    return f"{number_of(table.device)} {table.start}"


def thin_pool_table(table: ThinPoolTable) -> str:
    """As pool_status() of dm-thin.c prints it: features are counted even if there are none."""
    words = [number_of(table.metadata), number_of(table.data), str(table.block_size_sectors)]
    return " ".join([*words, str(table.low_water_blocks), str(len(table.features)), *table.features])


def thin_table(table: ThinTable) -> str:
    """As thin_status() of dm-thin.c prints it."""
    origin = f" {number_of(table.external_origin)}" if table.external_origin else ""
    return f"{number_of(table.pool)} {table.device_id}{origin}"


def info_line(device: DmDevice) -> str:
    """As `dmsetup info -c --noheadings --separator // -o …` prints it."""
    attributes = "L-" + ("s" if device.suspended else "-") + ("r" if device.read_only else "w")
    fields = [device.name, device.major, device.minor, device.uuid, attributes, device.open_count, device.event_nr]
    return "//".join(map(str, fields)) + "\n"


def dmsetup_lines(devices: Mapping[str, Sequence[DmTarget]]) -> str:
    """As `dmsetup table` prints it: a line for each target, and one with nothing for a device without a table."""
    return "".join(
        f"{name}: {line}\n"
        for name, targets in devices.items()
        for line in ([f"{one.start} {one.length} {one.type} {one.params}" for one in targets] or [""])
    )


def answer(data: bytes = b"", target_count: int = 0, flags: int = 0, number: int = 0, name: bytes = b"") -> bytes:
    """An answer of dm-ioctl.c in a buffer that is larger than what it holds."""
    size = dm_wire.HEADER.size
    first, last = (4, 47, 0, size + len(data), size, target_count, 2), (number, name, b"UU", b"")
    return dm_wire.HEADER.pack(*first, flags, 7, 0, *last) + data + bytes(64)


def packed_targets(targets: Sequence[DmTarget]) -> bytes:
    """As retrieve_status() lays them out: each on 8 bytes, with the offset of the next."""
    data = b""
    for target in targets:
        params = target.params.encode("utf-8", "surrogateescape") + b"\0"
        params += bytes(-len(params) % 8)
        following, kind = len(data) + 40 + len(params), target.type.encode("utf-8", "surrogateescape")
        data += struct.pack("=QQiI16s", target.start, target.length, 0, following, kind) + params
    return data


def packed_list(devices: Sequence[tuple[int, bytes]]) -> bytes:
    """As list_devices() lays them out: name, then event number and flags on 8 bytes."""
    data = b""
    for index, (number, name) in enumerate(devices):
        body = name + b"\0"
        body += bytes(-(12 + len(body)) % 8) + struct.pack("=II", 0, 0)
        step = 12 + len(body) if index + 1 < len(devices) else 0
        data += struct.pack("=QI", number, step) + body
    return data

# SPDX-License-Identifier: Apache-2.0
"""Block devices that are RAM: zram (drivers/block/zram/zram_drv.c) and brd (drivers/block/brd.c).

This file must not know what is on them.
"""

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.kernel.blockdev import ReadFile, parse_count
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.root import KernelRoot

PAGE_SIZE: Final = resource.getpagesize()

ZRAM, BRD = "zram", "ram"
"""How the kernel's names of such devices begin; a number follows."""

_LEAST_FIELDS: Final = 4


@dataclass(frozen=True, slots=True)
class ZramStatus:
    """A zram device, in bytes: `used` is the memory that it has taken for `original` bytes of data, compressed.

    `limit` is mem_limit; None if there is none. `size` is disksize, the size of the device.
    """

    size: int
    original: int
    compressed: int
    used: int
    limit: int | None


def is_ram_disk(name: str, kind: str) -> bool:
    """Whether the device called `name` is a zram or a brd (`kind`)."""
    return name.startswith(kind) and name[len(kind) :].isdigit()


def parse_mm_stat(text: str, disksize: int) -> ZramStatus:
    """The line of mm_stat: original, compressed, used, limit, and more on newer kernels."""
    fields = text.split()
    if len(fields) < _LEAST_FIELDS:
        raise KernelTextError("mm_stat", "at least 4 numbers", text)
    original, compressed, used, limit = (
        parse_count("mm_stat", field.encode("utf-8", "replace")) for field in fields[:_LEAST_FIELDS]
    )
    return ZramStatus(disksize, original, compressed, used, limit or None)


def read_zram(root: KernelRoot, name: str, read: ReadFile = Path.read_bytes) -> ZramStatus:
    """One zram device. Raises OSError, on kernels before 4.1 for example, which have no mm_stat."""
    folder = root.sys / "block" / name
    disksize = parse_count("disksize", read(folder / "disksize"))
    return parse_mm_stat(read(folder / "mm_stat").decode("utf-8", "replace"), disksize)


def read_brd_bytes(root: KernelRoot, name: str, read: ReadFile = Path.read_bytes) -> int | None:
    """The memory that a brd has taken; None without debugfs, or the privilege to read it, or before 5.16.

    Pages are taken when they are first written to, and given back when the module is removed.
    """
    try:
        content = read(root.sys / "kernel" / "debug" / "ramdisk_pages" / name)
    except OSError:
        return None
    return parse_count("ramdisk_pages", content) * PAGE_SIZE

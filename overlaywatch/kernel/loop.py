# SPDX-License-Identifier: Apache-2.0
"""Loop devices: /sys/block/loopN/loop and LOOP_GET_STATUS64, as drivers/block/loop.c and loop(4) describe them.

This file must not know what is on them. The backing file's path is only a word: it is as it was seen when the loop was
set up, ends in ` (deleted)` once the file is unlinked, and is cut to the file system's own root after a lazy unmount.
The key that survives all of that is (backing_device, backing_inode), which only the ioctl gives.
"""

import fcntl
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.blockdev import parse_count
from overlaywatch.kernel.calls import Call
from overlaywatch.kernel.dm_target import SECTOR
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.root import KernelRoot

_DELETED: Final = " (deleted)"
_LOOP_GET_STATUS64: Final = 0x4C05
# struct loop_info64 of include/uapi/linux/loop.h: lo_device, lo_inode and lo_rdevice come first, the rest is in sysfs,
# uncut.
_STATUS64_SIZE: Final = 232
_ATTRIBUTES: Final = ("size", "ro", "dev", "loop/offset", "loop/sizelimit", "loop/autoclear")


@dataclass(frozen=True, slots=True)
class LoopDevice:
    """One loop device that has a file behind it. `offset` and `sizelimit` in bytes (sizelimit 0: to the file's end).

    `backing_device` is the st_dev of the backing file and `backing_inode` its st_ino; None without privilege. A loop
    may also be over a block device, to skip what lies before an `offset` in it: `backing_block` is its number.
    `backing_file` is without the ` (deleted)`, which `deleted` stands for.
    """

    major: int
    minor: int
    name: str
    backing_file: str
    deleted: bool
    offset: int
    sizelimit: int
    size_bytes: int | None
    read_only: bool
    autoclear: bool
    backing_device: tuple[int, int] | None
    backing_inode: int | None
    backing_block: tuple[int, int] | None = None

    @property
    def device(self) -> tuple[int, int]:
        """(major, minor)"""
        return self.major, self.minor


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """What LOOP_GET_STATUS64 tells of the backing file: its st_dev and st_ino, and st_rdev if it is a block device."""

    device: tuple[int, int]
    inode: int
    block: tuple[int, int] = (0, 0)


def parse_loop_status64(answer: bytes) -> LoopStatus:
    """The answer to LOOP_GET_STATUS64."""
    if len(answer) != _STATUS64_SIZE:
        raise KernelTextError("LOOP_GET_STATUS64", f"{_STATUS64_SIZE} bytes", answer.hex())
    device, inode, block = struct.unpack_from("=QQQ", answer)
    return LoopStatus((os.major(device), os.minor(device)), inode, (os.major(block), os.minor(block)))


def parse_loop(name: str, attributes: Mapping[str, bytes], status: LoopStatus | None = None) -> LoopDevice:
    """A loop device of its sysfs attributes by relative path (`size`, `loop/backing_file`, …) and its status.

    Raises KernelTextError for text that is not a number where one belongs.
    """
    raw = attributes["loop/backing_file"].removesuffix(b"\n").decode("utf-8", "surrogateescape")
    major, _, minor = attributes["dev"].decode("utf-8", "replace").strip().partition(":")
    number = {key: parse_count(f"{name}/{key}", attributes[key]) for key in _ATTRIBUTES if key != "dev"}
    return LoopDevice(
        major=parse_count(f"{name}/dev", major.encode()),
        minor=parse_count(f"{name}/dev", minor.encode()),
        name=name,
        backing_file=raw.removesuffix(_DELETED),
        deleted=raw.endswith(_DELETED),
        offset=number["loop/offset"],
        sizelimit=number["loop/sizelimit"],
        size_bytes=number["size"] * SECTOR,
        read_only=bool(number["ro"]),
        autoclear=bool(number["loop/autoclear"]),
        backing_device=status.device if status else None,
        backing_inode=status.inode if status else None,
        backing_block=status.block if status and status.block != (0, 0) else None,
    )


def read_loops(machine: Machine) -> dict[tuple[int, int], LoopDevice]:
    """All loop devices with a file behind them, by number. Raises OSError if sysfs cannot be listed."""
    loops = {}
    for entry in machine.names(machine.root.sys / "block"):
        if entry.startswith("loop") and (loop := _read_loop(machine, entry)) is not None:
            loops[loop.device] = loop
    return loops


def _read_loop(machine: Machine, name: str) -> LoopDevice | None:
    """One loop device; None if it has no file: its folder `loop` is there only while it has one."""
    folder = machine.root.sys / "block" / name
    try:
        attributes = {"loop/backing_file": machine.read(folder / "loop" / "backing_file")}
        attributes.update((key, machine.read(folder / key)) for key in _ATTRIBUTES)
    except OSError:
        return None
    return parse_loop(name, attributes, _read_status(machine, name))


def _read_status(machine: Machine, name: str) -> LoopStatus | None:
    try:
        return machine.ask(LOOP_STATUS, name)
    except OSError:
        return None


def _ask_status(name: str) -> LoopStatus:
    # O_RDONLY and the loop being in use: neither udev nor the page cache is disturbed by the close.
    fd = os.open(KernelRoot().dev / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return parse_loop_status64(fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_STATUS64_SIZE)))
    finally:
        os.close(fd)


LOOP_STATUS: Final = Call("loop", LoopStatus, _ask_status)

# SPDX-License-Identifier: Apache-2.0
"""Facts of one block device by number: its name, size, dirty data, and the errors its file system counted.

This file must not know what kind of device it is. Sources: Documentation/ABI/stable/sysfs-block, mm/backing-dev.c,
Documentation/ABI/testing/sysfs-fs-ext4.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.dm_target import SECTOR
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import KIB

ReadFile = Callable[[Path], bytes]
"""Gives the content of a file: Path.read_bytes, or a reader that keeps it open. Raises OSError."""

_BDI_LINE: Final = re.compile(rf"^(BdiWriteback|BdiReclaimable): +({NUMBER}) kB$".encode(), re.MULTILINE)
_COUNT: Final = re.compile(NUMBER)


def parse_bdi_stats(content: bytes) -> int:
    """Bytes that wait to be written to a device: dirty (`BdiReclaimable`) and on their way (`BdiWriteback`)."""
    values = dict(_BDI_LINE.findall(content))
    if len(values) != 2:
        text = content.decode("utf-8", "replace")
        raise KernelTextError("bdi/stats", "lines BdiWriteback and BdiReclaimable in kB", text)
    return sum(int(figure) for figure in values.values()) * KIB


def parse_count(place: str, content: bytes) -> int:
    """The one number of a sysfs attribute, never negative."""
    text = content.decode("utf-8", "replace").strip()
    if _COUNT.fullmatch(text) is None:
        raise KernelTextError(place, "a number", text)
    return int(text)


def read_device_name(machine: Machine, major: int, minor: int) -> str | None:
    """The kernel's name of a device (`dm-0`, `vda1`), as folders of sysfs are called; None if it is not there."""
    try:
        return os.path.basename(machine.link(machine.root.in_sys("dev", "block", f"{major}:{minor}")))
    except OSError:
        return None


def read_size_bytes(root: KernelRoot, major: int, minor: int, read: ReadFile = Path.read_bytes) -> int | None:
    """The size of a device; None if there is no such device."""
    content = _read(root.in_sys("dev", "block", f"{major}:{minor}", "size"), read)
    return None if content is None else parse_count("size", content) * SECTOR


def read_pending_bytes(root: KernelRoot, major: int, minor: int, read: ReadFile = Path.read_bytes) -> int | None:
    """Bytes written to a device's file system that are still only in memory; None without debugfs or privilege.

    Exact per device: 153600 kB were shown for 150 MiB of dirty data. /sys/class/bdi has no such counter.
    """
    content = _read(root.in_sys("kernel", "debug", "bdi", f"{major}:{minor}", "stats"), read)
    return None if content is None else parse_bdi_stats(content)


def read_errors_count(root: KernelRoot, name: str, read: ReadFile = Path.read_bytes) -> int | None:
    """How many errors ext4 has counted on the device called `name`; None if there is no ext4 on it.

    It rises at once when an I/O error is met, while the mount table may go on saying `rw`. It survives reboots.
    """
    content = _read(root.in_sys("fs", "ext4", name, "errors_count"), read)
    return None if content is None else parse_count("errors_count", content)


def _read(path: Path, read: ReadFile) -> bytes | None:
    try:
        return read(path)
    except OSError:
        return None

# SPDX-License-Identifier: Apache-2.0
"""btrfs: which block devices it lies on, what it has promised but not yet counted, and the errors of its devices.

This file must not know what lies below the devices. The device number of a btrfs in the mount table is an anonymous
one; BTRFS_IOC_FS_INFO on a mount gives the UUID under which it is found in /sys/fs/btrfs (fs/btrfs/ioctl.c, sysfs.c).
"""

import fcntl
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.kernel.blockdev import ReadFile, parse_count
from overlaywatch.kernel.calls import Call
from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.root import KernelRoot

Number = tuple[int, int]
Filesystems = Mapping[str, tuple[Number, ...]]
"""The block devices of each mounted btrfs by its UUID."""

_FS_INFO: Final = 0x8400941F
# struct btrfs_ioctl_fs_info_args of include/uapi/linux/btrfs.h; max_id and num_devices come before the UUID.
_FS_INFO_SIZE: Final = 1024
_UUID_AT: Final = 16

MIXED: Final = "mixed"
"""Data and metadata in the same chunks, as small file systems are made."""

_ERROR_LINE: Final = re.compile(rf"[a-z_]+_errs ({NUMBER})")


def parse_fs_info(answer: bytes) -> str:
    """The UUID in an answer to BTRFS_IOC_FS_INFO, spelled as the folder in /sys/fs/btrfs is."""
    if len(answer) != _FS_INFO_SIZE:
        raise KernelTextError("BTRFS_IOC_FS_INFO", f"{_FS_INFO_SIZE} bytes", answer.hex())
    return str(uuid.UUID(bytes=answer[_UUID_AT : _UUID_AT + 16]))


def parse_error_stats(text: str) -> int:
    """All errors of one device together: the five lines of devinfo/ID/error_stats (Linux 5.14 and later)."""
    lines = text.splitlines()
    counts = [match for match in map(_ERROR_LINE.fullmatch, lines) if match]
    if not counts or len(counts) != len(lines):
        raise KernelTextError("error_stats", "lines 'KIND_errs NUMBER'", text)
    return sum(int(match[1]) for match in counts)


def choose_uuid(filesystems: Filesystems, told: str | None, source: Number | None) -> str | None:
    """Which btrfs a mount is: the one the kernel told of, else the one its source is part of, else the only one."""
    if told is not None:
        return told if told in filesystems else None
    holding = [one for one, devices in filesystems.items() if source in devices]
    candidates = holding or list(filesystems)
    return candidates[0] if len(candidates) == 1 else None


@dataclass(frozen=True, slots=True)
class FsInfo:
    """What BTRFS_IOC_FS_INFO tells."""

    uuid: str


def _ask_fs_info(path: str) -> FsInfo:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return FsInfo(parse_fs_info(fcntl.ioctl(fd, _FS_INFO, bytes(_FS_INFO_SIZE))))
    finally:
        os.close(fd)


FS_INFO: Final = Call("btrfs", FsInfo, _ask_fs_info, takes_path=True)


def read_uuid(machine: Machine, path: str) -> str | None:
    """The UUID of the btrfs at a path; None if it may not be asked, or is none."""
    try:
        return machine.ask(FS_INFO, path).uuid
    except OSError:
        return None


def read_filesystems(machine: Machine) -> dict[str, tuple[Number, ...]]:
    """Every mounted btrfs with its devices; one that is missing is not among them."""
    folder = machine.root.sys / "fs" / "btrfs"
    found = {name: tuple(_devices(machine, folder / name / "devices")) for name in _list(machine, folder)}
    return {name: devices for name, devices in found.items() if devices}


def read_copies(machine: Machine, name: str, kind: str) -> int:
    """How often `data` or `metadata` is written to one device: twice with the profile `dup`, else once."""
    folder = machine.root.sys / "fs" / "btrfs" / name / "allocation"
    return 2 if any(_is_there(machine, folder / one / "dup" / "total_bytes") for one in (kind, MIXED)) else 1


def read_promised_bytes(root: KernelRoot, name: str, read: ReadFile = Path.read_bytes) -> int | None:
    """Data that was accepted but that statvfs does not count yet; None on kernels without these figures.

    statfs counts what is in the trees of the last commit, up to 30 seconds ago. Until then a byte is first in
    bytes_may_use, then in bytes_reserved (struct btrfs_space_info).
    """
    for kind in ("data", MIXED):
        folder = root.sys / "fs" / "btrfs" / name / "allocation" / kind
        try:
            return sum(parse_count(key, read(folder / key)) for key in ("bytes_may_use", "bytes_reserved"))
        except OSError:
            continue
    return None


def read_errors_count(machine: Machine, name: str, read: ReadFile = Path.read_bytes) -> int | None:
    """Errors that its devices have had, over reboots; None on kernels that do not tell."""
    folder = machine.root.sys / "fs" / "btrfs" / name / "devinfo"
    counts = [_error_stats(folder / device / "error_stats", read) for device in _list(machine, folder)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _error_stats(path: Path, read: ReadFile) -> int | None:
    try:
        return parse_error_stats(read(path).decode("utf-8", "replace"))
    except OSError:
        return None


def _devices(machine: Machine, folder: Path) -> list[Number]:
    return [number for name in _list(machine, folder) if (number := read_number(machine, folder / name)) is not None]


def read_number(machine: Machine, folder: Path) -> Number | None:
    """The number of the block device that a folder of sysfs is of."""
    try:
        major, _, minor = machine.read(folder / "dev").decode("ascii", "replace").strip().partition(":")
    except OSError:
        return None
    return parse_count("dev", major.encode()), parse_count("dev", minor.encode())


def _is_there(machine: Machine, path: Path) -> bool:
    try:
        machine.read(path)
    except OSError:
        return False
    return True


def _list(machine: Machine, folder: Path) -> list[str]:
    try:
        return sorted(machine.names(folder))
    except OSError:
        return []

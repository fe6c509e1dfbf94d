# SPDX-License-Identifier: Apache-2.0
"""Where a mounted file system is free: ioctl FS_IOC_GETFSMAP of ext4 and xfs (Linux 4.12), include/uapi/linux/fsmap.h.

This file must not know what the file system lies on. The kernel answers from its own bitmaps and trees in memory, so
what it says is of this moment, and what is still to be committed counts as used. Nothing on the disk is interpreted.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.errors import KernelTextError

GETFSMAP: Final = 0xC0C0583B
"""_IOWR('X', 59, struct fsmap_head)"""
FREE: Final = 1
"""FMR_OWN_FREE = FMR_OWNER(0, 1): the same number for every file system."""

OF_SPECIAL_OWNER: Final = 0x10
OF_LAST: Final = 0x20
RECORDS: Final = 1024
"""In one call: 64 KiB."""

_HEAD: Final = struct.Struct("=IIII48x")  # struct fsmap_head: iflags, oflags, count, entries, reserved
_RECORD: Final = struct.Struct("=IIQQQQ24x")  # struct fsmap: device, flags, physical, owner, offset, length, reserved
_LOW: Final = bytes(_RECORD.size)
_HIGH: Final = _RECORD.pack(0xFFFFFFFF, 0xFFFFFFFF, *([0xFFFFFFFFFFFFFFFF] * 3), 0)
_KEYS: Final = _HEAD.size
_RECORDS_AT: Final = _HEAD.size + 2 * _RECORD.size

Ask = Callable[[bytearray], None]
"""Has the kernel answer a request in place. Raises OSError."""

_NOT_SUPPORTED: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of a device, in bytes. `device` as st_rdev tells it."""

    device: int
    start: int
    length: int
    is_free: bool
    is_last: bool


def encode_request(low: bytes, records: int = RECORDS) -> bytearray:
    """A request for what comes after the record `low` (zeros: from the beginning)."""
    request = bytearray(_RECORDS_AT + records * _RECORD.size)
    _HEAD.pack_into(request, 0, 0, 0, records, 0)
    request[_KEYS:_RECORDS_AT] = low + _HIGH
    return request


def parse_answer(answer: bytes | bytearray) -> tuple[list[Extent], bytes]:
    """The extents of one answer, and the last record, after which the next request begins. Raises KernelTextError."""
    if len(answer) < _RECORDS_AT:
        raise KernelTextError("GETFSMAP", f"at least {_RECORDS_AT} bytes", str(len(answer)))
    _, _, _, entries = _HEAD.unpack_from(answer)
    end = _RECORDS_AT + entries * _RECORD.size
    if end > len(answer):
        raise KernelTextError("GETFSMAP", "no more records than there is room for", str(entries))
    found = [_extent(*fields) for fields in _RECORD.iter_unpack(answer[_RECORDS_AT:end])]
    return found, bytes(answer[end - _RECORD.size : end]) if entries else b""


def _extent(device: int, flags: int, physical: int, owner: int, _offset: int, length: int) -> Extent:
    is_free = bool(flags & OF_SPECIAL_OWNER) and owner == FREE
    # new_encode_dev() of include/linux/kdev_t.h, which makedev(3) of libc follows for these widths.
    return Extent(device, physical, length, is_free, bool(flags & OF_LAST))


def extents(ask: Ask) -> Iterator[Extent]:
    """All extents, request by request. Raises OSError, KernelTextError (an answer that does not get on)."""
    low = _LOW
    at = (-1, -1)
    while True:
        request = encode_request(low)
        ask(request)
        found, low = parse_answer(request)
        yield from found
        if not found or found[-1].is_last:
            return
        if (found[-1].device, found[-1].start) <= at:
            raise KernelTextError("GETFSMAP", "records in ascending order", f"{found[-1]}")
        at = (found[-1].device, found[-1].start)


def read_free(path: str, device: int) -> Iterator[tuple[int, int]]:
    """Free pieces (start, length) in bytes of the block device `device` (st_rdev), by any path on its file system.

    One request after the other, so memory stays small. Raises OSError (`cannot_tell` of it: this file system, or this
    kernel, does not tell), KernelTextError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for one in extents(lambda request: _ask(fd, request)):
            if one.is_free and one.device == device:
                yield one.start, one.length
    finally:
        os.close(fd)


def cannot_tell(error: OSError) -> bool:
    """Whether an error says that where a file system is free cannot be asked (btrfs; a kernel before 4.12)."""
    return error.errno in _NOT_SUPPORTED


def _ask(fd: int, request: bytearray) -> None:
    fcntl.ioctl(fd, GETFSMAP, request)

# SPDX-License-Identifier: Apache-2.0
"""The bytes of device-mapper's ioctls: include/uapi/linux/dm-ioctl.h and drivers/md/dm-ioctl.c.

This file must not know who sends them. Pure: requests to bytes, answers to records.
"""

import functools
import os
import struct
import sys
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.devmapper import DmTarget
from overlaywatch.kernel.errors import KernelTextError

# struct dm_ioctl: version[3], data_size, data_start, target_count, open_count, flags, event_nr, padding, dev, name,
# uuid, data[7].
HEADER: Final = struct.Struct("=3I I I I i I I I Q 128s 129s 7s")
_FLAGS: Final = struct.Struct("=I")
_FLAGS_AT: Final = 28
_NUMBER_AT: Final = 40
_NUMBER_SIZE: Final = 8
_TARGET: Final = struct.Struct("=QQiI16s")  # struct dm_target_spec
_LIST_ENTRY: Final = struct.Struct("=QI")  # struct dm_name_list without its name

# 4.0.0 is what every kernel since 2.6 takes; a higher major number is refused with a line in the kernel's log.
_VERSION: Final = (4, 0, 0)

READ_ONLY: Final = 1 << 0
SUSPENDED: Final = 1 << 1
STATUS_TABLE: Final = 1 << 4
BUFFER_FULL: Final = 1 << 8
NO_FLUSH: Final = 1 << 11

CMD_VERSION: Final = 0
CMD_LIST_DEVICES: Final = 2
CMD_TABLE_STATUS: Final = 12
CMD_ARM_POLL: Final = 16

ARM_POLL_SINCE: Final = (4, 37, 0)
"""The interface version that brought DM_DEV_ARM_POLL (Linux 4.13)."""


def request_number(command: int) -> int:
    """_IOWR(0xfd, command, struct dm_ioctl)."""
    return 3 << 30 | HEADER.size << 16 | 0xFD << 8 | command


def encode_request(size: int, flags: int = 0, device_number: int = 0) -> bytes:
    """A request of `size` bytes, about the device with this number (as makedev spells it), if any."""
    head, tail = _around_number(size, flags)
    return head + device_number.to_bytes(_NUMBER_SIZE, sys.byteorder) + tail


@functools.lru_cache(maxsize=64)
def _around_number(size: int, flags: int) -> tuple[bytes, bytes]:
    """What stands before and after the device number: a thousand requests a look differ in nothing else."""
    header = HEADER.pack(*_VERSION, size, HEADER.size, 0, 0, flags, 0, 0, 0, b"", b"", b"")
    request = header.ljust(size, b"\0")
    return request[:_NUMBER_AT], request[_NUMBER_AT + _NUMBER_SIZE :]


def is_buffer_full(answer: bytes) -> bool:
    """Whether the answer did not fit: not an error for the kernel, but there is no data."""
    flags: int = _FLAGS.unpack_from(answer, _FLAGS_AT)[0]
    return bool(flags & BUFFER_FULL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What every answer begins with. `name` is empty where no device was asked about."""

    version: tuple[int, int, int]
    data_size: int
    data_start: int
    target_count: int
    open_count: int
    flags: int
    event_nr: int
    device_number: int
    name: str
    uuid: str


def parse_answer(answer: bytes) -> Answer:
    """The header of an answer. Raises KernelTextError if it is cut."""
    if len(answer) < HEADER.size:
        raise KernelTextError("dm_ioctl", f"at least {HEADER.size} bytes", answer.hex())
    *version, size, start, targets, opened, flags, event, _, number, name, uuid, _ = HEADER.unpack_from(answer)
    if opened < 0:  # __s32 open_count
        raise KernelTextError("dm_ioctl", "an open count that is not below 0", str(opened))
    return Answer(
        version=(version[0], version[1], version[2]),
        data_size=size,
        data_start=start,
        target_count=targets,
        open_count=opened,
        flags=flags,
        event_nr=event,
        device_number=number,
        name=_text(name),
        uuid=_text(uuid),
    )


def parse_device_list(answer: bytes) -> tuple[int, ...]:
    """The device numbers of an answer to LIST_DEVICES, sorted by name, which is no kernel's promise.

    The names and event counters that follow each are not taken: the status of each device tells both, later.
    """
    header = parse_answer(answer)
    offset, end = _data(answer, header)
    found: list[tuple[bytes, int]] = []
    if offset == end:
        return ()
    while (name_at := offset + _LIST_ENTRY.size) <= end:
        number, step = _LIST_ENTRY.unpack_from(answer, offset)
        name_end = answer.find(b"\0", name_at, offset + step if step else end)
        if name_end < 0:
            break
        if number:  # older kernels give one entry with number 0 if there is no device
            found.append((answer[name_at:name_end], number))
        if not step:
            return tuple(number for _, number in sorted(found))
        offset += step
    raise KernelTextError("dm_ioctl LIST_DEVICES", "an entry that is the last", answer[offset : offset + 16].hex())


def parse_targets(answer: bytes, header: Answer) -> tuple[DmTarget, ...]:
    """The targets of an answer to TABLE_STATUS: of its table or of its status, as it was asked."""
    targets = []
    offset, end = _data(answer, header)
    for _ in range(header.target_count):
        params_at = offset + _TARGET.size
        params_end = answer.find(b"\0", params_at, end)
        if params_end < 0:
            raise KernelTextError("dm_ioctl TABLE_STATUS", f"{header.target_count} targets", answer[offset:end].hex())
        start, length, _, following, kind = _TARGET.unpack_from(answer, offset)
        params = answer[params_at:params_end].decode("utf-8", "surrogateescape")
        targets.append(DmTarget(start, length, _text(kind), params.strip()))
        # Each entry says where the next begins, counted from the beginning of the data: behind its own end.
        offset = header.data_start + following
        if offset <= params_end:
            end = offset
    return tuple(targets)


def _data(answer: bytes, header: Answer) -> tuple[int, int]:
    """Where the data of an answer begins and ends. Raises KernelTextError if it begins within the header."""
    end = min(header.data_size, len(answer))
    if header.data_start < HEADER.size and end > header.data_start:
        raise KernelTextError("dm_ioctl", f"data from byte {HEADER.size} on", f"{header.data_start}")
    return header.data_start, end


def split_number(number: int) -> tuple[int, int]:
    """(major, minor) of a device number in the kernel's 64-bit spelling (huge_encode_dev)."""
    return os.major(number), os.minor(number)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")

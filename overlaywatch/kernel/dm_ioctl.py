# SPDX-License-Identifier: Apache-2.0
"""Device-mapper read by ioctl on /dev/mapper/control: one ioctl for the list and one for each device a look.

This file must not know what the targets mean. What it takes care of:

- NOFLUSH always: without it the status of a thin pool commits metadata, and hangs if the metadata device does.
- Buffers of at most 1024 bytes wherever they suffice: CPython's fcntl.ioctl() holds the interpreter lock with larger
  ones, and the status of a snapshot can hang (it takes a lock that is held while the header of an invalidated store
  is written).
- Tables are asked for only when something says that they changed: the event counter, the shape of the status, a
  resume, a poll event, or a minute gone by.
"""

import errno
import fcntl
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.kernel import dm_wire
from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_wire import Answer
from overlaywatch.kernel.kept_file import REFRESH_SECONDS

_FIRST: Final = 512
"""Bytes to begin with: the answer of a snapshot or a thin pool takes 400 to 480."""

_UNLOCKED: Final = 1024
"""Bytes up to which CPython's fcntl.ioctl() lets other threads run."""

_LARGEST: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class _Seen:
    """What is remembered of a device between looks."""

    answer: bytes
    device: DmDevice
    believe_table_until: float


class IoctlReader:
    """Reads devices through one open control device. Raises OSError in the constructor if it may not."""

    def __init__(self, control: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._control = str(control)
        self._fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
        self._seen: dict[int, _Seen] = {}
        self._sizes: dict[int, int] = {}
        self._list_size = _FIRST
        self._list_answer = b""
        self._numbers: tuple[int, ...] = ()
        self._devices: tuple[DmDevice, ...] = ()
        try:
            self.version = dm_wire.parse_answer(self._ask(dm_wire.CMD_VERSION, 0, _FIRST)).version
        except OSError:
            self.close()
            raise
        self._poll = select.poll() if self.version >= dm_wire.ARM_POLL_SINCE else None
        if self._poll is not None:
            self._poll.register(self._fd, select.POLLIN)

    @property
    def name(self) -> str:
        """How it reads."""
        return "ioctl"

    def devices(self) -> tuple[DmDevice, ...]:
        """See DmReader. Arms the poll first if there was an event, so that none is lost between it and the look."""
        if self._poll is not None and self._poll.poll(0):
            self.arm_poll()
        now = self._clock()
        numbers = self._list()
        looks = (self._look(number, now) for number in numbers)
        devices = tuple(device for device in looks if device is not None)
        if len(self._seen) > len(devices):
            self._forget_all_but(devices)
        if devices != self._devices:
            self._devices = devices
        return self._devices

    @property
    def can_peek(self) -> bool:
        """See DmReader."""
        return True

    def peek(self, major: int, minor: int) -> str | None:
        """See DmReader."""
        answer = self._status(os.makedev(major, minor))
        targets = dm_wire.parse_targets(answer, dm_wire.parse_answer(answer)) if answer else ()
        return targets[0].params if targets else None

    def invalidate_tables(self) -> None:
        """See DmReader."""
        for seen in self._seen.values():
            seen.believe_table_until = 0.0

    def fileno(self) -> int | None:
        """See DmReader; None before Linux 4.13, whose control device cannot be waited for."""
        return None if self._poll is None else self._fd

    def arm_poll(self) -> None:
        """See DmReader. What the event was is not told: every table is read again."""
        if self._poll is not None:
            self._ask(dm_wire.CMD_ARM_POLL, 0, _FIRST)
        self.invalidate_tables()

    def close(self) -> None:
        """See DmReader."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _list(self) -> tuple[int, ...]:
        answer, self._list_size = self._ask_grown(dm_wire.CMD_LIST_DEVICES, 0, 0, self._list_size)
        if answer != self._list_answer:
            self._numbers = dm_wire.parse_device_list(answer)
            self._list_answer = answer
        return self._numbers

    def _look(self, number: int, now: float) -> DmDevice | None:
        """One device, from memory if its answer is the same as last time; None if it is gone."""
        answer = self._status(number)
        if answer is None:
            return None
        seen = self._seen.get(number)
        if seen is not None and answer == seen.answer and now < seen.believe_table_until:
            return seen.device
        return self._study(number, answer, seen, now)

    def _study(self, number: int, answer: bytes, seen: _Seen | None, now: float) -> DmDevice | None:
        """A new or changed device: its record, with its table from memory if that is still the same."""
        header = dm_wire.parse_answer(answer)
        status = dm_wire.parse_targets(answer, header)
        if seen is not None and now < seen.believe_table_until and _table_stays(seen.device, header, status):
            seen.device = _record(header, seen.device.table, status)
            seen.answer = answer
            return seen.device
        table_answer = self._status(number, dm_wire.STATUS_TABLE)
        if table_answer is None:
            return None
        table = dm_wire.parse_targets(table_answer, dm_wire.parse_answer(table_answer))
        # If a table was swapped between the two answers, the next look sees that they do not fit, and asks again.
        until = now + _patience(number)
        self._seen[number] = _Seen(answer, _record(header, table, status), until)
        return self._seen[number].device

    def _status(self, number: int, flags: int = 0) -> bytes | None:
        """The answer of one device: of its status, or with STATUS_TABLE of its table. None if it is gone."""
        size = self._sizes.get(number, _FIRST)
        try:
            answer, needed = self._ask_grown(dm_wire.CMD_TABLE_STATUS, flags | dm_wire.NO_FLUSH, number, size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise
        if needed != size:
            self._sizes[number] = needed
        return answer

    def _ask_grown(self, command: int, flags: int, number: int, size: int) -> tuple[bytes, int]:
        """The answer, and the size of the buffer it took."""
        while True:
            answer = self._ask(command, flags, size, number)
            if not dm_wire.is_buffer_full(answer):
                return answer, size
            if size >= _LARGEST:
                raise OSError(errno.EMSGSIZE, "device-mapper's answer does not end", self._control)
            size *= 2

    def _ask(self, command: int, flags: int, size: int, number: int = 0) -> bytes:
        request = dm_wire.encode_request(size, flags, number)
        if size <= _UNLOCKED:
            return fcntl.ioctl(self._fd, dm_wire.request_number(command), request)
        buffer = bytearray(request)
        fcntl.ioctl(self._fd, dm_wire.request_number(command), buffer)
        return bytes(buffer)

    def _forget_all_but(self, devices: tuple[DmDevice, ...]) -> None:
        present = {os.makedev(device.major, device.minor) for device in devices}
        for number in self._seen.keys() - present:
            del self._seen[number]
            self._sizes.pop(number, None)


def _record(header: Answer, table: tuple[DmTarget, ...], status: tuple[DmTarget, ...]) -> DmDevice:
    major, minor = dm_wire.split_number(header.device_number)
    return DmDevice(
        name=header.name,
        uuid=header.uuid,
        major=major,
        minor=minor,
        suspended=bool(header.flags & dm_wire.SUSPENDED),
        read_only=bool(header.flags & dm_wire.READ_ONLY),
        event_nr=header.event_nr,
        open_count=header.open_count,
        table=table,
        status=status,
    )


def _table_stays(known: DmDevice, header: Answer, status: tuple[DmTarget, ...]) -> bool:
    """Whether nothing in a new status hints at another table: same device, no event, no resume, same shape."""
    resumed = known.suspended and not header.flags & dm_wire.SUSPENDED
    same = (known.name, known.uuid, known.event_nr) == (header.name, header.uuid, header.event_nr)
    return same and not resumed and _shape(known.table) == _shape(status)


def _shape(targets: tuple[DmTarget, ...]) -> list[tuple[int, int, str]]:
    return [(target.start, target.length, target.type) for target in targets]


def _patience(number: int) -> float:
    """Seconds that a table is believed: at most REFRESH_SECONDS, spread, so that not all fall due in one look."""
    return REFRESH_SECONDS * (0.5 + (number % 64) / 128)

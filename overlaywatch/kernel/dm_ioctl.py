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

_FIRST: Final = 472
"""Bytes to begin with: the status of a snapshot or thin pool takes 370 to 460, and CPython has blocks of this size."""

_UNLOCKED: Final = 1024
"""Bytes up to which CPython's fcntl.ioctl() lets other threads run, and takes an immutable request."""

_LARGEST: Final = 64 * 1024 * 1024
_STATUS: Final = dm_wire.request_number(dm_wire.CMD_TABLE_STATUS)


@dataclass(slots=True)
class _Seen:
    """What is remembered of a device between looks. `request` is empty if its answers take a large buffer."""

    request: bytes
    answer: bytes
    device: DmDevice
    believe_table_until: float


class IoctlReader:
    """Reads devices through one open control device. Raises OSError in the constructor if it may not.

    With a thousand devices everything here but _look() is done once or not at all in a look.
    """

    def __init__(self, control: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._control = str(control)
        self._fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
        self._seen: dict[int, _Seen] = {}
        self._list_size = _FIRST
        self._list_answer = b""
        self._numbers: tuple[int, ...] = ()
        self._devices: tuple[DmDevice, ...] = ()
        try:
            self.version = dm_wire.parse_answer(self._ask(dm_wire.CMD_VERSION, _FIRST)).version
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
        """See DmReader. Heeds an event first, so that whoever waits for fileno() has nothing to do but look."""
        if self._poll is not None and self._poll.poll(0):
            self.arm_poll()
        now = self._clock()
        looks = [self._look(number, now) for number in self._list()]
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
        try:
            answer, _ = self._ask_whole(dm_wire.CMD_TABLE_STATUS, _FIRST, dm_wire.NO_FLUSH, os.makedev(major, minor))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise self._named(error) from None
        targets = dm_wire.parse_targets(answer, dm_wire.parse_answer(answer))
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
            self._ask(dm_wire.CMD_ARM_POLL, _FIRST)
        self.invalidate_tables()

    def close(self) -> None:
        """See DmReader."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _list(self) -> tuple[int, ...]:
        answer, self._list_size = self._ask_whole(dm_wire.CMD_LIST_DEVICES, self._list_size)
        if answer != self._list_answer:
            self._numbers = dm_wire.parse_device_list(answer)
            self._list_answer = answer
        return self._numbers

    def _look(self, number: int, now: float) -> DmDevice | None:
        """One device, from memory if its answer is the same as last time; None if it is gone."""
        seen = self._seen.get(number)
        try:
            if seen is None or not seen.request:
                return self._study(number, b"", seen, now)
            answer = fcntl.ioctl(self._fd, _STATUS, seen.request)
            if answer == seen.answer and now < seen.believe_table_until:
                return seen.device
            return self._study(number, answer, seen, now)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise self._named(error) from None

    def _study(self, number: int, answer: bytes, seen: _Seen | None, now: float) -> DmDevice:
        """A new or changed device: its record, with its table from memory if that is still the same."""
        request = seen.request if seen is not None else b""
        if not answer or dm_wire.is_buffer_full(answer):
            answer, size = self._ask_whole(dm_wire.CMD_TABLE_STATUS, _FIRST, dm_wire.NO_FLUSH, number)
            request = dm_wire.encode_request(size, dm_wire.NO_FLUSH, number) if size <= _UNLOCKED else b""
        header = dm_wire.parse_answer(answer)
        status = dm_wire.parse_targets(answer, header)
        if seen is not None and now < seen.believe_table_until and _table_stays(seen.device, header, status):
            table, until = seen.device.table, seen.believe_table_until
        else:
            # If a table was swapped between the two answers, the next look sees that they do not fit, and asks again.
            table, until = self._table(number), now + _patience(number)
        device = _record(header, table, status)
        if seen is not None and device == seen.device:
            device = seen.device
        self._seen[number] = _Seen(request, answer, device, until)
        return device

    def _table(self, number: int) -> tuple[DmTarget, ...]:
        flags = dm_wire.STATUS_TABLE | dm_wire.NO_FLUSH
        answer, _ = self._ask_whole(dm_wire.CMD_TABLE_STATUS, _FIRST, flags, number)
        return dm_wire.parse_targets(answer, dm_wire.parse_answer(answer))

    def _ask_whole(self, command: int, size: int, flags: int = 0, number: int = 0) -> tuple[bytes, int]:
        """The answer, in a buffer that is made larger until it fits, and the size that it took."""
        while dm_wire.is_buffer_full(answer := self._ask(command, size, flags, number)):
            if size >= _LARGEST:
                raise OSError(errno.EMSGSIZE, "device-mapper's answer does not end", self._control)
            size = max(_UNLOCKED, size * 2)
        return answer, size

    def _ask(self, command: int, size: int, flags: int = 0, number: int = 0) -> bytes:
        request = dm_wire.encode_request(size, flags, number)
        if size <= _UNLOCKED:
            return fcntl.ioctl(self._fd, dm_wire.request_number(command), request)
        buffer = bytearray(request)
        fcntl.ioctl(self._fd, dm_wire.request_number(command), buffer)
        return bytes(buffer)

    def _named(self, error: OSError) -> OSError:
        """The error with the file that was asked."""
        return OSError(error.errno, error.strerror, self._control)

    def _forget_all_but(self, devices: tuple[DmDevice, ...]) -> None:
        present = {os.makedev(device.major, device.minor) for device in devices}
        for number in self._seen.keys() - present:
            del self._seen[number]


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

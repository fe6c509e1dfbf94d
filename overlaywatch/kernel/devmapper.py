# SPDX-License-Identifier: Apache-2.0
"""Device-mapper devices as records, and the one interface of the two ways in which they are read.

This file must not know what a target does (dm_target.py) nor how it is asked (dm_ioctl.py, dm_dmsetup.py).
"""

import errno
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DmTarget:
    """One line of a table or of a status: `start` and `length` in sectors, `params` without blanks at the ends."""

    start: int
    length: int
    type: str
    params: str


@dataclass(frozen=True, slots=True)
class DmDevice:
    """One device. `table` and `status` are the live ones, target by target; empty for a device without a table.

    `name` is the kernel's name, unmangled bytes decoded as UTF-8 (surrogateescape).
    """

    name: str
    uuid: str
    major: int
    minor: int
    suspended: bool
    read_only: bool
    event_nr: int
    open_count: int
    table: tuple[DmTarget, ...]
    status: tuple[DmTarget, ...]

    @property
    def device(self) -> tuple[int, int]:
        """(major, minor)"""
        return self.major, self.minor


class DmReader(Protocol):
    """Reads every device-mapper device. Errors are OSError or KernelTextError."""

    @property
    def name(self) -> str:
        """How it reads: `ioctl` or `dmsetup`."""
        ...

    @property
    def can_peek(self) -> bool:
        """Whether peek() is cheap: one system call, not a process."""
        ...

    def devices(self) -> tuple[DmDevice, ...]:
        """All devices by name. One that vanishes while it is read is absent. The same objects if nothing changed."""
        ...

    def peek(self, major: int, minor: int) -> str | None:
        """The status of one device's first target, now, by one system call; None if it is gone or has no table."""
        ...

    def invalidate_tables(self) -> None:
        """Forget the cached tables: something may have changed them."""
        ...

    def fileno(self) -> int | None:
        """A descriptor that polls readable after an event, until the next devices(); None if there is none."""
        ...

    def arm_poll(self) -> None:
        """Heed an event without a look: wait for the next one, and forget the tables, any of which may be another."""
        ...

    def close(self) -> None:
        """Give the descriptors back."""
        ...


class EventlessReader(ABC):
    """The part of a DmReader that holds nothing open: it hears of no event, and cannot be peeked at cheaply."""

    @property
    @abstractmethod
    def name(self) -> str:
        """See DmReader."""

    @property
    def can_peek(self) -> bool:
        """See DmReader."""
        return False

    def peek(self, major: int, minor: int) -> str | None:
        """See DmReader: never asked, because it would not be cheap."""
        raise OSError(errno.EOPNOTSUPP, f"{major}:{minor} cannot be peeked at", self.name)

    def invalidate_tables(self) -> None:  # noqa: B027  # nothing is kept
        """See DmReader."""

    def fileno(self) -> int | None:
        """See DmReader: there is none."""
        return None

    def arm_poll(self) -> None:  # noqa: B027  # nothing is heard
        """See DmReader."""

    def close(self) -> None:  # noqa: B027  # nothing is open
        """See DmReader."""

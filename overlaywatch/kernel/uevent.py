# SPDX-License-Identifier: Apache-2.0
"""Kernel events of devices that come, go or change: netlink, NETLINK_KOBJECT_UEVENT (lib/kobject_uevent.c).

This file must not know what is done about them. The socket is pyroute2's; it is read in the engine's own loop, without
waiting and without its threads. Importing even this part of pyroute2 takes 4 to 14 MiB and 0.1 s, so nobody but the
daemon should import this file.
"""

import errno
import re
import socket
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.lean import bare_package

try:
    with bare_package("pyroute2"):
        from pyroute2.netlink import NETLINK_KOBJECT_UEVENT
        from pyroute2.netlink.nlsocket import NetlinkSocket
except (ImportError, AttributeError):
    from pyroute2.netlink import NETLINK_KOBJECT_UEVENT
    from pyroute2.netlink.nlsocket import NetlinkSocket

_KERNEL_GROUP: Final = 1  # group 2 is udevd's own, in a format of its own
_BUFFER: Final = 16384  # the kernel's limit is 2048 of variables (UEVENT_BUFFER_SIZE), and the path before them
_MOST_AT_ONCE: Final = 4096
_COUNT: Final = re.compile(NUMBER)


@dataclass(frozen=True, slots=True)
class Uevent:
    """One event. `action` is the kernel's word (`add`, `change`, `remove`, …); `devname` is below /dev."""

    action: str
    subsystem: str
    devname: str = ""
    major: int | None = None
    minor: int | None = None

    @property
    def concerns_block_devices(self) -> bool:
        """Whether a block device came, went or changed, or may have: events were lost."""
        return self.subsystem == "block" or self is LOST


LOST: Final = Uevent(action="lost", subsystem="")
"""Stands for events that did not fit into the socket's buffer: anything may have changed."""


def parse_uevent(message: bytes) -> Uevent | None:
    """The event of a message `ACTION@DEVPATH\\0KEY=VALUE\\0…`; None if it is not one of the kernel's."""
    head, *variables = message.split(b"\0")
    if b"@" not in head:
        return None
    values = dict(_split(variable) for variable in variables if b"=" in variable)
    return Uevent(
        action=values.get("ACTION", ""),
        subsystem=values.get("SUBSYSTEM", ""),
        devname=values.get("DEVNAME", ""),
        major=_number(values.get("MAJOR", "")),
        minor=_number(values.get("MINOR", "")),
    )


class UeventSocket:
    """Receives events; for a selector by fileno(). Raises OSError if there is no netlink."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_KOBJECT_UEVENT)
        self._socket.bind(groups=_KERNEL_GROUP)

    def fileno(self) -> int:
        """A descriptor that polls readable while there are events."""
        return int(self._socket.fileno())

    def read(self) -> tuple[Uevent, ...]:
        """What has arrived, without waiting. LOST is among it if the kernel had to drop some."""
        events: list[Uevent] = []
        for _ in range(_MOST_AT_ONCE):
            try:
                message = self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                events.append(LOST)
                continue
            event = parse_uevent(bytes(message))
            if event is not None:
                events.append(event)
        return tuple(events)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _split(variable: bytes) -> tuple[str, str]:
    key, _, value = variable.decode("utf-8", "replace").partition("=")
    return key, value


def _number(text: str) -> int | None:
    return int(text) if _COUNT.fullmatch(text) else None

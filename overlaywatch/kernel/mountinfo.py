# SPDX-License-Identifier: Apache-2.0
"""The mount table: /proc/PID/mountinfo, as proc_pid_mountinfo(5) and fs/proc_namespace.c describe it.

This file must not know which mounts matter. What is not reachable from the reader's root is not in the table: a tmpfs
left in the initramfs is alive, holds memory, and has no line here.
"""

import re
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.kept_file import REFRESH_SECONDS, KeptFile

_ESCAPE: Final = re.compile(rb"\\([0-3][0-7]{2})")
# ID PARENT MAJOR:MINOR ROOT POINT OPTIONS, zero or more tags (`shared:1`), a lone hyphen, TYPE SOURCE OPTIONS. Only
# blanks separate: other white space in names is not escaped. The source may be empty.
_LINE: Final = re.compile(
    rf"({NUMBER}) ({NUMBER}) ({NUMBER}):({NUMBER}) ([^ ]+) ([^ ]+) ([^ ]+)(?: (?!- )[^ ]+)* - ([^ ]+) ([^ ]*) ([^ ]+)"
)
# A value in quotes as a whole (`context="a,b"`), or whatever is before the next comma; then that comma or the end.
_OPTION: Final = re.compile(r'([^,="]*="[^"]*"(?=,|$)|[^,]*)(,|$)')


@dataclass(frozen=True, slots=True)
class MountInfo:
    """One mount. `major:minor` is the device number of its super block (st_dev of its files, except on btrfs).

    `root` is the folder of the file system that is seen at `mount_point`; `options` are the mount's own (`ro` here
    may hide a writable super block), `super_options` those of the file system.
    """

    mount_id: int
    parent_id: int
    major: int
    minor: int
    root: str
    mount_point: str
    options: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def device(self) -> tuple[int, int]:
        """(major, minor) of the super block."""
        return self.major, self.minor


def unescape(text: str) -> str:
    r"""The text behind the kernel's `\040` spelling (seq_escape: blank, tab, newline, backslash, comma, …)."""
    if "\\" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), raw).decode("utf-8", "surrogateescape")


def parse_mountinfo(text: str) -> tuple[MountInfo, ...]:
    """All mounts in the kernel's order: of several on one mount point the last one is seen.

    Raises KernelTextError naming the line.
    """
    return tuple(_parse_line(line, number) for number, line in enumerate(text.split("\n"), 1) if line)


def _parse_line(line: str, number: int) -> MountInfo:
    match = _LINE.fullmatch(line)
    if match is None:
        expected = "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS"
        raise KernelTextError("mountinfo", expected, line, number)
    mount_id, parent_id, major, minor, root, point, options, fstype, source, super_options = match.groups()
    return MountInfo(
        mount_id=int(mount_id),
        parent_id=int(parent_id),
        major=int(major),
        minor=int(minor),
        root=unescape(root),
        mount_point=unescape(point),
        options=tuple(options.split(",")),
        fstype=unescape(fstype),
        source=unescape(source),
        super_options=split_options(super_options),
    )


def split_options(text: str) -> tuple[str, ...]:
    r"""Options at commas, unescaped. A comma in a value is printed as `\054`, or is in quotes (SELinux contexts)."""
    if '"' not in text:
        return tuple(map(unescape, text.split(",")))
    options = []
    for match in _OPTION.finditer(text):
        options.append(unescape(match[1]))
        if not match[2]:
            break
    return tuple(options)


class MountTable:
    """The mount table of one process, parsed again only when it has changed.

    The kernel tells of every mount, unmount, move and remount by POLLPRI (mounts_poll in fs/proc_namespace.c), not of
    changes by fsconfig(2): hence a look every minute regardless. `announced` is False for a file that is only a file.
    """

    def __init__(self, file: KeptFile, announced: bool, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._poll = select.poll() if announced else None
        self._polled = -1
        self._raw: bytes | None = None
        self._mounts: tuple[MountInfo, ...] = ()
        self._believed_until = 0.0

    def read(self) -> tuple[MountInfo, ...]:
        """All mounts; the same object if nothing changed. Raises OSError or KernelTextError."""
        now = self._clock()
        if self._raw is not None and now < self._believed_until and not self._announces_change():
            return self._mounts
        raw = self._file.read()
        if raw != self._raw:
            self._mounts = parse_mountinfo(raw.decode("utf-8", "surrogateescape"))
            self._raw = raw
        self._believed_until = now + REFRESH_SECONDS
        return self._mounts

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def _announces_change(self) -> bool:
        if self._poll is None:
            return True
        fd = self._file.fileno()
        if fd != self._polled:
            self._poll.register(fd, select.POLLPRI)
            self._polled = fd
        return bool(self._poll.poll(0))

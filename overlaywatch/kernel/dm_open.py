# SPDX-License-Identifier: Apache-2.0
"""Which way device-mapper is read on this machine.

This file must not know how either way works.
"""

import errno
import re
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice, DmReader
from overlaywatch.kernel.dm_dmsetup import DmsetupReader, find_dmsetup
from overlaywatch.kernel.dm_ioctl import IoctlReader
from overlaywatch.kernel.root import KernelRoot

_DEVICE_MAPPER: Final = re.compile(r"^ *[0-9]+ device-mapper$", re.MULTILINE)


class DeniedReader:
    """Stands where device-mapper is there but cannot be read: every look raises why, for its source to report."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    @property
    def name(self) -> str:
        """How it reads: not at all."""
        return "none"

    def devices(self) -> tuple[DmDevice, ...]:
        """Raises OSError."""
        raise OSError(self._error.errno, self._error.strerror, self._error.filename)

    @property
    def can_peek(self) -> bool:
        """See DmReader."""
        return False

    def peek(self, major: int, minor: int) -> str | None:
        """See DmReader: never asked, because it would not be cheap."""
        raise OSError(errno.EOPNOTSUPP, f"{major}:{minor} cannot be peeked at", self.name)

    def invalidate_tables(self) -> None:
        """See DmReader."""

    def fileno(self) -> int | None:
        """See DmReader: there is none."""
        return None

    def arm_poll(self) -> None:
        """See DmReader."""

    def close(self) -> None:
        """See DmReader."""


def has_device_mapper(devices_text: str) -> bool:
    """Whether device-mapper stands among the block drivers of /proc/devices."""
    return _DEVICE_MAPPER.search(devices_text) is not None


def open_dm_reader(choice: str, root: KernelRoot) -> DmReader | None:
    """The reader to use; None if this kernel has no device-mapper (now: the module may be loaded later).

    `auto` is ioctl, or dmsetup where there is no control device to ask. Never raises: what stands against reading
    comes from the reader's devices(). Looking into /proc/devices instead of opening the control device keeps the
    kernel from loading the module for nothing.
    """
    if not root.is_live or not _kernel_has_device_mapper(root):
        return None
    if choice == "dmsetup":
        return _open_dmsetup()
    try:
        return IoctlReader(root.dev / "mapper" / "control")
    except OSError as error:
        # Without privilege dmsetup fares no better.
        if choice == "auto" and error.errno not in {errno.EACCES, errno.EPERM} and find_dmsetup():
            return DmsetupReader()
        return DeniedReader(error)


def _open_dmsetup() -> DmReader:
    if find_dmsetup() is None:
        return DeniedReader(FileNotFoundError(errno.ENOENT, "not installed (package dmsetup)", "dmsetup"))
    return DmsetupReader()


def _kernel_has_device_mapper(root: KernelRoot) -> bool:
    try:
        return has_device_mapper((root.proc / "devices").read_text("utf-8", "replace"))
    except OSError:
        return False

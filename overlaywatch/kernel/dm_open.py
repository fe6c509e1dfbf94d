# SPDX-License-Identifier: Apache-2.0
"""Which way device-mapper is read on this machine.

This file must not know how either way works.
"""

import errno
import os
import re
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice, DmReader, EventlessReader
from overlaywatch.kernel.dm_captured import ERROR_FILE, CapturedDm
from overlaywatch.kernel.dm_dmsetup import DmsetupReader, find_dmsetup
from overlaywatch.kernel.dm_ioctl import IoctlReader
from overlaywatch.kernel.machine import Machine

_DEVICE_MAPPER: Final = re.compile(r"^ *[0-9]+ device-mapper$", re.MULTILINE)


class DeniedReader(EventlessReader):
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


def has_device_mapper(devices_text: str) -> bool:
    """Whether device-mapper stands among the block drivers of /proc/devices."""
    return _DEVICE_MAPPER.search(devices_text) is not None


def open_dm_reader(choice: str, machine: Machine) -> DmReader | None:
    """The reader to use; None if this kernel has no device-mapper (now: the module may be loaded later).

    `auto` is ioctl, or dmsetup where there is no control device to ask. Never raises: what stands against reading
    comes from the reader's devices(). Looking into /proc/devices instead of opening the control device keeps the
    kernel from loading the module for nothing.
    """
    if not machine.root.is_live:
        return _open_captured(machine)
    if not _kernel_has_device_mapper(machine):
        return None
    if choice == "dmsetup":
        return _open_dmsetup()
    try:
        return IoctlReader(machine.root.dev / "mapper" / "control")
    except OSError as error:
        # Without privilege dmsetup fares no better.
        if choice == "auto" and error.errno not in {errno.EACCES, errno.EPERM} and find_dmsetup():
            return DmsetupReader()
        return DeniedReader(error)


def _open_captured(machine: Machine) -> DmReader | None:
    folder = machine.root.dm
    if folder.is_dir():
        error = folder / ERROR_FILE
        return DeniedReader(named_error(error.read_text("utf-8", "replace"))) if error.is_file() else CapturedDm(folder)
    if not _kernel_has_device_mapper(machine):
        return None
    return DeniedReader(FileNotFoundError(errno.ENOENT, "not in the capture, but the kernel has it", str(folder)))


def named_error(text: str) -> OSError:
    """The error with which the control device of a captured machine could not be opened, by its name (`EACCES`)."""
    number = next((number for number, name in errno.errorcode.items() if name == text.strip()), errno.EIO)
    return OSError(number, os.strerror(number), "/dev/mapper/control")


def _open_dmsetup() -> DmReader:
    if find_dmsetup() is None:
        return DeniedReader(FileNotFoundError(errno.ENOENT, "not installed (package dmsetup)", "dmsetup"))
    return DmsetupReader()


def _kernel_has_device_mapper(machine: Machine) -> bool:
    try:
        return has_device_mapper(machine.read(machine.root.proc / "devices").decode("utf-8", "replace"))
    except OSError:
        return False

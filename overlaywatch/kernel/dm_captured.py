# SPDX-License-Identifier: Apache-2.0
"""Device-mapper of a captured machine: three files in the spelling of dmsetup(8), written and read.

This file must not know what the targets mean. `dm/info` is `dmsetup info -c --noheadings --separator // -o
name,major,minor,uuid,attr,open,events`, `dm/table` is `dmsetup table`, `dm/status` is `dmsetup status`: a person can
make them on any machine, and write them by hand.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice, DmTarget, EventlessReader
from overlaywatch.kernel.dm_dmsetup import assemble, parse_info
from overlaywatch.kernel.errors import KernelTextError

FILES: Final = ("info", "table", "status")
ERROR_FILE: Final = "error"
"""In their place, where device-mapper was there but could not be read: the name of the error, as EACCES."""


def format_devices(devices: Iterable[DmDevice]) -> dict[str, str]:
    """The text of each of FILES; what assemble() makes of them is the same devices again."""
    found = tuple(devices)
    return {
        "info": "".join(map(_info, found)),
        "table": "".join(_lines(device, device.table) for device in found),
        "status": "".join(_lines(device, device.status) for device in found),
    }


def _info(device: DmDevice) -> str:
    attr = f"L-{'s' if device.suspended else '-'}{'r' if device.read_only else 'w'}"
    fields = (device.name, device.major, device.minor, device.uuid, attr, device.open_count, device.event_nr)
    return "//".join(map(str, fields)) + "\n"


def _lines(device: DmDevice, targets: tuple[DmTarget, ...]) -> str:
    """A device without a table has a line without a target."""
    if not targets:
        return f"{device.name}: \n"
    return "".join(f"{device.name}: {one.start} {one.length} {one.type} {one.params}\n" for one in targets)


class CapturedDm(EventlessReader):
    """Reads the three files once. devices() raises OSError or KernelTextError, naming the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._devices: tuple[DmDevice, ...] | None = None

    @property
    def name(self) -> str:
        """How it reads."""
        return "capture"

    def devices(self) -> tuple[DmDevice, ...]:
        """See DmReader. An error names the file: whoever wrote it by hand has to find the line."""
        if self._devices is None:
            info, table, status = (self._text(name) for name in FILES)
            try:
                self._devices = assemble(info, table, status)
            except KernelTextError as error:
                place = str(self._folder / error.place.removeprefix("dmsetup "))
                raise KernelTextError(place, error.expected, error.found, error.line) from None
            self._must_have_all(info)
        return self._devices

    def _must_have_all(self, info: str) -> None:
        """On a running machine a device may go while it is looked at; a capture that lacks one is not whole."""
        lost = {device.name for device in parse_info(info)} - {device.name for device in self._devices or ()}
        if lost:
            self._devices = None
            raise KernelTextError(str(self._folder), f"lines of {min(lost)} in both table and status", "none")

    def _text(self, name: str) -> str:
        return (self._folder / name).read_bytes().decode("utf-8", "surrogateescape")

# SPDX-License-Identifier: Apache-2.0
"""Device-mapper read by the program dmsetup(8): three runs a look, for machines where the ioctls may not be used.

This file must not know what the targets mean. It is some hundred times slower than dm_ioctl.py and needs to fork.
Names are asked for unmangled (`--manglename none`): in its other modes dmsetup refuses to print anything at all once
one device has a name with a blank in it. A name may hold every byte but `/`, even a line break, hence the care.
"""

import dataclasses
import errno
import os
import re
import shutil
import subprocess
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice, DmTarget, EventlessReader
from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.errors import KernelTextError

_TIMEOUT_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 0.2
_ATTEMPTS: Final = 5
_NO_DEVICES: Final = "No devices found"
_INFO_FIELDS: Final = "name,major,minor,uuid,attr,open,events"
# The name cannot hold the separator; the uuid can, so it ends where five fields of a strict form follow.
_INFO: Final = re.compile(
    rf"(?P<name>[^/]+)//(?P<major>{NUMBER})//(?P<minor>{NUMBER})//(?P<uuid>.*?)//"
    rf"[L-][I-](?P<suspended>[s-])(?P<access>[rw])//(?P<open>{NUMBER})//(?P<events>{NUMBER})\n",
    re.DOTALL,
)
_TARGET: Final = re.compile(rf"({NUMBER}) ({NUMBER}) (\S+)(?: ([^\n]*))?\n", re.ASCII)


def parse_info(text: str) -> tuple[DmDevice, ...]:
    """Devices of `dmsetup info -c --noheadings --separator // -o FIELDS`, tables and statuses still empty."""
    devices, offset = [], 0
    if text.strip() in {"", _NO_DEVICES}:
        return ()
    while offset < len(text):
        match = _INFO.match(text, offset)
        if match is None:
            raise KernelTextError("dmsetup info", _INFO_FIELDS + " separated by //", text[offset:])
        devices.append(_record(match))
        offset = match.end()
    return tuple(devices)


def parse_targets(place: str, text: str, names: frozenset[str]) -> dict[str, tuple[DmTarget, ...]]:
    """The targets of each of `names` in the output of `dmsetup table` or `dmsetup status`; other lines are skipped.

    A device without a table has a line without a target and appears here with none; one that is gone does not.
    """
    found: dict[str, list[DmTarget]] = {}
    longest = max(map(len, names), default=0)
    offset = 0
    while offset < len(text):
        name = _name_at(text, offset, names, longest)
        line_end = text.find("\n", offset + len(name or "")) + 1 or len(text)
        if name is not None:
            targets = found.setdefault(name, [])
            line = text[offset + len(name) + 2 : line_end]
            if line.strip():
                targets.append(_parse_target(place, line))
        offset = line_end
    return {name: tuple(targets) for name, targets in found.items()}


def assemble(info: str, table: str, status: str) -> tuple[DmDevice, ...]:
    """The devices of the three outputs, by name. One that is missing in any of them has come or gone meanwhile."""
    infos = parse_info(info)
    names = frozenset(device.name for device in infos)
    tables = parse_targets("dmsetup table", table, names)
    statuses = parse_targets("dmsetup status", status, names)
    return tuple(
        dataclasses.replace(device, table=tables[device.name], status=statuses[device.name])
        for device in sorted(infos, key=_sort_key)
        if device.name in tables and device.name in statuses
    )


class DmsetupReader(EventlessReader):
    """Reads devices by running dmsetup; every look reads everything: nothing to invalidate or to poll."""

    def __init__(self, program: str = "dmsetup", timeout: float = _TIMEOUT_SECONDS) -> None:
        self._program = program
        self._timeout = timeout
        self._stuck: subprocess.Popen[bytes] | None = None
        self._devices: tuple[DmDevice, ...] = ()

    @property
    def name(self) -> str:
        """How it reads."""
        return "dmsetup"

    def devices(self) -> tuple[DmDevice, ...]:
        """See DmReader."""
        devices = self._read()
        if devices != self._devices:
            self._devices = devices
        return self._devices

    def _read(self) -> tuple[DmDevice, ...]:
        info = self._run("info", "-c", "--noheadings", "--separator", "//", "-o", _INFO_FIELDS)
        if not parse_info(info):
            return ()
        return assemble(info, self._run("table"), self._run("status", "--noflush"))

    def _run(self, *arguments: str) -> str:
        """What dmsetup prints. Raises OSError with what it said if it fails, even when asked again."""
        complaint = ""
        for _ in range(_ATTEMPTS):
            status, output, errors = self._run_once(arguments)
            if status == 0:
                return output.decode("utf-8", "surrogateescape")
            # It fails as a whole if one device is removed while it goes through the list.
            complaint = " ".join(errors.decode("utf-8", "replace").split())
        raise OSError(errno.EIO, f"`dmsetup {arguments[0]}` failed: {complaint}", self._program)

    def _run_once(self, arguments: tuple[str, ...]) -> tuple[int, bytes, bytes]:
        """(exit status, output, errors). One that hangs in the kernel cannot be killed, so it is not waited for."""
        if self._stuck is not None and self._stuck.poll() is None:
            raise TimeoutError(errno.ETIMEDOUT, f"process {self._stuck.pid} still hangs in the kernel", self._program)
        command = [self._program, "--manglename", "none", *arguments]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=null, stdout=pipe, stderr=pipe, env=_environment())
        try:
            output, errors = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            self._abandon(process)
            text = f"`dmsetup {arguments[0]}` did not answer within {self._timeout:g} s"
            raise TimeoutError(errno.ETIMEDOUT, text, self._program) from None
        return process.returncode, output, errors

    def _abandon(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._stuck = process


def find_dmsetup() -> str | None:
    """The path of dmsetup, also where an ordinary user's PATH leaves out the folders of the administrator."""
    return shutil.which("dmsetup", path=_environment()["PATH"])


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "LC_ALL": "C"}


def _record(match: re.Match[str]) -> DmDevice:
    return DmDevice(
        name=match["name"],
        uuid=match["uuid"],
        major=int(match["major"]),
        minor=int(match["minor"]),
        suspended=match["suspended"] == "s",
        read_only=match["access"] == "r",
        event_nr=int(match["events"]),
        open_count=int(match["open"]),
        table=(),
        status=(),
    )


def _name_at(text: str, offset: int, names: frozenset[str], longest: int) -> str | None:
    """The longest known name that stands at `offset` before a colon and a blank."""
    best = None
    colon = text.find(": ", offset, offset + longest + 2)
    while colon >= 0:
        if text[offset:colon] in names:
            best = text[offset:colon]
        colon = text.find(": ", colon + 1, offset + longest + 2)
    return best


def _parse_target(place: str, line: str) -> DmTarget:
    match = _TARGET.fullmatch(line)
    if match is None:
        raise KernelTextError(place, "START LENGTH TYPE PARAMETERS", line)
    return DmTarget(int(match[1]), int(match[2]), match[3], (match[4] or "").strip())


def _sort_key(device: DmDevice) -> bytes:
    return device.name.encode("utf-8", "surrogateescape")

# SPDX-License-Identifier: Apache-2.0
"""The mount table, as the rest of the program wants it: which path rests on which super block.

Must not know which of the mounts are watched. Read-only images are kept, because recognising a live
system needs to see them; pseudo file systems are kept for the same reason and hold nothing.
"""

from collections.abc import Sequence
from typing import Final

from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Carrier, Mount, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import READ_ONLY_OPTION, reachable, was_made_read_only

ANONYMOUS: Final = 0
"""The major number of file systems that lie on no block device (get_anon_bdev in fs/super.c)."""


class MountsSource:
    """One Mount per line of mountinfo that a path leads to; the same values while the table is unchanged."""

    name = "mounts"

    def __init__(self) -> None:
        self._table: Sequence[MountInfo] = ()
        self._seen: Sequence[MountInfo] = ()
        self._root: MountInfo | None = None
        self._carrier: Carrier | None = None
        self._mounts: tuple[Mount, ...] = ()

    def survey(self, view: KernelView, now: float) -> Found:
        """All mounts but those that are covered by others. Raises OSError if /proc is not there."""
        del now
        changed = view.mounts is not self._table
        if changed:
            self._table = view.mounts
            self._seen = reachable(view.mounts)
            self._root = next((info for info in self._seen if info.mount_point == "/"), None)
        carrier = carrier_of(view, self._root.device) if self._root else None
        if changed or carrier != self._carrier:
            self._carrier = carrier
            self._mounts = tuple(as_mount(info, carrier if info is self._root else None) for info in self._seen)
        return Found(mounts=self._mounts)


def carrier_of(view: KernelView, device: tuple[int, int]) -> Carrier | None:
    """What a block device is made of; None for a disk, and where device-mapper may not be asked."""
    if device[0] == ANONYMOUS:
        return None
    try:
        loop, mapped = view.loops.get(device), view.dm.get(device)
    except (OSError, KernelTextError):
        return None
    if loop is not None:
        return Carrier("loop", loop.backing_file)
    return Carrier(mapped.table[0].type, mapped.name) if mapped and mapped.table else None


def as_mount(info: MountInfo, carrier: Carrier | None = None) -> Mount:
    """The Mount of one line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).

    One that became read-only by an error was meant to be written to, and is watched as before: it is at its end.
    """
    read_only = READ_ONLY_OPTION in info.options or READ_ONLY_OPTION in info.super_options
    return Mount(
        mount_point=info.mount_point,
        fstype=info.fstype,
        source=info.source,
        rests_on=super_block_ref(info.major, info.minor),
        read_only=read_only and not was_made_read_only(info),
        upperdir=upperdir(info.super_options),
        carrier=carrier,
    )


def upperdir(options: Sequence[str]) -> str:
    """The value of `upperdir=`, or an empty string; the string of mount time, maybe stale."""
    return next((option.removeprefix("upperdir=") for option in options if option.startswith("upperdir=")), "")

# SPDX-License-Identifier: Apache-2.0
"""The mount table, as the rest of the program wants it: which path rests on which super block.

Must not know which of the mounts are watched. Read-only images are kept, because recognising a live
system needs to see them; pseudo file systems are kept for the same reason and hold nothing.
"""

from collections.abc import Sequence

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Mount, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import READ_ONLY_OPTION, was_made_read_only


class MountsSource:
    """One Mount per line of mountinfo; the same values while the table is unchanged."""

    name = "mounts"

    def __init__(self) -> None:
        self._table: Sequence[MountInfo] = ()
        self._mounts: tuple[Mount, ...] = ()

    def survey(self, view: KernelView, now: float) -> Found:
        """All mounts. Raises OSError if /proc is not there."""
        del now
        if view.mounts is not self._table:
            self._table = view.mounts
            self._mounts = tuple(as_mount(info) for info in view.mounts)
        return Found(mounts=self._mounts)


def as_mount(info: MountInfo) -> Mount:
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
    )


def upperdir(options: Sequence[str]) -> str:
    """The value of `upperdir=`, or an empty string; the string of mount time, maybe stale."""
    return next((option.removeprefix("upperdir=") for option in options if option.startswith("upperdir=")), "")

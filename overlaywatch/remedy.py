# SPDX-License-Identifier: Apache-2.0
"""One line for the operator of this very machine: what gives room back now, and what at the next boot.

This file must not know how anything was read. What works depends on what lies under the mount point, so the line is
made from the chain; the live system adds the kernel parameter of the next boot, where one sizes what ends. A remedy is
never empty: where nothing helps, that is what it says.
"""

import shlex
from dataclasses import dataclass
from typing import Final

from overlaywatch.livesystem import BY_NAME
from overlaywatch.model import Failure, LayerId, LayerKind
from overlaywatch.units import MIB

LEAST_GROWTH: Final = 16 * MIB
"""Less is not worth a command."""


@dataclass(frozen=True, slots=True)
class End:
    """How the room of a mount point will end: what a remedy depends on.

    `reclaimable`: deleting files gives room back at once; `trims`: it does after fstrim(8). `size_bytes` and `inodes`
    are those of the limit, the latter only if they are what ended. `ram_left_bytes` is what RAM still gives to it, with
    the help of swap if `swappable`; None if the chain does not end in RAM. `left_bytes` is what the limit itself has
    left. `in_union`: the mount shows another one.
    """

    mount_point: str
    limit: LayerId | None
    failure: Failure | None
    reclaimable: bool
    trims: bool = False
    size_bytes: int | None = None
    inodes: int | None = None
    ram_left_bytes: int | None = None
    left_bytes: int = 0
    swappable: bool = True
    in_union: bool = False


def remedy(end: End, system: str | None) -> str:
    """What to do, without a full stop."""
    if end.limit is None:
        return "cannot say: part of the chain could not be read"
    return _now(end) + _next_boot(end, system)


def _now(end: End) -> str:
    kind, _, name = str(end.limit).partition(":")
    if kind == LayerKind.RAM:
        return _for_memory(end)
    ways = [_delete(end), _grow(end, name) if kind == LayerKind.TMPFS and name.startswith("/") else ""]
    if any(ways):
        return ", or ".join(way for way in ways if way)
    return "none until reboot" if end.failure is Failure.ENOSPC else "none until reboot: deleting gives no room back"


def _delete(end: End) -> str:
    place = shlex.quote(end.mount_point)
    if end.reclaimable:
        return f"delete files on {place}"
    return f"delete files on {place} and run fstrim {place}" if end.trims else ""


def _for_memory(end: End) -> str:
    ways = ["stop what uses memory", _delete(end), "add swap" if end.swappable else ""]
    return ", or ".join(way for way in ways if way)


def _grow(end: End, path: str) -> str:
    """The mount(8) command that makes a visible tmpfs larger by what RAM can bear; empty if it cannot."""
    if end.inodes:
        return f"mount -o remount,nr_inodes={2 * end.inodes} {shlex.quote(path)}"
    size = larger(end.size_bytes, end.ram_left_bytes, end.left_bytes)
    return f"mount -o remount,size={size // MIB}m {shlex.quote(path)}" if size else ""


def larger(size: int | None, ram_left: int | None, left: int = 0) -> int | None:
    """Up to twice as large, by at most half of what RAM has left; in steps, so that the proposal does not flicker.

    Nor by more than most of what RAM has left once the tmpfs is full (`left`): a tmpfs that promises more than there is
    brings the OOM killer in place of ENOSPC.

    Bytes, whole MiB; None if nothing worthwhile can be proposed.
    """
    if not size or ram_left is None:
        return None
    growth = min(size, ram_left // 2, max(0, ram_left - left) // 8 * 7)
    step = max(MIB, 1 << max(0, size.bit_length() - 4))
    proposed = (size + growth) // step * step
    return proposed // MIB * MIB if proposed - size >= min(LEAST_GROWTH, size) else None


def _next_boot(end: End, system: str | None) -> str:
    """The kernel parameter, if it sizes what ends: not RAM, nor the file system in the image, nor another mount."""
    kind = str(end.limit).partition(":")[0]
    row = BY_NAME.get(system or "")
    if row is None or end.mount_point != "/":
        return ""
    if end.ram_left_bytes is None:
        return "; a larger store has to be made on its medium" if kind == LayerKind.DM_SNAPSHOT else ""
    if kind == LayerKind.RAM or (kind == LayerKind.FILESYSTEM and not end.in_union):
        return ""
    if kind == LayerKind.TMPFS and not row.sizes_tmpfs:
        return ""  # a larger store on a tmpfs that stays as it is promises more, and keeps no more
    return f"; next boot: a larger {row.next_boot}" if row.next_boot else ""

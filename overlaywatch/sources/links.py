# SPDX-License-Identifier: Apache-2.0
"""Block devices that hold nothing of their own: loops, dm-linear and its kin, so that a chain goes on below.

Must not know what uses them. A loop over a sparse file is the place where a promise is made that
the file system below may not keep: `holes_bytes` is what the file has not taken yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.dm_target import parse_devices
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Link, Ref, block_ref, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import lies_on_others


class LoopSource:
    """One link per writable loop, from the device to the super block that holds its file, or to the block device."""

    name = "loop"

    def survey(self, view: KernelView, now: float) -> Found:
        """A read-only loop takes nothing from below, and is no link."""
        del now
        writable = [loop for loop in view.loops.values() if not loop.read_only]
        blocks = {loop.backing_block for loop in writable if loop.backing_block is not None}
        stacked = [block_ref(*block) for block in sorted(blocks) if lies_on_others(view, block)]
        return Found(links=[_loop(view, loop) for loop in writable], stacked=stacked)


def _loop(view: KernelView, loop: LoopDevice) -> Link:
    # Without privilege the super block is not told: a reference that nothing provides keeps it unknown.
    if loop.backing_block is not None:
        return Link(block_ref(loop.major, loop.minor), (block_ref(*loop.backing_block),), loop.size_bytes)
    device = view.super_block_of(loop)
    below = super_block_ref(*device) if device else Ref(f"unknown:{loop.name}")
    holes = holes_bytes(loop, view.file_allocation(loop))
    return Link(block_ref(loop.major, loop.minor), (below,), loop.size_bytes, holes)


def holes_bytes(loop: LoopDevice, allocation: tuple[int, int] | None) -> int | None:
    """What writes to a loop can still take from below: not more than it has bytes, wherever in the file they are.

    A file that was cut shorter than the loop (truncate(2) does not ask it) becomes longer again.
    """
    if allocation is None or loop.size_bytes is None:
        return None
    size, allocated = allocation
    return min(loop.size_bytes, max(0, max(size, loop.offset + loop.size_bytes) - allocated))


PASS_THROUGH: Final = frozenset({"linear", "striped", "crypt", "raid", "mirror", "multipath", "verity", "integrity"})
"""Targets whose size is all there below them: writing to them allocates nothing."""


class DmPassThroughSource:
    """One link per writable device-mapper device that allocates nothing, to all the devices in its table lines."""

    name = "dm-pass-through"

    def __init__(self) -> None:
        self._devices: Mapping[tuple[int, int], DmDevice] | None = None
        self._found = Found()

    def survey(self, view: KernelView, now: float) -> Found:
        """Thin devices and targets that are not known here are no links: what they lie on stays unknown.

        What any device lies on may lie on others in turn: if nobody tells on what, a chain must not end there.
        """
        del now
        if view.dm is not self._devices:
            self._devices = view.dm
            writable = [device for device in view.dm.values() if not device.read_only]
            below = {one for device in writable for target in device.table for one in parse_devices(target.params)}
            stacked = [block_ref(*number) for number in sorted(below) if lies_on_others(view, number)]
            self._found = Found(links=list(_pass_through(writable)), stacked=stacked)
        return self._found


def _pass_through(devices: Iterable[DmDevice]) -> Iterator[Link]:
    for device in devices:
        if device.table and all(target.type in PASS_THROUGH for target in device.table):
            yield Link(block_ref(device.major, device.minor), tuple(dict.fromkeys(_below(device))))


def _below(device: DmDevice) -> Iterator[Ref]:
    for target in device.table:
        for number in parse_devices(target.params):
            yield block_ref(*number)

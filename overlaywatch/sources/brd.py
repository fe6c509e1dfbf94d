# SPDX-License-Identifier: Apache-2.0
"""brd: a block device in RAM that never ends by itself, and that takes each page when it is first written to.

Must not know what is on it. Its pages are in none of the figures of /proc/meminfo, cannot be swapped, and are given
back by nothing but the removal of the module: the limit is what RAM is available, for what was not taken yet.
"""

from overlaywatch.kernel.ram_disk import BRD, is_ram_disk
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import RAM, Failure, Layer, LayerId, LayerKind, LayerState, Link, Reading, Ref, block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import Device, devices_below


class BrdSource:
    """`brd:ram1`, one for each that something lies on."""

    name = "brd"

    def __init__(self) -> None:
        self._seen: tuple[object, ...] = ()
        self._layers: list[tuple[Layer, Device]] = []

    def survey(self, view: KernelView, now: float) -> Found:
        """A layer without an end of its own, and a link from it to RAM with what it can still take."""
        del now
        seen = (view.mounts, view.dm, view.btrfs)
        if seen != self._seen:
            self._seen = seen
            named = [(view.device_name(*device) or "", device) for device in sorted(devices_below(view))]
            self._layers = [(_layer(name, device), device) for name, device in named if is_ram_disk(name, BRD)]
        readings = [_reading(view, layer, device) for layer, device in self._layers]
        links = [_link(layer, reading) for (layer, _), reading in zip(self._layers, readings, strict=True)]
        return Found(layers=[layer for layer, _ in self._layers], readings=readings, links=links)


def _reading(view: KernelView, layer: Layer, device: Device) -> Reading:
    size, used = view.size_bytes(*device), view.brd_bytes(layer.id.partition(":")[2])
    # What is not known to be taken can still be taken, all of it.
    left = None if size is None else max(0, size - (used or 0))
    return Reading(layer.id, LayerState.OK, size, used, left, cannot_overflow=True)


def _link(layer: Layer, reading: Reading) -> Link:
    return Link(layer.rests_on[0], (RAM,), reading.size_bytes, reading.headroom_bytes)


def _layer(name: str, device: Device) -> Layer:
    return Layer(
        id=LayerId(f"brd:{name}"),
        kind=LayerKind.BRD,
        provides=(block_ref(*device),),
        rests_on=(Ref(f"brd:{name}"),),
        failure=Failure.OOM,
        reclaimable=False,
        device=f"{device[0]}:{device[1]}",
    )

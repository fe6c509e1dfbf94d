# SPDX-License-Identifier: Apache-2.0
"""zram: a block device in RAM, compressed, that ends with an I/O error where mem_limit is set.

Must not know what is on it. How well data will compress nobody knows: it is planned with data that does not, of which
a page takes a page. Its memory cannot be swapped; a discard gives it back. A zram that is only swapped to is no layer.
"""

from overlaywatch.kernel.ram_disk import ZRAM, ZramStatus, is_ram_disk
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import RAM, Failure, Layer, LayerId, LayerKind, LayerState, Link, Reading, Ref, block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import Device, Memo, devices_below, unreadable


class ZramSource:
    """`zram:zram0`, one for each that something lies on."""

    name = "zram"
    kinds = frozenset({LayerKind.ZRAM})

    def __init__(self) -> None:
        self._seen: tuple[object, ...] = ()
        self._layers: list[Layer] = []
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """A layer, and a link from it to RAM with what it can still take."""
        del now
        seen = (view.mounts, view.dm, view.btrfs)
        if seen != self._seen:
            self._seen = seen
            named = [(view.device_name(*device) or "", device) for device in sorted(devices_below(view))]
            self._layers = [_layer(name, device) for name, device in named if is_ram_disk(name, ZRAM)]
        readings = [self._reading(view, layer) for layer in self._layers]
        links = [_link(layer, reading) for layer, reading in zip(self._layers, readings, strict=True)]
        return Found(layers=self._layers, readings=readings, links=links)

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """mm_stat is one read."""
        del before
        return self._reading(view, layer)

    def _reading(self, view: KernelView, layer: Layer) -> Reading:
        try:
            status = view.zram(layer.id.partition(":")[2])
        except OSError as error:
            return unreadable(layer.id, f"mm_stat: {error.strerror}")
        return self._memo.reading(layer.id, status, lambda: as_reading(layer.id, status))


def as_reading(layer: LayerId, status: ZramStatus) -> Reading:
    """The figures of one look. A limit that the whole device fits into is none."""
    size = status.size if status.limit is None else min(status.limit, status.size)
    return Reading(
        layer=layer,
        state=LayerState.OK,
        size_bytes=size,
        used_bytes=status.used,
        headroom_bytes=max(0, size - status.used),
        cannot_overflow=size == status.size,
        details={
            "disksize": status.size,
            "mem_limit": status.limit,
            "original_data_bytes": status.original,
            "compressed_data_bytes": status.compressed,
            "room_returns": "with discard only (fstrim)",
        },
    )


def _link(layer: Layer, reading: Reading) -> Link:
    return Link(layer.rests_on[0], (RAM,), reading.size_bytes, reading.headroom_bytes)


def _layer(name: str, device: Device) -> Layer:
    return Layer(
        id=LayerId(f"zram:{name}"),
        kind=LayerKind.ZRAM,
        provides=(block_ref(*device),),
        rests_on=(Ref(f"zram:{name}"),),
        failure=Failure.IO_ERROR,
        reclaimable=True,
        device=f"{device[0]}:{device[1]}",
    )

# SPDX-License-Identifier: Apache-2.0
"""RAM: where every chain of a live system ends.

Must not know what rests on it. MemAvailable already leaves out the pages of tmpfs and ramfs; swap
helps those that can be swapped (tmpfs), and swap on zram is RAM again, so it is not counted. Kernels before 3.14 do not
tell MemAvailable: there it is what it would be at least. A part is kept back for
what the kernel itself needs to hold the pages that come: the tree of each file, the exceptions of a snapshot. Pages are
charged to the cgroup of whoever writes first, and end with its limit, so the least that a cgroup has left counts.
"""

from collections.abc import Sequence
from typing import Final

from overlaywatch.kernel.cgroup import MemoryLimit
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import RAM, RAM_LAYER, SWAPPABLE_RAM, Failure, Layer, LayerKind, LayerState, Reading
from overlaywatch.ports import Found
from overlaywatch.sources.shared import Memo
from overlaywatch.units import MIB

RESERVE: Final = 64
LEAST_RESERVE: Final = 2 * MIB
"""One byte of so many of what is available, and never less. Measured on 6.1 with 300 MB: the OOM killer came up to 2 %
before MemAvailable had gone in as data, and 1.7 MiB before it where little was left (docs/accuracy.md)."""


class RamSource:
    """The one layer `ram`."""

    name = "ram"
    kinds = frozenset({LayerKind.RAM})

    def __init__(self) -> None:
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """Size, use and what is available, as the kernel counts it."""
        del now
        raw = (view.meminfo.total, view.meminfo.available_at_least, view.swap_free_bytes, view.memory_limits)
        return Found(layers=[LAYER], readings=[self._memo.reading(RAM_LAYER, raw, lambda: _reading(*raw))])

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """/proc/meminfo is one read, and each limit three."""
        del layer, before
        return _reading(view.meminfo.total, view.meminfo.available_at_least, view.swap_free_bytes, view.memory_limits)


LAYER = Layer(
    id=RAM_LAYER,
    kind=LayerKind.RAM,
    provides=(RAM, SWAPPABLE_RAM),
    rests_on=(),
    failure=Failure.OOM,
    reclaimable=True,
)


def _reading(total: int, available: int, swap: int, limits: Sequence[MemoryLimit]) -> Reading:
    room, size, cgroup = min([(available, total, ""), *((one.available, one.limit, one.cgroup) for one in limits)])
    with_swap = [one.available + (swap if one.swap is None else min(swap, one.swap)) for one in limits]
    reserve = min(room, max(LEAST_RESERVE, room // RESERVE))
    return Reading(
        layer=RAM_LAYER,
        state=LayerState.OK,
        size_bytes=size,
        used_bytes=max(0, size - room),
        headroom_bytes=room - reserve,
        swap_bytes=min([available + swap, *with_swap]) - room,
        reserved_bytes=reserve,
        details={"available_bytes": available} | ({"limited_by_cgroup": cgroup} if cgroup else {}),
    )
